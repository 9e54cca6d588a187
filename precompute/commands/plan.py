"""`terrazzo plan`: what a mosaic would take, before anything is fetched."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from terrazzo.errors import InvalidRequest
from terrazzo.precompute.acquire.archives import READABLE, find_archives
from terrazzo.precompute.work.executor import default_workers
from terrazzo.precompute.work.options import band_names
from terrazzo.words import counted


@click.command()
@click.argument("config", metavar="MOSAIC.TOML", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--archive",
    "name",
    default="earth-search",
    show_default=True,
    help=f"{READABLE} or a STAC API's address",
)
@click.option("--collection", help="collection of the archive [default: its Sentinel-2]")
@click.option("--datetime", "when", help="dates of a mosaic that names no periods, as for `acquire`")
@click.option("--level", type=click.Choice(["l1c", "l2a"]), default="l2a", show_default=True)
@click.option("--bands", help="comma-separated [default: B02…B08,B8A,B11,B12]")
@click.option(
    "--max-cloud",
    type=click.FloatRange(0, 100),
    help="largest cloud cover of a product, per cent, from its metadata [default: no limit]",
)
@click.option(
    "--until-clear",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="K",
    help="count products until every place has K clear observations in every period; 0: all products",
)
@click.option(
    "--cores",
    type=click.IntRange(1),
    default=default_workers,
    help="processors that the estimate assumes [default: all of this machine]",
)
@click.option("--json", "as_json", is_flag=True, help="print the estimate as JSON")
def plan(
    config: Path,
    name: str,
    collection: str | None,
    when: str | None,
    cores: int,
    as_json: bool,
    **asked: Any,
) -> None:
    """Estimates the mosaic of a MOSAIC.TOML: scenes, bytes, hours. It reads metadata and headers only.

    Area and periods come from the file (`bounds`, `[[periods]]`). The estimate is for the parts of tiles that `terrazzo
    acquire` fetches: bytes of JP2 by their headers (8 kB each, at most 1000), others by their area and by measured rates
    (docs/evidence/scale.md).

    \b
    terrazzo plan finland.toml --archive cdse --max-cloud 60 --cores 64
    """
    from terrazzo.bands import DEFAULT_BANDS
    from terrazzo.config import day_interval, parse_config
    from terrazzo.precompute.acquire.fetch import gigabytes
    from terrazzo.precompute.acquire.forecast import forecast

    (archive, *more) = find_archives(name, collection)
    if more:
        raise InvalidRequest(f"--archive {name}: the plan reads one archive; name one")
    estimate = forecast(
        parse_config(config.stem, config.read_text()),
        archive,
        days=day_interval(when) if when else None,
        level=asked["level"],
        bands=band_names(asked["bands"]) if asked["bands"] else DEFAULT_BANDS,
        max_cloud=asked["max_cloud"],
        clear=asked["until_clear"],
    )
    if as_json:
        click.echo(json.dumps({**asdict(estimate), "cores": cores, "days": estimate.days(cores)}))
        return
    for period, count in estimate.scenes.items():
        click.echo(f"period {period}: {counted(count, 'scene')}")
    click.echo(f"{counted(sum(estimate.tiles.values()), 'scene')} of {counted(len(estimate.tiles), 'tile')}")
    click.echo(
        f"fetched  {gigabytes(round(estimate.fetched))}, {estimate.known_share:.0%} of it as the archive lists, the rest estimated"
    )
    click.echo(f"stored   {gigabytes(round(estimate.stored))}")
    click.echo(
        f"work     at most {estimate.cpu_hours:.1f} CPU-hours: {estimate.days(cores):.1f} days on {counted(cores, 'core')}"
    )
    if estimate.left_out:
        click.echo(
            f"{counted(estimate.left_out, 'product of the archive')} left out, without files that a scene needs"
        )
