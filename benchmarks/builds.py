"""What a tile costs in this checkout and in another one, in turns, and whether the pictures are equal.

    python -m benchmarks.builds --store FOLDER --before CHECKOUT [--tiles 4] [--rounds 5]

FOLDER is a store made by `python -m benchmarks.scenes`; CHECKOUT is a worktree of the build before, run with the same
libraries, on another store of the same scenes with `--store-before`. Each build has a process of its own that keeps what a server keeps (open mosaics, parsed headers) and drops decoded
blocks before each tile. Milliseconds of CPU to PNG on process time: of each tile the least of all rounds, then the mean over
tiles. Equal means that values, provenance, count, quality and the PNG have the same bytes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parents[1]
FIRST = {"method": "first", "normalize": False, "resampling": "nearest"}


@dataclass(frozen=True)
class Case:
    """A class of tiles; `zooms` relative to the native zoom, `across` shares of the first scene's width."""

    name: str
    zooms: tuple[int, ...]
    request: dict[str, Any]
    size: int = 256
    across: tuple[float, float] = (0.68, 0.9)


CASES = (
    Case("native zoom − 1, first", (-1,), FIRST),
    Case("native zoom − 1, default", (-1,), {}),
    Case("native zoom, first", (0,), FIRST),
    Case("native zoom, default", (0,), {}),
    Case("native zoom − 1, 512 px, first", (-1,), FIRST, 512),
    Case("native zoom − 1, 512 px, default", (-1,), {}, 512),
    Case("native zoom − 3, default", (-3,), {}),
    Case("native zoom − 4, default", (-4,), {}),
    Case("native zoom − 5 and − 6, default", (-5, -6), {}),
    Case("two zones, native zoom − 1, first", (-1,), FIRST, across=(0.1, 0.4)),
    Case("two zones, native zoom − 1, default", (-1,), {}, across=(0.1, 0.4)),
    Case("native zoom − 1, median", (-1,), FIRST | {"method": "median"}),
)


@dataclass(frozen=True)
class Answer:
    """Milliseconds of CPU, and a hash of the picture."""

    ms: float
    digest: str


class Build:
    """A checkout that answers tiles in a process of its own."""

    def __init__(self, checkout: Path, store: Path, mosaic: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--answer", "--store", str(store), "--mosaic", mosaic],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            # Without the folder of this file, whose modules have names of the standard library's.
            env=os.environ | {"PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"},
        )

    def tile(self, case: Case, place: tuple[int, int, int]) -> Answer:
        """What one cold tile costs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        task = {"request": case.request, "size": case.size, "place": place}
        print(json.dumps(task), file=self._process.stdin, flush=True)
        return Answer(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def answer(store: Path, mosaic: str) -> None:
    """Renders the tiles that stdin names, one a line, with the checkout this process imports, as a server's process does."""
    from morecantile import tms

    import terrazzo.server.preload  # noqa: F401
    from terrazzo.formats import FORMATS
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine, tile_target
    from terrazzo.mosaic.measure import Drawn, Measure
    from terrazzo.mosaic.request import PixelRequest
    from terrazzo.server.render import render
    from terrazzo.server.request import Ask
    from terrazzo.store import Store
    from terrazzo.version import open_version

    mercator, blocks = tms.get("WebMercatorQuad"), Blocks()
    engine = Engine(open_version(Store(store), mosaic), blocks)
    for line in sys.stdin:
        task = json.loads(line)
        request = PixelRequest(("B04", "B03", "B02"), **task["request"])
        ask = Ask(Measure(request), None, ((0.0, 0.3),), None, 1.0, None)
        blocks.empty()
        # A cold tile has no plan yet.
        engine.planner.__dict__.pop("_kept", None)
        start = time.process_time()
        target = tile_target(mercator, *task["place"], task["size"])
        image = engine.render(engine.select(request), target)
        picture = render(Drawn(image.values, image, (), ()), ask, target, FORMATS["png"], {})
        ms = 1e3 * (time.process_time() - start)
        layers = (image.values, image.provenance, image.count, image.quality)
        hashed = sha256(picture)
        for layer in layers:
            hashed.update(layer.dtype.str.encode() + layer.tobytes())
        print(json.dumps(asdict(Answer(ms, hashed.hexdigest()))), flush=True)


def places(store: Path, mosaic: str, case: Case, count: int) -> Iterator[tuple[int, int, int]]:
    """Tiles of a case in the scene that comes first."""
    import numpy as np
    from morecantile import tms
    from rasterio.warp import transform

    from terrazzo.store import Store
    from terrazzo.version import open_version

    version = open_version(Store(store), mosaic)
    scene = version.entries(next(iter(version.periods)))[0].scene
    grid = version.store.grid(scene.epsg)
    b, rng = grid.bounds(scene.box), np.random.default_rng(3)
    latitude = (version.bounds.bottom + version.bounds.top) / 2
    native = int(np.ceil(np.log2(156_543.034 * np.cos(np.radians(latitude)) / grid.pixel)))
    x = b.left + (b.right - b.left) * rng.uniform(*case.across, count)
    y = b.bottom + (b.top - b.bottom) * rng.uniform(0.25, 0.75, count)
    lon, lat = transform(f"EPSG:{scene.epsg}", "EPSG:4326", x, y)
    for zoom in case.zooms:
        tiles = {tms.get("WebMercatorQuad").tile(*p, native + zoom) for p in zip(lon, lat, strict=True)}
        yield from ((t.x, t.y, t.z) for t in sorted(tiles))


def compare(
    builds: dict[Literal["before", "now"], Build],
    case: Case,
    tiles: list[tuple[int, int, int]],
    rounds: int,
) -> tuple[float, float, int]:
    """Milliseconds before and now, and how many tiles are equal; the first round fills caches and is not counted."""
    least = {name: [float("inf")] * len(tiles) for name in builds}
    equal = 0
    for number in range(rounds + 1):
        for i, place in enumerate(tiles):
            answers = {name: build.tile(case, place) for name, build in builds.items()}
            if number == 0:
                equal += answers["before"].digest == answers["now"].digest
                continue
            for name, one in answers.items():
                least[name][i] = min(least[name][i], one.ms)
    before, now = (sum(v) / len(tiles) for v in (least["before"], least["now"]))
    return before, now, equal


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--mosaic", default="mosaic")
    parser.add_argument("--before", type=Path, help="checkout of the build before")
    parser.add_argument("--store-before", type=Path, help="its store, of the same scenes [default: the same]")
    parser.add_argument("--tiles", type=int, default=4, help="tiles a zoom [4]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count [5]")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.answer:
        answer(a.store, a.mosaic)
        return
    builds: dict[Literal["before", "now"], Build] = {
        "before": Build(a.before.resolve(), (a.store_before or a.store).resolve(), a.mosaic),
        "now": Build(HERE, a.store.resolve(), a.mosaic),
    }
    print("| tile | before, ms | now, ms | now / before | equal |\n|---|---|---|---|---|")
    for case in (c for c in CASES if a.only in c.name):
        tiles = list(places(a.store, a.mosaic, case, a.tiles))
        before, now, equal = compare(builds, case, tiles, a.rounds)
        print(
            f"| {case.name} | {before:.1f} | {now:.1f} | {now / before:.2f} | {equal} of {len(tiles)} |",
            flush=True,
        )
    for build in builds.values():
        build.close()


if __name__ == "__main__":
    main()
