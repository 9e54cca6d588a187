"""Joins finished windows to the blocks of a Cloud-Optimized GeoTIFF, which `terrazzo.tiff` puts behind its directories."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from terrazzo.export.packing import BLOCK, Packing, Stretch, WindowFile, whole_levels
from terrazzo.tiff import OFFSETS, SIZES, append_block, index_arrays, write_index

Tiles = dict[tuple[int, int], Callable[[], NDArray[Any]]]
"""Pixels of the tiles of a level that hold data, by row and column."""


class Joining:
    """The blocks of a file of which the windows are there.

    Args:
        shape: (rows, columns) of the file at full resolution.
        windows: files of `write_window` by the row and column of the window's first pixel; others hold no data.
        side: of whole windows.
        spare: a file for the blocks that reach beyond a window, packed and not.
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
            self._join()
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

    def _join(self) -> None:
        """Packs the blocks of the levels that reach beyond windows, each level from the one before."""
        level, side = self._whole, self._side >> self._whole
        tiles: Tiles = {
            (row // self._side, col // self._side): window.rest
            for (row, col), window in self._windows.items()
        }
        while True:
            rows, cols = (-(-n >> level) for n in self._shape)
            for i, j in self._places(level):
                ends = min((i + 1) * BLOCK, rows), min((j + 1) * BLOCK, cols)
                pixels = self._pixels(tiles, side, (i * BLOCK, ends[0]), (j * BLOCK, ends[1]))
                if pixels is not None:
                    data = self._packing.packed(next(self._packing.cut(pixels)))
                    self._joined[level, i, j] = (self._kept(data), len(data))
            if level + 1 == self._levels:
                return
            tiles, side, level = self._above(tiles, side, level), BLOCK, level + 1

    def _above(self, tiles: Tiles, side: int, level: int) -> Tiles:
        """The blocks of the next level that hold data, as pixels in the spare file."""
        blocks: Tiles = {}
        for i, j in self._places(level + 1):
            stretches = []
            for n, size in zip((i, j), self._shape, strict=True):
                part = Stretch(-(-size >> level), n * BLOCK, 0, 0)
                part = part._replace(stop=min((n + 1) * BLOCK, part.length))
                stretches.append(part._replace(first=part.needed()[0]))
            pixels = self._pixels(tiles, side, *(s.needed() for s in stretches))
            if pixels is not None:
                block = np.ascontiguousarray(self._packing.reduced(pixels, *stretches))
                blocks[i, j] = partial(self._again, self._kept(block.tobytes()), block.shape)
        return blocks

    def _pixels(
        self, tiles: Tiles, side: int, rows: tuple[int, int], cols: tuple[int, int]
    ) -> NDArray[Any] | None:
        """(band, row, col) of a part of a level, put together from its tiles; None where none has data."""
        pixels = None
        for i, j in product(*(range(a // side, -(-b // side)) for a, b in (rows, cols))):
            if (i, j) in tiles:
                if pixels is None:
                    shape = (len(self._empty), rows[1] - rows[0], cols[1] - cols[0])
                    pixels = np.full(shape, self._packing.nodata, self._empty.dtype)
                tile = tiles[i, j]()
                inner, outer = [], []
                for start, (a, b), n in zip((i * side, j * side), (rows, cols), tile.shape[1:], strict=True):
                    low, high = max(a, start), min(b, start + n)
                    inner.append(slice(low - start, high - start))
                    outer.append(slice(low - a, high - a))
                pixels[:, *outer] = tile[:, *inner]
        return pixels

    def _kept(self, data: bytes) -> int:
        """Writes to the spare file; where."""
        start = self._spare.seek(0, 2)
        self._spare.write(data)
        return start

    def _again(self, start: int, shape: tuple[int, int, int]) -> NDArray[Any]:
        """Pixels of the spare file."""
        self._spare.seek(start)
        data = self._spare.read(math.prod(shape) * self._empty.itemsize)
        return np.frombuffer(data, self._empty.dtype).reshape(shape)
