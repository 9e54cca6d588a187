"""`terrazzo export`: a box or an area of a mosaic as files."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.errors import InvalidRequest

if TYPE_CHECKING:
    from terrazzo.export.order import Order
    from terrazzo.export.run import Exported
    from terrazzo.mosaic.engine import Engine


@click.command()
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option(
    "--bbox", nargs=4, type=float, metavar="W S E N", help="the box; W east of E crosses the antimeridian"
)
@click.option("--bbox-crs", help="coordinate system of --bbox [default: EPSG:4326]")
@click.option(
    "--geometry",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="GeoJSON file in degrees instead of --bbox: the pixels that it touches",
)
@click.option("--crs", help="coordinate system of the files [default: the mosaic's UTM zone]")
@click.option(
    "--resolution", type=float, help="pixel size in units of --crs [default: the mosaic's own pixel]"
)
@click.option("--bands", help="comma-separated [default: all]")
@click.option("--expression", help="over bands, instead of --bands, such as '(B08-B04)/(B08+B04)'")
@click.option("--datetime", help="day, month, year, interval A/B, or name of a period [default: the newest]")
@click.option("--baseline", help="the same: its values are taken off those of --datetime")
@click.option("--max-cloud", type=float, help="per cent of a scene's pixels that may be cloud or shadow")
@click.option("--orbit", type=int, help="relative orbit")
@click.option("--ids", help="scenes, comma-separated")
@click.option("--method", help="feather, first, median, mean or robust [default: the mosaic's]")
@click.option("--normalize", type=click.Choice(["on", "off"]), help="[default: the mosaic's]")
@click.option("--stage", help="raw, mask, corrected, merged or normalized")
@click.option("--fill", help="adjacent, none or best [default: the mosaic's]")
@click.option("--snow", help="avoid, keep or drop [default: the mosaic's]")
@click.option("--resampling", help="bilinear or nearest [default: the mosaic's]")
@click.option("--dtype", help="int16, uint16, uint8 or float32 [default: int16; of expressions float32]")
@click.option(
    "--scale", type=float, help="reflectance = stored x scale + offset [default: 0.0001; float32: 1]"
)
@click.option("--offset", type=float, help="[default: 0; uint16: -0.1]")
@click.option("--nodata", type=float, help="[default: -32768; uint8, uint16: 0; float32: NaN]")
@click.option("--compression", help="deflate, zstd, lzw or none [default: deflate]")
@click.option(
    "--split", type=int, help="pixels a side of the squares the area is divided into [default: one file]"
)
@click.option(
    "--extras",
    help="scene, date, count, quality, weight, spread as files beside, or none [default: quality,date]",
)
@click.option(
    "--format",
    help="tif, or a picture in web map tiles for tablets: gpkg, mbtiles, pmtiles [default: by the name of the output]",
)
@click.option("--style", help="of pictures: natural, infrared, agriculture or nir")
@click.option("--rescale", help="of pictures: reflectance shown as black and white, min,max")
@click.option("--zoom", type=int, help="of pictures: the deepest [default: the mosaic's own pixel]")
@click.option("--tiles", help="of pictures: png or webp [default: png]")
@click.option("--version", help="a version of the mosaic [default: the current one]")
@click.option("--dry-run", is_flag=True, help="tell pixels, bytes, scenes and time, and write nothing")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="file to write")
def export(
    url: str,
    mosaic: str,
    geometry: Path | None,
    version: str | None,
    dry_run: bool,
    output: Path | None,
    **asked: Any,
) -> None:
    """Writes a part of a mosaic as a Cloud-Optimized GeoTIFF of any size.

    Pixels are int16 reflectance with scale 0.0001 and nodata -32768, the very values that tiles show. Beside it lie
    FILE_quality.tif (bits, told in its unit) and FILE_date.tif (days since 1970-01-01).
    With --split there are many files, a VRT over them and a STAC Item. An export that was stopped goes on where it
    was when the same command is given again.

    \b
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 -o zagreb.tif
    terrazzo export --store demo --geometry forest.geojson --dry-run
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 --expression '(B08-B04)/(B08+B04)' --datetime 2025-07 --baseline 2024-07 -o change.tif
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 --bands B08,B04 --crs EPSG:3035 --resolution 100 -o box.tif
    """
    # Reading rasters draws in GDAL and numba: `terrazzo --help` need not wait for them.
    from terrazzo.bulk.windows import export_target
    from terrazzo.errors import OutsideCoverage
    from terrazzo.export.order import parse_order
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine
    from terrazzo.store import Store
    from terrazzo.version import open_version

    if output is None and not dry_run:
        raise InvalidRequest("name the file to write with -o FILE, or ask with --dry-run what it would cost")
    if output is not None and not output.parent.is_dir():
        raise InvalidRequest(f"the folder {output.parent} does not exist; make it first")
    engine = Engine(open_version(Store(url), mosaic, version), Blocks())
    given = {**asked, "geometry": geometry.read_text() if geometry else None}
    if output is not None and output.suffix in (".gpkg", ".mbtiles", ".pmtiles"):
        given["format"] = given["format"] or output.suffix[1:]
    order = parse_order(given, engine.version)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if dry_run or output is None:
        _print_cost(engine, order, workers)
        return
    target = export_target(engine.version, order.area, order.crs, order.resolution)
    click.echo(
        f"{target.width} × {target.height} px, {len(order.measure.names)} bands, {target.crs}", err=True
    )
    try:
        exported = _write(engine, order, output, workers)
    except OutsideCoverage as error:
        raise OutsideCoverage(f"{error}; {_how_to_fill(url, mosaic, order, output)}") from None
    _print_files(exported)


def _print_cost(engine: "Engine", order: "Order", workers: int) -> None:
    from terrazzo.export.estimate import estimate

    cost = estimate(engine, order, workers)
    click.echo(
        f"{cost.width} × {cost.height} px, {cost.bands} bands, {cost.crs}\n"
        f"{cost.files} files, about {cost.bytes / 1e6:.1f} MB\n"
        f"{len(cost.scenes)} scenes\nabout {cost.seconds:.0f} s with {workers} threads\n{cost.request}"
    )


def _write(engine: "Engine", order: "Order", output: Path, workers: int) -> "Exported":
    """Writes the files and shows how far it is."""
    from terrazzo.export.run import Exported, export

    with click.progressbar(
        length=1000, label="export", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        for step in export(engine, order, output, workers=workers):
            if isinstance(step, Exported):
                exported = step
            else:
                bar.update(round(1000 * step) - bar.pos)
    return exported


def _print_files(exported: "Exported") -> None:
    for problem in exported.problems:
        click.echo(f"left out {problem}", err=True)
    click.echo(f"{exported.path}: {100 * exported.share:.1f} % of the pixels hold data", err=True)
    if len(exported.files) > 1:
        click.echo(
            f"with {', '.join(p.name for p in exported.files[1:][:8])}{' …' if len(exported.files) > 9 else ''}",
            err=True,
        )


def _how_to_fill(url: str, mosaic: str, order: "Order", output: Path) -> str:
    """The command that fetches what an export did not find."""
    from terrazzo.bulk.area import DEGREES
    from terrazzo.mosaic.warp import transformer

    degrees = transformer(order.area.crs, DEGREES).transform_bounds(*order.area.bounds)
    box = " ".join(f"{v:.5f}" for v in degrees)
    when = order.pixels.datetime or "FIRST/LAST"
    return f"fill it: terrazzo get --store {url} --mosaic {mosaic} --bbox {box} --datetime {when} -o {output}"
