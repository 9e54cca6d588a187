"""`terrazzo acquire`: an area, dates and an archive in, a folder of products out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from terrazzo.errors import InvalidRequest
from terrazzo.precompute.acquire.archives import READABLE
from terrazzo.request.options import AREA_FILE, WithBox, box

if TYPE_CHECKING:
    from terrazzo.precompute.acquire.run import AcquireOrder
    from terrazzo.store import Store

F = TypeVar("F", bound=Callable[..., Any])


AREA_OPTIONS = (
    click.option("--bbox", callback=box, metavar="W S E N", help="the area as a box in degrees"),
    click.option(
        *AREA_FILE,
        "geom",
        type=click.Path(exists=True, path_type=Path),
        help="the area as a file that OGR reads, such as GeoPackage, GeoJSON or Shapefile, in any CRS",
    ),
    click.option("--tile", metavar="35VLG", help="the area as one tile of Sentinel-2"),
    click.option(
        "--datetime",
        "when",
        required=True,
        help="day, month, year or interval A/B, .. for an open end",
    ),
    click.option(
        "--max-cloud",
        type=click.FloatRange(0, 100),
        help="largest cloud cover of a product, per cent, from its metadata [default: no limit]",
    ),
    click.option(
        "--archive",
        default="earth-search",
        show_default=True,
        help=f"{READABLE} or a STAC API's address; several, comma-separated:"
        " what one lacks or cannot deliver comes from the next",
    ),
    click.option("--collection", help="collection of the archive [default: its Sentinel-2]"),
    click.option("--level", type=click.Choice(["l1c", "l2a"]), default="l2a", show_default=True),
    click.option("--bands", help="comma-separated [default: the store's, or B02…B08,B8A,B11,B12]"),
    click.option(
        "--products",
        type=click.Path(file_okay=False, path_type=Path),
        help="folder for the products [default: STORE-products]",
    ),
    click.option(
        "--until-clear",
        type=click.IntRange(0),
        default=3,
        show_default=True,
        metavar="K",
        help="stop when every place has K clear observations in every period; 0: fetch all products",
    ),
    click.option(
        "--whole-tiles",
        is_flag=True,
        help="fetch whole tiles, not the part around a small area",
    ),
    click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic"),
    click.option(
        "--connections",
        type=click.IntRange(1, 64),
        default=16,
        show_default=True,
        help="files that are fetched at the same time",
    ),
)


def area_options(function: F) -> F:
    """The options that say what is asked for, whence and whither; `AreaOptions` holds their values."""
    for option in reversed(AREA_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True)
class AreaOptions:
    """The values of `AREA_OPTIONS`."""

    bbox: tuple[float, float, float, float] | None
    geom: Path | None
    tile: str | None
    when: str
    max_cloud: float | None
    archive: str
    collection: str | None
    level: str
    bands: str | None
    products: Path | None
    until_clear: int
    whole_tiles: bool
    mosaic: str
    connections: int


def order_of(
    store: str, asked: AreaOptions, *, follow: bool = False, overview: float | None = None
) -> "AcquireOrder":
    """The order that options make.

    Args:
        overview: metres of the pixels that overviews are read at; None reads the images themselves.
        follow: products newer than those that are here come in any case, and what the store shows counts as here.

    Raises:
        InvalidRequest: they contradict each other, or a value is not understood.
    """
    from terrazzo.config import day_interval
    from terrazzo.precompute.acquire import area
    from terrazzo.precompute.acquire.archives import find_archives
    from terrazzo.precompute.acquire.held import Held
    from terrazzo.precompute.acquire.product_folder import ProductFolder
    from terrazzo.precompute.acquire.run import AcquireOrder
    from terrazzo.precompute.acquire.search import Query
    from terrazzo.precompute.acquire.until_clear import needed

    if sum(v is not None for v in (asked.bbox, asked.geom, asked.tile)) != 1:
        raise InvalidRequest("name the area once: --bbox W S E N, --geom FILE or --tile 35VLG")
    name = area.tile_name(asked.tile) if asked.tile else None
    shape = (
        area.from_box(*asked.bbox)
        if asked.bbox
        else area.from_file(asked.geom)
        if asked.geom
        else area.from_tile(name or "")
    )
    first, last = day_interval(asked.when)
    archives = find_archives(asked.archive, asked.collection)
    whole = asked.whole_tiles or name is not None
    until, there = asked.until_clear, opened(store)
    return AcquireOrder(
        Query(shape, asked.level, name, first, last, asked.max_cloud, whole, overview),  # type: ignore[arg-type]
        archives,
        _bands(asked.bands, store),
        ProductFolder(asked.products or _beside(store)),
        asked.connections,
        needed(until, there, asked.mosaic, follow=follow) if until else None,
        Held(there, asked.mosaic),
        follow,
    )


def opened(store: str) -> "Store | None":
    """The store, or None where there is none yet."""
    from terrazzo.errors import StoreError
    from terrazzo.store import CONFIG_KEY, Store, local_root

    root = local_root(store)
    if root is not None:
        return Store(store) if (root / CONFIG_KEY).exists() else None
    try:
        return Store(store)
    except StoreError:
        return None


def _bands(text: str | None, store: str) -> tuple[str, ...]:
    """The bands that were asked for, else the store's where there is one, else the default ones."""
    from terrazzo.bands import DEFAULT_BANDS
    from terrazzo.precompute.work.options import band_names

    if text is not None:
        return band_names(text)
    there = opened(store)
    return DEFAULT_BANDS if there is None else there.config.bands


