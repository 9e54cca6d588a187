"""Checks a store: that all that versions refer to is there and as it was written, and what nothing refers to."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrazzo.checks import is_checked
from terrazzo.errors import Damaged, NotFound, ReadFailure, StoreError, TerrazzoError
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.index import Cog
from terrazzo.precompute.normalize.weigh import difference_key
from terrazzo.precompute.scene.many import INCOMING
from terrazzo.precompute.versions.seal import is_sealed_raster, weight_digest
from terrazzo.precompute.versions.upgrade import ASIDE
from terrazzo.precompute.versions.write import version_name
from terrazzo.scene import ITEM, Scene, read_item, read_scene
from terrazzo.store import Store
from terrazzo.version import (
    COLLECTION,
    Version,
    current_version,
    gains_key,
    list_mosaics,
    list_versions,
    open_version,
    version_key,
)
from terrazzo.words import counted


@dataclass(frozen=True)
class Finding:
    """What is wrong, or left over.

    Attributes:
        kind: `missing`, `changed` (since it was written), `unreadable`, or `orphan` (nothing refers to it).
        where: key or folder.
        what: who refers to it, or what to do; a few words.
    """

    kind: str
    where: str
    what: str

    @property
    def bad(self) -> bool:
        """Whether pixels are lost; an orphan only takes room."""
        return self.kind != "orphan"


def verify(store: Store, *, contents: bool = True) -> Iterator[Finding]:
    """Checks a store; what is damaged hinders no other check.

    Args:
        contents: compare checksums too, which reads every file; False looks at presence and sizes.
    """
    used, solved, damaged = set[str](), set[str](), set[str]()
    for finding in _documents(store):
        damaged.add(finding.where)
        yield finding
    for mosaic in list_mosaics(store):
        names = list_versions(store, mosaic)
        if f"mosaics/{mosaic}/{COLLECTION}" not in damaged:
            current = current_version(store, mosaic)
            if current not in names:
                yield Finding(
                    "missing", version_key(mosaic, current, "lock.json"), "the mosaic points to this version"
                )
        for name in names:
            try:
                version = open_version(store, mosaic, name)
            except (TerrazzoError, OSError, ValueError) as error:
                if version_key(mosaic, name, "lock.json") not in damaged:
                    yield Finding("unreadable", version_key(mosaic, name, ""), str(error))
                continue
            used |= {e.scene.prefix for p in version.periods for e in version.entries(p)}
            solved |= _solved(version)
            yield from _version(store, version, contents)
        yield from _left_over(store, mosaic, names, solved)
    yield from _weights(store, contents, damaged)
    yield from _scenes(store, contents, used, damaged)
    for key in store.list(INCOMING):
        yield Finding(
            "orphan", key, "a run on a cluster was stopped; it goes with the next one of its product"
        )
    if list(store.list(ASIDE)):
        yield Finding("orphan", ASIDE, "kept to undo an upgrade; terrazzo store upgrade --finish removes it")


def _documents(store: Store) -> Iterator[Finding]:
    """JSON documents that have changed since they were written."""
    for key in store.list():
        if key.endswith(".json") and not key.endswith("mosaicjson.json"):
            try:
                store.read_json(key)
            except Damaged as error:
                yield Finding("unreadable", key, str(error))


def _scenes(store: Store, contents: bool, used: set[str], damaged: set[str]) -> Iterator[Finding]:
    whole = set[str]()
    for key in store.list("scenes"):
        prefix = key.removesuffix(f"/{ITEM}")
        if prefix == key:
            continue
        whole.add(prefix)
        if key in damaged:
            continue
        try:
            scene = read_scene(store, prefix)
            yield from _scene(store, scene, contents)
        except (TerrazzoError, LookupError, ValueError, TypeError) as error:
            yield Finding("unreadable", key, f"not an Item of a scene: {error}")
        if prefix not in used:
            yield Finding("orphan", prefix, "no version shows it: new, excluded, or replaced")
    there = {"/".join(k.split("/")[:5]) for k in store.list("scenes")}
    for prefix in sorted(there - whole):
        if prefix in used:
            yield Finding("missing", f"{prefix}/{ITEM}", "a version shows this scene")
        else:
            yield Finding("orphan", prefix, "never finished; precompute computes it again")
    for prefix in sorted(used - there):
        yield Finding("missing", prefix, "a version shows this scene")


def _solved(version: Version) -> set[str]:
    base, out = f"mosaics/{version.mosaic_id}", set[str]()
    for period in version.periods:
        for e in version.entries(period):
            ref_id = Path(e.weight_key).parent.name
            note = e.weight_key.removesuffix(".tif") + ".json"
            out |= {e.weight_key, note, difference_key(f"{base}/differences/{ref_id}", e.scene)}
    return out


def _version(store: Store, version: Version, contents: bool) -> Iterator[Finding]:
    """What a version names and is not there, or has changed since it was written."""
    named = f"version {version.name} of {version.mosaic_id}"
    folder = version_key(version.mosaic_id, version.name, "")
    wanted = {f"{folder}cells.parquet"} | _solved(version)
    for period in version.periods:
        if version.normalized:
            for mgrs in {e.scene.mgrs for e in version.entries(period)}:
                table = gains_key(version.mosaic_id, version.name, period, mgrs)
                wanted |= {table, table.removesuffix(".npy") + ".json"}
    for key in sorted(wanted):
        if not store.exists(key):
            yield Finding("missing", key, named)
        elif contents and key.startswith(folder):
            try:
                version.read_checked(key.removeprefix(folder))
            except Damaged as error:
                yield Finding("changed", key, str(error))
    if not contents:
        return
    try:
        cells = {k: grid.windows() for k, grid in version.cell_grids.items()}
        if "sums" in version.lock and version_name(version.lock, cells) != version.name:
            yield Finding("changed", f"{folder}lock.json", f"{named} has another name than its content gives")
    except (Damaged, NotFound):
        pass  # Named above.
    for key in store.list(folder.rstrip("/")):
        if key.endswith(".tif") and (reason := _unreadable(store, key)):
            yield Finding("unreadable", key, reason)


def _unreadable(store: Store, key: str) -> str:
    """Why a raster cannot be read whole; empty where it can."""
    blocks = Blocks(0)
    try:
        for number, level in enumerate(Cog(store, key).levels):
            whole = PixelBox(0, 0, *level.shape)
            for row in range(0, whole.row1, level.block):
                blocks.read(
                    store,
                    key,
                    number,
                    whole,
                    PixelBox(row, 0, min(row + level.block, whole.row1), whole.col1),
                    0,
                )
    except (ReadFailure, NotFound) as error:
        return str(error)
    finally:
        blocks.close()
    return ""


def _weights(store: Store, contents: bool, damaged: set[str]) -> Iterator[Finding]:
    if not contents:
        return
    for mosaic in list_mosaics(store):
        for raster in store.list(f"mosaics/{mosaic}/weights"):
            note = raster.removesuffix(".tif") + ".json"
            if not raster.endswith(".tif"):
                continue
            # Without its note, which is named by itself, only the raster's own checksums are known.
            known = note not in damaged and store.exists(note)
            try:
                if known and weight_digest(store, raster) != store.read_json(note).get("hash"):
                    yield Finding("changed", raster, "its pixels are not those that were written")
                elif reason := _unreadable(store, raster):
                    yield Finding("unreadable", raster, reason)
            except ReadFailure as error:
                yield Finding("unreadable", raster, str(error))


def _scene(store: Store, scene: Scene, contents: bool) -> Iterator[Finding]:
    item = store.read_bytes(scene.key(ITEM))
    assets: Mapping[str, Mapping[str, Any]] = read_item(store, scene)["assets"]
    for asset in assets.values():
        key = scene.key(Path(asset["href"]).name)
        if not store.exists(key):
            yield Finding("missing", key, f"scene {scene.id}")
        elif store.size(key) != asset["file:size"] or (
            contents and "1220" + hashlib.sha256(store.read_bytes(key)).hexdigest() != asset["file:checksum"]
        ):
            # An upgrade that was stopped has sealed rasters beside an Item that does not know it.
            if key.endswith(".tif") and not is_checked(item) and not _unsealed_or_unreadable(store, key):
                continue
            yield Finding("changed", key, "not the file that was written")


def _unsealed_or_unreadable(store: Store, key: str) -> bool:
    try:
        return not is_sealed_raster(store, key) or bool(_unreadable(store, key))
    except ReadFailure:
        return True


def _left_over(store: Store, mosaic: str, names: list[str], solved: set[str]) -> Iterator[Finding]:
    base = f"mosaics/{mosaic}"
    for name in sorted({k.split("/")[3] for k in store.list(f"{base}/versions")} - set(names)):
        yield Finding(
            "orphan", f"{base}/versions/{name}", "never finished, or half removed; prune removes it"
        )
    for kind in ("weights", "differences"):
        for folder in sorted({k.split("/")[3] for k in store.list(f"{base}/{kind}") if k not in solved}):
            yield Finding(
                "orphan", f"{base}/{kind}/{folder}", "solved for no version that is there; prune removes it"
            )
    for key in store.list(f"{base}/pruned"):
        yield Finding("orphan", key, "a prune was stopped; run it again")


def require_sound(findings: list[Finding]) -> None:
    """Ends a command where pixels are lost.

    Raises:
        StoreError: some finding is bad.
    """
    bad = sum(f.bad for f in findings)
    if bad:
        raise StoreError(
            f"{counted(bad, 'file')} missing or damaged: `terrazzo store verify STORE --repair SOURCE` makes scenes again from products"
            " in SOURCE, and says what the rest needs"
        )
