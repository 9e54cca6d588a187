"""Reads boxes of scenes' rasters at any level: kept indexes, kept decoded blocks, both bounded."""

import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from terrazzo.errors import NotFound, ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.mosaic import gather_kernels
from terrazzo.mosaic.index import ZSTD, Cog, Level, short
from terrazzo.stop import require_wanted
from terrazzo.store import Store

T = TypeVar("T")

KEPT_FILES = 512
KEPT_BYTES = 256 << 20
"""Decoded blocks kept in memory."""
AT_ONCE = 64
"""Files of an object store that are read at the same time."""
FORGET = 30.0
"""Seconds after which a file that could not be read is tried again."""
FRAME_FLAGS, HAS_CHECKSUM = 4, 4
"""Byte of a ZSTD frame's descriptor, and its bit that says that a checksum of the content ends the frame (RFC 8878)."""


class Blocks:
    """Pixels of rasters, least recently used forgotten first; safe to share between threads.

    Blocks are decoded without the interpreter's lock. Those of a box are fetched from an object store all at once.

    Args:
        on_read: called at every read with `local` or `remote`, and compressed bytes.
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
        self._fetchers = ThreadPoolExecutor(AT_ONCE, "fetch")

    def fetch(self, reads: Iterable[Callable[[], T]]) -> list[T | None]:
        """Runs reads at the same time, so that what comes next finds their blocks here; None for what fails."""

        def tried(read: Callable[[], T]) -> T | None:
            try:
                return read()
            except (ReadFailure, NotFound):
                # The reader meets the error again, and reports it.
                return None

        running = [self._fetchers.submit(copy_context().run, tried, read) for read in reads]
        return [r.result() for r in running]

    def read(
        self,
        store: Store,
        key: str,
        level: int,
        covers: PixelBox,
        box: PixelBox,
        fill: float,
        out: NDArray[Any] | None = None,
    ) -> NDArray[np.generic]:
        """Pixels of a box from overview `level` (0: full resolution) of a raster.

        Args:
            covers, box: of the whole raster and of the pixels wanted, on the grid of that level.
            fill: value of pixels beyond the raster.
            out: (row, col) array of the box that is filled and returned; without, a new one in the raster's type.

        Raises:
            ReadFailure: the file is missing or damaged; for a while it is not tried again.
            Abandoned: the client left.
        """
        require_wanted()
        if box.intersection(covers).empty:
            out = np.empty(box.shape) if out is None else out
            out[:] = fill
            return out
        path = store.raster_path(key)
        failed = self._broken.get(path)
        if failed and time.monotonic() - failed[0] < FORGET:
            raise ReadFailure(failed[1])
        try:
            return self._read(self._file(path, store, key), path, level, covers, box, fill, out)
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
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    def _read(
        self,
        cog: Cog,
        path: str,
        number: int,
        covers: PixelBox,
        box: PixelBox,
        fill: float,
        out: NDArray[Any] | None,
    ) -> NDArray[np.generic]:
        if number >= len(cog.levels) or cog.levels[number].shape != covers.shape:
            raise ReadFailure(f"{short(path)}: its level {number} has another size than its scene")
        level, side = cog.levels[number], cog.levels[number].block
        common = box.intersection(covers)
        out = np.empty(box.shape, level.dtype) if out is None else out
        if common != box:
            out[:] = fill
        # In pixels of the raster from here on; `at` is where the box begins in it.
        at = (box.row0 - covers.row0, box.col0 - covers.col0)
        rows = (common.row0 - covers.row0, common.row1 - covers.row0)
        cols = (common.col0 - covers.col0, common.col1 - covers.col0)
        across = range(cols[0] // side, -(-cols[1] // side))
        down = range(rows[0] // side, -(-rows[1] // side))
        blocks = self._found(path, cog, number, level, [i * level.across + j for i in down for j in across])
        for i in down:
            r0, r1 = max(rows[0], i * side), min(rows[1], (i + 1) * side)
            for j in across:
                c0, c1 = max(cols[0], j * side), min(cols[1], (j + 1) * side)
                block = blocks[i * level.across + j]
                out[r0 - at[0] : r1 - at[0], c0 - at[1] : c1 - at[1]] = block[
                    r0 - i * side : r1 - i * side, c0 - j * side : c1 - j * side
                ]
        return out

    def _file(self, path: str, store: Store, key: str) -> Cog:
        with self._lock:
            cog = self._files.get(path)
            if cog is not None:
                self._files.move_to_end(path)
                return cog
        cog = Cog(store, key)
        with self._lock:
            self._files[path] = cog
            while len(self._files) > self._kept_files:
                self._files.popitem(last=False)
        return cog

    def _found(
        self, path: str, cog: Cog, number: int, level: Level, indices: Sequence[int]
    ) -> dict[int, NDArray[np.generic]]:
        """Blocks by index, those that are not kept read together."""
        blocks = {}
        with self._lock:
            for index in indices:
                block = self._blocks.get((path, number, index))
                if block is not None:
                    self._blocks.move_to_end((path, number, index))
                    blocks[index] = block
        # Two threads may decode the same block at the same time; neither waits for the other.
        missing = [i for i in indices if i not in blocks]
        if missing:
            new = self._decoded(path, cog, level, missing)
            with self._lock:
                for index, block in new.items():
                    if (path, number, index) not in self._blocks:
                        self._blocks[path, number, index] = block
                        self._bytes += block.nbytes
                while self._bytes > self._kept_bytes:
                    self._bytes -= self._blocks.popitem(last=False)[1].nbytes
            blocks |= new
        return blocks

    def _decoded(
        self, path: str, cog: Cog, level: Level, indices: Sequence[int]
    ) -> dict[int, NDArray[np.generic]]:
        try:
            parts = cog.compressed(level, indices)
        except (OSError, NotFound) as error:
            raise ReadFailure(f"{short(path)}: {error}") from None
        self._on_read("remote" if cog.is_remote else "local", sum(map(len, parts)))
        return {i: self._values(path, level, i, data) for i, data in zip(indices, parts, strict=True)}

    def _values(self, path: str, level: Level, index: int, data: bytes) -> NDArray[np.generic]:
        """(row, col) values of a block."""
        size = level.block**2 * level.dtype.itemsize
        try:
            if level.compression == ZSTD:
                if level.checked and not data[FRAME_FLAGS] & HAS_CHECKSUM:
                    raise ReadFailure(f"{short(path)}: block {index} has lost its checksum")
                data = self._zstd().decompress(data, max_output_size=size)
            else:
                data = zlib.decompress(data, bufsize=size)
        except (zstandard.ZstdError, zlib.error, IndexError) as error:
            raise ReadFailure(f"{short(path)}: block {index}: {error}") from None
        if len(data) != size:
            raise ReadFailure(f"{short(path)}: block {index} is cut off")
        values: NDArray[np.generic] = np.frombuffer(data, level.dtype).reshape(level.block, level.block)
        if level.differenced:
            whole = np.empty_like(values)
            gather_kernels.undo_difference(values, whole)
            return whole
        return values

    def _zstd(self) -> zstandard.ZstdDecompressor:
        # A decompressor belongs to one thread.
        if not hasattr(self._own, "zstd"):
            self._own.zstd = zstandard.ZstdDecompressor()
        decompressor: zstandard.ZstdDecompressor = self._own.zstd
        return decompressor
