"""Repairs a store: computes again what can be computed, and lists remedies for the rest."""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from terrazzo.errors import ReadFailure, StoreError
from terrazzo.mosaic.pyramid import INDEX
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.scene.many import make_scenes
from terrazzo.precompute.versions.pyramid import write_pyramid
from terrazzo.precompute.versions.rebuild import solve_again, tasks_of
from terrazzo.precompute.versions.verify import Finding
from terrazzo.precompute.work.executor import Workers, results
from terrazzo.scene import ITEM
from terrazzo.store import Store
from terrazzo.version import list_mosaics, list_versions, open_version, version_key


@dataclass(frozen=True)
class Repair:
    """What was done about a part of a store, or what has to be done by hand.

    Attributes:
        where: folder of a scene, key of a file, or folder of a version.
        done: whether it is mended.
        what: a few words.
    """

    where: str
    done: bool
    what: str


def repair(
    store: Store,
    findings: Sequence[Finding],
    sources: Sequence[Path] = (),
    *,
    dem: Path | None = None,
    workers: Workers = 1,
    console: Console | None = None,
) -> list[Repair]:
    """Mends what findings name: scenes from their products, weights, gains and tables from scenes, then pyramids.

    Args:
        sources: folders of products; where a product still lies where it was read from, it is taken from there.
        dem: the elevation model that scenes were made with, if any.
    """
    bad = [f for f in findings if f.bad]
    scenes = sorted({"/".join(f.where.split("/")[:5]) for f in bad if f.where.startswith("scenes/")})
    inputs = _inputs(store)
    done = [_scene(store, prefix, inputs, sources, dem, workers, console) for prefix in scenes]
    rest = {f.where for f in bad if not f.where.startswith("scenes/") and "/pyramid/" not in f.where}
    reasons: dict[str, str] = {}
    for mosaic in list_mosaics(store):
        solved = {w for w in rest if SOLVED.match(w) and w.split("/")[1] == mosaic}
        mended, why = _solved(store, mosaic, solved, workers, console)
        done += [Repair(where, True, f"solved again for version {name}") for where, name in mended.items()]
        rest -= set(mended)
        reasons |= dict.fromkeys(solved - set(mended), why)
    folders = sorted({f.where.split("/pyramid/")[0] for f in bad if "/pyramid/" in f.where})
    done += [_pyramid(store, folder, workers, console) for folder in folders]
    return done + [
        Repair(where, False, "; ".join(filter(None, (reasons.get(where, ""), _remedy(where)))))
        for where in sorted(rest)
    ]


def _inputs(store: Store) -> dict[str, Any]:
    """What each scene was made of, by name and revision, as the locks of all versions that can be read say."""
    out: dict[str, Any] = {}
    for mosaic in list_mosaics(store):
        for name in list_versions(store, mosaic):
            try:
                out |= store.read_json(version_key(mosaic, name, "lock.json")).get("inputs", {})
            except StoreError:
                continue
    return out


def _scene(
    store: Store,
    prefix: str,
    inputs: Mapping[str, Any],
    sources: Iterable[Path],
    dem: Path | None,
    workers: Workers,
    console: Console | None,
) -> Repair:
    name, rev = prefix.split("/")[3:5]
    made_of = inputs.get(f"{name}/{rev}")
    if made_of is None:
        return Repair(
            prefix,
            False,
            "no version says what it was made of; remove the folder and run precompute with its product",
        )
    origin = Path(made_of["product"])
    folders = [*sources, *([origin] if origin.exists() else [])]
    products = [p for folder in folders for p in find_products(folder).products]
    try:
        tasks = tasks_of({f"{name}/{rev}": made_of}, products, store, dem)
    except StoreError as error:
        reason = str(error).split("\n  ")[-1]
        return Repair(prefix, False, f"{reason}; name a folder with the product as SOURCE")
    # Without its Item the folder counts as never finished, and is made whole.
    store.delete(f"{prefix}/{ITEM}")
    try:
        list(results(make_scenes(tasks, store, workers=workers, console=console)))
    except ReadFailure as error:
        return Repair(prefix, False, str(error))
    return Repair(prefix, True, f"made again from {tasks[0][0].id}")


SOLVED = re.compile(
    r"mosaics/[^/]+/(weights/|differences/|versions/[^/]+/($|gains/|scenes\.parquet|cells\.parquet))"
)
"""Keys of what follows from scenes and a lock, and folders of versions whose tables cannot be read."""


def _solved(
    store: Store, mosaic: str, bad: Set[str], workers: Workers, console: Console | None
) -> tuple[dict[str, str], str]:
    """Writes what is damaged of versions as it is solved again.

    Returns:
        The version for which each key was solved, and why others were not.
    """
    mended: dict[str, str] = {}
    named = {w.split("/")[3] for w in bad if w.split("/")[2] == "versions"}
    why = "" if store.root is not None or not bad else "in an object store it is not solved again"
    # Weights and differences belong to the versions whose scenes they weigh; the newest one has most of them.
    for name in sorted(list_versions(store, mosaic), key=lambda n: n not in named) if not why else ():
        if bad <= set(mended):
            break
        with tempfile.TemporaryDirectory(dir=store.scratch()) as folder:
            try:
                version = solve_again(store, mosaic, name, Path(folder), workers=workers, console=console)
            except (StoreError, ReadFailure) as error:
                why = str(error)
                continue
            if version.name != name:
                why = "this release, or the scenes that are there, give another version"
                continue
            for where in sorted(bad - set(mended)):
                if keys := _followed(version.store, where):
                    mended[where] = name
                for key in keys:
                    store.write_bytes(key, version.store.read_bytes(key))
    return mended, why


def _followed(solved: Store, where: str) -> list[str]:
    """Keys of a store solved again that mend one: of a folder all tables, of a weight its note too, which has its hash."""
    if where.endswith("/"):
        return [k for k in solved.list(where.rstrip("/")) if not k.endswith("/lock.json")]
    stem = where.rpartition(".")[0] if "/weights/" in where else where
    return [k for k in solved.list(where.rpartition("/")[0]) if k == where or k.rpartition(".")[0] == stem]


def _pyramid(store: Store, folder: str, workers: Workers, console: Console | None) -> Repair:
    _, mosaic, _, name = folder.split("/")
    try:
        version = open_version(store, mosaic, name)
        store.delete(f"{folder}/{INDEX}")
        write_pyramid(store, version, workers=workers, console=console)
    except (StoreError, ReadFailure) as error:
        return Repair(f"{folder}/pyramid", False, str(error))
    return Repair(f"{folder}/pyramid", True, "baked again")


def _remedy(where: str) -> str:
    parts = where.split("/")
    if parts[0] != "mosaics":
        return "restore it from a backup"
    mosaic = parts[1]
    if "versions" in parts:
        return (
            f"`terrazzo publish --mosaic {mosaic} --version EARLIER` shows an earlier version;"
            " `terrazzo rebuild LOCK SOURCE --store NEW` makes this one in a new store"
        )
    if "weights" in parts:
        return "remove the .tif and its .json, then `terrazzo publish --full` weighs the scene again"
    return "restore it from a backup, or `terrazzo publish` writes it again"
