"""Seconds to the first tiles of a place that is not in any store: `python -m benchmarks.live [--scenes 12] [--side 30]`.

Writes scenes of an archive as COGs (10 and 20 m, full pyramids), puts them into an S3 server on this machine behind a line that
delays each request by 50 ms, and starts `terrazzo live` on a field in their middle. Prints seconds and CPU seconds to 1, 20 and 40
tiles of the first look, in rounds of six, and the error steps at its scenes' borders; `--stock` the same of TiTiler's own mosaics on the
same COGs, which shows one raw scene over the other.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import click
import morecantile
import numpy as np
import rasterio
from rasterio.transform import from_origin

from benchmarks.land import PERIOD, clouds, fractal, paint
from benchmarks.load import MOSAIC
from benchmarks.product import EPSG, GROUND, LEFT, SPECTRA, TILE, TOP
from terrazzo.bands import BANDS
from terrazzo.grid import Bounds, PixelBox
from terrazzo.precompute.judge.report import write_report
from terrazzo.store import Store
from terrazzo.version import current_version, open_version, version_key
from tests.waiting import PATIENCE, until
from tests.world.archive import BUCKET, KEYS, free_port, s3_server, stac_server
from tests.world.land import Place
from tests.world.line import Line
from tests.world.products import NAMES, Pass, asset, footprint, item, product_name, raster_bands

ROLES = ("B02", "B03", "B04", "B08", "B11", "B12")
ZOOM, COUNTS, TOGETHER = 14, (1, 20, 40), 6


def write_scene(folder: Path, number: int, side: int) -> dict[str, Any]:
    """Writes the COGs of a scene of `side` metres, a day of June; returns its Item, with its assets in the bucket."""
    about = Pass(datetime(2023, 6, 1, 10, 0, 31) + timedelta(days=number), orbit=79 if number % 2 else 122)
    texture, half = fractal(PERIOD, 1), side // 20
    rows, cols = -TOP // 10, LEFT // 10
    place = Place(TILE, EPSG, PixelBox(rows, cols, rows + side // 10, cols + side // 10), 10, 512)
    name = f"S2A_{TILE}_{about.when:%Y%m%d}_0_L2A"
    classes = clouds((half, half), (0, 0), (0.05, 0.3, 0.6)[number % 3], number, texture)
    assets = {}
    (folder / name).mkdir(parents=True)
    for band in ROLES:
        metres = BANDS[band].resolution
        values = np.empty((side // metres, side // metres), np.int16)
        spectrum = tuple(max(v - GROUND.get(band, 0), 20) for v in SPECTRA[band])
        gain = 1 + 0.06 * np.sin(number)
        paint(values, 0, 0, texture, classes, 20 // metres, spectrum, 12.0, number, gain, 1000.0, 0.0)
        _write(folder / name / f"{band}.tif", values.astype(np.uint16), metres, "average")
        assets[NAMES[band]] = asset(name, f"{band}.tif") | raster_bands(about)
    scl = np.array([0, 4, 6, 9, 10, 3, 11], np.uint8)[classes]
    _write(folder / name / "SCL.tif", scl, 20, "mode")
    assets["scl"] = asset(name, "SCL.tif")
    document = item(name, product_name(place, about), place, about, None, assets)
    for entry in document["assets"].values():
        entry["href"] = f"s3://{BUCKET}/{entry['href'].removeprefix('./')}"
    document["bbox"] = list(footprint(place).bounds)
    return document


def _write(path: Path, values: np.ndarray, metres: int, overviews: str) -> None:
    profile = {
        "driver": "COG", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype.name,
        "crs": f"EPSG:{EPSG}", "transform": from_origin(LEFT, TOP, metres, metres), "nodata": 0, "compress": "DEFLATE",
        "predictor": "YES", "blocksize": 256, "overview_resampling": overviews,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values, 1)


def cpu() -> float:
    """CPU seconds of this machine's processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def get(address: str) -> bytes | None:
    """What a server answers; None where it has nothing (yet)."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return bytes(answer.read())
    except (urllib.error.HTTPError, ConnectionError, urllib.error.URLError):
        return None


def timed(name: str, template: str, field: Bounds, begun: float) -> None:
    """Fetches tiles of a field, some together, and prints when so many of them had come."""
    matrix = morecantile.tms.get("WebMercatorQuad")
    tiles = list(islice(matrix.tiles(*field, [ZOOM]), COUNTS[-1]))
    with ThreadPoolExecutor(TOGETHER) as pool:
        came = pool.map(lambda t: get(template.format(z=t.z, x=t.x, y=t.y)), tiles)
        for number, body in enumerate(came, 1):
            assert body, f"no tile {tiles[number - 1]}"
            if number in COUNTS or number == len(tiles):
                click.echo(f"{name}: {number} tiles after {time.monotonic() - begun:.1f} s")


def error_steps(store: str) -> str:
    """The mean error step of the default method at borders of scenes, with and without normalization, 1e-4."""
    there = Store(store)
    version = open_version(there, "mosaic", current_version(there, "mosaic"))
    write_report(there, version, None)
    report = there.read_json(version_key("mosaic", version.name, "report.json"))
    rows = [s for p in report["parts"] for s in p["error_steps"] if s["method"] == "feather"]
    return "; ".join(
        f"normalize={r['normalize']} {[None if v is None else round(v, 1) for v in r['step']]}" for r in rows
    )


@contextmanager
def live(folder: Path, field: Bounds, stac: str, s3: str) -> Iterator[str]:
    """`terrazzo live` over a store of its own; yields its address."""
    command = [Path(sys.executable).with_name("terrazzo"), "live", f"--bbox={' '.join(map(str, field))}"]
    command += [
        "--datetime",
        "2023-06",
        "--archive",
        stac,
        "--store",
        folder / "store",
        "--port",
        "0",
        "--no-precompute",
    ]
    environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": s3}
    with (folder / "live.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    try:
        assert process.stdout is not None
        line = re.match(r"map: (http://\S+)/", process.stdout.readline())
        assert line, (folder / "live.log").read_text()
        yield line[1]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def stock(folder: Path, items: list[dict[str, Any]], s3: str) -> Iterator[str]:
    """TiTiler's own mosaic of the same scenes, the newest first; yields its address."""
    (folder / "items").mkdir()
    paths = []
    for document in reversed(items):
        path = folder / "items" / f"{document['id']}.json"
        path.write_text(json.dumps(document))
        paths.append(str(path))
    west, south, east, north = items[0]["bbox"]
    quadkeys = [
        morecantile.tms.get("WebMercatorQuad").quadkey(*t)
        for t in morecantile.tms.get("WebMercatorQuad").tiles(west, south, east, north, [9])
    ]
    mosaic = {
        "mosaicjson": "0.0.3", "minzoom": 7, "maxzoom": 14, "quadkey_zoom": 9, "bounds": [west, south, east, north],
        "tiles": dict.fromkeys(quadkeys, paths),
    }  # fmt: skip
    (folder / "mosaic.json").write_text(json.dumps(mosaic))
    port = free_port()
    environment = {
        **os.environ, **KEYS, MOSAIC: str(folder / "mosaic.json"), "AWS_S3_ENDPOINT": s3.removeprefix("http://"),
        "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": "TRUE",
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES", "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    }  # fmt: skip
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.load:stock", "--port", str(port)]
    with (folder / "stock.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/docs"), process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@click.command()
