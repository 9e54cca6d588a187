"""Makes a version anew from its lock and the products that it names, in an empty store."""

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
from terrazzo.precompute.normalize.stage import Normalized, file_hash, level_of, normalize_period
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.scene.item import moved_by
from terrazzo.precompute.scene.make import identity
from terrazzo.precompute.scene.many import Task, make_scenes
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.versions.exclusions import Exclusion, write_exclusions
from terrazzo.precompute.versions.lineage import read_solves
from terrazzo.precompute.versions.pointer import point_to
from terrazzo.precompute.versions.write import PeriodContent, write_version
from terrazzo.precompute.work.executor import Workers, results
from terrazzo.precompute.work.lease import writer
from terrazzo.scene import Scene, list_scenes
from terrazzo.store import Store, StoreConfig
from terrazzo.version import Version


@dataclass(frozen=True)
class Rebuilt:
    """A version made anew.

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
    if not _tells_inputs(lock):
        raise StoreError(
            f"{path} does not tell all its inputs: versions of earlier releases, and what grew from them, cannot be"
            " made anew; `terrazzo publish --full` makes one that can"
        )
    external = parse_config(mosaic_id, lock["mosaic_toml"]).reference_file
    _require_reference(lock, external)
    config = StoreConfig(lock["pixel"], lock["mask_pixel"], lock["window"], tuple(lock["bands"]))
    products = [p for s in sources for p in find_products(s).products]
    store = Store(url, config)
    tasks = tasks_of(lock["inputs"], products, store, dem)
    if list(list_scenes(store)):
        raise StoreError(f"{url} has scenes already; name a new store")
    with writer(store, f"rebuild of mosaic {mosaic_id}") as lease:
        store.write_config()
        store.write_bytes(config_key(mosaic_id), lock["mosaic_toml"].encode())
        exclusions = [Exclusion(**e, since="") for e in lock["exclusions"]]
        write_exclusions(store, mosaic_id, exclusions)
        made = results(make_scenes(tasks, store, workers=workers, console=console))
        scenes = {f"{s.id}/{s.rev}": s for s in made}
        contents = [
            _period(store, mosaic_id, p, scenes, lock, external, workers, console) for p in lock["periods"]
        ]
        version = write_version(
            store,
            parse_config(mosaic_id, lock["mosaic_toml"]),
            contents,
            lock["parameters"],
            exclusions=exclusions,
            workers=workers,
            console=console,
        )
        lease.check()
        point_to(store, version)
    return Rebuilt(version, _differs(lock, version, path))


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
        StoreError: some are missing or not those that the lock names; all are told.
    """
    by_id: dict[str, list[Product]] = {}
    for product in products:
        by_id.setdefault(product.id, []).append(product)
    tasks, missing = [], []
    for name, told in inputs.items():
        scene, rev = name.split("/")
        shift = moved_by({"properties": {"terrazzo:moved": told["moved"]}}, store.config.pixel)
        recipe = Recipe(told["parameters"]["mask"], told["parameters"]["brdf"], dem, shift)
        found = [(p, _wrong(p, rev, told["checksums"], store, recipe)) for p in by_id.get(scene, ())]
        same = [p for p, wrong in found if wrong is None]
        if same:
            tasks.append((same[0], recipe))
        elif found:
            missing.append(f"{scene}: {found[0][1]}")
        else:
            missing.append(f"{scene}: not there; it came from {told['product']}")
    if missing:
        raise StoreError("the version cannot be made anew, of its inputs\n  " + "\n  ".join(missing))
    return tasks


def _wrong(
    product: Product, rev: str, checksums: Mapping[str, str], store: Store, recipe: Recipe
) -> str | None:
    """Why a product does not make the scene that the lock names; None if it does."""
    try:
        found, made, _ = identity(product, store, recipe)
    except ProductError as error:
        return str(error)
    if made == rev:
        return None
    others = sorted(n for n in {*found, *checksums} if found.get(n) != checksums.get(n))
    if others:
        return f"{', '.join(others)} of {product.item} is missing or not the file that the lock names"
    return "the same files make another scene here: another cloud model, correction table, elevation model or release"


def _period(
    store: Store,
    mosaic_id: str,
    told: Mapping[str, Any],
    scenes: Mapping[str, Scene],
    lock: Mapping[str, Any],
    external: str | None,
    workers: Workers,
    console: Console | None,
) -> PeriodContent:
    """A period of the lock, solved by the same steps."""
    normalized: Normalized | None = None
    members: tuple[Scene, ...] = ()
    for solve in read_solves(told["solves"]):
        states = [i.split("/") for i in solve.scenes]
        members = tuple(sorted((scenes[f"{s[0]}/{s[1]}"] for s in states), key=lambda s: s.id))
        normalized = normalize_period(
            store,
            mosaic_id,
            members,
            previous=normalized,
            solve_gains=lock["parameters"]["normalize"],
            register=solve.register,
            cuts={s[0]: lock["cuts"][s[2]] for s in states if s[2:]},
            external=external,
            workers=workers,
            console=console,
        )
    assert normalized is not None
    start, end, middle = (date.fromisoformat(told[k]) for k in ("start", "end", "middle"))
    return PeriodContent(
        Period(told["name"], start, end, tuple(told["members"])), members, normalized, middle
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
    same = {k: v for k, v in lock.items() if k not in ("software", "inputs", "format", "sums")}
    if not out and any(version.lock[k] != v for k, v in same.items()):
        out.append(
            "lock and version differ in " + ", ".join(k for k, v in same.items() if version.lock[k] != v)
        )
    return out
