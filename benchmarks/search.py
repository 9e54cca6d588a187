"""Item Search over very many scenes: how long a version takes to open, and what a search takes.

    python -m benchmarks.search STORE FOLDER [--scenes 100000]

STORE holds a mosaic of real scenes (`terrazzo precompute sample --store STORE`). Their rows are repeated under other
names, days and places, with checksums of their own, so that the table weighs what a real one does; only what a search reads
is written to FOLDER. Pages are of Items' rows: the Items themselves are read one by one, whatever their number is.
"""

import argparse
import hashlib
import io
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from terrazzo.checks import checksum
from terrazzo.server.search.asked import parse_search
from terrazzo.server.search.items import open_listings
from terrazzo.server.search.pages import find
from terrazzo.store import Store, create_store
from terrazzo.version import current_version, version_key

QUESTIONS = {
    "the newest ten": {},
    "a box": {"bbox": [15.0, 45.0, 16.0, 46.0]},
    "a month, little cloud": {
        "datetime": "2023-08-01T00:00:00Z/2023-08-31T23:59:59Z",
        "filter": "eo:cloud_cover < 10 AND platform = 'sentinel-2a'",
    },
    "sorted by cloud": {"sortby": "eo:cloud_cover", "limit": 100},
    "an area across ±180": {"bbox": [170.0, -10.0, -170.0, 10.0]},
}


def write(source: Store, folder: Path, count: int) -> str:
    """Writes a version of so many scenes; returns its name."""
    name = current_version(source, "mosaic")
    real = pq.read_table(io.BytesIO(source.read_bytes(version_key("mosaic", name, "scenes.parquet"))))
    table = real.take(pa.array(np.arange(count) % len(real))).combine_chunks()
    rng = np.random.default_rng(3)
    days = np.datetime64("2017-01-01T10:00:00", "us") + np.arange(count) * np.timedelta64(2400, "s")
    west, south = rng.uniform(-179, 178, count), rng.uniform(-60, 75, count)
    boxes = shapely.box(west, south, west + 1.4, south + 1.0)
    bbox = pa.StructArray.from_arrays([west, south, west + 1.4, south + 1.0], fields=list(table["bbox"].type))
    geometry = pa.array(shapely.to_wkb(boxes), pa.binary())
    changed = {
        "id": pa.array([f"S2A_{n:06d}_L2A" for n in range(count)]),
        "datetime": pa.array(days, pa.timestamp("us", "UTC")),
        "bbox": bbox,
        "geometry": geometry,
        "eo:cloud_cover": pa.array(rng.uniform(0, 100, count)),
    }
    for column, values in changed.items():
        place = table.column_names.index(column)
        table = table.set_column(
            place, table.schema.field(column), values.cast(table.schema.field(column).type)
        )
    assets = table["assets"].combine_chunks()
    parts = [_own_checksums(assets.field(i), i) for i in range(assets.type.num_fields)]
    place = table.column_names.index("assets")
    table = table.set_column(place, "assets", pa.StructArray.from_arrays(parts, fields=list(assets.type)))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    lock = source.read_json(version_key("mosaic", name, "lock.json"))
    lock["sums"] = {"scenes.parquet": checksum(out.getvalue())}
    store = create_store(folder, source.config)
    store.write_bytes(version_key("mosaic", name, "scenes.parquet"), out.getvalue())
    store.write_json(version_key("mosaic", name, "lock.json"), lock)
    print(f"{count} scenes, {len(out.getvalue()) / 1e6:.0f} MB")
    return name


def _own_checksums(asset: pa.StructArray, number: int) -> pa.StructArray:
    names = [f.name for f in asset.type]
    columns = [asset.field(i) for i in range(len(names))]
    sums = [hashlib.sha256(f"{number} {n}".encode()).hexdigest() for n in range(len(asset))]
    columns[names.index("file:checksum")] = pc.binary_join_element_wise("1220", pa.array(sums), "")
    return pa.StructArray.from_arrays(columns, fields=list(asset.type))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=100_000)
    a = parser.parse_args()
    if not a.folder.exists():
        write(Store(a.store), a.folder, a.scenes)
        print("written; run again to measure")
        return
    store, before = Store(a.folder), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name = store.folders("mosaics/mosaic/versions")[0]
    wall, cpu = time.perf_counter(), time.process_time()
    listing = open_listings(store, "mosaic", name).scenes
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"open {len(listing)} scenes: {cpu:.2f} s of CPU, {wall:.2f} s")
    print(f"memory: {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f} MB at most")
    print(f"kept: {listing.properties.nbytes / 1e6 + listing.outlines.nbytes / 1e6:.0f} MB of columns")
    for question, given in QUESTIONS.items():
        took = []
        for _ in range(5):
            start = time.process_time()
            page = find(parse_search(given), {"mosaic": listing})
            took.append(1e3 * (time.process_time() - start))
        print(f"{question}: {page.matched} match; {took[0]:.0f} ms, then {min(took):.0f} ms of CPU")


if __name__ == "__main__":
    main()
