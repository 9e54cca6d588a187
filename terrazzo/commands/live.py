"""`terrazzo live`: a place on the map at once, from overviews; then finer, and precomputed in the background."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from terrazzo.commands.invoke import run_command
from terrazzo.errors import InvalidRequest, StoreError, TerrazzoError
from terrazzo.grid import Bounds
from terrazzo.request.options import WithBox, box

STEPS = (20, 40, 80, 160, 320, 640)
"""Metres of the pixels that a look may have: COGs of 10 and 20 m have overviews of them."""
SIDES = (320, 800)
"""Pixels along a side of the first look and of the finer one, at most."""
MARGIN = 15e3
"""Metres that are read around the area, both sides together."""
BANDS = "B02,B03,B04,B08"


@click.command(cls=WithBox)
@click.option("--bbox", callback=box, required=True, metavar="W S E N", help="the area as a box in degrees")
@click.option(
    "--datetime", "when", required=True, help="day, month, year or interval A/B, .. for an open end"
)
@click.option(
    "--archive",
    default="earth-search",
    show_default=True,
    help="an archive of `terrazzo acquire` whose bands are COGs with overviews",
)
@click.option(
    "--max-cloud",
    type=click.FloatRange(0, 100),
    help="largest cloud cover of a product, per cent, from its metadata [default: no limit]",
)
@click.option(
    "--store",
    default="terrazzo-store",
    show_default=True,
    metavar="STORE",
    help="folder of the store; created if missing",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="port; 0 for any free one"
)
@click.option("--workers", type=click.IntRange(1), help="processes that precompute [default: all processors]")
@click.option(
    "--precompute/--no-precompute",
    default=True,
    help="precompute the mosaic after the first looks [default: yes]",
)
@click.pass_context
def live(
    ctx: click.Context,
    bbox: Bounds,
    when: str,
    archive: str,
    max_cloud: float | None,
    store: str,
    host: str,
    port: int,
    workers: int | None,
    precompute: bool,
) -> None:
    """Shows a place early: on a map, from an archive's overviews, while it precomputes the mosaic.

    The command prints the address of the map. A first look of large pixels comes first, masked and normalized like a
    mosaic. A finer look replaces it, then the precomputed mosaic. The header X-Terrazzo-State of a tile is `live` or
    `published`.

    Ctrl-C stops it. STORE and STORE-products keep what is done. The same command, or `terrazzo precompute`, continues.

    \b
    terrazzo live --bbox 24.8 60.1 25.1 60.3 --datetime 2025-07
    """
    query = [f"--bbox={' '.join(map(str, bbox))}", "--datetime", when, "--archive", archive]
    query += [] if max_cloud is None else ["--max-cloud", str(max_cloud)]
    hands = [] if workers is None else ["--workers", str(workers)]
    whole = [
        ["acquire", "--store", store, *query],
        ["precompute", f"{store}-products", "--store", store, *hands],
    ]
    try:
        with shown(ctx, bbox, store, query, ["--host", host, "--port", str(port)]) as server:
            for arguments in whole if precompute else []:
                _try(ctx, server, arguments)
            if server.wait():
                raise TerrazzoError("the server ended, for the reason above")
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"stopped; `terrazzo precompute {store}-products --store {store}` goes on", err=True)


def require_folder(store: str) -> None:
    """Checks that first looks can lie beside a store.

    Raises:
        InvalidRequest: it is no folder.
    """
    if "://" in store:
        raise InvalidRequest(f"--store {store}: name a folder; first looks lie beside it")


@contextmanager
def shown(
    ctx: click.Context,
    bbox: Bounds,
    store: str,
    query: Sequence[str],
    listen: Sequence[str] = ("--port", "0"),
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server beside this process that shows a place from overviews until its store has a mosaic; the looks are there at the yield.

    Args:
        query: options of `acquire` that say what is asked of the archive.
        listen: options of `serve` that say where.

    Raises:
        InvalidRequest: the store is no folder.
        TerrazzoError: the server ended.
    """
    require_folder(store)
    looks = [] if _shows(store) else [(metres, f"{store}-live-{metres}") for metres in pixels_of(bbox)]
    if not looks:
        click.echo(
            f"{store} has a mosaic: this place is added to it without a first look; --store NEW shows one",
            err=True,
        )
    for folder in (store, *(look for _, look in looks)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    environment = {
        "TERRAZZO_LIVE": ",".join(look for _, look in reversed(looks)),
        "TERRAZZO_FOLLOW": "1",
        "TERRAZZO_MAX_AGE": "2",
    }
    with _server(["--store", store, *listen], environment) as server:
        for arguments in _steps(looks, query):
            _try(ctx, server, arguments)
        yield server


def _try(ctx: click.Context, server: "subprocess.Popen[bytes]", arguments: list[str]) -> None:
    """Runs a command; what fails is printed, and the picture that is there stays.

    Raises:
        TerrazzoError: the server ended.
    """
    if server.poll() is not None:
        raise TerrazzoError("the server ended, for the reason above")
    try:
        run_command(ctx, arguments)
    except click.ClickException as error:
        click.echo(f"{arguments[0]}: {error.format_message()}", err=True)


def _shows(store: str) -> bool:
    """Whether a folder has a published mosaic, which would hide a first look."""
    from terrazzo.store import Store
    from terrazzo.version import list_mosaics

    try:
        return "mosaic" in list_mosaics(Store(store))
    except StoreError:
        return False


def pixels_of(bbox: Bounds) -> list[int]:
    """Metres of the pixels of the looks at a box in degrees, the coarsest first; one where a finer one would be the same."""
    high = (bbox.top - bbox.bottom) * 111_200 + MARGIN
    wide = (bbox.right - bbox.left) % 360 * 111_200 * math.cos(
        math.radians((bbox.top + bbox.bottom) / 2)
    ) + MARGIN
    side = math.sqrt(high * wide)
    return list(dict.fromkeys(next((s for s in STEPS if side / s <= n), STEPS[-1]) for n in SIDES))


@contextmanager
def _server(arguments: Sequence[str], settings: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A server beside this process, which draws while this one fetches."""
    # -P: a file of the user's folder must not stand for a module of ours.
    program = [sys.executable, "-P", "-c", "from terrazzo.cli import main; main()", "serve"]
    process = subprocess.Popen([*program, *arguments], env={**os.environ, **settings})
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _steps(looks: Sequence[tuple[int, str]], query: Sequence[str]) -> Iterator[list[str]]:
    """The commands that fill the stores of looks, by the chain that whole products go through.

    Args:
        looks: metres of the pixels and store of each.
        query: what is asked of the archive.
    """
    for metres, look in looks:
        size = ["--pixel", str(metres), "--mask-pixel", str(metres), "--window", "64", "--bands", BANDS]
        yield ["acquire", "--store", look, *query, "--bands", BANDS, "--overview", str(metres)]
        # Of so few pixels another process would take longer to begin than to end.
        quick = ["--workers", "1", "--quick", "--register", "off"]
        yield ["precompute", f"{look}-products", "--store", look, *size, *quick]
