"""`terrazzo get`: an area and dates in, a GeoTIFF out, in one go."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.commands.invoke import run_command
from terrazzo.commands.output import require_output, require_zarr
from terrazzo.errors import InvalidRequest, NameTaken, TerrazzoError
from terrazzo.precompute.commands.acquire import AreaOptions, area_options, opened, order_of
from terrazzo.precompute.work.options import band_names, worker_options
from terrazzo.request.options import WithBox
from terrazzo.words import counted

if TYPE_CHECKING:
    from terrazzo.grid import Bounds
    from terrazzo.precompute.acquire.fetch import Plan
    from terrazzo.precompute.acquire.run import AcquireOrder

STORE, MOSAIC = "terrazzo-store", "mosaic"
FETCH = 20e6
"""Bytes a second that an archive gives over a good connection; a guess, said to be one."""
PROCESS = 35.0
"""Seconds of one processor for a hundred million bytes of products: scenes, normalization, publishing. Measured: 183 s
for one product of a whole tile, ten bands, 547 MB."""


@click.command(cls=WithBox)
@click.option(
    "--store",
    default=STORE,
    show_default=True,
    metavar="STORE",
    help="folder of the store; created if it is missing",
)
@area_options
@click.option("--crs", help="coordinate system of the file [default: the mosaic's UTM zone]")
@click.option("--resolution", type=float, help="pixel size in units of --crs [default: the store's pixel]")
@click.option("--method", help="how scenes are merged, as in `terrazzo export` [default: the mosaic's]")
@worker_options
@click.option("--yes", is_flag=True, help="do not ask")
@click.option(
    "--live",
    is_flag=True,
    help="show the place on a map meanwhile, at first from overviews, as `terrazzo live` does",
)
@click.option("--overwrite", is_flag=True, help="replace files of that name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="file to write, or folder NAME.zarr",
)
@click.pass_context
def get(
    ctx: click.Context,
    /,
    store: str,
    bands: str | None,
    mosaic: str,
    workers: int,
    dask: str | None,
    yes: bool,
    live: bool,
    overwrite: bool,
    output: Path,
    **options: Any,
) -> None:
    """Fetches, precomputes and exports an area in one command.

    The command prints the number of products, the gigabytes and the time, and asks before it starts. It does not fetch
    again what the store holds: a second call with other bands, or for a part of the area, only exports. A run that was
    stopped continues where it stopped. Exit code 4: the file is written, but some products could not be fetched or used.

    \b
    terrazzo get --geom forest.gpkg --datetime 2025-06/2025-08 --max-cloud 60 -o summer.tif
    terrazzo get --bbox 24.8 60.1 25.1 60.3 --datetime 2025-07 --bands B08,B04,B03 --crs EPSG:3067 -o helsinki.tif
    """
    from rich.console import Console

    from terrazzo.bulk.lock import alone_with
    from terrazzo.precompute.acquire.area import degrees_box
    from terrazzo.precompute.acquire.fetch import Openers
    from terrazzo.precompute.acquire.run import SOME_BAD, carry_out, prepare, print_fetched, print_plan

    console, openers = Console(stderr=True), Openers()
    fixed, wanted = _store_bands(store, bands)
    how = {name: options.pop(name) for name in ("crs", "resolution", "method")}
    _require_exportable(output, wanted, how, overwrite)
    if live:
        _require_shown(store, mosaic)
    ctx.with_resource(alone_with(output))
    order = order_of(store, AreaOptions(bands=",".join(fixed), mosaic=mosaic, **options))
    plan = prepare(order, openers)
    print_plan(plan, console)
    _require_any(plan, order)
    bad, box = False, degrees_box(order.query.area)
    if plan.wanted:
        click.echo(question(plan, workers), err=True)
        if not yes:
            click.confirm("Go on?", default=True, abort=True, err=True)
    with _shown(ctx, box, store, options) if live and plan.wanted else nullcontext():
        if plan.wanted:
            fetched = carry_out(order, plan, openers, console)
            print_fetched(fetched, order.product_folder.root, console)
            bad = bool(fetched.bad)
        bad |= run_command(ctx, precompute_arguments(order, store, mosaic, workers, dask)) != 0
    given = [part for name, value in how.items() if value is not None for part in (f"--{name}", value)]
    asked = ["--bands", ",".join(wanted), "--datetime", options["when"], "--bbox", *box, *given]
    asked += ["--overwrite"] if overwrite else []
    run_command(ctx, ["export", "--store", store, "--mosaic", mosaic, *asked, "-o", output])
    if bad:
        ctx.exit(SOME_BAD)


def _require_shown(store: str, mosaic: str) -> None:
    """Checks that `terrazzo live` can show what this command precomputes.

    Raises:
        InvalidRequest: it shows another mosaic, or the store is no folder.
    """
    from terrazzo.commands.live import require_folder

    if mosaic != MOSAIC:
        raise InvalidRequest(f"--live shows the mosaic {MOSAIC}, not {mosaic}: leave --mosaic out, or --live")
    require_folder(store)


def _shown(
    ctx: click.Context, box: "Bounds", store: str, options: Mapping[str, Any]
) -> AbstractContextManager[object]:
    """A map of the box in degrees from overviews, for as long as the mosaic is not there."""
    from terrazzo.commands.live import shown

    query = [
        f"--bbox={' '.join(map(str, box))}",
        "--datetime",
        options["when"],
        "--archive",
        options["archive"],
    ]
    for name in ("collection", "level", "max_cloud"):
        if options[name] is not None:
            query += [f"--{name.replace('_', '-')}", str(options[name])]
    return shown(ctx, box, store, query)


def _require_exportable(output: Path, bands: Sequence[str], how: Mapping[str, Any], overwrite: bool) -> None:
    """Checks what an export would refuse, before anything is fetched for it.

    Raises:
        InvalidRequest: it would.
    """
    from terrazzo.bulk.windows import require_positive
    from terrazzo.export.names import PICTURES, lock_of, require_known
    from terrazzo.request.parameters import DEFAULT_EXTRAS, EXPORT
    from terrazzo.request.parse import contradict, values

    is_zarr = output.suffix.lower() == ".zarr"
    require_output(output, False, is_zarr)
    given = values(how, EXPORT)
    if "resolution" in given:
        require_positive(given["resolution"])
    if is_zarr:
        require_zarr(output, given, overwrite)
        return
    require_known(output)
    is_picture = output.suffix.lower() in PICTURES
    names = [output, lock_of(output, picture=is_picture)]
    if not is_picture:
        names += [output.with_name(f"{output.stem}_{n}{output.suffix}") for n in DEFAULT_EXTRAS]
    if there := [] if overwrite else [n for n in names if n.exists()]:
        raise NameTaken(f"{there[0]} exists; name another file, or replace it with --overwrite")
    if is_picture:
        if strange := [n for n in ("crs", "resolution") if n in given]:
            raise contradict(f"format={output.suffix[1:].lower()}", ", ".join(strange))
        if len(bands) not in (1, 3):
            raise InvalidRequest(f"{output.name}: a picture shows one or three bands; name them with --bands")


def precompute_arguments(
    order: "AcquireOrder", store: str, mosaic: str, workers: int, dask: str | None
) -> list[object]:
    """The `terrazzo precompute` of what an order fetched; a new store gets the order's bands."""
    new = [] if opened(store) else ["--bands", ",".join(order.bands)]
    cluster = ["--dask", dask] if dask else []
    where = ["--store", store, "--mosaic", mosaic]
    return ["precompute", order.product_folder.root, *where, "--workers", workers, *cluster, *new]


