"""How long ago a version was replaced: by a steady clock, since a wall clock set forward must not end a grace."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from terrazzo.checks import document_bytes, read_document
from terrazzo.clock import SteadyClock
from terrazzo.errors import Damaged
from terrazzo.store import Store, beside

FOLDER = ".clock"
"""In a local store. Machines that write to an object store share no clock but the wall's."""


def note_replaced(store: Store, mosaic_id: str, name: str) -> None:
    """Notes that a version is no longer the current one, from now on."""
    if store.root is None:
        return
    folder = store.root / FOLDER
    # Without the note the wall clock counts; what was published stays published.
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        noted = _noted(folder) | {f"{mosaic_id}/{name}": SteadyClock(folder / "clock.json").now()}
        with beside(folder / "replaced.json") as temporary:
            temporary.write_bytes(document_bytes(noted))


def since_replaced(store: Store, mosaic_id: str, name: str) -> timedelta | None:
    """Time since a version was replaced; None where no note of it can be read."""
    if store.root is None or not (store.root / FOLDER).is_dir():
        return None
    try:
        noted = _noted(store.root / FOLDER).get(f"{mosaic_id}/{name}")
        now = SteadyClock(store.root / FOLDER / "clock.json").now()
    except OSError:
        return None
    # A clock that was lost counts from 0 again.
    return None if noted is None or now < noted else timedelta(seconds=now - noted)


def _noted(folder: Path) -> dict[str, float]:
    try:
        noted: dict[str, float] = read_document((folder / "replaced.json").read_bytes(), "replaced.json")
    except (FileNotFoundError, Damaged):
        return {}
    return noted
