"""Parts of rasters in an archive: of a COG the blocks, of a JP2 the code-stream tiles that a box touches.

The result is a GeoTIFF of the box, equal to the whole file pixel by pixel.
"""

import io
import math
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
import rasterio
from affine import Affine
from obstore.exceptions import GenericError, PreconditionError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window, from_bounds

from terrazzo.grid import Bounds
from terrazzo.precompute.products.codestream import (
    PART_END,
    SOT_BYTES,
    Header,
    TilePart,
    Tiles,
    Unusual,
    chosen,
    is_complete,
    listed_parts,
    part_header,
    part_start,
    read_header,
    read_tile_part,
    runs,
    tiles_of,
)
from terrazzo.precompute.products.files import open_raster
from terrazzo.raster import new_raster

if TYPE_CHECKING:
    from obstore import GetOptions

BUFFER = 1 << 18
"""Bytes that are read ahead of a part of a COG: about a block of a band."""
FIRST_READ = 1 << 13
"""Bytes in which the header of a product's JP2 ends, with the list of its tile-parts."""
READ_AHEAD = 1 << 12
"""Bytes of a walk where tile-parts are smaller than that."""
SMALL_FILE = 1 << 18
"""Bytes of a JP2 that comes whole: walking through it would take longer."""
MOST_PARTS, MOST_RUNS = 2048, 128
"""Tile-parts of a walk, and requests for the tiles of one file."""

Read = Callable[[int, int], tuple[int, Iterator[bytes]]]
"""The size of a file, and its bytes from one to before another, as they come."""


class Stopped(Exception):
    """The user ended the run."""


class Small(Unusual):
    """A JP2 that comes whole because a part would save nothing."""


class Remote(io.RawIOBase):
    """A file in an archive, read where it is asked."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self.read_at, self.size, self.at = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self.size - self.at)
        data = self.read_at(self.at, length) if length > 0 else b""
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def insisted_on(tag: str | None) -> str | None:
    """The ETag that a request may insist on: a weak one does not tell bytes apart, and servers refuse it (RFC 9110)."""
    return None if tag is None or tag.startswith("W/") else tag


def exactly(chunks: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Hands on the bytes of an answer, no more than were asked for.

    Raises:
        GenericError: there are fewer or more.
    """
    came = 0
    for chunk in chunks:
        came += len(chunk)
        if came > length:
            break
        yield chunk
    if came != length:
        raise GenericError(f"{came} bytes came where {length} were asked for")


class AsRaster:
    """A file in an archive under a name that rasterio opens, block by block: an open file it reads whole, 8 kB a request.

    Nothing may raise inside a call of GDAL: rasterio 1.4 makes a SystemError of it, which ends the run. So the first failure
    is kept, what follows reads nothing, and the failure is raised when GDAL is done.
    """

    def __init__(self, store: Any, key: str, size: int) -> None:
        self._name = f"{uuid.uuid4().hex}.tif"
        self._store, self._key, self._size = store, key, size
        self._tag: str | None = None
        self._problem: Exception | None = None

    @contextmanager
    def opened(self, **options: Any) -> Iterator[rasterio.DatasetReader]:
        """The raster.

        Raises:
            BaseError: what obstore said of a read that failed.
            RasterioError: it is no raster, or a damaged one.
        """
        try:
            with open_raster(self._name, opener=self._opener, **options) as source:
                yield source
        except Exception as error:
            if self._problem is not None:
                raise self._problem from None
            if isinstance(error, (Stopped, Unusual, OSError)):
                raise
            # GDAL's own classes are none of rasterio's.
            raise RasterioError(str(error)) from error
        if self._problem is not None:
            raise self._problem

    def _opener(self, path: str, mode: str = "rb") -> io.BufferedReader:
        """The file itself; files that GDAL looks for beside it are not there."""
        if path != self._name:
            raise FileNotFoundError(path)
        return io.BufferedReader(Remote(self._read, self._size), BUFFER)

    def _read(self, start: int, length: int) -> bytes:
        """Bytes of the file; fewer after a failure, which is noted."""
        if self._problem is not None:
            return b""
        try:
            options: GetOptions = {"range": (start, start + length)}
            if tag := insisted_on(self._tag):
                options["if_match"] = tag
            got = obstore.get(self._store, self._key, options=options)
            data, tag = b"".join(exactly(iter([bytes(got.bytes())]), length)), got.meta.get("e_tag")
            if self._tag not in (None, tag):
                raise PreconditionError("another file came in its place")
        except Exception as error:
            self._problem = error
            return b""
        self._tag = tag
        return data


