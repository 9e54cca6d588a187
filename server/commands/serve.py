"""`terrazzo serve`: a store in, a map in the browser out."""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.errors import StoreError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from terrazzo.server.settings import Settings
    from terrazzo.server.worker import Kept

UVICORN: dict[str, Any] = {
    "log_config": None,
    "log_level": "warning",
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "timeout_graceful_shutdown": 5,
    # A worker imports for seconds on a busy machine before it can answer.
    "timeout_worker_healthcheck": 60,
}


def from_environment() -> "FastAPI":
    """The application of a worker process, from `TERRAZZO_*` variables."""
    from terrazzo.server.logs import configure
    from terrazzo.server.preload import create_app
    from terrazzo.server.settings import Settings

    settings = Settings()  # type: ignore[call-arg]
    configure(settings.log)
    return create_app(settings)


def _names() -> list[str]:
    """The mosaics of the store, in a process of its own."""
    return list(from_environment().state.context.mosaics.names())


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
@click.option(
    "--worker/--no-worker", default=True, help="start a process that runs export jobs [default: yes]"
)
def serve(store: str, host: str, port: int, workers: int, cache_dir: Path | None, worker: bool) -> None:
    """Serves the mosaics of a store: XYZ tiles, WMTS, values, GeoTIFF, and a map at /.

    Over an empty store it waits for the first mosaic.

    Ctrl-C or SIGTERM stops it. More settings are environment variables, see `docs/operate/serving.md`.

    \b
    terrazzo serve --store demo
    terrazzo serve --store s3://bucket/store --host 0.0.0.0 --workers 4 --cache-dir /var/cache/terrazzo
    """
    # The web framework and GDAL take seconds to import: `terrazzo serve --help` need not wait for them.
    import uvicorn

    from terrazzo.server.logs import configure
    from terrazzo.server.settings import BLOCKS, FEWEST, Settings
    from terrazzo.server.timeouts import PatientProtocol

    os.environ["TERRAZZO_STORE"], os.environ["TERRAZZO_HOST"] = store, host
    if cache_dir is not None:
        os.environ["TERRAZZO_CACHE_DIR"] = str(cache_dir)
    os.environ.setdefault("TERRAZZO_BLOCKS", str(max(BLOCKS // workers, FEWEST)))
    settings = Settings()  # type: ignore[call-arg]
    configure(settings.log)
    with ExitStack() as stack:
        application: FastAPI | str = "terrazzo.server.commands.serve:from_environment"
        if workers > 1:
            names = stack.enter_context(_sharing())
        else:
            application = from_environment()
            names = application.state.context.mosaics.names()
        listener = _listen(host, port)
        _greet(settings, names, host, listener.getsockname()[1])
        exporting = _worker(settings) if worker else None
        if exporting is not None:
            stack.callback(exporting.stop)
        # uvicorn's own protocols wait for ever.
        config = uvicorn.Config(
            application, factory=workers > 1, workers=workers, http=PatientProtocol, **UVICORN
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            _run(config, listener)


@contextmanager
def _sharing() -> Iterator[list[str]]:
    """Lets the workers be forked from one process that has imported the application, and share counts; the store's mosaics.

    Raises:
        StoreError: the application cannot be made for this store.
    """
    import uvicorn._subprocess

    from terrazzo.server.metrics import SHARED

    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["terrazzo.server.preload"])
    # A file of the user's folder must not stand for a module of ours.
    os.environ["PYTHONSAFEPATH"] = "1"
    # uvicorn would start each worker from nothing: as much memory and time for each.
    uvicorn._subprocess.spawn = forks  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="terrazzo-metrics-") as counts:
        os.environ[SHARED] = counts
        try:
            pool = ProcessPoolExecutor(1, forks)
        except OSError as error:
            raise StoreError(
                f"several workers need /dev/shm to be there, writable and not full ({error}): mount it, or serve with --workers 1"
            ) from None
        with pool as first:
            names = first.submit(_names).result()
        yield names


def _greet(settings: "Settings", mosaics: Sequence[str], host: str, port: int) -> None:
    """Prints the address of the map, and on the error output what is missing and what needs a key."""
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"map: http://{shown}:{port}/  (mosaics: {', '.join(mosaics) or 'none yet'}; Ctrl-C stops)")
    sys.stdout.flush()
    if not mosaics:
        from terrazzo.server.mosaics import NONE_YET

        click.echo(NONE_YET.replace("STORE", settings.store), err=True)
    if guarded := settings.guarded():
        click.echo(
            f"{' and '.join(guarded)} need a key: {_keys_command(settings)} add NAME --scope …", err=True
        )


def _run(config: "uvicorn.Config", listener: socket.socket) -> None:
    """Answers requests until it is stopped; with several workers each process makes its own application."""
    import uvicorn

    if config.workers == 1:
        uvicorn.Server(config).run(sockets=[listener])
        return
    from uvicorn.supervisors import Multiprocess

    Multiprocess(config, sockets=[listener]).run()


def _keys_command(settings: "Settings") -> str:
    """The command that writes keys where this server reads them."""
    state = f" --state {settings.state.absolute()}" if settings.state else ""
    return f"terrazzo keys --store {settings.store}{state}"


def _worker(settings: "Settings") -> "Kept | None":
    """The process for exports; none where it has no folder to write to."""
    from terrazzo.server.jobs import Jobs
    from terrazzo.server.worker import Kept

    try:
        Jobs(settings.state_folder(), settings.jobs_url)
    except StoreError as error:
        click.echo(f"without exports: {error}", err=True)
        return None
    return Kept(settings.store)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sets TCP_NODELAY only where the protocol is named; without it the body of an answer waits some
        # 40 ms for the client to acknowledge the head.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
