"""Reads boxes of scenes' rasters at any level: kept indexes, kept decoded blocks, both bounded."""

import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import zstandard
from numpy.typing import NDArray

from terrazzo.errors import ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.mosaic import kernels
from terrazzo.mosaic.handles import Handles
from terrazzo.mosaic.index import ZSTD, Cog, Level

KEPT_FILES = 512
KEPT_BYTES = 256 << 20
"""Decoded blocks kept in memory."""
FORGET = 30.0
"""Seconds after which a file that could not be read is tried again."""


class Blocks:
    """Pixels of rasters by path and level, least recently used forgotten first; safe to share between threads.

    Local files are read here, block by block, decoded without the interpreter's lock; others through GDAL.

    Args:
        on_read: is told of every read: `local` with the block's compressed bytes, `remote` with the decoded ones.
    """

    def __init__(
        self,
        kept_bytes: int = KEPT_BYTES,
        kept_files: int = KEPT_FILES,
        on_read: Callable[[str, int], None] = lambda where, size: None,
    ) -> None:
        self._on_read = on_read
        self._kept_bytes, self._kept_files = kept_bytes, kept_files
        self._files: OrderedDict[str, Cog] = OrderedDict()
        self._blocks: OrderedDict[tuple[str, int, int], NDArray[np.generic]] = OrderedDict()
        self._bytes = 0
        self._broken: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._own = threading.local()
        self._remote = Handles()

    def read(
        self, path: str, level: int, covers: PixelBox, box: PixelBox, fill: float
    ) -> NDArray[np.generic]:
        """Pixels of a box from overview `level` (0: full resolution) of a raster.

        Args:
            path: what rasterio opens.
            covers, box: of the whole raster and of the pixels wanted, on the grid of that level.
            fill: value of pixels beyond the raster.

        Raises:
            ReadFailure: the file is missing or damaged; for a while it is not tried again.
        """
        if path.startswith("/vsi"):
            values = self._remote.read(path, level, covers, box, fill)
            self._on_read("remote", values.nbytes)
            return values
        common = box.intersection(covers)
        if common.empty:
            return np.full(box.shape, fill)
        failed = self._broken.get(path)
        if failed and time.monotonic() - failed[0] < FORGET:
            raise ReadFailure(failed[1])
        try:
            return self._read(path, level, covers, box, common, fill)
        except ReadFailure as error:
            self._broken[path] = (time.monotonic(), str(error))
            raise

    def empty(self) -> None:
        """Forgets decoded blocks; indexes stay."""
        with self._lock:
            self._blocks.clear()
            self._bytes = 0

    def close(self) -> None:
        """Forgets everything and closes all files."""
        self.empty()
        with self._lock:
            self._files.clear()
        self._remote.close()

    def _read(
        self, path: str, number: int, covers: PixelBox, box: PixelBox, common: PixelBox, fill: float
    ) -> NDArray[np.generic]:
        cog = self._file(path)
        if number >= len(cog.levels) or cog.levels[number].shape != covers.shape:
            raise ReadFailure(f"{_short(path)}: its level {number} has another size than its scene")
        level, side = cog.levels[number], cog.levels[number].block
        out = np.empty(box.shape, level.dtype) if common == box else np.full(box.shape, fill, level.dtype)
        # In pixels of the raster from here on; `at` is where the box begins in it.
        at = (box.row0 - covers.row0, box.col0 - covers.col0)
        rows = (common.row0 - covers.row0, common.row1 - covers.row0)
        cols = (common.col0 - covers.col0, common.col1 - covers.col0)
        for i in range(rows[0] // side, -(-rows[1] // side)):
            r0, r1 = max(rows[0], i * side), min(rows[1], (i + 1) * side)
            for j in range(cols[0] // side, -(-cols[1] // side)):
                c0, c1 = max(cols[0], j * side), min(cols[1], (j + 1) * side)
                block = self._block(path, cog, number, level, i * level.across + j)
                out[r0 - at[0] : r1 - at[0], c0 - at[1] : c1 - at[1]] = block[
                    r0 - i * side : r1 - i * side, c0 - j * side : c1 - j * side
                ]
        return out

    def _file(self, path: str) -> Cog:
        with self._lock:
            cog = self._files.get(path)
            if cog is not None:
                self._files.move_to_end(path)
                return cog
        cog = Cog(path)
        with self._lock:
            self._files[path] = cog
            while len(self._files) > self._kept_files:
                self._files.popitem(last=False)
        return cog

    def _block(self, path: str, cog: Cog, number: int, level: Level, index: int) -> NDArray[np.generic]:
        key = (path, number, index)
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
                return block
        # Two threads may decode the same block at the same time; neither waits for the other.
        block = self._decoded(path, cog, level, index)
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += block.nbytes
            while self._bytes > self._kept_bytes:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return block

    def _decoded(self, path: str, cog: Cog, level: Level, index: int) -> NDArray[np.generic]:
        """(row, col) values of a block."""
        size = level.block**2 * level.dtype.itemsize
        try:
            data = cog.compressed(level, index)
            self._on_read("local", len(data))
            if level.compression == ZSTD:
                data = self._zstd().decompress(data, max_output_size=size)
            else:
                data = zlib.decompress(data, bufsize=size)
        except (OSError, zstandard.ZstdError, zlib.error) as error:
            raise ReadFailure(f"{_short(path)}: block {index}: {error}") from None
        if len(data) != size:
            raise ReadFailure(f"{_short(path)}: block {index} is cut off")
        values: NDArray[np.generic] = np.frombuffer(data, level.dtype).reshape(level.block, level.block)
        if level.differenced:
            whole = np.empty_like(values)
            kernels.undo_difference(values, whole)
            return whole
        return values

    def _zstd(self) -> zstandard.ZstdDecompressor:
        # A decompressor belongs to one thread.
        if not hasattr(self._own, "zstd"):
            self._own.zstd = zstandard.ZstdDecompressor()
        found: zstandard.ZstdDecompressor = self._own.zstd
        return found


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 3)[-3:])