class StartOfJP2:
    """The header of a JP2, and the tiles that a box touches; what came stays when a connection breaks."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._head = b""
        self._header: Header | None = None

    def length(self, read: Read) -> int | None:
        """Bytes that `TilesOfJP2` reads, with the header; None where the header does not list the tile-parts.

        Raises:
            Unusual: no part can be cut out of it.
        """
        header, _, tiles = self._touched(read)
        parts = listed_parts(header)
        if parts is None:
            return None
        wanted = chosen(parts, tiles.numbers(header.columns))
        _runs(wanted)
        return len(self._head) + sum(p.end - p.start for p in wanted)

    def _touched(self, read: Read) -> tuple[Header, tuple[Affine, CRS], Tiles]:
        """The header, where the image lies, and the tiles."""
        header = self._read_header(read)
        transform, crs = _place(self._head)
        tiles = tiles_of(header, *rows_and_columns(self.bounds, transform, (header.height, header.width)))
        if len(tiles.numbers(header.columns)) in (0, header.columns * header.rows):
            raise Unusual("the area touches all its tiles")
        return header, (transform, crs), tiles

    def _read_header(self, read: Read) -> Header:
        while self._header is None:
            begun = len(self._head)
            size, chunks = read(begun, max(FIRST_READ, 2 * begun))
            if size <= SMALL_FILE:
                raise Small
            self._head += b"".join(chunks)
            self._header = read_header(self._head, size)
        return self._header


class TilesOfJP2(StartOfJP2):
    """The tiles of a JP2 that a box touches, on their way into a file; what came stays when a connection breaks.

    Attributes:
        path: where they become a JP2 of their own, with the place of its first tile.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.path = path
        self._known: list[TilePart] = []
        path.unlink(missing_ok=True)

    def fetch(self, read: Read) -> None:
        """Reads what is missing.

        Raises:
            Unusual: no part can be cut out of it.
        """
        header, (transform, crs), tiles = self._touched(read)
        numbers = tiles.numbers(header.columns)
        parts = chosen(listed_parts(header) or self._walk(read, header, numbers), numbers)
        corner = transform @ Affine.translation(
            tiles.left * header.tile_width, tiles.top * header.tile_height
        )
        self._fill(read, part_header(header, tiles, _pixel_at(corner, crs)), parts)
        self._finish(header, tiles, parts)

    def _walk(self, read: Read, header: Header, numbers: list[int]) -> list[TilePart]:
        """Tile-parts from the first to the last that is needed, each located by the one before."""
        known, ahead, begins = self._known, self._head, 0
        while not is_complete(known, numbers):
            at = known[-1].end if known else header.first
            if not begins <= at <= begins + len(ahead) - SOT_BYTES:
                small = bool(known) and known[-1].end - known[-1].start < READ_AHEAD
                stop = min(at + (READ_AHEAD if small else SOT_BYTES), header.end)
                begins, ahead = at, b"".join(read(at, stop)[1]) if at < stop else b""
            part = read_tile_part(ahead[at - begins :], at, header)
            if part is None:
                break
            if len(known) == MOST_PARTS:
                raise Unusual("it has more tile-parts than any product")
            known.append(part)
        return known

    def _fill(self, read: Read, head: bytes, parts: tuple[TilePart, ...]) -> None:
        wanted = _runs(parts)
        if not self.path.exists():
            self.path.write_bytes(head)
        here, at = self.path.stat().st_size, len(head)
        with self.path.open("ab") as out:
            for start, end in wanted:
                skip = max(0, here - at)
                at += end - start
                if skip < end - start:
                    for chunk in read(start + skip, end)[1]:
                        out.write(chunk)

    def _finish(self, header: Header, tiles: Tiles, parts: tuple[TilePart, ...]) -> None:
        """Renumbers the tile-parts, each checked against the list that they were fetched by."""
        with self.path.open("r+b") as out:
            at = self.path.stat().st_size - sum(p.end - p.start for p in parts)
            for part in parts:
                out.seek(at)
                delivered = read_tile_part(out.read(SOT_BYTES), part.start, header)
                if delivered is None or delivered[:2] + delivered[3:] != part[:2] + part[3:]:
                    raise Unusual("its list of tile-parts is wrong")
                out.seek(at)
                out.write(part_start(part, tiles, header.columns, sum(p.tile == part.tile for p in parts)))
                at += part.end - part.start
            out.seek(0, os.SEEK_END)
            out.write(PART_END)