def _beside(store: str) -> Path:
    from terrazzo.store import local_root

    root = local_root(store)
    if root is None:
        raise InvalidRequest(f"{store} is no folder: name one for the products with --products")
    return root.with_name(f"{root.name}-products")


@click.command(cls=WithBox)
@click.option(
    "--store", required=True, metavar="STORE", help="folder or address of the store; it may not exist yet"
)
@area_options
@click.option("--dry-run", is_flag=True, help="print the products that would be fetched, and their size")
@click.option(
    "--overview",
    type=click.FloatRange(20),
    metavar="METRES",
    help="fetch only the overviews of COGs, with pixels up to this size: for a first look, not for measurements",
)
@click.pass_context
def acquire(ctx: click.Context, /, store: str, dry_run: bool, overview: float | None, **options: Any) -> None:
    """Fetches Sentinel-2 products of an area from a public archive, ready for `terrazzo precompute`.

    Each pass of the satellite over a tile is fetched once, in its newest processing. A run that was stopped
    continues where it stopped. A later run fetches what is new. A product that cannot be fetched is noted in the
    folder's .quarantine with the reason, and the others go on.

    Exit codes: 0 done, 1 failed, 3 nothing new, 4 some products could not be fetched.

    \b
    terrazzo acquire --store finland --tile 35VLG --datetime 2025-06/2025-08 --max-cloud 40 --dry-run
    terrazzo acquire --store finland --geom forest.gpkg --datetime 2025-07 --archive planetary-computer,earth-search
    terrazzo precompute finland-products --store finland
    """
    from rich.console import Console

    from terrazzo.precompute.acquire.fetch import Openers
    from terrazzo.precompute.acquire.run import (
        NOTHING_NEW,
        carry_out,
        exit_code,
        prepare,
        print_fetched,
        print_plan,
    )

    console, openers = Console(stderr=True), Openers()
    order = order_of(store, AreaOptions(**options), overview=overview)
    plan = prepare(order, openers)
    print_plan(plan, console)
    if dry_run:
        for wanted in plan.wanted:
            candidate = wanted.candidates[0]
            click.echo(f"{candidate.id} {candidate.archive.name} {wanted.size}")
        return
    if not plan.wanted:
        ctx.exit(NOTHING_NEW)
    fetched = carry_out(order, plan, openers, console)
    print_fetched(fetched, order.product_folder.root, console)
    if fetched.done:
        click.echo(f"now: terrazzo precompute {order.product_folder.root} --store {store}", err=True)
    ctx.exit(exit_code(plan, fetched))
