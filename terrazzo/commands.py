"""Commands that need no stage: they read a published mosaic."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrazzo.errors import InvalidRequest, TerrazzoError

if TYPE_CHECKING:
    from terrazzo.mosaic.request import PixelRequest


@click.command()
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option("--bbox", nargs=4, type=float, required=True, metavar="W S E N", help="the box")
@click.option("--bbox-crs", default="EPSG:4326", show_default=True, help="coordinate system of --bbox")
@click.option("--crs", help="coordinate system of the file [default: the mosaic's UTM zone]")
@click.option(
    "--resolution", type=float, help="pixel size in units of --crs [default: the mosaic's own pixel]"
)
@click.option("--bands", help="comma-separated [default: all]")
@click.option("--datetime", help="day, month, year, interval A/B, or name of a period [default: the newest]")
@click.option("--max-cloud", type=float, help="per cent of a scene's pixels that may be cloud or shadow")
@click.option("--orbit", type=int, help="relative orbit")
@click.option("--ids", help="scenes, comma-separated")
@click.option("--method", help="feather, first, median, mean or robust [default: the mosaic's]")
@click.option("--normalize", type=click.Choice(["on", "off"]), help="[default: the mosaic's]")
@click.option("--stage", help="raw, mask, corrected, merged or normalized")
@click.option("--fill", help="adjacent, none or best [default: the mosaic's]")
@click.option("--snow", help="avoid, keep or drop [default: the mosaic's]")
@click.option("--resampling", help="bilinear or nearest [default: the mosaic's]")
@click.option("--version", help="a version of the mosaic [default: the current one]")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="file to write"
)
def export(
    url: str,
    mosaic: str,
    bbox: tuple[float, float, float, float],
    bbox_crs: str,
    crs: str | None,
    resolution: float | None,
    bands: str | None,
    ids: str | None,
    normalize: str | None,
    version: str | None,
    output: Path,
    **asked: str | float | None,
) -> None:
    """Writes a box of a mosaic as a Cloud-Optimized GeoTIFF of any size.

    Pixels are int16 reflectance with scale 0.0001 and nodata -32768, the very values that tiles show.

    \b
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 -o zagreb.tif
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 --bands B08,B04 --crs EPSG:3035 --resolution 100 -o box.tif
    """
    # Reading rasters draws in GDAL and numba: `terrazzo --help` need not wait for them.
    from terrazzo.errors import OutsideCoverage
    from terrazzo.export import Exported, export_target
    from terrazzo.export import export as write
    from terrazzo.grid import Bounds
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine
    from terrazzo.mosaic.request import PixelRequest
    from terrazzo.store import Store
    from terrazzo.version import open_version

    if not output.parent.is_dir():
        raise InvalidRequest(f"the folder {output.parent} does not exist; make it first")
    engine = Engine(open_version(Store(url), mosaic, version), Blocks())
    request = PixelRequest(
        bands=tuple(b.strip() for b in bands.split(",")) if bands else engine.version.bands,
        ids=tuple(i.strip() for i in ids.split(",")) if ids else (),
        normalize=None if normalize is None else normalize == "on",
        **asked,  # type: ignore[arg-type]
    )
    selection = engine.select(request)
    target = export_target(engine.version, Bounds(*bbox), bbox_crs, crs, resolution)
    click.echo(f"{target.width} × {target.height} px, {len(request.bands)} bands, {target.crs}", err=True)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with click.progressbar(
            length=1000, label="export", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            for step in write(engine, selection, target, output, workers=workers):
                if isinstance(step, Exported):
                    exported = step
                else:
                    bar.update(round(1000 * step) - bar.pos)
    except OutsideCoverage as error:
        raise OutsideCoverage(
            f"{error}; {_how_to_fill(url, mosaic, bbox, bbox_crs, request, output)}"
        ) from None
    for problem in exported.problems:
        click.echo(f"left out {problem}", err=True)
    click.echo(f"{exported.path}: {100 * exported.share:.1f} % of the pixels hold data", err=True)


def _how_to_fill(
    url: str,
    mosaic: str,
    bbox: tuple[float, float, float, float],
    bbox_crs: str,
    request: "PixelRequest",
    output: Path,
) -> str:
    """The command that fetches what an export did not find."""
    from terrazzo.mosaic.warp import transformer

    degrees = transformer(bbox_crs, "EPSG:4326").transform_bounds(*bbox)
    box = " ".join(f"{v:.5f}" for v in degrees)
    when = request.datetime or "FIRST/LAST"
    return f"fill it: terrazzo get --store {url} --mosaic {mosaic} --bbox {box} --datetime {when} -o {output}"


@click.command()
@click.option(
    "--store", default="terrazzo-demo", show_default=True, metavar="STORE", help="folder of the demo's store"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one"
)
@click.pass_context
def demo(ctx: click.Context, store: str, port: int) -> None:
    """Precomputes the sample area that comes with Terrazzo, and serves it: the whole way in one go.

    Ten real Sentinel-2 scenes around Zagreb become a mosaic; open the address that is printed.
    """
    group = ctx.find_root().command
    if not isinstance(group, click.Group):
        raise TerrazzoError("start the demo as `terrazzo demo`")
    for arguments in (
        ["precompute", "sample", "--store", store],
        ["serve", "--store", store, "--port", str(port)],
    ):
        group.main(arguments, prog_name="terrazzo", standalone_mode=False)
