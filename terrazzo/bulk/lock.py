"""Keeps two runs out of one folder of work."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from terrazzo.errors import StoreError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes; the system lets go of it however this one ends."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError("this very export is at work in another process; wait for it") from None
        yield
