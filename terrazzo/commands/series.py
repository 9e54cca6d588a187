"""`terrazzo series`: an area day by day, without gaps."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.commands.output import processors, progress, require_packable
from terrazzo.errors import OutsideCoverage
from terrazzo.request.options import WithBox, options
from terrazzo.request.parameters import EXPORT, TABLETS
from terrazzo.words import counted

if TYPE_CHECKING:
    from datetime import date

    from terrazzo.export.order import Order
    from terrazzo.export.series import WrittenDay
    from terrazzo.mosaic.engine import Engine

LEFT = {"datetime", "fill", "target", "baseline", "stage", "ids", "extras", "split", "format"} | {
    p.name for p in TABLETS
}
"""Parameters of exports that a series sets itself or has no use for."""


@click.command(cls=WithBox)
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option("--datetime", "when", required=True, metavar="FIRST/LAST", help="first and last day")
@click.option(
    "--every", type=click.IntRange(1), default=5, show_default=True, help="days from one to the next"
)
@options(EXPORT, leave=LEFT)
@click.option("--overwrite", is_flag=True, help="replace another series of that name")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="folder of GeoTIFFs, or NAME.zarr"
)
def series(
    url: str,
    mosaic: str,
    when: str,
    every: int,
    geometry: Path | None,
    overwrite: bool,
    output: Path,
    **asked: Any,
) -> None:
    """Writes an area day by day, without gaps.

    What a day's scenes show stays as it is. What their clouds hide, and days without a pass, are predicted from the other dates of the period, as fill=predict
    does. Each day is a GeoTIFF, with DAY_quality.tif beside it (bit 1024: predicted) and DAY_date.tif (days since 1970-01-01; -1: predicted). `-o NAME.zarr` writes one
    cube of time, y and x instead. If a series was stopped, the same command continues it.

    No scene shows a predicted value: what happened on that day alone is not in it. Leave such values out, or count them, with quality.

    \b
    terrazzo series --store demo --bbox 15.9 45.7 16.1 45.9 --datetime 2023-08-10/2023-08-20 -o days
    terrazzo series --store demo --geometry forest.geojson --datetime 2025-04-01/2025-10-31 --every 10 --expression '(B08-B04)/(B08+B04)' -o ndvi.zarr
    """
    from terrazzo.bulk.lock import alone_with
    from terrazzo.bulk.outlines import geojson_of_file
    from terrazzo.config import day_interval
    from terrazzo.export.order import parse_order
    from terrazzo.export.series import days_between
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine
    from terrazzo.store import Store
    from terrazzo.version import open_version

    is_zarr = output.suffix.lower() == ".zarr"
    if is_zarr:
        from terrazzo.export.folders import require_replaceable

        require_packable(asked["compression"])
        require_replaceable(output, overwrite)
    days = days_between(*day_interval(when), every)
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = Engine(open_version(Store(url), mosaic, asked["version"] or None), Blocks())
    order = parse_order(
        {**asked, "geometry": geojson_of_file(geometry) if geometry else None}, engine.version
    )
    with alone_with(output):
        held = _write(engine, order, days, output, overwrite=overwrite, is_zarr=is_zarr)
    click.echo(f"{output}: {held} of {counted(len(days), 'day')}", err=True)


def _write(
    engine: "Engine", order: "Order", days: "Sequence[date]", output: Path, *, overwrite: bool, is_zarr: bool
) -> int:
    """Writes the days into a folder, or into a cube; returns how many hold anything."""
    from terrazzo.export.series import write_days

    folder = output.with_name(f".{output.stem}.days") if is_zarr else output
    steps = write_days(engine, order, days, folder, workers=processors(), overwrite=overwrite or is_zarr)
    written: list[WrittenDay] = list(progress(steps, "series"))
    held = _held(written, folder)
    if is_zarr:
        from terrazzo.export.folders import write_cube

        write_cube([(one.day, one.files) for one in held], output, order.compression)
        shutil.rmtree(folder)
    return len(held)


def _held(written: "Sequence[WrittenDay]", folder: Path) -> "list[WrittenDay]":
    """The days that hold anything; prints what days lack.

    Raises:
        OutsideCoverage: none does; the folder goes.
    """
    for one in written:
        for problem in one.problems:
            click.echo(f"{one.day}: left out {problem}", err=True)
        if not one.files:
            click.echo(f"{one.day}: no date within reach shows anything", err=True)
    held = [one for one in written if one.files]
    if not held:
        shutil.rmtree(folder)
        raise OutsideCoverage("no day holds anything in this area: nothing is written")
    return held
