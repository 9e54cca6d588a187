"""The tile cache on disk: bytes only, bounded, never a reason to fail."""

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW
from isal import isal_zlib

log = logging.getLogger(__name__)
INLINE = 16 << 10
"""Bytes up to which a value lies in the database itself."""
FOLDER = "terrazzo-tiles"
OWN_FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]+\.val")
"""Names of values' files, in folders that the cache makes; nothing outside them."""
CHECK = 4
"""Bytes of the checksum in front of each value: a CRC, which takes a fiftieth of a hash's time and finds all that disks do."""
POLL = 0.01
"""Seconds between looks whether another process has made a value."""
FAULTS = (OSError, sqlite3.Error, diskcache.Timeout, ValueError, TypeError)


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # the library has no types
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
        """A value as the database holds it, larger ones in a file; no part of a file stays on a full disk."""
        if not isinstance(value, bytes):
            raise TypeError(f"values are bytes, not {type(value).__name__}")
        if len(value) <= INLINE:
            return 0, MODE_RAW, None, sqlite3.Binary(value)
        name, full = self.filename(key, value)
        path = Path(full)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(value)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return len(value), MODE_BINARY, name, None

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """A value from the database or from a file inside the cache's folder."""
        if mode == MODE_RAW and isinstance(value, bytes | memoryview):
            return bytes(value)
        if mode == MODE_BINARY and filename and OWN_FILE.fullmatch(filename):
            with open(os.path.join(self._directory, filename), "rb", opener=_without_links) as file:
                return file.read()
        raise ValueError("the cache holds something that is not ours")

    def remove(self, file_path: str) -> None:
        """Removes a value's file, if it lies inside the cache's folder."""
        root = Path(self._directory).resolve()
        if (root / file_path).resolve().is_relative_to(root):
            super().remove(file_path)


@dataclass(eq=False)
class _Flight:
    """A value that is being made, and how many wait for it."""

    future: "asyncio.Future[tuple[bytes, str]]"
    waiting: int = 0
    task: "asyncio.Task[None] | None" = None


class TileCache:
    """A bounded cache with single flight: equal requests at the same time are rendered once, in all processes.

    A flight belongs to no requester: it ends when the last one has left.
    """

    def __init__(self, folder: Path | None, size: int) -> None:
        self._cache = _open(folder, size) if folder else None
        self._claims = Claims(folder / FOLDER / "claims") if folder and self._cache is not None else None
        self._flying: dict[str, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: str, make: Callable[[], Awaitable[tuple[bytes, bool]]]) -> tuple[bytes, str]:
        """A value, made if need be, and where it came from: `hit`, `miss` or `shared`.

        Args:
            make: returns the value and whether it may be kept.
        """
        flight = self._flying.get(key)
        is_first = flight is None
        if flight is None:
            flight = self._flying[key] = self._started(key, make)
        flight.waiting += 1
        try:
            value, source = await asyncio.shield(flight.future)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.future.done() and flight.task:
                self._forget(key, flight)
                flight.task.cancel()
        return value, source if is_first or source == "hit" else "shared"

    def _started(self, key: str, make: Callable[[], Awaitable[tuple[bytes, bool]]]) -> _Flight:
        flight = _Flight(asyncio.get_running_loop().create_future())
        # An error that no requester waits for any more needs no report.
        flight.future.add_done_callback(lambda f: f.cancelled() or f.exception())
        flight.task = asyncio.create_task(self._fly(key, flight, make))
        self._tasks.add(flight.task)
        flight.task.add_done_callback(self._tasks.discard)
        return flight

    def _forget(self, key: str, flight: _Flight) -> None:
        if self._flying.get(key) is flight:
            del self._flying[key]

    async def _fly(
        self, key: str, flight: _Flight, make: Callable[[], Awaitable[tuple[bytes, bool]]]
    ) -> None:
        future = flight.future
        try:
            kept = await asyncio.to_thread(self.kept, key) if self._cache is not None else None
            if kept is not None:
                future.set_result((kept, "hit"))
                return
            async with self._claimed(key) as was_made:
                kept = await asyncio.to_thread(self.kept, key) if was_made else None
                if kept is not None:
                    future.set_result((kept, "shared"))
                    return
                value, keep = await make()
                future.set_result((value, "miss"))
                if keep and self._cache is not None:
                    await asyncio.to_thread(self.keep, key, value)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as error:
            if future.done():
                raise
            future.set_exception(error)
        finally:
            self._forget(key, flight)

    @asynccontextmanager
    async def _claimed(self, key: str) -> AsyncIterator[bool]:
        """Holds the right to compute a value; yields whether another process held it until now."""
        claims, waited = self._claims, False
        if claims is None:
            yield False
            return
        while not claims.take(key):
            waited = True
            await asyncio.sleep(POLL)
        try:
            yield waited
        finally:
            claims.drop(key)

    async def close(self) -> None:
        """Lets flights end, then closes the database."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        for task in self._tasks:
            task.cancel()
        if self._cache is not None:
            self._cache.close()
        if self._claims is not None:
            self._claims.close()

    def kept(self, key: str) -> bytes | None:
        """A value, or None where there is none."""
        cache = self._cache
        if cache is None:
            return None
        try:
            value = cache.get(key)
            if value is None:
                return None
            if isinstance(value, bytes) and value[:CHECK] == _check(memoryview(value)[CHECK:]):
                return value[CHECK:]
            log.warning("tile cache: a damaged entry is dropped")
            cache.delete(key)
        except FAULTS as error:
            self._failed("read", error)
        return None

    @property
    def works(self) -> bool:
        """Whether anything can be kept."""
        return self._cache is not None

    def keep(self, key: str, value: bytes) -> None:
        """Keeps a value, if it can."""
        cache = self._cache
        if cache is None:
            return
        try:
            cache.set(key, _check(value) + value)
        except FAULTS as error:
            self._failed("written", error)

    def _failed(self, what: str, error: Exception) -> None:
        """Serves on without the cache; for good when its database is damaged."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            log.error("tile cache: %s; serving without until the next start", error)
            self._cache = None
        else:
            log.warning("tile cache cannot be %s, rendering instead: %s", what, error)


class Claims:
    """Who of several processes makes which value: each key has a byte of a file, locked while its value is made.

    The locks belong to the process, so one that dies holds none.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, key: str) -> bool:
        """Whether the value is ours to make; so it is where locks do not work."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(key))
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def drop(self, key: str) -> None:
        """Lets others make it."""
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(key))

    def close(self) -> None:
        """Drops all."""
        os.close(self._file)


def _place(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "little") >> 1


def _check(value: bytes | memoryview) -> bytes:
    return isal_zlib.crc32(value).to_bytes(CHECK, "little")


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _open(folder: Path, size: int) -> diskcache.Cache | None:
    """The cache in a folder of its own inside `folder`; a damaged one is replaced, an unusable one left out."""
    own = folder / FOLDER
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = own.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise OSError(f"{own} is not a folder of ours")
        own.chmod(0o700)
        try:
            return _cache(own, size)
        except sqlite3.DatabaseError as error:
            log.warning("tile cache in %s is damaged (%s): starting an empty one", own, error)
            shutil.rmtree(own)
            own.mkdir(mode=0o700)
            return _cache(own, size)
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        log.warning("no tile cache in %s (%s): serving without", folder, error)
        return None


def _cache(folder: Path, size: int) -> diskcache.Cache:
    return diskcache.Cache(
        str(folder), disk=BytesDisk, size_limit=size, eviction_policy="least-recently-stored", timeout=2
    )
