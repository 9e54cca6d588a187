"""`terrazzo seed`: fills the tile cache of a server beforehand."""

import os
from pathlib import Path

import click

from terrazzo.request.options import WithBox, box
from terrazzo.words import counted


def _zooms(context: click.Context, parameter: click.Parameter, text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) <= 30):
        raise click.BadParameter("a zoom, or two such as 8-12")
    return range(int(first), int(last or first) + 1)


@click.command(cls=WithBox)
@click.option("--store", envvar="TERRAZZO_STORE", required=True, metavar="STORE", help="folder or address")
@click.option("--mosaic", default="mosaic", show_default=True)
@click.option(
    "--cache-dir",
    envvar="TERRAZZO_CACHE_DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="folder of the server's tile cache",
)
@click.option("--bbox", callback=box, metavar="W S E N", help="degrees [default: the whole mosaic]")
@click.option("--zooms", callback=_zooms, required=True, metavar="FIRST-LAST", help="such as 8-12")
@click.option("--tms", default="WebMercatorQuad", show_default=True, help="tile matrix set")
@click.option("--format", "form", default="png", show_default=True, help="png, jpg, webp, tif or npy")
@click.option("--query", default="", help="parameters as in a tile's address: style=ndvi&datetime=2025-07")
def seed(
    store: str,
    mosaic: str,
    cache_dir: Path,
    bbox: tuple[float, float, float, float] | None,
    zooms: range,
    tms: str,
    form: str,
    query: str,
) -> None:
    """Fills a server's tile cache ahead of requests, for the mosaic's current version.

    Tiles that are in the cache are kept: those of an earlier run, and those that a new version did not change. Run it again
    after each version, or if it was stopped. TERRAZZO_CACHE_SIZE limits the cache, as it does for the server.

    \b
    terrazzo seed --store demo --cache-dir /var/cache/terrazzo --bbox 15.9 45.7 16.1 45.9 --zooms 8-13
    """
    from terrazzo.server.seed import seeded
    from terrazzo.server.settings import Settings

    os.environ["TERRAZZO_STORE"] = store
    os.environ["TERRAZZO_CACHE_DIR"] = str(cache_dir)
    counts = seeded(Settings(), mosaic, tms, bbox, zooms, form, query)  # type: ignore[call-arg]
    click.echo(
        f"version {counts.version}: {counted(counts.rendered, 'tile')} rendered, {counts.there} already cached, {counts.empty} without data,"
        f" {counts.refused} refused"
    )
    if counts.problem:
        click.echo(f"first refusal: {counts.problem}", err=True)
