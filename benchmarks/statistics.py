"""What a table of many stands costs: time, memory, and a part of it against exactextract on exports of the same pixels.

    python -m benchmarks.statistics --store FOLDER [--areas 100000] [--periods 12] [--expression "(B08-B04)/(B08+B04)"]

FOLDER is a store made by `python -m benchmarks.scenes`; each period is one of its days, with the days around it where there are fewer than
asked for. Stands are circles of 25 to 80 m on a grid over the first tile, in random order. The command runs in a process of its own; memory is its
greatest resident size.
"""

import argparse
import os
import sys
import tempfile
import time
from itertools import cycle, islice, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource

from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.store import Store
from terrazzo.version import Version, open_version


def stands(version: Version, count: int, path: Path) -> tuple[int, Bounds]:
    """Writes stands as a GeoPackage; the zone and the box they lie in."""
    scene = version.entries("all")[0].scene
    b = version.store.grid(scene.epsg).bounds(scene.box)
    rng, side = np.random.default_rng(1), int(np.ceil(np.sqrt(count)))
    numbers = rng.permutation(side * side)[:count]
    step = min(b.right - b.left, b.top - b.bottom) / side
    x, y = b.left + (numbers % side + 0.5) * step, b.bottom + (numbers // side + 0.5) * step
    shapes = shapely.buffer(shapely.points(x, y), rng.uniform(25, 80, count), quad_segs=6)
    table = pa.table({"stand": numbers, "geom": pa.array(shapely.to_wkb(shapes))})
    pyogrio.write_arrow(
        table, path, geometry_name="geom", geometry_type="Polygon", crs=f"EPSG:{scene.epsg}", layer="stands"
    )
    return scene.epsg, b


def periods(version: Version, count: int) -> list[str]:
    """So many times: days, then intervals of two days, which are others."""
    days = sorted({e.scene.datetime.date().isoformat() for e in version.entries("all")})
    pairs = [f"{a}/{b}" for a, b in pairwise(days)]
    return list(islice(cycle([*days, *pairs]), count))


def checked(
    version: Version,
    table: Path,
    areas: Path,
    epsg: int,
    bounds: Bounds,
    expression: str,
    most: int,
    folder: Path,
) -> tuple[int, float]:
    """Areas in a part of the tile whose rows are compared with exactextract on an export, and the greatest difference."""
    rows = pq.read_table(
        table, columns=["stand", "period", "count", "mean", "std", "median", "p95"]
    ).to_pandas()
    period = rows.period.iloc[0]
    rows = rows[(rows.period == period) & (rows["count"] > 0)]
    if rows.empty:
        raise SystemExit(f"no area has data in {period}: name a store with scenes of that day")
    everywhere = pyogrio.read_dataframe(areas)
    first = everywhere[everywhere.stand == rows.stand.iloc[0]].geometry.iloc[0].centroid
    side = 20_000.0
    left = min(max(first.x - side / 2, bounds.left), bounds.right - side)
    bottom = min(max(first.y - side / 2, bounds.bottom), bounds.top - side)
    corner = Bounds(left, bottom, left + side, bottom + side)
    inner = (corner.left + 200, corner.bottom + 200, corner.right - 200, corner.top - 200)
    frame = everywhere[everywhere.within(shapely.box(*inner))].head(most)
    raw = {"bbox": list(corner), "bbox_crs": f"EPSG:{epsg}", "expression": expression, "extras": "none"}
    list(
        export(
            Engine(version, Blocks()),
            parse_order({**raw, "datetime": period}, version),
            folder / "corner.tif",
            workers=2,
        )
    )
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(g), "properties": {"stand": s}}
        for s, g in zip(frame.stand, frame.geometry, strict=True)
    ]
    theirs = exact_extract(
        str(folder / "corner.tif"),
        JSONFeatureSource(features),
        ["count", "mean", "stdev", "values", "coverage"],
        include_cols=["stand"],
        output="pandas",
    )
    both = rows.merge(theirs, on="stand", suffixes=("", "_ee"))
    for name, share in {"median": 0.5, "p95": 0.95}.items():
        both[f"{name}_ee"] = [
            quantile(v, c, share) for v, c in zip(both["values"], both["coverage"], strict=True)
        ]
    names = {
        "count": "count_ee",
        "mean": "mean_ee",
        "std": "stdev",
        "median": "median_ee",
        "p95": "p95_ee",
    }
    return len(both), float(max(np.abs(both[a] - both[b]).max() for a, b in names.items()))


def quantile(values: np.ndarray, coverage: np.ndarray, share: float) -> float:
    """A quantile of pixels that count as much as is covered of them, between two by the line that joins them.

    exactextract's own takes equal pixels for one, which is another number where values repeat; its pixels are taken.
    """
    here = np.isfinite(values) & (coverage > 0)
    order = np.lexsort((coverage[here], values[here]))
    ordered, weight = values[here][order].astype(np.float64), coverage[here][order].astype(np.float64)
    places = np.arange(len(weight)) * weight + (len(weight) - 1) * (np.cumsum(weight) - weight)
    return float(np.interp(share * (len(weight) - 1) * weight.sum(), places, ordered))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--areas", type=int, default=100_000)
    parser.add_argument("--periods", type=int, default=12)
    parser.add_argument("--expression", default="(B08-B04)/(B08+B04)")
    parser.add_argument("--check", type=int, default=1000, help="areas compared with exactextract [1000]")
    a = parser.parse_args()
    version = open_version(Store(a.store), "mosaic")
    with tempfile.TemporaryDirectory(dir=a.store.parent) as folder:
        source, table = Path(folder) / "stands.gpkg", Path(folder) / "table.parquet"
        epsg, bounds = stands(version, a.areas, source)
        command = [
            *(sys.executable, "-P", "-c", "from terrazzo.cli import main; main()"),
            *(
                "statistics",
                str(source),
                "--store",
                str(a.store),
                "--id",
                "stand",
                "--expression",
                a.expression,
            ),
            *("--period", ",".join(periods(version, a.periods)), "-o", str(table)),
        ]
        start = time.perf_counter()
        pid = os.spawnv(os.P_NOWAIT, sys.executable, command)
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise SystemExit(f"failed with {status}")
        elapsed = time.perf_counter() - start
        rows = pq.read_metadata(table).num_rows
        print(
            f"{a.areas} areas × {a.periods} periods: {rows} rows, {table.stat().st_size / 1e6:.0f} MB in {elapsed:.0f} s,"
            f" {usage.ru_utime + usage.ru_stime:.0f} s CPU, {usage.ru_maxrss / 1e6:.2f} GB"
        )
        count, apart = checked(version, table, source, epsg, bounds, a.expression, a.check, Path(folder))
        print(f"{count} of them against exactextract on an export: at most {apart:.2g} apart")


if __name__ == "__main__":
    main()
