"""`terrazzo statistics`: a table of many areas, periods and bands."""

from pathlib import Path
from typing import Any

import click

from terrazzo.commands.output import processors, progress
from terrazzo.errors import InvalidRequest, TerrazzoError
from terrazzo.request.options import AREA_FILE, FILE, options
from terrazzo.request.parameters import TABULATED


@click.command()
@click.argument("areas", required=False, type=FILE)
@click.option(*AREA_FILE, "geometry", type=FILE, help="the same as AREAS")
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@options(TABULATED, leave=("format",))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help=".parquet or .csv"
)
def statistics(
    areas: Path | None,
    geometry: Path | None,
    url: str,
    mosaic: str,
    output: Path,
    **asked: Any,
) -> None:
    """Writes statistics of the polygons of AREAS: GeoPackage, GeoParquet, GeoJSON, Shapefile, GML or FlatGeobuf.

    One row for each area, period and band: count, mean, std, min, max, median and percentiles of reflectance on the mosaic's own
    pixels; the share that is clear, the share filled from another period, the age in days; the mosaic's version. A table that was
    stopped continues when the same command is run again.

    \b
    terrazzo statistics stands.gpkg --store demo --id stand --period 2025-06,2025-07 --expression '(B08-B04)/(B08+B04)' -o ndvi.parquet
    """
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine
    from terrazzo.statistics.question import parse_table
    from terrazzo.store import Store
    from terrazzo.version import open_version

    try:
        from terrazzo.statistics.areas import read_areas
        from terrazzo.statistics.run import statistics as write
    except ModuleNotFoundError as error:
        raise TerrazzoError(f"{error.name} is missing: pip install 'terrazzo[statistics]'") from None

    file = areas or geometry
    if file is None or (areas and geometry):
        raise InvalidRequest("name the areas once: terrazzo statistics AREAS, or --geom FILE")
    engine = Engine(open_version(Store(url), mosaic, asked["version"] or None), Blocks())
    question, _, id_name, layer = parse_table(asked, engine.version)
    steps = write(engine, question, read_areas(file, id_name, layer), output, workers=processors())
    (table,) = progress(steps, "statistics")
    for problem in table.problems:
        click.echo(f"left out {problem}", err=True)
    click.echo(f"{table.path}: {table.summary()}", err=True)
