"""Makes the scenes of many products, in processes of this machine or on a cluster that shares nothing but the store."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from terrazzo.precompute.products.files import opened
from terrazzo.precompute.products.product import OWN, Product
from terrazzo.precompute.scene.identity import identity
from terrazzo.precompute.scene.make import ingest
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.work import executor
from terrazzo.precompute.work.executor import Dask, TaskOutcome, Workers
from terrazzo.scene import Scene
from terrazzo.store import Store

Task = tuple[Product, Recipe]
INCOMING = "incoming"
"""Where products lie in an object store until a worker has made their scenes."""


@dataclass(frozen=True)
class Lent:
    """A product whose files lie in the store.

    Attributes:
        product: without the paths of its files, which are another machine's.
        files: key in the store of each asset that the scene is made of, by the name that `Product.asset` knows it by.
    """

    product: Product
    recipe: Recipe
    files: Mapping[str, str]


def make_scenes(
    tasks: Sequence[Task], store: Store, *, workers: Workers, console: Console | None
) -> Iterator[TaskOutcome[Task, Scene]]:
    """Computes a scene of each product; existing scenes are kept.

    A cluster that writes to an object store need have no disk in common with this machine: products go through the store.
    """
    through_store = isinstance(workers, Dask) and store.root is None
    for outcome in executor.run(
        partial(_ingest_lent if through_store else _ingest, store),
        tasks,
        workers=workers,
        label="scenes",
        name=lambda t: t[0].id,
        send=partial(lend, store) if through_store else None,
        console=console,
    ):
        if through_store:
            store.drop(_folder(outcome.task[0]))
        yield outcome


def drop_lent(store: Store, ready: Iterable[Scene]) -> None:
    """Removes products that a run lent and was killed, where workers made their scenes nevertheless."""
    if store.root is None:
        for name in {s.id for s in ready} & set(store.folders(INCOMING)):
            store.drop(f"{INCOMING}/{name}")


def lend(store: Store, task: Task) -> Lent:
    """Puts the files that a product's scene is made of into the store.

    Raises:
        ProductError: some are missing.
    """
    product, recipe = task
    checksums, _, _ = identity(product, store, recipe)
    wanted = {role: path for role, path in product.assets.items() if Path(path).name in checksums}
    if recipe.mask.startswith(OWN):
        wanted[recipe.mask] = product.asset(recipe.mask)
    files = {role: f"{_folder(product)}/{n}/{Path(p).name}" for n, (role, p) in enumerate(wanted.items())}
    for role, path in wanted.items():
        with opened(path) as file, tempfile.NamedTemporaryFile(dir=store.scratch(), delete=False) as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
        store.publish_file(Path(copy.name), files[role])
    return Lent(replace(product, assets={}, named={}), recipe, files)


def _folder(product: Product) -> str:
    return f"{INCOMING}/{product.id}"


def _ingest(store: Store, task: Task) -> Scene:
    return ingest(task[0], store, task[1])


def _ingest_lent(store: Store, lent: Lent) -> Scene:
    with tempfile.TemporaryDirectory(dir=store.scratch()) as folder:
        here = {role: Path(folder, *Path(key).parts[-2:]) for role, key in lent.files.items()}
        for role, path in here.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(store.read_bytes(lent.files[role]))
        named = {role.removeprefix(OWN): str(p) for role, p in here.items() if role.startswith(OWN)}
        assets = {role: str(p) for role, p in here.items() if not role.startswith(OWN)}
        return ingest(replace(lent.product, assets=assets, named=named), store, lent.recipe)
