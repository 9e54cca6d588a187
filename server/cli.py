"""`terrazzo serve`: a store in, a map in the browser out."""

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import click
import uvicorn

from server.app import create_app
from server.jobs import Jobs
from server.logs import configure
from server.metrics import SHARED
from server.mosaics import NONE_YET
from server.seed import FORMS, seeded
from server.settings import Settings
from server.worker import Kept
from terrazzo.errors import StoreError


def from_environment() -> object:
    """The application of a worker process, from `TERRAZZO_*` variables."""
    settings = Settings()  # type: ignore[call-arg]
    configure(settings.log)
    return create_app(settings)


@click.command()
@click.option(
    "--store", envvar="TERRAZZO_STORE", required=True, metavar="STORE", help="folder or address of the store"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on; 0.0.0.0 for all")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="port; 0 for any free one"
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="processes")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="folder of the tile cache [default: none]")
@click.option("--worker/--no-worker", default=True, help="keep a process beside for exports [default: yes]")
def serve(store: str, host: str, port: int, workers: int, cache_dir: Path | None, worker: bool) -> None:
    """Serves the mosaics of a store: XYZ tiles, WMTS, values, GeoTIFF, and a map at /.

    Over an empty store it waits for the first mosaic.

    Ctrl-C or SIGTERM stops it. More settings are environment variables, see `docs/serving.md`.

    \b
    terrazzo serve --store demo
    terrazzo serve --store s3://bucket/store --host 0.0.0.0 --workers 4 --cache-dir /var/cache/terrazzo
    """
    os.environ["TERRAZZO_STORE"], os.environ["TERRAZZO_HOST"] = store, host
    if cache_dir is not None:
        os.environ["TERRAZZO_CACHE_DIR"] = str(cache_dir)
    settings = Settings()  # type: ignore[call-arg]
    configure(settings.log)
    app = create_app(settings)
    names = app.state.desk.mosaics.names()
    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(
        f"map: http://{shown}:{listener.getsockname()[1]}/  (mosaics: {', '.join(names) or 'none yet'}; Ctrl-C stops)"
    )
    sys.stdout.flush()
    if not names:
        click.echo(NONE_YET.replace("STORE", store), err=True)
    if settings.guarded():
        click.echo(
            f"{' and '.join(settings.guarded())} need a key: terrazzo keys --store {store} add NAME --scope …",
            err=True,
        )
    kept = _worker(settings) if worker else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config = uvicorn.Config(
        "server.cli:from_environment" if workers > 1 else app,
        factory=workers > 1,
        workers=workers,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        # A worker imports for seconds on a busy machine before it can answer.
        timeout_worker_healthcheck=60,
    )
    try:
        if workers > 1:
            from uvicorn.supervisors import Multiprocess

            with tempfile.TemporaryDirectory(prefix="terrazzo-metrics-") as counts:
                os.environ[SHARED] = counts
                Multiprocess(config, sockets=[listener]).run()
        else:
            uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        if kept is not None:
            kept.stop()


def _worker(settings: Settings) -> Kept | None:
    """The process for exports; none where it has no folder to write to."""
    try:
        Jobs(settings.state_folder(), settings.jobs_url)
    except StoreError as error:
        click.echo(f"without exports: {error}", err=True)
        return None
    return Kept(settings.store)


def _zooms(context: click.Context, parameter: click.Parameter, text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) <= 30):
        raise click.BadParameter("a zoom, or two such as 8-12")
    return range(int(first), int(last or first) + 1)


@click.command()
@click.option("--store", envvar="TERRAZZO_STORE", required=True, metavar="STORE", help="folder or address")
@click.option("--mosaic", default="mosaic", show_default=True)
@click.option(
    "--cache-dir",
    envvar="TERRAZZO_CACHE_DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="folder of the server's tile cache",
)
@click.option("--bbox", nargs=4, type=float, metavar="W S E N", help="degrees [default: the whole mosaic]")
@click.option("--zooms", callback=_zooms, required=True, metavar="FIRST-LAST", help="such as 8-12")
@click.option("--tms", default="WebMercatorQuad", show_default=True, help="tile matrix set")
@click.option("--format", "form", type=click.Choice(FORMS), default="png", show_default=True)
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
    """Fills a server's tile cache beforehand, for the mosaic's current version.

    Tiles that are in the cache are left: those an earlier run made, and those a new version did not change. So run it
    again after each version, or when it was stopped. TERRAZZO_CACHE_SIZE bounds the cache, as it does the server's.

    \b
    terrazzo seed --store demo --cache-dir /var/cache/terrazzo --bbox 15.9 45.7 16.1 45.9 --zooms 8-13
    """
    os.environ["TERRAZZO_STORE"] = store
    os.environ["TERRAZZO_CACHE_DIR"] = str(cache_dir)
    found = seeded(Settings(), mosaic, tms, bbox, zooms, form, query)  # type: ignore[call-arg]
    click.echo(
        f"version {found.version}: {found.made} tiles made, {found.there} were there, {found.empty} without data,"
        f" {found.refused} refused"
    )
    if found.problem:
        click.echo(f"first refusal: {found.problem}", err=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # From here on a client that reads the printed address is kept waiting, not refused.
        listener.listen(2048)
        listener.set_inheritable(True)
    except OSError as error:
        raise StoreError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
        ) from None
    return listener
