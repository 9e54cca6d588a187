"""`terrazzo precompute`: products in, a published version out."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.bands import BANDS, DEFAULT_BANDS
from terrazzo.errors import HeldBack
from terrazzo.precompute import sample
from terrazzo.precompute.commands.acquire import opened
from terrazzo.precompute.work import executor
from terrazzo.precompute.work.options import MOST_CLOUD, worker_options
from terrazzo.precompute.work.steps import SCENE_STEPS, SOLVE_STEPS
from terrazzo.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from terrazzo.precompute.pipeline import Run
    from terrazzo.store import Store


SOME_LEFT_OUT = 4
"""Exit code where products were left out that should have been usable."""


def mask_source(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A `--mask` that `Recipe` knows.

    Raises:
        BadParameter: it is another.
    """
    if value in ("fused", "scl", "model") or (value.startswith("asset:") and value != "asset:"):
        return value
    raise click.BadParameter(f"{value!r} is not fused, scl, model or asset: and the name of an asset")


def shard_of(_context: click.Context, _option: click.Parameter, value: str) -> executor.Shard:
    """A `--shard`.

    Raises:
        BadParameter: it is none.
    """
    parts = re.fullmatch(r"(\d+)/(\d+)", value)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]):
        raise click.BadParameter(f"{value!r} is not a part such as 2/5")
    return executor.Shard(int(parts[1]), int(parts[2]))


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--store",
    "url",
    required=True,
    metavar="STORE",
    help="folder, s3://, gs:// or az:// address; created if it is missing",
)
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option(
    "--only",
    type=click.Choice([*SCENE_STEPS, *SOLVE_STEPS, "publish"]),
    help="stop after this step and the steps that run together with it",
)
@worker_options
@click.option(
    "--mask",
    default="fused",
    show_default=True,
    metavar="fused|scl|model|asset:NAME",
    callback=mask_source,
    help="where masks come from; asset:NAME is the Item's asset of that name, with the classes of mask.tif",
)
@click.option(
    "--brdf",
    type=click.Choice(["nadir", "nadir+sun", "off"]),
    default="nadir",
    show_default=True,
    help="correct reflectance over land to a view from nadir; nadir+sun: also to a sun at 45° from the zenith",
)
@click.option(
    "--dem",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="elevation model, one raster or a VRT: for shadows of hills, and for the air pressure over L1C products"
    " [default: shadows of hills are not tested, and the ground is at sea level]",
)
@click.option(
    "--max-cloud",
    type=click.FloatRange(0, 100),
    default=MOST_CLOUD,
    show_default=True,
    help="skip a new product if more per cent of it than this are cloud or shadow, inside the mosaic's area, by Terrazzo's"
    " mask on pixels of 80 m; 100 skips none",
)
@click.option(
    "--normalize/--no-normalize",
    default=True,
    show_default=True,
    help="solve gains and offsets between scenes",
)
@click.option(
    "--register",
    type=click.Choice(["flag", "shift", "off"]),
    default="flag",
    show_default=True,
    help="measure the shift of each scene against the others; scenes half a pixel off weigh a quarter (flag) or are moved,"
    " which resamples them once (shift)",
)
@click.option(
    "--mix-levels",
    is_flag=True,
    help="allow L1C products (corrected by Terrazzo) and L2A products (by Sen2Cor) in one mosaic",
)
@click.option(
    "--shard",
    metavar="I/N",
    callback=shard_of,
    default="1/1",
    help="do part I of N of the step named by --only (strips, reference, weigh); machines need share nothing but the store",
)
@click.option("--full", is_flag=True, help="solve all tiles again, not only those whose scenes changed")
@click.option(
    "--quick", is_flag=True, help="publish without report, pyramid and MosaicJSON: for a first look"
)
@click.option("--force", is_flag=True, help="publish the version even if it is worse than the current one")
@click.option("--pixel", type=float, help="new store: pixel size in metres [default: 10]")
@click.option(
    "--mask-pixel", type=float, help="new store: pixel size of masks, --pixel or twice that [default: twice]"
)
@click.option("--window", type=int, help="new store: window side in pixels, a power of two [default: 512]")
@click.option("--bands", help="new store: bands, comma-separated, or all [default: B02…B08,B8A,B11,B12]")
@click.option(
    "--user-made",
    is_flag=True,
    help="products that users made (baseline N9999) replace ESA's own of the same pass",
)
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    help="write metrics for Prometheus to this file, *.prom, at the end, also after a failure",
)
@click.pass_context
def precompute(
    ctx: click.Context,
    /,
    sources: tuple[str, ...],
    url: str,
    mosaic: str,
    only: str | None,
    workers: int,
    dask: str | None,
    metrics: Path | None,
    **given: Any,
) -> None:
    """Computes scenes, masks, weights and gains from products, and publishes a version of a mosaic.

    Exit codes: 0 done, 4 done but some products were left out that should have been usable.

    SOURCE is a folder of STAC Items or ItemCollections (*.json, *.geojson) whose COG or JP2 assets lie beside them, a
    SAFE folder, a zip of one, a folder of these, or `sample`: the
    sample area that comes with Terrazzo. Run it again when there are new products: only what changed is
    computed. A run that was stopped continues where it stopped.

    \b
    terrazzo precompute sample --store demo
    terrazzo precompute products/ --store /data/store --mosaic summer
    """
    # The pipeline draws in pandas and scipy: `terrazzo --help` need not wait for them.
    from rich.console import Console

    from terrazzo.precompute.pipeline import Options, run
    from terrazzo.precompute.scene.recipe import Recipe
    from terrazzo.precompute.work.prometheus import recorded

    console = Console(stderr=True)
    is_sample = "sample" in sources and not Path("sample").exists()
    folders = [sample.path() if s == "sample" and is_sample else Path(s) for s in sources]
    new = {name: given.pop(name) for name in ("pixel", "mask_pixel", "window", "bands")}
    recipe = Recipe(*(given.pop(name) for name in ("mask", "brdf", "dem")))
    # What is left are max_cloud, normalize, register, mix_levels, shard, full, quick,
    # force and user_made.
    options = Options(recipe=recipe, **given)
    with recorded(metrics, url) as ended, executor.hired(workers, dask) as hands:
        store = _store(url, is_sample, **new)
        options = replace(options, workers=hands)
        result = run(folders, store, mosaic, options, only=only, console=console)  # type: ignore[arg-type]
        print_result(result, url, mosaic, console)
        refuse_worse(result, url, mosaic)
        if any(out.bad for out in result.left_out):
            ended.code = SOME_LEFT_OUT
    ctx.exit(ended.code)


