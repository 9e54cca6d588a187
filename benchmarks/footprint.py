"""What memory a server takes and what its first tile costs: `python -m benchmarks.footprint --store FOLDER [--before PYTHON]`.

FOLDER is any store. A server of two processes, with the worker of exports, answers one tile, then `--tiles` tiles of places and zooms by chance.
Memory is that of all its processes, by proportional size: what they share counts once. With `--before`, the interpreter of another
build's environment, that build is measured first, and its first tile must be the same bytes.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import morecantile
import psutil

from terrazzo.store import Store
from terrazzo.version import list_mosaics

WEB = morecantile.tms.get("WebMercatorQuad")
SETTLED = 4
"""Seconds after which the other processes have started too."""


def processes(server: int) -> Iterator[psutil.Process]:
    """A server's processes."""
    yield psutil.Process(server)
    yield from psutil.Process(server).children(recursive=True)


def megabytes(server: int) -> float:
    """Proportional size of all processes."""
    return float(sum(p.memory_full_info().pss for p in processes(server)) / 1e6)


def seconds(server: int) -> float:
    """CPU of all processes that live."""
    return float(sum(p.cpu_times().user + p.cpu_times().system for p in processes(server)))


def fetched(address: str) -> bytes:
    """The body of an answer; asked again while the server compiles longer than it lets wait."""
    while True:
        try:
            with urllib.request.urlopen(address, timeout=300) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise


@contextmanager
def serving(python: str, store: str, *options: str) -> Iterator[tuple[int, str]]:
    """A server of a store by the `terrazzo` beside an interpreter: its process and its address, once it says so."""
    command = [str(Path(python).parent / "terrazzo"), "serve", "--store", store, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert address
            yield server.pid, address[0]
        finally:
            server.terminate()


def measured(python: str, store: str, tiles: int) -> tuple[str, bytes]:
    """A line about a build, and its first tile."""
    start = time.perf_counter()
    with serving(python, store, "--workers", "2") as (pid, address):
        base = f"{address}/mosaics/{list_mosaics(Store(store))[0]}"
        west, south, east, north = json.loads(fetched(f"{base}/WebMercatorQuad/tilejson.json"))["bounds"]

        def place(x: float, y: float, zoom: int) -> str:
            tile = WEB.tile(west + x * (east - west), south + y * (north - south), zoom)
            return f"{base}/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}.png"

        first = fetched(place(0.5, 0.5, 13))
        elapsed = time.perf_counter() - start
        time.sleep(SETTLED)
        at_start, cost = megabytes(pid), seconds(pid)
        chance = random.Random(0)
        places = [place(chance.random(), chance.random(), chance.randint(10, 14)) for _ in range(tiles)]
        with ThreadPoolExecutor(8) as users:
            list(users.map(fetched, places))
        line = (
            f"first tile after {elapsed:.1f} s and {cost:.1f} s of CPU of all processes; {at_start:.0f} MB then,"
            f" {megabytes(pid):.0f} MB after {tiles} tiles"
        )
    return line, first


def main() -> None:
    """Prints a line a build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--tiles", type=int, default=800)
    parser.add_argument("--before", metavar="PYTHON", help="the interpreter of another build")
    given = parser.parse_args()
    bodies = []
    for python in [given.before, sys.executable] if given.before else [sys.executable]:
        line, body = measured(python, given.store, given.tiles)
        print(f"{python}: {line}", flush=True)
        bodies.append(body)
    assert len(set(bodies)) == 1, "the builds' tiles differ"


if __name__ == "__main__":
    main()