def _runs(parts: tuple[TilePart, ...]) -> list[tuple[int, int]]:
    """Bytes of the file that hold tile-parts, a request each.

    Raises:
        Unusual: there are too many.
    """
    if len(wanted := runs(parts)) > MOST_RUNS:
        raise Unusual("its tile-parts lie far apart")
    return wanted


def _place(head: bytes) -> tuple[Affine, CRS]:
    """Where a JP2 lies that begins with some bytes."""
    try:
        with MemoryFile(head, ext=".jp2") as memory, open_raster(memory.name) as image:
            transform, crs = image.transform, image.crs
    except RasterioError:
        raise Unusual("its header cannot be read") from None
    if crs is None or transform.is_identity or transform.b or transform.d:
        raise Unusual("its header does not say where it lies")
    return transform, crs


def _pixel_at(corner: Affine, crs: CRS) -> bytes:
    """A GeoTIFF of one pixel."""
    profile: dict[str, Any] = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    with MemoryFile() as memory:
        memory.open(**profile, crs=crs, transform=corner).close()
        return bytes(memory.read())


def rows_and_columns(bounds: Bounds, transform: Affine, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the pixels of a raster that a box touches.

    Raises:
        Unusual: there are none.
    """
    window = from_bounds(*bounds, transform)
    top, left = (max(0, math.floor(v + 1e-6)) for v in (window.row_off, window.col_off))
    bottom = min(shape[0], math.ceil(window.row_off + window.height - 1e-6))
    right = min(shape[1], math.ceil(window.col_off + window.width - 1e-6))
    if bottom <= top or right <= left:
        raise Unusual("it does not reach the part of its tile that is asked for")
    return top, left, bottom, right


class Overview(NamedTuple):
    """An overview of a COG: which one, from 0, and how many of the image's pixels lie along one of its own."""

    level: int
    factor: int


def overview_of(source: rasterio.DatasetReader, metres: float) -> Overview | None:
    """The coarsest overview whose pixels are no larger than asked; None where that is the image itself."""
    known = [Overview(*pair) for pair in enumerate(source.overviews(1))]
    return next((o for o in reversed(known) if o.factor * source.res[0] <= metres * (1 + 1e-6)), None)


class Described(NamedTuple):
    """Where the pixels of a raster lie, and what makes reflectance or no data of their numbers."""

    transform: Affine
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    colors: tuple[ColorInterp, ...]
    own_mask: bool


def described(source: rasterio.DatasetReader, factor: int = 1) -> Described:
    """What a raster says of itself, for pixels of so many of its own; opened at an overview GDAL gives half of it."""
    flags = source.mask_flag_enums[0]
    own_mask = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
    transform = source.transform @ Affine.scale(factor)
    return Described(transform, source.scales, source.offsets, source.colorinterp, own_mask)


def write_part(
    source: rasterio.DatasetReader, path: Path, bounds: Bounds, stop: Event, about: Described | None = None
) -> None:
    """Writes the pixels of a raster that touch a box, unchanged, with its mask, some rows of blocks at a time.

    Args:
        about: of an overview what the whole raster says: GDAL leaves scale and offset out, and stretches the transform of an
            overview whose factor does not divide its image. None where the source's own is right.

    Raises:
        Stopped: the event is set.
        Unusual: there are none.
        RasterioError: it cannot be read.
    """
    about = described(source) if about is None else about
    pixels = about.transform
    top, left, bottom, right = rows_and_columns(bounds, pixels, source.shape)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": right - left,
        "height": bottom - top,
        "count": source.count,
        "dtype": source.dtypes[0],
        "crs": source.crs,
        "transform": pixels @ Affine.translation(left, top),
        "nodata": source.nodata,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "interleave": "band",
        "compress": "deflate",
        "predictor": 2,
    }
    step = source.block_shapes[0][0]
    with new_raster(path, **profile) as out:
        out.dataset.scales, out.dataset.offsets = about.scales, about.offsets
        out.dataset.colorinterp = about.colors
        for row in range(top - top % step, bottom, step):
            if stop.is_set():
                raise Stopped
            first, last = max(row, top), min(row + step, bottom)
            there = Window(left, first, right - left, last - first)
            mask = source.read_masks(1, window=there) if about.own_mask else None
            out.write(source.read(window=there), Window(0, first - top, right - left, last - first), mask)