def _store(
    url: str,
    is_sample: bool,
    pixel: float | None,
    mask_pixel: float | None,
    window: int | None,
    bands: str | None,
) -> "Store":
    """Opens a store, or plans one with what the options and the source say."""
    from terrazzo.store import Store, StoreConfig

    asked = {"pixel": pixel, "mask_pixel": mask_pixel, "window": window, "bands": bands}
    there = None if any(asked.values()) else opened(url)
    if there is not None:
        return there
    size = pixel or (sample.PIXEL if is_sample else 10.0)
    config = StoreConfig(
        pixel=size,
        # The sample has nothing finer than twice its grid: a mask of twice that would lose half of it.
        mask_pixel=mask_pixel or (sample.MASK_PIXEL if is_sample and size == sample.PIXEL else 2 * size),
        window=window or (sample.WINDOW if is_sample else 512),
        bands=_bands(bands, is_sample),
    )
    return Store(url, config)


def _bands(text: str | None, is_sample: bool) -> tuple[str, ...]:
    if text == "all":
        return tuple(b for b in BANDS if b != "B10")
    if text:
        return tuple(b.strip().upper() for b in text.split(","))
    return sample.BANDS if is_sample else DEFAULT_BANDS


def refuse_worse(result: "Run", url: str, mosaic: str) -> None:
    """Ends a command whose version was kept back.

    Raises:
        HeldBack: it was.
    """
    if result.worse and result.version is not None:
        raise HeldBack(
            f"version {result.version.name} is complete but kept back, the current version stays: {'; '.join(result.worse)}."
            f" Publish it all the same: terrazzo publish --store {url} --mosaic {mosaic} --version {result.version.name}"
        )


def print_result(result: "Run", url: str, mosaic: str, console: "Console") -> None:
    """What a run did, for the terminal."""
    for out in result.left_out:
        _print(console, f"left out {out.name}: {out.reason}", "yellow")
    for out in result.clouded:
        _print(console, f"skipped {out.name}: {out.reason}")
    for note in result.notes:
        _print(console, f"note: {note}")
    skipped = (
        f", {counted(len(result.clouded), 'product')} skipped as cloud (--max-cloud 100 takes them)"
        if result.clouded
        else ""
    )
    _print(console, f"{counted(len(result.scenes), 'scene')}{skipped}")
    if result.version is not None and not result.worse:
        _print(
            console, f"mosaic {mosaic}, version {result.version.name}; serve it: terrazzo serve --store {url}"
        )


def _print(console: "Console", text: str, style: str | None = None) -> None:
    """A line as it is: names may have brackets, which are no markup."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
