"""One writer at a time: a command that solves, publishes or prunes holds the store; others name the holder, and end."""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terrazzo.errors import NotFound, StoreError
from terrazzo.store import LOCK, Mark, Store

KEY = "writer.json"
"""The lease in an object store."""
LASTS = 120.0
"""Seconds after which a lease in an object store that its writer has not renewed is over."""


class Lease:
    """The right to write, while it lasts."""

    def __init__(self) -> None:
        self._lost = threading.Event()

    def check(self) -> None:
        """Call before what others would see.

        Raises:
            StoreError: another writer has taken over, since this one was away for too long.
        """
        if self._lost.is_set():
            raise StoreError(
                f"the store was taken over by another writer, since this one did not answer for {LASTS:.0f} s;"
                " run the command again: what is done is kept"
            )


@contextmanager
def writer(store: Store, work: str) -> Iterator[Lease]:
    """Holds a store against other writers.

    Args:
        work: what is done, for those who have to wait.

    Raises:
        StoreError: another writer holds it; the message names it.
    """
    with (_folder if store.root is not None else _objects)(store, work) as lease:
        yield lease


@contextmanager
def _folder(store: Store, work: str) -> Iterator[Lease]:
    assert store.root is not None
    # The system frees the lock of a file when the process ends, however it went.
    handle = os.open(store.root / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(store, _who(Path(store.root / LOCK).read_bytes())) from None
        os.truncate(handle, 0)
        os.write(handle, json.dumps(_me(work)).encode())
        yield Lease()
    finally:
        os.close(handle)


@contextmanager
def _objects(store: Store, work: str) -> Iterator[Lease]:
    me = _me(work)
    if not store.create(KEY, _note(me)):
        try:
            data, mark = store.read_marked(KEY)
        except NotFound:
            data, mark = b"{}", {}
        if not _over(_who(data)) or not store.replace(KEY, _note(me), mark):
            raise _taken(store, _who(data))
    lease, ended = Lease(), threading.Event()
    renewing = threading.Thread(target=_renew, args=(store, me, lease, ended), daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        ended.set()
        renewing.join()
        if _mine(store, me) is not None:
            store.delete(KEY)


def _renew(store: Store, me: dict[str, Any], lease: Lease, ended: threading.Event) -> None:
    last = time.monotonic()
    while not ended.wait(LASTS / 6):
        try:
            mark = _mine(store, me)
            if mark is None or not store.replace(KEY, _note(me), mark):
                lease._lost.set()
                return
            last = time.monotonic()
        except Exception:
            # A store that is away for a moment loses nobody the lease; one that stays away does.
            if time.monotonic() - last > LASTS / 2:
                lease._lost.set()
                return


def _mine(store: Store, me: dict[str, Any]) -> Mark | None:
    try:
        data, mark = store.read_marked(KEY)
    except NotFound:
        return None
    return mark if _who(data).get("id") == me["id"] else None


def _me(work: str) -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid(), "work": work}


def _note(me: dict[str, Any]) -> bytes:
    return json.dumps(me | {"until": time.time() + LASTS}).encode()


def _who(data: bytes) -> dict[str, Any]:
    try:
        holder: dict[str, Any] = json.loads(data)
    except json.JSONDecodeError:
        return {}
    return holder


def _over(who: dict[str, Any]) -> bool:
    """Whether a lease has run out, or was held by a process of this machine that is gone."""
    if time.time() > who.get("until", 0.0):
        return True
    return who.get("host") == socket.gethostname() and not _alive(int(who.get("pid", 0)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _taken(store: Store, who: dict[str, Any]) -> StoreError:
    by = f"{who.get('work', 'another writer')} on {who.get('host', 'some machine')}, process {who.get('pid', '?')}"
    left = who.get("until", 0.0) - time.time()
    wait = f"; if that process is gone, this ends by itself in {left:.0f} s" if left > 0 else ""
    return StoreError(
        f"{store.url} is being written by {by}: nothing was done. Run the command again when it has ended{wait}"
    )
