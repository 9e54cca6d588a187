"""Keeps two runs out of one folder of work, and from one name."""

import fcntl
import os
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
            raise StoreError("another process is running this export; wait until it ends") from None
        yield


_held: set[Path] = set()
"""What this process writes: a command that another command runs writes to the same name."""


@contextmanager
def alone_with(output: Path) -> Iterator[None]:
    """Holds a name that is written against other processes, whatever they write there.

    Raises:
        StoreError: one writes there.
    """
    output = output.absolute()
    if output in _held:
        yield
        return
    path = output.with_name(f".{output.name}.lock")
    while True:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"another run writes {output}: wait until it ends, or name another output with -o"
                ) from None
            # Who held it may have removed it meanwhile: then a third run may hold another file of that name, or have ended, too.
            try:
                is_held = os.path.samestat(os.fstat(lock.fileno()), path.stat())
            except FileNotFoundError:
                is_held = False
            if not is_held:
                continue
            _held.add(output)
            try:
                yield
            finally:
                _held.discard(output)
                path.unlink(missing_ok=True)
            return
