"""Removes old versions, and what only they refer to.

A run that is killed leaves nothing dangling: before a version goes, a note of its scenes is written, which the next run
finds; the file that makes a folder count as complete goes before the others in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from terrazzo.places import PLACES
from terrazzo.precompute.normalize.weigh import difference_key
from terrazzo.precompute.versions.grace import drop_note, since_replaced
from terrazzo.precompute.versions.pointer import forget
from terrazzo.scene import ITEM
from terrazzo.store import Store
from terrazzo.version import (
    HISTORY,
    PINS,
    Version,
    current_version,
    history,
    list_mosaics,
    list_versions,
    open_version,
    read_collection,
)


@dataclass(frozen=True)
class Pruning:
    """What a pruning removes.

    Attributes:
        versions: names, the oldest first.
        kept: why versions that the number alone would remove stay, by name.
        scenes: folders of scenes that no version refers to any more.
        solved: references, weights and differences, by key, of which the same is true.
        bytes: size of all of it.
    """

    versions: tuple[str, ...]
    kept: dict[str, str]
    scenes: tuple[str, ...]
    solved: tuple[str, ...]
    bytes: int


def plan(
    store: Store, mosaic_id: str, keep: int, *, grace: timedelta, now: datetime | None = None
) -> Pruning:
    """What goes when `keep` versions stay besides the current one's, the pinned and those current within `grace`.

    Raises:
        NotFound: there is no such mosaic.
    """
    known, kept = history(store, mosaic_id), {}
    document = read_collection(store, mosaic_id)
    replaced = {h["version"]: h.get("replaced") for h in document.get(HISTORY, ())}
    since = (now or datetime.now(UTC)) - grace
    going = []
    for name in known[: max(0, len(known) - keep)]:
        if name == current_version(store, mosaic_id):
            kept[name] = "current"
        elif name in document.get(PINS, ()):
            kept[name] = "pinned"
        elif (left := replaced.get(name)) and (
            datetime.fromisoformat(left) > since or (now is None and _is_young(store, mosaic_id, name, grace))
        ):
            kept[name] = f"current until {left}: a running export or server may still read it"
        else:
            going.append(name)
    staying = {mosaic_id: [v for v in known if v not in going]}
    scenes = {s for v in going for s in _scenes(open_version(store, mosaic_id, v))}
    scenes |= {s for note in _notes(store, mosaic_id) for s in store.read_json(note)["scenes"]}
    scenes -= _referenced_scenes(store, staying)
    solved = tuple(_unreferenced(store, mosaic_id, staying[mosaic_id]))
    folders = (*scenes, *(f"mosaics/{mosaic_id}/versions/{v}" for v in going))
    size = sum(store.size(k) for f in folders for k in store.list(f)) + sum(map(store.size, solved))
    return Pruning(tuple(going), kept, tuple(sorted(scenes)), solved, size)


def prune(store: Store, mosaic_id: str, planned: Pruning) -> None:
    """Carries a plan out; a run that was killed is completed by the next plan."""
    base = f"mosaics/{mosaic_id}"
    for name in planned.versions:
        scenes = sorted(_scenes(open_version(store, mosaic_id, name)))
        store.write_json(f"{base}/pruned/{name}.json", {"scenes": scenes})
        forget(store, mosaic_id, name)
        store.drop(f"{base}/versions/{name}", first="lock.json")
        drop_note(store, mosaic_id, name)
    for prefix in planned.scenes:
        store.drop(prefix, first=ITEM)
    for key in planned.solved:
        store.delete(key)
    for note in _notes(store, mosaic_id):
        store.delete(note)
    # A version whose lock is gone and whose other files are not was being removed, or never finished.
    whole = set(list_versions(store, mosaic_id))
    for name in {k.split("/")[3] for k in store.list(f"{base}/versions")} - whole:
        store.drop(f"{base}/versions/{name}")


def _is_young(store: Store, mosaic_id: str, name: str, grace: timedelta) -> bool:
    """Whether a version's grace is not over yet by the steady clock, whatever the wall clock was set to."""
    passed = since_replaced(store, mosaic_id, name)
    return passed is not None and passed < grace


def _notes(store: Store, mosaic_id: str) -> list[str]:
    return list(store.list(f"mosaics/{mosaic_id}/pruned"))


def _scenes(version: Version) -> set[str]:
    return {e.scene.prefix for p in version.periods for e in version.entries(p)}


def _referenced_scenes(store: Store, staying: dict[str, list[str]]) -> set[str]:
    """Folders of scenes that the versions that stay refer to, those of the store's other mosaics included."""
    versions = {m: list_versions(store, m) for m in list_mosaics(store)} | staying
    return {s for m, names in versions.items() for v in names for s in _scenes(open_version(store, m, v))}


def _unreferenced(store: Store, mosaic_id: str, staying: Iterable[str]) -> Iterable[str]:
    """Keys of what was solved for no version that stays.

    References serve only while a period is being solved; those of the current version stay, for a run that goes on, and of the others
    what the dates remember of places, which explains their pixels.
    """
    base = f"mosaics/{mosaic_id}"
    wanted, folders, remembered = set[str](), set[str](), set[str]()
    for name in staying:
        version = open_version(store, mosaic_id, name)
        for period in version.periods:
            for e in version.entries(period):
                ref_id = Path(e.weight_key).parent.name
                note = e.weight_key.removesuffix(".tif") + ".json"
                remembered.add(f"{base}/references/{ref_id}/")
                wanted |= {e.weight_key, note, difference_key(f"{base}/differences/{ref_id}", e.scene)}
        if name == current_version(store, mosaic_id):
            folders = {f"{base}/references/{p['reference']}/" for p in version.lock["periods"]}
    for kind in ("references", "weights", "differences"):
        for key in store.list(f"{base}/{kind}"):
            of_version = key.endswith(PLACES) and any(key.startswith(f) for f in remembered)
            if key not in wanted and not of_version and not any(key.startswith(f) for f in folders):
                yield key
