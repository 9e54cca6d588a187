"""How long ago a version was replaced: by a steady clock, since a wall clock set forward must not end a grace.

In a local store that is a file's (`terrazzo.clock`); an object store's is its own, by which it says when an object was written.
"""

from contextlib import suppress
from datetime import timedelta

from obstore.exceptions import BaseError

from terrazzo.checks import document_bytes, read_document
from terrazzo.clock import SteadyClock
from terrazzo.errors import Damaged, NotFound, StoreError
from terrazzo.store import Store, beside

FOLDER = ".clock"
NOW = f"{FOLDER}/now"
"""An object that is written to learn what time it is in an object store."""


def note_replaced(store: Store, mosaic_id: str, name: str) -> None:
    """Notes that a version is no longer the current one, from now on."""
    # Without the note the wall clock counts; what was published stays published.
    with suppress(OSError, BaseError):
        if store.root is None:
            store.write_bytes(_key(mosaic_id, name), b"")
            return
        folder = store.root / FOLDER
        folder.mkdir(exist_ok=True)
        noted = _noted(store) | {f"{mosaic_id}/{name}": SteadyClock(folder / "clock.json").now()}
        with beside(folder / "replaced.json") as temporary:
            temporary.write_bytes(document_bytes(noted))


def since_replaced(store: Store, mosaic_id: str, name: str) -> timedelta | None:
    """Time since a version was replaced; None where no note of it can be read."""
    try:
        if store.root is None:
            then = store.modified(_key(mosaic_id, name))
            store.write_bytes(NOW, b"")
            return store.modified(NOW) - then
        noted = _noted(store).get(f"{mosaic_id}/{name}")
        if noted is None:
            return None
        now = SteadyClock(store.root / FOLDER / "clock.json").now()
    except (OSError, BaseError, StoreError, NotFound):
        return None
    # A clock that was lost counts from 0 again.
    return None if now < noted else timedelta(seconds=now - noted)


def drop_note(store: Store, mosaic_id: str, name: str) -> None:
    """Removes the note of a version that is gone from an object store; a local one's notes are one file."""
    if store.root is None:
        store.delete(_key(mosaic_id, name))


def _key(mosaic_id: str, name: str) -> str:
    return f"{FOLDER}/replaced/{mosaic_id}/{name}"


def _noted(store: Store) -> dict[str, float]:
    assert store.root is not None
    try:
        noted: dict[str, float] = read_document(
            (store.root / FOLDER / "replaced.json").read_bytes(), "replaced.json"
        )
    except (FileNotFoundError, Damaged):
        return {}
    return noted
