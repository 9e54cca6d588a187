"""Reference, pyramid and export over a slow line: `python -m benchmarks.latency FOLDER [--delay 0.05]`.

A small simulated mosaic (six dates, 480 × 480 px, four bands) in an S3 server (SeaweedFS) behind a proxy that holds every request for `delay` seconds. The same work is done twice: by
the windowed merge (`terrazzo/bulk/windowed.py`), and by the plain loop, which reads one raster after the other, window by
window. Both must give the same.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import obstore

from terrazzo.bulk.area import Area
from terrazzo.bulk.windows import export_target
from terrazzo.export import pieces
from terrazzo.export.order import Order
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure, choose
from terrazzo.mosaic.request import PixelRequest
from terrazzo.precompute.normalize import rasters, reference
from terrazzo.precompute.versions import pyramid
from terrazzo.store import Store
from terrazzo.version import Version, open_version
from tests.chain import precompute
from tests.world import archive
from tests.world.line import Line
from tests.world.worlds import TYPICAL, make_world

CHUNK, SQUARE, SIDE = 256, 8, 128
"""Pixels of the reference's chunks, the pyramid's squares, an export's windows: small, so that there are several of each."""


def loop(
    windows: Iterable[Any], read: Callable, merge: Callable, write: Callable, **_: int
) -> Iterator[tuple[Any, Any]]:
    """What `windowed` does, one thing after the other."""
    for window in windows:
        yield window, write(window, merge(window, read(window)))


def plainly(work: Callable[[], Any]) -> Any:
    """The work by the plain loop."""
    with (
        patch.object(reference, "windowed", loop),
        patch.object(pyramid, "windowed", loop),
        patch.object(pieces, "windowed", loop),
        patch.object(rasters, "AT_ONCE", 1),
        patch.object(Blocks, "fetch", lambda self, reads: [None for _ in reads]),
    ):
        return work()


def references(version: Version, folder: str) -> list[bytes]:
    """The squares of the reference, packed."""
    scenes = [e.scene for e in version.entries("all")]
    squares = list(reference.chunks(version.store, scenes, scenes, folder, {}))
    for square in squares:
        reference.make_chunk(square)
    return [
        version.store.read_bytes(f"{s.prefix}/{n}.npz.zst") for s in squares for n in ("reference", "verdict")
    ]


def baked(version: Version) -> list[Any]:
    """All squares of the pyramid."""
    epsg = version.zones[0]
    part = pyramid._part(version.store, version, "all", epsg)
    boxes = tuple(pyramid._squares(version.store, version, "all", epsg, part))
    row = pyramid.Row(version.store.url, version.mosaic_id, version.name, "all", epsg, part, boxes)
    return [layers[name] for _, layers in pyramid.bake(row) for name in sorted(layers)]


def exported(version: Version, folder: Path) -> list[bytes]:
    """The windows of an export of the whole mosaic."""
    engine = Engine(version, Blocks())
    order = Order(Area(version.bounds, "EPSG:4326"), Measure(PixelRequest(("B04", "B03", "B02"))))
    target = export_target(version, order.area)
    chosen = choose(engine, order.measure)
    for _ in pieces.rendered(engine, chosen, order, target, folder, side=SIDE, workers=2):
        pass
    engine.blocks.close()
    return [p.read_bytes() for p in sorted(folder.glob("*.tif"))]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--delay", default=0.05, show_default=True, help="seconds that each request is held")
def main(folder: Path, delay: float) -> None:
    """Prints seconds of both, and how many times faster the windowed merge is."""
    make_world(folder / "products", seed=3, dates=6, size=(480, 480), weather=TYPICAL)
    precompute(folder / "products", folder / "store")
    with archive.s3_server(folder, {}, "seaweedfs") as address, Line(address) as line:
        objects = archive.bucket(address)
        for path in sorted(p for p in (folder / "store").rglob("*") if p.is_file()):
            obstore.put(objects, f"store/{path.relative_to(folder / 'store')}", path.read_bytes())
        os.environ |= {**archive.KEYS, "AWS_ENDPOINT_URL": line.address, "AWS_ALLOW_HTTP": "true"}
        version = open_version(Store(f"s3://{archive.BUCKET}/store"), "mosaic")
        pyramid.SQUARE, reference.CHUNK = SQUARE, CHUNK
        works: dict[str, Callable[[str], list[Any]]] = {
            "reference": lambda how: references(version, f"benchmark/{how}"),
            "pyramid": lambda how: baked(version),
            "export": lambda how: exported(version, folder / how),
        }
        for name, work in works.items():
            # Numba compiles before what is measured.
            work("warm")
            begun = time.perf_counter()
            work("near")
            near = time.perf_counter() - begun
            with line.delayed(delay):
                begun = time.perf_counter()
                fast = work("windowed")
                middle = time.perf_counter()
                slow = plainly(lambda work=work: work("loop"))
                ended = time.perf_counter()
            same = len(fast) == len(slow) and all(
                np.array_equal(a, b) for a, b in zip(fast, slow, strict=True)
            )
            assert same, name
            click.echo(
                f"{name}: without delay {near:.1f} s, with it {middle - begun:.1f} s, plain loop {ended - middle:.1f} s:"
                f" {(ended - middle) / (middle - begun):.1f} times faster"
            )


if __name__ == "__main__":
    main()