@click.option("--scenes", default=12, show_default=True)
@click.option(
    "--side", default=30, show_default=True, help="kilometres of a scene's side; 109 of a whole tile"
)
@click.option("--delay", default=50, show_default=True, help="milliseconds a request")
@click.option("--stock/--no-stock", "compare", default=True, help="also time TiTiler's own mosaics")
def main(scenes: int, side: int, delay: int, compare: bool) -> None:
    """Measure the first look."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        items = [write_scene(folder / "scenes", n, side * 1000) for n in range(scenes)]
        files = {
            str(f.relative_to(folder / "scenes")): f.read_bytes() for f in (folder / "scenes").glob("*/*")
        }
        west, south, east, north = items[0]["bbox"]
        x, y = (west + east) / 2, (south + north) / 2
        field = Bounds(x - 0.06, y - 0.045, x + 0.06, y + 0.045)
        click.echo(
            f"{scenes} scenes of {side} km, {sum(map(len, files.values())) / 1e6:.0f} MB, a field of 9 × 10 km"
        )
        with (
            s3_server(folder, files) as s3,
            stac_server(folder, items) as stac,
            Line(s3) as line,
            line.delayed(delay / 1e3),
        ):
            _live(folder, field, stac, line.address)
            if compare:
                with stock(folder, items, line.address) as address:
                    query = urllib.parse.urlencode(
                        [("assets", b) for b in ("red", "green", "blue")] + [("rescale", "1000,3000")],
                        doseq=True,
                    )
                    timed(
                        "titiler",
                        f"{address}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?{query}",
                        field,
                        time.monotonic(),
                    )


def _live(folder: Path, field: Bounds, stac: str, s3: str) -> None:
    """Prints seconds and CPU seconds of the first look, and how well its scenes fit."""
    before, begun = cpu(), time.monotonic()
    with live(folder, field, stac, s3) as address:
        about = until(lambda: get(f"{address}/mosaics/mosaic/WebMercatorQuad/tilejson.json"), pause=0.5)
        timed("live", f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png", field, begun)
        assert json.loads(about)["terrazzo:state"] == "live"
    click.echo(f"live: {cpu() - before:.1f} CPU-s in all")
    looks = sorted(folder.glob("store-live-*[0-9]"), key=lambda p: int(p.name.rpartition("-")[2]))
    click.echo(f"live: error steps at borders {error_steps(str(looks[-1]))}")


if __name__ == "__main__":
    main()
