"""A mosaic of very many scenes: how long it takes to open, to plan a tile, and how much memory it holds.

    python -m benchmarks.many FOLDER [--scenes 100000] [--tiles 1500]

Writes only what a server reads before it reads pixels (lock, scenes, cells): scenes spread evenly over MGRS tiles of
all zones and years, without gains. A plan is everything up to the first read of a weight: the request resolved, its scenes,
the tile's cache key, and the scenes that lie in it.
"""

import argparse
import io
import json
import resource
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from morecantile import tms

from terrazzo import PIXELS
from terrazzo.bands import DEFAULT_BANDS
from terrazzo.cells import DIGEST, SCHEMA
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.request import PixelRequest
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import open_version, version_key

MERCATOR = tms.get("WebMercatorQuad")
VERSION = "0" * 12
SIDE, WINDOW = 11264, 512
"""Pixels of a scene, padded to whole windows."""


def places(tiles: int) -> list[tuple[int, int, int]]:
    """(epsg, first row, first column) of MGRS-like tiles: in each northern zone a block, five tiles wide."""
    zones = [32601 + n for n in range(60)]
    each = -(-tiles // len(zones))
    step = SIDE - WINDOW
    found = [
        (epsg, -(450_000 + k // 5 * step) // WINDOW * WINDOW, (30_000 + k % 5 * step) // WINDOW * WINDOW)
        for epsg in zones
        for k in range(each)
    ]
    return found[:tiles]


def write(folder: Path, scenes: int, tiles: int) -> None:
    """Writes the store."""
    store = create_store(folder, StoreConfig())
    rng = np.random.default_rng(1)
    where = places(tiles)
    order = rng.permutation(scenes)
    start = datetime(2017, 1, 1, tzinfo=UTC)
    columns: dict[str, list[object]] = {}

    def add(name: str, value: object) -> None:
        columns.setdefault(name, []).append(value)

    known: dict[str, list[dict[str, str]]] = {}
    for n in order.tolist():
        epsg, row, col = where[n % tiles]
        mgrs = f"{epsg % 100:02d}X{n % tiles:04d}"
        when = start + timedelta(days=44 * (n // tiles), seconds=n % tiles)
        name = f"S2A_{mgrs}_{when:%Y%m%d}_0_L2A"
        period = known.setdefault(f"{when:%Y}", [])
        add("terrazzo:period", f"{when:%Y}")
        add("terrazzo:rank", len(period))
        period.append({"id": name, "rev": "0" * 12, "weight": "0" * 32})
        add("id", name)
        add("datetime", when)
        add("platform", "sentinel-2a")
        add("terrazzo:source", {"level": "L2A"})
        add("proj:code", f"EPSG:{epsg}")
        add("grid:code", f"MGRS-{mgrs}")
        add("sat:relative_orbit", n % 143 + 1)
        add("terrazzo:rev", "0" * 12)
        add("terrazzo:prefix", f"scenes/{epsg % 100:02d}N/{mgrs}/{name}/{'0' * 12}")
        add("terrazzo:datatake", f"GS2A_{when:%Y%m%dT%H%M%S}")
        add("terrazzo:box", [row, col, row + SIDE, col + SIDE])
        add("terrazzo:bands", list(DEFAULT_BANDS))
        share = float(rng.random())
        add("terrazzo:clear_share", 1 - share)
        add("terrazzo:cloud_share", share)
        add("terrazzo:snow_share", 0.0)
        add("terrazzo:haze", 0.001)
        add("terrazzo:ordinal", -1)
        add("terrazzo:weight", f"mosaics/mosaic/weights/none/{name}-{'0' * 12}.tif")
        add("terrazzo:haze_weight", 0.9)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    store.write_bytes(version_key("mosaic", VERSION, "scenes.parquet"), buffer.getvalue())
    buffer = io.BytesIO()
    pq.write_table(_cells(where, sorted(known), rng), buffer, compression="zstd")
    store.write_bytes(version_key("mosaic", VERSION, "cells.parquet"), buffer.getvalue())
    lock = {
        "format": 1,
        "pixels": PIXELS,
        "software": "",
        "mosaic_toml": "",
        "parameters": {},
        "bands": list(DEFAULT_BANDS),
        "normalized": False,
        "bounds": [-180.0, 38.0, 180.0, 48.0],
        "periods": [
            {
                "name": year,
                "start": f"{year}-01-01",
                "end": f"{year}-12-31",
                "members": [],
                "reference": "none",
                "scenes": period,
            }
            for year, period in sorted(known.items())
        ],
    }
    store.write_json(version_key("mosaic", VERSION, "lock.json"), lock)
    store.write_bytes("mosaics/mosaic/mosaic.json", json.dumps({"terrazzo:version": VERSION}).encode())


def _cells(where: list[tuple[int, int, int]], years: list[str], rng: np.random.Generator) -> pa.Table:
    """A random hash for each window, year by year and zone by zone."""
    side = SIDE // WINDOW
    tables = []
    for year in years:
        for epsg in sorted({e for e, _, _ in where}):
            corners = [(row // WINDOW, col // WINDOW) for e, row, col in where if e == epsg]
            wy, wx = np.array(
                sorted({(y + i, x + j) for y, x in corners for i in range(side) for j in range(side)})
            ).T
            hashes = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(DIGEST), len(wy), [None, pa.py_buffer(rng.bytes(DIGEST * len(wy)))]
            )
            columns = [pa.array([year] * len(wy)), np.full(len(wy), epsg), wy, wx, hashes]
            tables.append(pa.table(columns, names=SCHEMA.names).cast(SCHEMA))
    return pa.concat_tables(tables)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--tiles", type=int, default=1_500, help="MGRS tiles [1500]")
    a = parser.parse_args()
    if not (a.folder / "mosaics/mosaic/mosaic.json").exists():
        write(a.folder, a.scenes, a.tiles)
        print("written; run again to measure")
        return
    start = time.process_time()
    version = open_version(Store(a.folder), "mosaic")
    engine = Engine(version, Blocks())
    count = sum(len(version.entries(p)) for p in version.periods)
    print(f"{count} scenes in {len(version.periods)} periods and {len(version.zones)} zones")
    print(f"open: {time.process_time() - start:.2f} s of CPU")
    rng = np.random.default_rng(2)
    for what, request in (
        ("the mosaic's default", PixelRequest(("B04", "B03", "B02"))),
        ("one year, little cloud", PixelRequest(("B04", "B03", "B02"), datetime="2019", max_cloud=30)),
    ):
        for zoom in (13, 9):
            took, shown = [], []
            for _ in range(50):
                tile = MERCATOR.tile(rng.uniform(-180, 180), rng.uniform(41, 46), zoom)
                target = tile_target(MERCATOR, *tile)
                start = time.process_time()
                selection = engine.select(request)
                engine.content_hash(selection, target)
                found = engine.planner.shown(selection, target)
                took.append(1e3 * (time.process_time() - start))
                shown.append(len(found))
            print(
                f"plan, {what}, zoom {zoom}: first {took[0]:.1f} ms, then median {statistics.median(took[1:]):.2f} ms,"
                f" worst {max(took[1:]):.1f} ms of CPU; {statistics.mean(shown):.0f} scenes"
            )
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
