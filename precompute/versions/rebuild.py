"""Computes a version again from its lock and the products that it names, in an empty store."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from terrazzo import PIXELS
from terrazzo.checks import read_document
from terrazzo.config import Period, config_key, parse_config
from terrazzo.errors import ProductError, StoreError
from terrazzo.precompute.judge.report import write_report
from terrazzo.precompute.normalize.stage import Normalized, Rules, file_hash, level_of, normalize_period
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.scene.identity import identity
from terrazzo.precompute.scene.item import moved_by
from terrazzo.precompute.scene.many import Task, make_scenes
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.versions.exclusions import Exclusion, write_exclusions
from terrazzo.precompute.versions.lineage import read_solves
from terrazzo.precompute.versions.mosaicjson import write_mosaicjson
from terrazzo.precompute.versions.pointer import point_to
from terrazzo.precompute.versions.pyramid import write_pyramid
from terrazzo.precompute.versions.write import UNNAMED, PeriodContent, write_tables
from terrazzo.precompute.work.executor import Crew, Workers, results
from terrazzo.precompute.work.lease import writer
from terrazzo.scene import Scene, list_scenes
from terrazzo.store import Store, StoreConfig
from terrazzo.version import Version, version_key


@dataclass(frozen=True)
class Rebuilt:
    """A version computed again.

    Attributes:
        differs: in what it is not the one of the lock; empty when name and pixels are the same.
    """

    version: Version
    differs: list[str] = field(default_factory=list)


def rebuild(
    path: Path,
    sources: Sequence[Path],
    url: str,
    mosaic_id: str,
    *,
    dem: Path | None = None,
    workers: Workers = 1,
    console: Console | None = None,
) -> Rebuilt:
    """Makes the version of a lock in a new store.

    Raises:
        StoreError: the lock cannot be understood or is an earlier release's, inputs are missing or others than the lock
            names, or the store is not empty.
    """
    lock = read_document(path.read_bytes(), str(path))
    _require_inputs(lock, mosaic_id, str(path))
    config = StoreConfig(lock["pixel"], lock["mask_pixel"], lock["window"], tuple(lock["bands"]))
    products = [p for s in sources for p in find_products(s).products]
    store = Store(url, config)
    tasks = tasks_of(lock["inputs"], products, store, dem)
    if list(list_scenes(store)):
        raise StoreError(f"{url} has scenes already; name a new store")
    with writer(store, f"rebuild of mosaic {mosaic_id}") as lease:
        store.write_config()
        remade = results(make_scenes(tasks, store, workers=workers, console=console))
        version = _replayed(store, mosaic_id, lock, remade, workers, console)
        write_mosaicjson(version)
        write_pyramid(store, version, workers=workers, console=console)
        write_report(store, version, None)
        lease.check()
        point_to(store, version)
    return Rebuilt(version, _differs(lock, version, path))


def solve_again(
    store: Store,
    mosaic_id: str,
    name: str,
    folder: Path,
    *,
    workers: Workers = 1,
    console: Console | None = None,
) -> Version:
    """Gains, weights and tables of a version of a store in a folder, solved again from the store's own scenes.

    Args:
        folder: for the store that holds them, empty, on the same disk: the scenes are linked.

    Raises:
        StoreError: the lock cannot be read or is an earlier release's, or scenes are missing or damaged.
    """
    assert store.root is not None
    lock = store.read_json(version_key(mosaic_id, name, "lock.json"))
    _require_inputs(lock, mosaic_id, f"the lock of version {name}")
    own = Store(folder, store.config)
    own.write_config()
    scenes = [s for s in list_scenes(store) if f"{s.id}/{s.rev}" in lock["inputs"]]
    if lost := set(lock["inputs"]) - {f"{s.id}/{s.rev}" for s in scenes}:
        raise StoreError(f"scenes are missing: {', '.join(sorted(lost))}")
    for key in (k for s in scenes for k in store.list(s.prefix)):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        os.link(store.root / key, folder / key)
    return _replayed(own, mosaic_id, lock, scenes, workers, console)


def _replayed(
    store: Store,
    mosaic_id: str,
    lock: Mapping[str, Any],
    scenes: Iterable[Scene],
    workers: Workers,
    console: Console | None,
) -> Version:
    """The version of a lock, solved by the same steps from scenes in a new store, without MosaicJSON, pyramid and report."""
    store.write_bytes(config_key(mosaic_id), lock["mosaic_toml"].encode())
    exclusions = [Exclusion(**e, since="") for e in lock["exclusions"]]
    write_exclusions(store, mosaic_id, exclusions)
    named = {f"{s.id}/{s.rev}": s for s in scenes}
    contents = [_period(store, mosaic_id, p, named, lock, workers, console) for p in lock["periods"]]
    config = parse_config(mosaic_id, lock["mosaic_toml"])
    return write_tables(store, config, contents, lock["parameters"], exclusions=exclusions)


def _require_inputs(lock: Mapping[str, Any], mosaic_id: str, shown: str) -> None:
    """Checks that a lock names all inputs of its version, and that its external reference is unchanged.

    Raises:
        StoreError: it does not, or it is not.
    """
    if not _tells_inputs(lock):
        raise StoreError(
            f"{shown} does not name all its inputs: versions of earlier releases, and those that grew from them, cannot be"
            " computed again; `terrazzo publish --full` publishes one that can"
        )
    _require_reference(lock, parse_config(mosaic_id, lock["mosaic_toml"]).reference_file)


def _tells_inputs(lock: Mapping[str, Any]) -> bool:
    steps = [read_solves(p.get("solves", ())) for p in lock["periods"]]
    states = {"/".join(i.split("/")[:2]) for solves in steps for solve in solves for i in solve.scenes}
    return all(steps) and states <= set(lock.get("inputs", {}))


def _require_reference(lock: Mapping[str, Any], external: str | None) -> None:
    """Checks that the composite whose level a version has is there, before anything is made.

    Raises:
        StoreError: it cannot be read, or is another one.
    """
    if external is not None and {level_of(p["reference"]) for p in lock["periods"]} != {file_hash(external)}:
        raise StoreError(
            f"reference {external} is not the file that the version was normalized to: put that one there"
        )


def tasks_of(
    inputs: Mapping[str, Mapping[str, Any]], products: Iterable[Product], store: Store, dem: Path | None
) -> list[Task]:
    """The product and recipe of each input.

    Raises:
        StoreError: some are missing or differ from the lock; the message lists all.
    """
    by_id: dict[str, list[Product]] = {}
    for product in products:
        by_id.setdefault(product.id, []).append(product)
    tasks, missing = [], []
    for name, origin in inputs.items():
        scene, rev = name.split("/")
        shift = moved_by({"properties": {"terrazzo:moved": origin["moved"]}}, store.config.pixel)
        recipe = Recipe(origin["parameters"]["mask"], origin["parameters"]["brdf"], dem, shift)
        known = [(p, _wrong(p, rev, origin["checksums"], store, recipe)) for p in by_id.get(scene, ())]
        same = [p for p, wrong in known if wrong is None]
        if same:
            tasks.append((same[0], recipe))
        elif known:
            missing.append(f"{scene}: {known[0][1]}")
        else:
            missing.append(f"{scene}: not there; it came from {origin['product']}")
    if missing:
        raise StoreError("the version cannot be computed again; of its inputs\n  " + "\n  ".join(missing))
    return tasks


def _wrong(
    product: Product, rev: str, checksums: Mapping[str, str], store: Store, recipe: Recipe
) -> str | None:
    """Why a product does not make the scene that the lock names; None if it does."""
    try:
        checksums_here, revision, _ = identity(product, store, recipe)
    except ProductError as error:
        return str(error)
    if revision == rev:
        return None
    others = sorted(n for n in {*checksums_here, *checksums} if checksums_here.get(n) != checksums.get(n))
    if others:
        return f"{', '.join(others)} of {product.item} is missing or not the file that the lock names"
    return "the same files make another scene here: another cloud model, correction table, elevation model or release"


def _period(
    store: Store,
    mosaic_id: str,
    locked: Mapping[str, Any],
    scenes: Mapping[str, Scene],
    lock: Mapping[str, Any],
    workers: Workers,
    console: Console | None,
) -> PeriodContent:
    """A period of the lock, solved by the same steps."""
    external = parse_config(mosaic_id, lock["mosaic_toml"]).reference_file
    normalized: Normalized | None = None
    members: tuple[Scene, ...] = ()
    for solve in read_solves(locked["solves"]):
        states = [i.split("/") for i in solve.scenes]
        members = tuple(sorted((scenes[f"{s[0]}/{s[1]}"] for s in states), key=lambda s: s.id))
        normalized = normalize_period(
            store,
            mosaic_id,
            members,
            Rules(lock["parameters"]["normalize"], solve.register, external),
            previous=normalized,
            cuts={s[0]: lock["cuts"][s[2]] for s in states if s[2:]},
            crew=Crew(workers, console),
        )
    assert normalized is not None
    start, end, middle = (date.fromisoformat(locked[k]) for k in ("start", "end", "middle"))
    return PeriodContent(
        Period(locked["name"], start, end, tuple(locked["members"])), members, normalized, middle
    )


def _differs(lock: Mapping[str, Any], version: Version, path: Path) -> list[str]:
    if version.name == path.absolute().parent.name:
        return []
    out = []
    if lock["pixels"] != PIXELS:
        out.append(f"the lock's release computed pixels by rules {lock['pixels']}, this one by {PIXELS}")
    for a, b in zip(lock["periods"], version.lock["periods"], strict=True):
        other = [s["id"] for s, t in zip(a["scenes"], b["scenes"], strict=True) if s != t]
        if other:
            out.append(f"period {a['name']}: weights or order differ of {', '.join(other)}")
    same = {k: v for k, v in lock.items() if k not in (*UNNAMED, "format")}
    if not out and any(version.lock[k] != v for k, v in same.items()):
        out.append(
            "lock and version differ in " + ", ".join(k for k, v in same.items() if version.lock[k] != v)
        )
    return out
