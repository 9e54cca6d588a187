"""Joins finished windows to the blocks of a Cloud-Optimized GeoTIFF, which `terrazzo.tiff` puts behind its directories."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from terrazzo.export.packing import BLOCK, Packing, WindowFile, whole_levels
from terrazzo.tiff import OFFSETS, SIZES, append_block, index_arrays, write_index


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
        arrays = index_arrays(file)
        if self._whole < self._levels:
            for i, j in self._places(self._levels - 1):
                self._join(self._levels - 1, i, j)
        at = file.seek(0, 2)
        for level in reversed(range(self._levels)):
            offsets, sizes = [], []
            for i, j in self._places(level):
                data = self._block(level, i, j)
                append_block(file, data)
                offsets.append(at + 4)
                sizes.append(len(data))
                at += len(data) + 8
            write_index(file, arrays[level][OFFSETS], offsets)
            write_index(file, arrays[level][SIZES], sizes)
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
