"""Many people look at the map at once: a replay of their views against stock TiTiler and against Terrazzo, one after the other.

    python -m benchmarks.load --store FOLDER --replay LOAD.py [--users 1 8 64] [--seconds 20]

FOLDER is a store made by `python -m benchmarks.scenes`. LOAD.py is any replay that takes a tile URL, `--bbox`, `--zooms`,
`--users` and `--seconds`. Both servers run alone, each with two processes, over the same scenes and bands, with an empty cache of
tiles; stock is titiler.mosaic's own factory over the version's MosaicJSON, with GDAL tuned and one scene at a time read (what
`benchmarks.tile` calls tuned). Whether memory stays where it is: `benchmarks.memory_growth`.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import psutil
from fastapi import FastAPI

from benchmarks.tile import RGB, TUNED_GDAL, addressed, native_zoom
from terrazzo.store import Store
from terrazzo.version import Version, open_version, version_key

MOSAIC = "BENCHMARK_MOSAIC"
STEPS = 10


def stock() -> FastAPI:
    """Stock TiTiler as its documentation sets it up, over the MosaicJSON that the environment names."""
    from cogeo_mosaic.backends import MosaicBackend
    from rio_tiler.io import STACReader
    from titiler.core.dependencies import AssetsExprParams
    from titiler.mosaic.factory import MosaicTilerFactory

    factory = MosaicTilerFactory(
        backend=MosaicBackend,
        dataset_reader=STACReader,
        layer_dependency=AssetsExprParams,
        path_dependency=lambda: os.environ[MOSAIC],
    )
    app = FastAPI()
    app.include_router(factory.router)
    return app


@contextmanager
def running(command: list[str], port: int, ready: str, env: dict[str, str]) -> Iterator[psutil.Process]:
    """A server until it is left, from when it answers `ready`."""
    with subprocess.Popen([*command, "--port", str(port)], env=os.environ | env) as server:
        try:
            for _ in range(600):
                try:
                    urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise SystemExit(f"{command[0]} does not answer")
            yield psutil.Process(server.pid)
        finally:
            server.terminate()


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def replay(script: Path, url: str, version: Version, users: list[int], seconds: int, places: int) -> None:
    """Runs the replay; it prints its figures, and ends with 1 where there were errors."""
    b, native = version.bounds, native_zoom(version)
    command = [
        sys.executable,
        str(script),
        url,
        "--bbox",
        *(str(v) for v in (b.left, b.bottom, b.right, b.top)),
    ]
    command += [
        "--zooms",
        str(native - 5),
        str(native),
        "--users",
        *map(str, users),
        "--seconds",
        str(seconds),
    ]
    command += ["--max-error-rate", "1", "--places", str(places)]
    subprocess.run(command, check=False)


def memory(server: psutil.Process) -> float:
    """MB that a server and its workers hold that nobody else does."""
    return sum(p.memory_full_info().uss for p in (server, *server.children(recursive=True))) / 1e6


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--replay", type=Path, help="script that plays the users")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=int, default=20, help="of each number of users [20]")
    parser.add_argument("--places", type=int, default=40, help="places that users jump to [40]")
    parser.add_argument("--only-ours", action="store_true", help="leave stock TiTiler out")
    a = parser.parse_args()
    store = Store(a.store)
    version = open_version(store, "mosaic")
    tile = "WebMercatorQuad/{z}/{x}/{y}.png"
    with tempfile.TemporaryDirectory() as cache:
        terrazzo = [
            str(Path(sys.executable).with_name("terrazzo")),
            "serve",
            "--store",
            str(a.store),
            "--workers",
            "2",
        ]
        env = {"TERRAZZO_CACHE_DIR": cache}
        port = free_port()
        with running(terrazzo, port, "/readyz", env) as server:
            print("terrazzo", flush=True)
            url = f"http://127.0.0.1:{port}/mosaics/mosaic/tiles/{tile}?bands={','.join(RGB)}&rescale=0,0.3"
            replay(a.replay, url, version, a.users, a.seconds, a.places)
            print(f"{memory(server):.0f} MB", flush=True)
    if a.only_ours:
        return
    path = addressed(store, version_key("mosaic", version.name, "mosaicjson.json"))
    env = {MOSAIC: path, "RIO_TILER_MAX_THREADS": "1"} | {k: str(v).upper() for k, v in TUNED_GDAL.items()}
    uvicorn = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.load:stock", "--workers", "2"]
    port = free_port()
    with running([*uvicorn, "--log-level", "error"], port, "/docs", env):
        print("stock TiTiler, tuned", flush=True)
        assets = "&".join(f"assets={b}" for b in RGB)
        replay(
            a.replay,
            f"http://127.0.0.1:{port}/tiles/{tile}?{assets}&rescale=0,3000",
            version,
            a.users,
            a.seconds,
            a.places,
        )


if __name__ == "__main__":
    main()
