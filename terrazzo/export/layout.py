"""Where the blocks of a Cloud-Optimized GeoTIFF lie: they are put behind directories that GDAL has written without any.

Overviews come first, the smallest of them before all, each level row by row; before each block stands its size, behind it its
last four bytes once more, as GDAL's ghost area promises (https://gdal.org/en/stable/drivers/raster/cog.html).
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.export.packing import BLOCK, Packing, WindowFile, whole_levels

OFFSETS, SIZES = 324, 325
_TYPES = {3: "<u2", 4: "<u4", 16: "<u8"}
_INLINE = {42: 4, 43: 8}


class _Array(NamedTuple):
    """Where an array of a directory lies in the file."""

    start: int
    dtype: str


class Joining:
    """The blocks of a file of which the windows are there.

    Args:
        shape: (rows, columns) of the file at full resolution.
        windows: files of `write_window` by the row and column of the window's first pixel; others hold no data.
        side: of whole windows.
        spare: a file for the blocks that reach beyond a window.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        windows: Mapping[tuple[int, int], Path],
        side: int,
        levels: int,
        packing: Packing,
        empty: NDArray[Any],
        spare: BinaryIO,
    ) -> None:
        self._shape, self._side, self._levels = shape, side, levels
        self._packing, self._empty, self._spare = packing, empty, spare
        self._nothing = packing.packed(empty)
        self._whole = whole_levels(side, levels)
        self._windows = {place: WindowFile(path) for place, path in windows.items()}
        self._joined: dict[tuple[int, int, int], tuple[int, int]] = {}

    def into(self, file: BinaryIO) -> None:
        """Fills a COG that has directories only."""
        arrays = _arrays(file)
        if self._whole < self._levels:
            for i, j in self._places(self._levels - 1):
                self._join(self._levels - 1, i, j)
        at = file.seek(0, 2)
        for level in reversed(range(self._levels)):
            offsets, sizes = [], []
            for i, j in self._places(level):
                data = self._block(level, i, j)
                file.write(struct.pack("<I", len(data)))
                file.write(data)
                file.write(data[-4:])
                offsets.append(at + 4)
                sizes.append(len(data))
                at += len(data) + 8
            _put(file, arrays[level][OFFSETS], offsets)
            _put(file, arrays[level][SIZES], sizes)
            file.seek(at)

    def _places(self, level: int) -> Sequence[tuple[int, int]]:
        down, across = (-(-n // (BLOCK << level)) for n in self._shape)
        return list(product(range(down), range(across)))

    def _block(self, level: int, i: int, j: int) -> bytes:
        if level >= self._whole:
            if (level, i, j) not in self._joined:
                return self._nothing
            start, size = self._joined[level, i, j]
            self._spare.seek(start)
            return self._spare.read(size)
        span = BLOCK << level
        row, col = (n * span // self._side * self._side for n in (i, j))
        window = self._windows.get((row, col))
        if window is None:
            return self._nothing
        height, width = min(self._side, self._shape[0] - row), min(self._side, self._shape[1] - col)
        before = sum(-(-height // (BLOCK << k)) * -(-width // (BLOCK << k)) for k in range(level))
        across = -(-width // span)
        return window.block(before + (i - row // span) * across + j - col // span)

    def _join(self, level: int, i: int, j: int) -> NDArray[Any] | None:
        """Packs a block and those below it, depth first; its pixels, None where no window has data."""
        block = (self._of_windows if level == self._whole else self._of_blocks)(level, i, j)
        if block is not None:
            data = self._packing.packed(block)
            self._joined[level, i, j] = (self._spare.seek(0, 2), len(data))
            self._spare.write(data)
        return block

    def _of_windows(self, level: int, i: int, j: int) -> NDArray[Any] | None:
        span, block = BLOCK << level, None
        rows, cols = (range(n * span, (n + 1) * span, self._side) for n in (i, j))
        for row, col in product(rows, cols):
            window = self._windows.get((row, col))
            if window is not None:
                block = self._empty.copy() if block is None else block
                rest = window.rest()
                r, c = (row >> level) - i * BLOCK, (col >> level) - j * BLOCK
                block[:, r : r + rest.shape[1], c : c + rest.shape[2]] = rest
        return block

    def _of_blocks(self, level: int, i: int, j: int) -> NDArray[Any] | None:
        block, half = None, BLOCK // 2
        for di, dj in product((0, 1), (0, 1)):
            below = self._join(level - 1, 2 * i + di, 2 * j + dj)
            if below is not None:
                block = self._empty.copy() if block is None else block
                block[:, di * half : (di + 1) * half, dj * half : (dj + 1) * half] = self._packing.halved(
                    below
                )
        return block


def _arrays(file: BinaryIO) -> list[dict[int, _Array]]:
    """The block index's arrays of each directory of a TIFF."""
    file.seek(0)
    (magic,) = struct.unpack_from("<2xH", head := file.read(16))
    big, inline = magic == 43, _INLINE[magic]
    count_form, entry_form, place_form = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
    (at,) = struct.unpack_from(place_form, head, 8 if big else 4)
    found = []
    while at:
        file.seek(at)
        (count,) = struct.unpack(count_form, file.read(struct.calcsize(count_form)))
        arrays = {}
        for _ in range(count):
            tag, kind, length = struct.unpack(entry_form, file.read(struct.calcsize(entry_form)))
            place, value = file.tell(), file.read(inline)
            if tag in (OFFSETS, SIZES):
                fits = length * np.dtype(_TYPES[kind]).itemsize <= inline
                arrays[tag] = _Array(place if fits else struct.unpack(place_form, value)[0], _TYPES[kind])
        (at,) = struct.unpack(place_form, file.read(inline))
        found.append(arrays)
    return found


def _put(file: BinaryIO, array: _Array, values: list[int]) -> None:
    if max(values) > np.iinfo(array.dtype).max:
        raise OSError("the file would be larger than a classic TIFF can be; divide the export (`split`)")
    file.seek(array.start)
    file.write(np.array(values, array.dtype).tobytes())
