"""From an Item's appearance in an archive to the new version: `python -m benchmarks.freshness FOLDER [--before 2]`.

Whole tiles of ten bands, the sample's scenes of 33TWL drawn twelve times as fine with noise, lie in SeaweedFS and a STAC API.
`terrazzo watch` fills a store with the first ones; then the next Item appears, and one pass is timed until the pointer
changes. A pass that runs every five minutes adds up to as many. FOLDER needs 12 GB; what it holds is used again.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from terrazzo.bands import BANDS, DEFAULT_BANDS
from terrazzo.precompute import sample
from terrazzo.precompute.acquire.run import DONE, NOTHING_NEW
from terrazzo.store import Store
from terrazzo.version import current_version
from tests.world.archive import BUCKET, KEYS, s3_server, sample_items, stac_server, write_table

FINER = 12
OF = {"B05": ("red", 1.3), "B06": ("nir", 0.8), "B07": ("nir", 0.95), "B8A": ("nir", 1.02)}
OF |= {"B11": ("nir", 0.7), "B12": ("red", 1.8)}
"""Bands that the sample lacks, as shares of those it has."""


def drawn(path: Path, side: int, factor: float, noise: float, rng: np.random.Generator) -> NDArray[Any]:
    """A raster of the sample on a tile's pixels; classes without noise."""
    with rasterio.open(path) as dataset:
        coarse = dataset.read(1)
    times = -(-side // len(coarse))
    fine = coarse.repeat(times, axis=0).repeat(times, axis=1)[:side, :side]
    if not noise:
        return fine
    grain = rng.normal(factor, noise, fine.shape).astype(np.float32)
    out: NDArray[Any] = np.where(fine > 0, np.maximum(fine * grain, 1), 0).astype(fine.dtype)
    return out


def write_product(folder: Path, item: dict[str, Any], seed: int) -> dict[str, Any]:
    """Writes a product of a whole tile, and makes its Item."""
    rng, made = np.random.default_rng(seed), folder / item["id"]
    made.mkdir(parents=True, exist_ok=True)
    source = sample.path() / item["id"]
    files = {key: source / Path(a["href"]).name for key, a in item["assets"].items()}
    with rasterio.open(files["red"]) as dataset:
        left, top, crs = round(dataset.bounds.left, -1), round(dataset.bounds.top, -1), dataset.crs
    names = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
    assets = {}
    for name in (*DEFAULT_BANDS, "SCL", "CLDPRB"):
        pixel = BANDS[name].resolution if name in BANDS else 20
        key, factor = OF.get(name, (names.get(name, {"SCL": "scl", "CLDPRB": "cloud"}.get(name, "")), 1.0))
        target = made / f"{name}.tif"
        assets[name] = {"href": f"s3://{BUCKET}/{item['id']}/{name}.tif"}
        if target.exists() or key not in files:
            continue
        side = 109_800 // pixel
        values = drawn(files[key], side, factor, 0.03 if name in BANDS else 0.0, rng)
        profile = {"width": side, "height": side, "count": 1, "dtype": values.dtype.name, "crs": crs}
        profile |= {"transform": Affine(pixel, 0, left, 0, -pixel, top), "nodata": 0, "compress": "deflate"}
        with rasterio.open(target, "w", driver="COG", num_threads="all_cpus", **profile) as out:
            out.write(values, 1)
    (made / "granule.xml").write_bytes(files["granule_metadata"].read_bytes())
    assets["granule_metadata"] = {"href": f"s3://{BUCKET}/{item['id']}/granule.xml"}
    present = {k: a for k, a in assets.items() if (made / Path(a["href"]).name).exists()}
    return {**item, "assets": present}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--before", default=2, show_default=True, help="scenes that the tile has already")
def main(folder: Path, before: int) -> None:
    """Prints seconds from the Item's appearance to the new version, and what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [i for i in sample_items() if i["properties"]["grid:code"] == "MGRS-33TWL"]
    chosen.sort(key=lambda i: i["properties"]["datetime"])
    items = [write_product(folder / "source", item, k) for k, item in enumerate(chosen[-1 - before :])]
    files = {
        f"{i['id']}/{p.name}": p.read_bytes() for i in items for p in (folder / "source" / i["id"]).iterdir()
    }
    size = sum(len(v) for k, v in files.items() if k.startswith(items[-1]["id"]))
    click.echo(f"products of {size / 1e6:.0f} MB")
    servers, store = folder / f"servers{os.getpid()}", folder / "store"
    servers.mkdir()
    where = ["--tile", "33TWL", "--datetime", "2023-08/..", "--until-clear", "0", "--workers", "2"]
    with s3_server(servers, files, "seaweedfs") as s3, stac_server(servers, items[:-1]) as stac:
        files.clear()
        environment = os.environ | KEYS | {"AWS_ENDPOINT_URL": s3}
        command = [Path(sys.executable).parent / "terrazzo", "watch", "--store", store, "--archive", stac]
        begun = time.perf_counter()
        if subprocess.run([*command, *where], env=environment).returncode not in (DONE, NOTHING_NEW):
            raise click.ClickException("the first pass failed")
        click.echo(f"{before} products fetched and precomputed in {time.perf_counter() - begun:.0f} s")
        there = current_version(Store(store), "mosaic")
        write_table(servers, items)
        published, wall = time.perf_counter(), time.time()
        subprocess.run([*command, *where], check=True, env=environment)
        seconds = time.perf_counter() - published
        now = current_version(Store(store), "mosaic")
        assert now != there, "no new version"
        written = [p for p in store.rglob("*") if p.is_file() and p.stat().st_mtime > wall]
        scenes = {p.parent.name for p in written if p.parts[len(store.parts)] == "scenes"}
        total = sum(p.stat().st_size for p in written)
        click.echo(json.dumps({"scenes written": len(scenes), "files": len(written), "bytes": total}))
        click.echo(f"Item to version: {seconds:.0f} s ({seconds / 60:.1f} minutes)")


if __name__ == "__main__":
    main()
