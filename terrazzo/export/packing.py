"""A window's pixels as the blocks of the file they go into: each is compressed once, and copied into the file as it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import zstandard
from affine import Affine
from isal import isal_zlib
from numba import njit
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

BLOCK = 512
"""Side of a block in pixels."""
DEFLATE_LEVEL = 2
"""Of ISA-L: as small as libdeflate's 6 on reflectance, at a quarter of its cost."""
ZSTD_LEVEL = 9
"""GDAL's own for COGs."""


@dataclass(frozen=True)
class Packing:
    """How the pixels of a file are stored.

    Attributes:
        compression: `deflate`, `zstd`, `lzw` or `none`; with the predictor of the dtype, but for `none`.
        smooth: whether overviews are means of the pixels with data, else they are picks.
    """

    compression: str
    nodata: float
    smooth: bool

    def packed(self, block: NDArray[Any]) -> bytes:
        """A (band, row, col) block of `BLOCK` pixels a side as it stands in the file, bands next to each other."""
        if self.compression == "lzw":
            return _by_gdal(block)
        pixels = np.ascontiguousarray(np.moveaxis(block, 0, -1))
        if self.compression == "none":
            return pixels.tobytes()
        data = (_bytes_apart if block.dtype.kind == "f" else _apart)(pixels)
        if self.compression == "zstd":
            return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data.data)
        return bytes(isal_zlib.compress(data, DEFLATE_LEVEL))

    def reduced(self, array: NDArray[Any], rows: "Stretch", cols: "Stretch") -> NDArray[Any]:
        """(band, row, col) of a part of the next overview.

        A level spans the same ground as the one below. Where that has an odd side, a pixel is somewhat smaller than two
        of those below, and takes of each its share.

        Args:
            array: (band, row, col) of the level below, over what the stretches need of it.
        """
        if not self.smooth:
            return array[:, rows.picks()[:, None], cols.picks()]
        out = np.empty((len(array), rows.stop - rows.start, cols.stop - cols.start), array.dtype)
        nodata, is_whole = array.dtype.type(self.nodata), array.dtype.kind != "f"
        _means(array, *rows.shares(), *cols.shares(), nodata, is_whole, nodata_neighbour(nodata), out)
        return out

    def cut(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """The blocks of an array, row by row, filled up with no data."""
        bands, rows, cols = array.shape
        for row in range(0, rows, BLOCK):
            for col in range(0, cols, BLOCK):
                part = array[:, row : row + BLOCK, col : col + BLOCK]
                if part.shape[1:] != (BLOCK, BLOCK):
                    part, inner = self.empty(bands, array.dtype), part
                    part[:, : inner.shape[1], : inner.shape[2]] = inner
                yield part

    def empty(self, bands: int, dtype: Any) -> NDArray[Any]:
        """A block without data."""
        return np.full((bands, BLOCK, BLOCK), self.nodata, dtype)


class Stretch(NamedTuple):
    """A part of one axis of an overview, and where its pixels lie on the level below.

    Attributes:
        below: pixels of the whole axis on the level below; the overview has half of them, rounded up.
        start, stop: the part, in pixels of the overview.
        first: the pixel of the level below at which the array begins.
    """

    below: int
    start: int
    stop: int
    first: int

    @property
    def length(self) -> int:
        """Pixels of the whole axis of the overview."""
        return -(-self.below // 2)

    def needed(self) -> tuple[int, int]:
        """First and last but one of the pixels below that the part lies on."""
        return self.start * self.below // self.length, -(-self.stop * self.below // self.length)

    def shares(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(n,) first pixel of the array below each pixel, and (n, 2 or 3) shares, whole numbers, of it and the next ones."""
        if self.below == 2 * self.length:
            at = 2 * np.arange(self.start, self.stop) - self.first
            return at, np.ones((len(at), 2))
        # In units of 1 / length of a pixel below, in which all ends are whole numbers.
        begin = np.arange(self.start, self.stop, dtype=np.int64) * self.below
        at = begin // self.length
        ends = (at[:, None] + np.arange(4)) * self.length
        low, high = begin[:, None], begin[:, None] + self.below
        parts = np.minimum(ends[:, 1:], high) - np.maximum(ends[:, :-1], low)
        return at - self.first, np.maximum(parts, 0).astype(np.float64)

    def picks(self) -> NDArray[np.int64]:
        """(n,) the pixel of the array that stands for each: that next to its beginning, as GDAL takes it."""
        begin = 2 * np.arange(self.start, self.stop, dtype=np.int64) * self.below
        return (begin + self.length) // (2 * self.length) - self.first


def first_needed(start: int, length: int, levels: int) -> list[int]:
    """The first pixel of each of so many levels that a window needs to make the last, full resolution first.

    Args:
        start: the window's first pixel at full resolution, a whole number on each level.
        length: of the whole axis at full resolution.
    """
    needed = [start >> (levels - 1)]
    for level in range(levels - 2, -1, -1):
        below = -(-length // (1 << level))
        needed.insert(0, min(start >> level, Stretch(below, needed[0], needed[0] + 1, 0).needed()[0]))
    return needed


def nodata_neighbour(nodata: Any) -> Any:
    """What is stored of a value, of its dtype, that would be taken for no data."""
    kind = type(nodata)
    if np.issubdtype(kind, np.floating):
        return np.nextafter(nodata, kind(np.inf if nodata <= 0 else 0))
    return kind(nodata + 1 if nodata < np.iinfo(kind).max else nodata - 1)


def level_count(shape: tuple[int, int]) -> int:
    """The levels of a file, full resolution and overviews: until its longer side is about one block."""
    levels = 1
    while max(shape) >> (levels - 1) > BLOCK:
        levels += 1
    return levels


def whole_levels(side: int, levels: int) -> int:
    """How many of a file's levels have blocks that lie in one window each, for windows of a side."""
    return min(levels, max(0, (side // BLOCK).bit_length()))


def with_margin(window: RasterWindow, shape: tuple[int, int], side: int) -> RasterWindow:
    """A window with the pixels before it that its overviews need where a side of the file is odd on some level."""
    levels = level_count(shape)
    reduced_levels = min(whole_levels(side, levels) + 1, levels)
    row, col = (
        first_needed(start, n, reduced_levels)[0]
        for start, n in zip((window.row_off, window.col_off), shape, strict=True)
    )
    height, width = window.row_off + window.height - row, window.col_off + window.width - col
    return RasterWindow(col, row, width, height)


def write_window(
    path: Path,
    array: NDArray[Any],
    window: RasterWindow,
    packing: Packing,
    side: int,
    shape: tuple[int, int],
) -> None:
    """A window of a file as a file of its own, which appears whole or not at all.

    It holds the blocks of all levels that lie in it, and of the first level of the others the pixels.

    Args:
        array: (band, row, col) of the window with its margin.
        side: of whole windows; those at the end of an area are smaller.
        shape: (rows, columns) of the file that it is for.
    """
    blocks: list[bytes] = []
    levels = level_count(shape)
    whole = whole_levels(side, levels)
    reduced_levels = min(whole + 1, levels)
    axes = [
        (start, start + size, n, first_needed(start, n, reduced_levels))
        for start, size, n in zip(
            (window.row_off, window.col_off), (window.height, window.width), shape, strict=True
        )
    ]
    for level in range(whole):
        blocks += map(packing.packed, packing.cut(_inner(array, axes, level)))
        if level + 1 < levels:
            array = packing.reduced(
                array,
                *(
                    Stretch(-(-n >> level), needed[level + 1], -(-stop >> level + 1), needed[level])
                    for _, stop, n, needed in axes
                ),
            )
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, np.array([len(b) for b in blocks], np.int64))
        file.writelines(blocks)
        if whole < levels:
            np.save(file, np.ascontiguousarray(_inner(array, axes, whole)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _inner(array: NDArray[Any], axes: list[tuple[int, int, int, list[int]]], level: int) -> NDArray[Any]:
    """The pixels of a window itself, without its margin, on a level."""
    row, col = ((start >> level) - needed[level] for start, _, _, needed in axes)
    return array[:, row:, col:]


class WindowFile:
    """What `write_window` wrote.

    Raises:
        OSError: it cannot be read, or is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as file:
            self._sizes = np.load(file)
            self._starts = file.tell() + np.concatenate([[0], np.cumsum(self._sizes)])

    def block(self, number: int) -> bytes:
        """A packed block; they are numbered by level, then row by row."""
        return self._read(int(self._starts[number]), int(self._sizes[number]))

    def rest(self) -> NDArray[Any]:
        """(band, row, col) of the first level whose blocks reach beyond the window, not read yet."""
        with self._opened() as file:
            file.seek(int(self._starts[-1]))
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            return np.memmap(self._path, dtype, "r", file.tell(), shape)

    def _read(self, start: int, size: int) -> bytes:
        with self._opened() as file:
            file.seek(start)
            data = file.read(size)
            if len(data) != size:
                raise EOFError(f"{len(data)} of {size} bytes")
            return data

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with self._path.open("rb") as file:
                yield file
        except (EOFError, ValueError) as error:
            raise OSError(f"{self._path} is cut off ({error}); remove it, it is computed again") from None


def _apart(pixels: NDArray[Any]) -> NDArray[Any]:
    """Differences to the pixel before, as TIFF's predictor 2 has them, of (row, col, band)."""
    out = pixels.copy()
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=out[:, 1:])
    return out


def _bytes_apart(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same of a row's first bytes, then its second ones, and so on: TIFF's predictor 3."""
    rows, cols, bands = pixels.shape
    planes = pixels.astype(">f4").view(np.uint8).reshape(rows, cols * bands, 4).transpose(0, 2, 1)
    flat = np.ascontiguousarray(planes).reshape(rows, -1)
    out = flat.copy()
    np.subtract(flat[:, bands:], flat[:, :-bands], out=out[:, bands:])
    return out


def _by_gdal(block: NDArray[Any]) -> bytes:
    bands, height, width = block.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": block.dtype.name}
    layout = {"tiled": True, "blockxsize": width, "blockysize": height, "interleave": "pixel"}
    predictor = 3 if block.dtype.kind == "f" else 2
    # A place, which is not looked at: rasterio warns of files without one.
    place = Affine.scale(2, -2)
    with MemoryFile() as memory:
        with memory.open(**profile, **layout, compress="lzw", predictor=predictor, transform=place) as file:
            file.write(block)
        with memory.open() as file:
            start, size = (
                int(file.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
            )
        return bytes(memory.getbuffer()[start : start + size])


@njit(cache=True, nogil=True)
def _means(array, top, down, left, across, nodata, is_whole, beside, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Means of pixels with data by their shares, whole numbers rounded half to even; one that would be nodata is `beside`.

    `top` and `left` are the first pixels below each row and column of `out`, `down` and `across` the shares from there.
    """
    for b in range(array.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                total, weight = 0.0, 0.0
                for i in range(down.shape[1]):
                    for j in range(across.shape[1]):
                        share = down[r, i] * across[c, j]
                        if share > 0:
                            v = array[b, top[r] + i, left[c] + j]
                            if v != nodata and v == v:
                                total += v * share
                                weight += share
                if weight == 0:
                    out[b, r, c] = nodata
                    continue
                out[b, r, c] = np.rint(total / weight) if is_whole else total / weight
                if out[b, r, c] == nodata:
                    out[b, r, c] = beside
