"""Bakes the pyramid of a version: what low zooms show, merged and normalized once instead of for each request."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from terrazzo.bands import NODATA, SCALE
from terrazzo.bulk.windowed import windowed
from terrazzo.cog import Overview, write_cog
from terrazzo.errors import ReadFailure
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.pyramid import EMPTY, INDEX, LAYERS, Part, part_prefix
from terrazzo.mosaic.request import PixelRequest
from terrazzo.precompute.work import executor
from terrazzo.precompute.work.executor import Workers
from terrazzo.store import Store
from terrazzo.version import Version, open_version, version_key

DEPTH = 5
"""Levels beyond those of the scenes: a whole zone shrinks to a few pixels."""
SQUARE = 512
"""Side in pixels of what is baked at a time."""
AHEAD, KEPT = 3, 512 << 20
"""Squares that are read while one is merged, and bytes of their blocks: a square of twelve dates and ten bands has about 90 MB."""
OVERVIEWS: dict[str, Overview] = {
    "provenance": "majority",
    "count": "majority",
    "quality": "mode",
    "trust": "weight",
}
TYPES: dict[str, Literal["int16", "uint8"]] = {
    "provenance": "int16",
    "count": "uint8",
    "quality": "uint8",
    "trust": "uint8",
}


@dataclass(frozen=True)
class Row:
    """Squares of a part, side by side, that are baked by one process."""

    store: str
    mosaic_id: str
    version: str
    period: str
    epsg: int
    part: Part
    boxes: tuple[PixelBox, ...]


def write_pyramid(
    store: Store, version: Version, *, workers: Workers = 1, console: Console | None = None
) -> None:
    """Writes the pyramid of a version; does nothing where it is there. The index is written last.

    Raises:
        OSError: the disk is full.
        ReadFailure: a scene cannot be read; low zooms would lack it for good.
    """
    index = version_key(version.mosaic_id, version.name, INDEX)
    if store.exists(index):
        return
    parts = []
    for period in version.periods:
        for epsg in sorted({e.scene.epsg for e in version.entries(period)}):
            part = _part(store, version, period, epsg)
            with tempfile.TemporaryDirectory(dir=store.scratch()) as folder:
                _write_part(store, version, period, epsg, part, Path(folder), workers, console)
            parts.append(
                {
                    "period": period,
                    "epsg": epsg,
                    "level": part.level,
                    "deepest": part.deepest,
                    "box": list(part.box),
                }
            )
    store.write_json(index, {"parts": parts})


def _part(store: Store, version: Version, period: str, epsg: int) -> Part:
    grid = store.grid(epsg)
    scenes = grid.window.bit_length() - 1
    level = min(scenes, max(0, int(np.ceil(np.log2(version.config.pyramid_from / grid.pixel)))))
    boxes = (e.scene.box for e in version.entries(period) if e.scene.epsg == epsg)
    whole = reduce(PixelBox.union, boxes)
    # Whole pixels of the coarsest level, on the zone's grid: overviews of all versions lie alike.
    deepest = scenes + DEPTH
    coarsest = whole.coarser(2**deepest)
    finest = PixelBox(*(v * 2 ** (deepest - level) for v in coarsest))
    return Part(part_prefix(version.mosaic_id, version.name, period, epsg), level, deepest, finest)


def _write_part(
    store: Store,
    version: Version,
    period: str,
    epsg: int,
    part: Part,
    folder: Path,
    workers: Workers,
    console: Console | None,
) -> None:
    names = {**dict.fromkeys(version.bands, "int16"), **TYPES}
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind in names.items():
        with (folder / name).open("wb") as file:
            # A full disk is an error here; later, it would end the process.
            os.posix_fallocate(file.fileno(), 0, np.dtype(kind).itemsize * part.box.height * part.box.width)
        arrays[name] = np.memmap(folder / name, kind, "r+", shape=part.box.shape)
        arrays[name][:] = EMPTY.get(name, NODATA)
    rows = [
        Row(store.url, version.mosaic_id, version.name, period, epsg, part, tuple(boxes))
        for _, boxes in groupby(_squares(store, version, period, epsg, part), lambda box: box.row0)
    ]
    label = f"pyramid {period}" if len(version.periods) > 1 else "pyramid"
    for outcome in executor.run(
        bake, rows, workers=workers, label=label, name=lambda r: f"row {r.boxes[0].row0}", console=console
    ):
        if outcome.error is not None:
            raise outcome.error
        for box, layers in outcome.result or ():
            for name, values in layers.items():
                arrays[name][box.within(part.box)] = values
    fine = store.grid(epsg)
    grid = Grid(epsg, fine.pixel * 2**part.level, max(1, fine.window >> part.level))
    for name, array in arrays.items():
        path = folder / f"{name}.tif"
        write_cog(
            path,
            array,
            grid.transform(part.box),
            f"EPSG:{epsg}",
            nodata=EMPTY.get(name, NODATA) if name != "trust" else None,
            overview=OVERVIEWS.get(name, "average"),
            levels=part.deepest - part.level,
            scale=1.0 if name in LAYERS else SCALE,
            description=name,
        )
        store.publish_file(path, part.key(name))


def _squares(store: Store, version: Version, period: str, epsg: int, part: Part) -> Iterator[PixelBox]:
    """The squares of a part in which scenes lie."""
    scenes = [e.scene.box.coarser(2**part.level) for e in version.entries(period) if e.scene.epsg == epsg]
    for row in range(part.box.row0, part.box.row1, SQUARE):
        for col in range(part.box.col0, part.box.col1, SQUARE):
            box = PixelBox(row, col, row + SQUARE, col + SQUARE).intersection(part.box)
            if any(not s.intersection(box).empty for s in scenes):
                yield box


def bake(row: Row) -> list[tuple[PixelBox, dict[str, NDArray[Any]]]]:
    """The pixels of squares, by band and layer; nothing where no scene lies."""
    version = open_version(Store(row.store), row.mosaic_id, row.version)
    blocks = Blocks(KEPT)
    engine = Engine(version, blocks)
    selection = engine.select(PixelRequest(version.bands, datetime=row.period))
    ranks = np.array([*(e.rank for e in selection.entries), -1], np.int16)

    def read(box: PixelBox) -> None:
        engine.fetch_zone(selection, row.epsg, row.part.level, box)

    def merge(box: PixelBox, _: None) -> dict[str, NDArray[Any]]:
        pixels, problems = engine.zone(selection, row.epsg, row.part.level, box)
        if problems:
            raise ReadFailure(f"{problems[0]}; `terrazzo store verify --repair` mends it, or says what does")
        if pixels is None:
            return {}
        return dict(zip(version.bands, pixels.values, strict=True)) | {
            "provenance": ranks[pixels.provenance],
            "count": pixels.count,
            # Its bit for damage, the only one beyond, cannot be set.
            "quality": pixels.quality.astype(np.uint8),
            "trust": pixels.trust,
        }

    try:
        return list(windowed(row.boxes, read, merge, lambda _, pixels: pixels, ahead=AHEAD))
    finally:
        blocks.close()
