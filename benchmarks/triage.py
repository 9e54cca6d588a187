"""What a look at an eighth of a product costs, and whether it ever drops one wrongly: `python -m benchmarks.triage [FOLDER]`.

Writes a clear product, by default of a whole tile, as JP2 and as COG (once), and prints the CPU seconds of the look beside those of its scene.
Then writes series whose clouds are known, and prints for each share of cloud how many products are dropped, and the most ground
that was clear in one of them.
"""

import resource
import tempfile
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from rasterio.shutil import copy

from benchmarks.product import SIDE_M, write_safe
from terrazzo.bands import DEFAULT_BANDS
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.scene.make import ingest
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.scene.triage import cloud_share
from terrazzo.precompute.work.options import MOST_CLOUD
from terrazzo.store import Store, StoreConfig
from tests.world.land import landscape
from tests.world.products import Pass, write_product
from tests.world.sky import Sky, observe
from tests.world.worlds import FIRST, FOUR, NORTH, place_of

SHARES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
SIDE = 960


def cpu() -> float:
    """CPU seconds of this process and all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def as_cogs(product: Product, folder: Path) -> Product:
    """The same product with COGs for JP2."""
    files = folder / "cog"
    files.mkdir(exist_ok=True)
    assets = dict(product.assets)
    for role, path in product.assets.items():
        if path.endswith(".jp2"):
            assets[role] = str(files / f"{Path(path).stem}.tif")
            if not Path(assets[role]).exists():
                copy(path, assets[role], driver="COG", compress="DEFLATE", predictor="YES", blocksize="512")
    return Product(**{**vars(product), "assets": assets, "claims": {"boa_offset_applied": False}})


def cost(folder: Path, side_m: int) -> None:
    """Prints the look's share of a clear product's CPU."""
    safe = write_safe(folder, "L2A", 1, side_m)
    jp2 = find_products(safe).products[0]
    for name, product in (("JP2", jp2), ("COG", as_cogs(jp2, folder))):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            store = Store(Path(scratch), StoreConfig(10.0, 20.0, 512, DEFAULT_BANDS))
            # The first compiles what numba has not in its cache.
            cloud_share(product, Recipe(), store, None)
            begun = cpu()
            share = cloud_share(product, Recipe(), store, None)
            looked = cpu() - begun
            begun = cpu()
            scene = ingest(product, store)
            scene_cpu = cpu() - begun
        click.echo(
            f"{name}: look {looked:.1f} CPU-s, scene {scene_cpu:.0f} CPU-s ({100 * looked / scene_cpu:.1f} %);"
            f" cloud {100 * (share or 0):.1f} % by the look, {100 * scene.cloud_share:.1f} % in the scene"
        )


def rightness(folder: Path, seeds: int) -> None:
    """Prints how many products of each share of cloud are dropped, and what was clear in them."""
    land = landscape(place_of(*NORTH, SIDE, SIDE, 10.0, 64), FOUR, 5)
    store = Store(folder / "none", StoreConfig(10.0, 20.0, 64, FOUR))
    dropped, clear = defaultdict(int), defaultdict(float)
    for number, share in enumerate(SHARES):
        for seed in range(seeds):
            sky = Sky(cloud=share, haze=0.02 * (seed % 3), seed=seed, missed=0.05 * (seed % 2))
            seen = observe(land, sky)
            path = write_product(folder / f"{number}-{seed}", seen, Pass(FIRST))
            product = find_products(path).products[0]
            by_look = cloud_share(product, Recipe(), store, None)
            if by_look is not None and 100 * by_look > MOST_CLOUD:
                dropped[share] += 1
                clear[share] = max(clear[share], float(np.mean(seen.clear)))
    for share in SHARES:
        click.echo(
            f"{100 * share:5.1f} % cloud: {dropped[share]} of {seeds} dropped, at most {100 * clear[share]:.2f} % of one clear"
        )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--seeds", default=6, show_default=True, help="products of each share of cloud")
@click.option("--cost/--no-cost", "costs", default=True, help="also measure the cost, of a product of 1 GB")
@click.option(
    "--side", default=SIDE_M, show_default=True, help="metres of that product's side, a multiple of 60"
)
def main(folder: Path | None, seeds: int, costs: bool, side: int) -> None:
    """Measure triage."""
    with tempfile.TemporaryDirectory() as scratch:
        where = folder or Path(scratch)
        if seeds:
            rightness(Path(scratch), seeds)
        if costs:
            cost(where, side)


if __name__ == "__main__":
    main()
