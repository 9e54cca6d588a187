"""The tile cache on disk: bytes only, bounded, never a reason to fail."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

log = logging.getLogger(__name__)
INLINE = 16 << 10
"""Bytes up to which a value lies in the database itself."""


class BytesDisk(diskcache.Disk):
    """Stores text keys and bytes values as they are; diskcache's own Disk unpickles what it reads."""

    def put(self, key: str) -> tuple[str, bool]:
        """A key as the database holds it."""
        if not isinstance(key, str):
            raise TypeError(f"keys are text, not {type(key).__name__}")
        return key, True

    def get(self, key: str, raw: bool) -> str:
        """A key from the database."""
        return str(key)

    def store(
        self, value: bytes, read: bool, key: object = diskcache.UNKNOWN
    ) -> tuple[int, int, str | None, object]:
        """A value as the database holds it, larger ones in a file."""
        if not isinstance(value, bytes):
            raise TypeError(f"values are bytes, not {type(value).__name__}")
        if len(value) <= INLINE:
            return 0, MODE_RAW, None, sqlite3.Binary(value)
        name, path = self.filename(key, value)
        with Path(path).open("xb") as file:
            file.write(value)
        return len(value), MODE_BINARY, name, None

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """A value from the database or from a file inside the cache's folder."""
        if mode == MODE_RAW and isinstance(value, bytes | memoryview):
            return bytes(value)
        if mode == MODE_BINARY and filename:
            root = Path(self._directory).resolve()
            path = (root / filename).resolve()
            if path.is_relative_to(root):
                return path.read_bytes()
        raise ValueError("the cache holds something that is not ours")


class TileCache:
    """A bounded cache with single flight: equal requests at the same time are rendered once."""

    def __init__(self, folder: Path | None, size: int) -> None:
        self._cache = _open(folder, size) if folder else None
        self._flying: dict[str, asyncio.Future[bytes]] = {}

    async def get(self, key: str, make: Callable[[], Awaitable[tuple[bytes, bool]]]) -> tuple[bytes, str]:
        """A value, made if need be, and where it came from: `hit`, `miss` or `shared`.

        Args:
            make: returns the value and whether it may be kept.
        """
        flying = self._flying.get(key)
        if flying is not None:
            return await asyncio.shield(flying), "shared"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._flying[key] = future
        try:
            found = await asyncio.to_thread(self._read, key)
            if found is not None:
                future.set_result(found)
                return found, "hit"
            value, keep = await make()
            future.set_result(value)
            if keep:
                await asyncio.to_thread(self._write, key, value)
            return value, "miss"
        except BaseException as error:
            if not future.done():
                future.set_exception(error)
                # Nobody may be waiting; an error that was raised here needs no second report.
                future.exception()
            raise
        finally:
            del self._flying[key]

    def close(self) -> None:
        """Closes the database."""
        if self._cache is not None:
            self._cache.close()

    def _read(self, key: str) -> bytes | None:
        if self._cache is None:
            return None
        try:
            value = self._cache.get(key)
        except (OSError, sqlite3.Error, diskcache.Timeout, ValueError, TypeError) as error:
            log.warning("tile cache cannot be read, rendering instead: %s", error)
            return None
        return value if isinstance(value, bytes) else None

    def _write(self, key: str, value: bytes) -> None:
        if self._cache is None:
            return
        try:
            self._cache.set(key, value)
        except (OSError, sqlite3.Error, diskcache.Timeout, ValueError) as error:
            log.warning("tile cache cannot be written, serving without: %s", error)


def _open(folder: Path, size: int) -> diskcache.Cache | None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
        return diskcache.Cache(
            str(folder),
            disk=BytesDisk,
            size_limit=size,
            eviction_policy="least-recently-stored",
            timeout=2,
        )
    except (OSError, sqlite3.Error) as error:
        log.warning("no tile cache in %s (%s): serving without", folder, error)
        return None
