"""Windows of an export, rendered to files of their own: what is finished is never computed again."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numba import njit
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from terrazzo.bands import NODATA, SCALE
from terrazzo.bulk.windowed import windowed
from terrazzo.bulk.windows import part_of, windows
from terrazzo.crs import definition
from terrazzo.export.order import Encoding, Order
from terrazzo.export.packing import BLOCK, Packing, nodata_neighbour, with_margin, write_window
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.measure import Chosen, Drawn, draw, known
from terrazzo.mosaic.origin import ORIGINS, Rendering, count_needed
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target
from terrazzo.picture import stretched

BLOCKS, PICTURE = ".blocks", ".tif"
"""Endings of a window's files: its blocks, or of a picture its pixels."""
AHEAD = 2
"""Windows whose blocks are read from an object store while others are merged."""


class Spread(NamedTuple):
    """How the stored values of one band lie; they add up over pieces."""

    pixels: int
    least: float
    most: float
    total: float
    squares: float


NOTHING = Spread(0, 0.0, 0.0, 0.0, 0.0)


class Piece(NamedTuple):
    """The record of a finished window.

    Attributes:
        filled: pixels that hold data.
        scenes: ids of the scenes that show in it.
        spreads: one a band; empty without data.
    """

    filled: int
    scenes: tuple[str, ...]
    problems: tuple[str, ...]
    spreads: tuple[Spread, ...]


def encode(values: NDArray[np.int16] | NDArray[np.float32], encoding: Encoding) -> NDArray[Any]:
    """Values as they are stored: (band, row, col) of `Drawn` in, the encoding's dtype out.

    Whole numbers are rounded half to even and cut off at the dtype's ends; a value that would be taken for nodata,
    a float too, becomes its neighbour.
    """
    is_counts = values.dtype == np.int16
    if encoding.plain and is_counts:
        return values
    there = known(values)
    stored = (np.where(there, values, 0) * (SCALE if is_counts else 1.0) - encoding.offset) / encoding.scale
    if encoding.dtype != "float32":
        ends = np.iinfo(encoding.dtype)
        stored = np.clip(np.rint(stored), ends.min, ends.max)
        inward = -1 if encoding.nodata > (ends.min + ends.max) / 2 else 1
        stored[stored == encoding.nodata] += inward
    encoded: NDArray[Any] = stored.astype(encoding.dtype)
    nodata = encoded.dtype.type(encoding.nodata)
    encoded[encoded == nodata] = nodata_neighbour(nodata)
    encoded[~there] = nodata
    return encoded


def stored_values(values: NDArray[np.int16] | NDArray[np.float32], order: Order) -> NDArray[Any]:
    """Values of `Drawn` as an order's files hold them: encoded, or (4, row, col) red, green, blue and alpha of a picture."""
    if order.picture is None:
        return encode(values, order.encoding)
    there = known(values)
    shown = np.where(there, values, 0) * np.float32(1 if values.dtype.kind == "f" else SCALE)
    colours = stretched(shown.astype(np.float32), order.picture.rescale, order.picture.gamma)
    seen = there.all(axis=0)
    colours = np.broadcast_to(np.where(seen, colours, 0), (3, *seen.shape))
    return np.concatenate([colours, np.where(seen, 255, 0)[None]]).astype(np.uint8)


def rendered(
    engine: Engine,
    chosen: Chosen,
    order: Order,
    target: Target,
    folder: Path,
    *,
    side: int,
    workers: int,
) -> Iterator[tuple[RasterWindow, Piece]]:
    """The windows of a target in order, each with its file in `folder`; at most `workers` are merged at once.

    Of an object store the blocks of the next windows are read meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_remote, count_to = engine.version.store.root is None, count_needed(order.extras)

    def record_of(window: RasterWindow) -> Path:
        return folder / f"{piece_name(window)}.done"

    def read(place: tuple[RasterWindow, Target]) -> Piece | None:
        """What is finished; of the others the blocks are here then."""
        window, part = place
        if record_of(window).exists():
            return _read(record_of(window))
        outside = order.area.outside(part) if is_remote else None
        if is_remote and (outside is None or not outside.all()):
            for selection in (chosen.selection, chosen.baseline):
                if selection is not None:
                    engine.fetch(selection, part, count_to=count_to)
        return None

    def merge(place: tuple[RasterWindow, Target], done: Piece | None) -> Piece | Drawn | None:
        return drawn_part(engine, chosen, order, place[1]) if done is None else done

    def write(place: tuple[RasterWindow, Target], merged: Piece | Drawn | None) -> Piece:
        window, part = place
        return (
            merged
            if isinstance(merged, Piece)
            else _piece(engine, chosen, order, part, merged, record_of(window), window, (side, target.shape))
        )

    def grown(window: RasterWindow, part: Target) -> tuple[RasterWindow, Target]:
        if order.picture is not None:
            return window, part
        wide = with_margin(window, target.shape, side)
        return window, part_of(target, wide.row_off, wide.col_off, wide.height, wide.width)

    ahead = AHEAD if is_remote else 1
    places = (grown(*place) for place in windows(target, side))
    for (window, _), piece in windowed(places, read, merge, write, ahead=ahead, workers=workers):
        yield window, piece


def piece_name(window: RasterWindow) -> str:
    """The name of a window's files, without ending."""
    return f"{window.row_off}_{window.col_off}"


