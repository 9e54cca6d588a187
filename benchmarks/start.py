"""From the start of a server to its first tile: `python -m benchmarks.start --store FOLDER [--before PYTHON] [--workers 1]`.

FOLDER is any store. A server without a worker of exports is started and asked for a tile in its middle, again and again, after one
start that compiles what is not there. With `--before`, the interpreter of another build's environment, both builds take turns, and
their tiles must be the same bytes.
"""

import argparse
import statistics
import sys
import time

import morecantile

from benchmarks.footprint import fetched, megabytes, seconds, serving
from terrazzo.store import Store
from terrazzo.version import list_mosaics, open_version


def started(python: str, store: str, workers: int, tile: str) -> tuple[tuple[float, float, float], bytes]:
    """Seconds until the tile is there, CPU of all processes and their memory in MB then; and the tile."""
    start = time.perf_counter()
    with serving(python, store, "--no-worker", "--workers", str(workers)) as (pid, address):
        body = fetched(address + tile)
        elapsed = time.perf_counter() - start
        return (elapsed, seconds(pid), megabytes(pid)), body


def main() -> None:
    """Prints a table in Markdown: medians, and the least in brackets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--before", metavar="PYTHON", help="the interpreter of another build")
    given = parser.parse_args()
    store = Store(given.store)
    mosaic = list_mosaics(store)[0]
    west, south, east, north = open_version(store, mosaic).bounds
    place = morecantile.tms.get("WebMercatorQuad").tile((west + east) / 2, (south + north) / 2, 13)
    tile = f"/mosaics/{mosaic}/tiles/WebMercatorQuad/13/{place.x}/{place.y}.png"
    pythons = {"before": given.before, "now": sys.executable} if given.before else {"now": sys.executable}
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in pythons}
    bodies = {started(python, given.store, given.workers, tile)[1] for python in pythons.values()}
    for _ in range(given.rounds):
        for name, python in pythons.items():
            figures, body = started(python, given.store, given.workers, tile)
            rows[name].append(figures)
            bodies.add(body)
    assert len(bodies) == 1, "the builds' tiles differ"
    print("| build | first tile after, s | CPU of all processes, s | memory, MB |\n|---|---|---|---|")
    for name, figures in rows.items():
        shown = [f"{statistics.median(c):.3g} ({min(c):.3g})" for c in zip(*figures, strict=True)]
        print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
