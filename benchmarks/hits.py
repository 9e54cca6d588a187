"""What an answer from the cache costs, and a 304: `python -m benchmarks.hits --store FOLDER [--before PYTHON]`.

FOLDER is any store. A server of its own keeps its tiles in a cache; the same tiles are asked again over one kept connection, as they
are and with If-None-Match. CPU is that of the server's process. With `--before`, the interpreter of another build's environment,
both builds take turns, and their answers must be the same bytes.
"""

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from terrazzo.server.grids import Grids
from terrazzo.store import Store
from terrazzo.version import list_mosaics, open_version

ROUNDS, REPEATS = 5, 400
ANSWERS = {"hit": "a tile from the cache", "304": "304, not modified"}


class Served:
    """A server of one build with an empty cache."""

    def __init__(self, python: str, store: str, folder: str) -> None:
        command = [
            str(Path(python).parent / "terrazzo"),
            "serve",
            "--store",
            store,
            "--port",
            "0",
            "--no-worker",
        ]
        self.process = subprocess.Popen([*command, "--cache-dir", folder], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        port = re.search(r":(\d+)/", self.process.stdout.readline())
        assert port
        self.line = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=60)
        self._about = psutil.Process(self.process.pid)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        self.line.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = self.line.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def cost(self, path: str, count: int, **headers: str) -> tuple[float, float]:
        """Milliseconds of CPU and of waiting, an answer."""
        before, start = self._about.cpu_times(), time.perf_counter()
        for _ in range(count):
            self.get(path, **headers)
        after, end = self._about.cpu_times(), time.perf_counter()
        cpu = after.user + after.system - before.user - before.system
        return 1e3 * cpu / count, 1e3 * (end - start) / count


def main() -> None:
    """Prints a table in Markdown, with two columns a build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--before", metavar="PYTHON", help="the interpreter of another build")
    given = parser.parse_args()
    store = Store(given.store)
    mosaic = list_mosaics(store)[0]
    version = open_version(store, mosaic)
    west, south, east, north = version.bounds
    tms = Grids(()).find(version, "WebMercatorQuad")
    tile = tms.tile((west + east) / 2, (south + north) / 2, tms.maxzoom)
    path = f"/mosaics/{mosaic}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    pythons = [given.before, sys.executable] if given.before else [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        builds = [Served(p, given.store, f"{folder}/{n}") for n, p in enumerate(pythons)]
        try:
            answers = [b.get(path) for b in builds]
            assert len({body for _, _, body in answers}) == 1, "the builds' tiles differ"
            etags = [head.get("etag") or head.get("ETag", "") for _, head, _ in answers]
            time.sleep(0.5)
            heads = ["CPU, ms", "until the last byte, ms"] * len(builds)
            print(f"| answer | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
            for name in ANSWERS:
                rows: list[list[tuple[float, float]]] = [[] for _ in builds]
                for n in range(ROUNDS + 1):
                    for b, build in enumerate(builds):
                        asked = {"If_None_Match": etags[b]} if name == "304" else {}
                        assert build.get(path, **asked)[0] == (304 if asked else 200)
                        figures = build.cost(path, REPEATS, **asked)
                        if n:
                            rows[b].append(figures)
                shown = [f"{statistics.median(f[which] for f in r):.2f}" for r in rows for which in (0, 1)]
                print(f"| {ANSWERS[name]} | {' | '.join(shown)} |")
        finally:
            for build in builds:
                build.process.terminate()
                build.process.wait()


if __name__ == "__main__":
    main()
