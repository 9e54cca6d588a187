"""Brings a store from the format before to this release's, and back until that is finished.

Each change is made by itself, after what it replaces was put aside: a run that is killed continues where it stopped. The number in
`store.json` is raised last and lowered first, and what is added hinders no reader of the format before.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from terrazzo.errors import NotFound, StoreError
from terrazzo.mosaic.pyramid import INDEX
from terrazzo.precompute.versions.pyramid import write_pyramid
from terrazzo.precompute.versions.seal import seal_rest, unsealed
from terrazzo.precompute.work.executor import Workers
from terrazzo.store import CONFIG_KEY, FORMAT, Store
from terrazzo.version import list_mosaics, list_versions, open_version, version_key

ASIDE = "upgrade"
"""Holds what was replaced, until the upgrade is finished."""
STATE = f"{ASIDE}/state.json"
OLD = f"{ASIDE}/old"


@dataclass(frozen=True)
class UpgradeStep:
    """What an upgrade does to a file or a folder.

    Attributes:
        kind: `note` (a weight's JSON gets the shift, unknown), `bake` (a version gets its pyramid), `seal` (a scene, a version
            or the weights of a mosaic get checksums), `remove` (a file that no release reads any more goes when the upgrade
            is finished).
    """

    kind: str
    where: str


def changes(store: Store) -> Iterator[UpgradeStep]:
    """What a store lacks of this release's format, or has too much."""
    yield from (UpgradeStep("seal", place) for place in unsealed(store))
    for mosaic in list_mosaics(store):
        for key in store.list(f"mosaics/{mosaic}/weights"):
            if key.endswith(".json") and "shift" not in store.read_json(key):
                yield UpgradeStep("note", key)
        for name in list_versions(store, mosaic):
            if not store.exists(version_key(mosaic, name, INDEX)):
                yield UpgradeStep("bake", f"{mosaic}/{name}")
        for key in store.list(f"mosaics/{mosaic}/references"):
            if key.endswith(("/reference.npz", "/done.json")):
                yield UpgradeStep("remove", key)


def upgrade(store: Store, *, workers: Workers = 1, console: Console | None = None) -> list[UpgradeStep]:
    """Carries out what is left of an upgrade; what was done, nothing to a store that has this release's format.

    Raises:
        StoreError: the store holds files that have changed since they were written.
    """
    if store.config.format == FORMAT:
        return []
    todo = list(changes(store))
    baked = [c.where for c in todo if c.kind == "bake"]
    # The first run's list: what it baked is there when another one goes on.
    store.create(STATE, json.dumps({"from": store.config.format, "baked": baked}).encode())
    for change in todo:
        if change.kind == "note":
            store.create(f"{OLD}/{change.where}", store.read_bytes(change.where))
            store.write_json(change.where, {**store.read_json(change.where), "shift": None})
        elif change.kind == "bake":
            mosaic, name = change.where.split("/")
            write_pyramid(store, open_version(store, mosaic, name), workers=workers, console=console)
    damaged = list(seal_rest(store, [c.where for c in todo if c.kind == "seal"]))
    if damaged:
        raise StoreError(
            "these have changed since they were written and were left as they are: "
            + "; ".join(damaged)
            + ". Remove the scenes, run precompute with their products, then upgrade again"
        )
    store.create(f"{OLD}/{CONFIG_KEY}", store.read_bytes(CONFIG_KEY))
    _set_format(store, FORMAT)
    return [c for c in todo if c.kind != "remove"]


def undo(store: Store) -> None:
    """Takes an upgrade back, as far as it came; what was published since stays, and so do checksums, which no reader minds.

    Raises:
        StoreError: there is none, or it was finished.
    """
    state = _state(store)
    kept = f"{OLD}/{CONFIG_KEY}"
    if store.exists(kept):
        # As it was, to the byte: an earlier release knows no checksum in it.
        store.write_bytes(CONFIG_KEY, store.read_bytes(kept))
    for key in store.list(OLD):
        where = key.removeprefix(f"{OLD}/")
        # A note without its raster, which was pruned since, would say that a weight is there.
        if store.exists(where):
            store.write_bytes(where, store.read_bytes(key))
    for where in state["baked"]:
        mosaic, name = where.split("/")
        folder, _, index = version_key(mosaic, name, INDEX).rpartition("/")
        store.drop(folder, first=index)
    store.drop(OLD)
    store.drop(ASIDE)


def finish(store: Store) -> list[UpgradeStep]:
    """Removes what the upgrade kept to be undone, and what no release reads any more; what went.

    Raises:
        StoreError: there is no upgrade, or it is not complete.
    """
    _state(store)
    if store.config.format != FORMAT:
        raise StoreError(
            f"the upgrade of {store.url} is not complete: run `terrazzo store upgrade` again first"
        )
    going = [c for c in changes(store) if c.kind == "remove"]
    for change in going:
        store.delete(change.where)
    store.drop(OLD)
    store.drop(ASIDE)
    return going


def _state(store: Store) -> dict[str, Any]:
    try:
        state: dict[str, Any] = store.read_json(STATE)
    except NotFound:
        raise StoreError(
            f"no upgrade of {store.url} is under way, or it was finished: begin one with `terrazzo store upgrade`"
        ) from None
    return state


def _set_format(store: Store, number: int) -> None:
    store.write_json(CONFIG_KEY, {**store.read_json(CONFIG_KEY), "format": number})
