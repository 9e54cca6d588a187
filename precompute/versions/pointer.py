"""The pointer to a mosaic's current version, with the versions published before it and those that are kept for good."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from terrazzo.precompute.versions.collection import collection
from terrazzo.precompute.versions.grace import note_replaced
from terrazzo.store import Store
from terrazzo.version import (
    COLLECTION,
    HISTORY,
    KEPT_BACK,
    PINS,
    POINTER,
    Version,
    list_versions,
    open_version,
    read_collection,
)


def point_to(store: Store, version: Version) -> None:
    """Makes a version the current one; one that was not published before enters the history."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = read_collection(store, version.mosaic_id)
    noted = [
        h | {"replaced": now} if h["version"] == before.get(POINTER) != version.name else h
        for h in before.get(HISTORY, ())
    ]
    if version.name not in [h["version"] for h in noted]:
        noted.append({"version": version.name, "published": now})
    _write(store, version, noted, before.get(PINS, []), _without(before, version.name))
    if (left := before.get(POINTER)) and left != version.name:
        note_replaced(store, version.mosaic_id, left)


def set_pin(store: Store, mosaic_id: str, name: str, pinned: bool) -> None:
    """Keeps a version from being removed, or lets it go."""
    before = read_collection(store, mosaic_id)
    pins = [p for p in before.get(PINS, ()) if p != name] + ([name] if pinned else [])
    _write(store, open_version(store, mosaic_id), before.get(HISTORY, []), sorted(pins), _without(before, ""))


def keep_back(store: Store, version: Version, why: Sequence[str]) -> None:
    """Notes that a version was not published, and why; publishing it ends that."""
    before = read_collection(store, version.mosaic_id)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    noted = [*_without(before, version.name), {"version": version.name, "since": now, "why": [*why]}]
    _write(
        store, open_version(store, version.mosaic_id), before.get(HISTORY, []), before.get(PINS, []), noted
    )


def _without(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The versions that were kept back, but one."""
    return [k for k in document.get(KEPT_BACK, ()) if k["version"] != name]


def forget(store: Store, mosaic_id: str, name: str) -> None:
    """Takes a version that is going to be removed out of the list."""
    before = read_collection(store, mosaic_id)
    noted = [h for h in before.get(HISTORY, ()) if h["version"] != name]
    kept = _without(before, name)
    _write(store, open_version(store, mosaic_id), noted, before.get(PINS, []), kept, without=name)


def _write(
    store: Store,
    version: Version,
    noted: list[dict[str, Any]],
    pins: list[str],
    kept_back: list[dict[str, Any]],
    *,
    without: str = "",
) -> None:
    known = [v for v in list_versions(store, version.mosaic_id) if v != without]
    document = collection(version, known) | {HISTORY: noted, PINS: pins}
    if kept_back:
        document[KEPT_BACK] = kept_back
    store.write_json(f"mosaics/{version.mosaic_id}/{COLLECTION}", document)
