"""A window's pixels as the blocks of the file they go into: each is compressed once, and copied into the file as it is."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from affine import Affine
from isal import isal_zlib
from numba import njit
from numpy.typing import NDArray
from rasterio.io import MemoryFile

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

    def halved(self, array: NDArray[Any]) -> NDArray[Any]:
        """(band, row, col) of the next overview; an odd side's last pixel has only what there is below it."""
        if not self.smooth:
            return array[:, ::2, ::2]
        bands, rows, cols = array.shape
        out = np.empty((bands, -(-rows // 2), -(-cols // 2)), array.dtype)
        nodata, is_whole = array.dtype.type(self.nodata), array.dtype.kind != "f"
        beside = nodata_neighbour(nodata)
        _means(array, nodata, is_whole, beside, out)
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


def write_window(path: Path, array: NDArray[Any], packing: Packing, side: int, levels: int) -> None:
    """A window of a file, (band, row, col), as a file of its own, which appears whole or not at all.

    It holds the blocks of all levels that lie in it, and of the first level of the others the pixels.

    Args:
        side: of whole windows; those at the end of an area are smaller.
        levels: of the file that it is for.
    """
    blocks: list[bytes] = []
    whole = whole_levels(side, levels)
    for level in range(whole):
        blocks += map(packing.packed, packing.cut(array))
        if level + 1 < levels:
            array = packing.halved(array)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, np.array([len(b) for b in blocks], np.int64))
        file.writelines(blocks)
        if whole < levels:
            np.save(file, np.ascontiguousarray(array))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class WindowFile:
    """What `write_window` wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._sizes = np.load(file)
            self._starts = file.tell() + np.concatenate([[0], np.cumsum(self._sizes)])

    def block(self, number: int) -> bytes:
        """A packed block; they are numbered by level, then row by row."""
        return self._read(int(self._starts[number]), int(self._sizes[number]))

    def rest(self) -> NDArray[Any]:
        """(band, row, col) of the first level whose blocks reach beyond the window."""
        with self._path.open("rb") as file:
            file.seek(int(self._starts[-1]))
            found: NDArray[Any] = np.load(file)
        return found

    def _read(self, start: int, size: int) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, start)


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
def _means(array, nodata, is_whole, beside, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Means of 2 × 2 pixels with data, whole numbers rounded half to even; one that would be nodata is `beside`."""
    bands, rows, cols = array.shape
    for b in range(bands):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                total, count = 0.0, 0
                for i in range(2 * r, min(2 * r + 2, rows)):
                    for j in range(2 * c, min(2 * c + 2, cols)):
                        v = array[b, i, j]
                        if v != nodata and v == v:
                            total += v
                            count += 1
                if count == 0:
                    out[b, r, c] = nodata
                    continue
                out[b, r, c] = np.rint(total / count) if is_whole else total / count
                if out[b, r, c] == nodata:
                    out[b, r, c] = beside