def question(plan: "Plan", workers: int) -> str:
    """Products, bytes and minutes of a plan, in a sentence."""
    from terrazzo.precompute.acquire.fetch import gigabytes

    seconds = plan.size / FETCH + plan.size / 1e8 * PROCESS / workers
    minutes = round(seconds / 60)
    how_long = f"about {minutes} minutes" if minutes > 1 else "a minute or two"
    return (
        f"{counted(len(plan.wanted), 'product')}, {gigabytes(plan.size)}, {how_long} with a good connection"
    )


def _store_bands(store: str, asked: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bands a store has or will have, and those to export.

    A store keeps its bands for life, and the mask's four 10 m bands are most of a product's bytes in any case: a new one has
    all the default bands, so that a later call may ask for others.
    """
    from terrazzo.bands import BANDS, DEFAULT_BANDS

    wanted = band_names(asked) if asked else ()
    there = opened(store)
    if there is None:
        fixed = tuple(b for b in BANDS if b in {*DEFAULT_BANDS, *wanted})
        return fixed, wanted or fixed
    fixed = there.config.bands
    missing = [b for b in wanted if b not in fixed]
    if missing:
        raise InvalidRequest(
            f"the store {store} was created with {', '.join(fixed)} and cannot add {', '.join(missing)};"
            " name another store with --store"
        )
    return fixed, wanted or fixed


def _require_any(plan: "Plan", order: "AcquireOrder") -> None:
    if not plan.wanted and not plan.here:
        dates = order.query.datetime or "any time"
        raise TerrazzoError(
            f"no archive has a product there between {dates}; ask for more days, more clouds (--max-cloud) or"
            " another archive"
        )