def layer_file(base: Path, layer: str | None, ending: str) -> Path:
    """The file of a window's bands (None) or of one of its extras."""
    return base.with_name(base.name + (f"_{layer}" if layer else "") + ending)


def holds_data(base: Path) -> bool:
    """Whether a window's files were written: it holds data, or lies beside such pixels as its overviews need."""
    return layer_file(base, None, BLOCKS).exists() or layer_file(base, None, PICTURE).exists()


def _piece(
    engine: Engine,
    chosen: Chosen,
    order: Order,
    part: Target,
    drawn: Drawn | None,
    record: Path,
    window: RasterWindow,
    whole: tuple[int, tuple[int, int]],
) -> Piece:
    """Writes a window's files.

    Args:
        part, drawn: those of the window with its margin, which its numbers leave out.
        whole: side of whole windows, and the shape of the file.
    """
    base = record.with_suffix("")
    if drawn is None or not (there := known(drawn.values)).any():
        piece = Piece(0, (), () if drawn is None else drawn.problems, ())
    else:
        stored = stored_values(drawn.values, order)
        if order.picture is not None:
            _write(layer_file(base, None, PICTURE), stored, part)
        else:
            smooth = chosen.selection.request.stage != "mask"
            packing = Packing(order.compression, order.encoding.nodata, smooth)
            write_window(layer_file(base, None, BLOCKS), stored, window, packing, *whole)
        rendering = Rendering(engine, chosen.selection, part, drawn.image)
        problems = dict.fromkeys(drawn.problems)
        for name in order.extras:
            values, lacking = ORIGINS[name].stored(rendering)
            problems |= dict.fromkeys(lacking)
            packing = Packing(order.compression, math.nan if values.dtype.kind == "f" else NODATA, False)
            write_window(layer_file(base, name, BLOCKS), values, window, packing, *whole)
        inner = np.s_[:, -window.height :, -window.width :]
        piece = Piece(
            int(there[inner].any(axis=0).sum()),
            tuple(e.scene.id for e in drawn.shown),
            tuple(problems),
            () if order.picture else tuple(map(_spread, stored[inner], there[inner])),
        )
    # Written last: it says that the window is finished.
    temporary = record.with_suffix(".part")
    temporary.write_text(json.dumps(piece))
    os.replace(temporary, record)
    return piece


def _read(record: Path) -> Piece:
    filled, scenes, problems, spreads = json.loads(record.read_text())
    return Piece(filled, tuple(scenes), tuple(problems), tuple(Spread(*s) for s in spreads))


def drawn_part(engine: Engine, chosen: Chosen, order: Order, part: Target) -> Drawn | None:
    """The values of a window, without those that the area does not touch; None where it touches none."""
    outside = order.area.outside(part)
    if outside is not None and outside.all():
        return None

    def render(selection: Selection) -> Image:
        image = engine.render(selection, part, count_to=count_needed(order.extras))
        if outside is not None:
            image.values[:, outside] = NODATA
            image.provenance[outside] = -1
        return image

    return draw(chosen, render)


@njit(cache=True, nogil=True)
def _sums(stored, there):  # type: ignore[no-untyped-def]  # pragma: no cover
    pixels, least, most, total, squares = 0, np.inf, -np.inf, 0.0, 0.0
    for i in range(stored.shape[0]):
        for j in range(stored.shape[1]):
            if there[i, j]:
                v = float(stored[i, j])
                pixels += 1
                least, most = min(least, v), max(most, v)
                total += v
                squares += v * v
    return pixels, least, most, total, squares


def _spread(stored: NDArray[Any], there: NDArray[np.bool_]) -> Spread:
    """The spread of a band's stored values, (row, col), where they are there."""
    pixels, least, most, total, squares = _sums(stored, there)
    return Spread(pixels, least, most, total, squares) if pixels else NOTHING


def joined(spreads: Sequence[Spread]) -> Spread:
    """The spread of several pieces together."""
    held = [s for s in spreads if s.pixels]
    if not held:
        return NOTHING
    return Spread(
        sum(s.pixels for s in held),
        min(s.least for s in held),
        max(s.most for s in held),
        sum(s.total for s in held),
        sum(s.squares for s in held),
    )


def _write(path: Path, array: NDArray[np.uint8], part: Target) -> None:
    """(channel, row, col) of a picture's window, into a GeoTIFF that appears whole or not at all."""
    temporary = path.with_suffix(".part")
    bands, height, width = array.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": array.dtype.name,
        "crs": definition(part.crs),
        "transform": rasterio.transform.from_bounds(*part.bounds, width, height),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "compress": "zstd",
        "zstd_level": 1,
        "predictor": 2,
    }
    # GDAL names no error of the last writes of a file.
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(array)
        with temporary.open("wb") as out:
            out.write(memory.getbuffer())
            os.fsync(out.fileno())
    os.replace(temporary, path)
