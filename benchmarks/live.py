"""Seconds to the first tiles of a place that is not in any store: `python -m benchmarks.live [FOLDER] [--side 109] [--box 20] [--cold]`.

Writes scenes of an archive as COGs (10 and 20 m, full pyramids; once, into FOLDER), puts them into an S3 server on this machine behind a
line that delays each request by 50 ms and carries 50 MB/s, and starts `terrazzo live` on a field in their middle. Twelve Items share the
images of three scenes. Prints seconds, CPU seconds and memory to 1, 20 and 40 tiles of the first look, in rounds of six, with `--whole` also
until the mosaic is published; `--stock` the same of TiTiler's own mosaics on the same COGs, which show one raw scene over the other;
`--seams` how well scenes fit in the look and in the mosaic that replaces it, on the sample's products.
"""

import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import morecantile
import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from benchmarks.footprint import megabytes
from benchmarks.land import PERIOD, clouds, fractal, paint
from benchmarks.load import MOSAIC
from benchmarks.product import EPSG, GROUND, LEFT, SPECTRA, TILE, TOP
from terrazzo.bands import BANDS, DEFAULT_BANDS
from terrazzo.grid import Bounds, PixelBox
from terrazzo.precompute.judge.report import write_report
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import current_version, open_version, version_key
from tests.waiting import PATIENCE, until
from tests.world.archive import (
    BUCKET,
    KEYS,
    Archive,
    free_port,
    s3_server,
    sample_files,
    sample_items,
    stac_server,
)
from tests.world.land import Place
from tests.world.line import Line
from tests.world.products import NAMES, Pass, asset, footprint, item, product_name, raster_bands
from tests.world.worlds import FOUR

ROLES = ("B02", "B03", "B04", "B08", "B11", "B12")
COUNTS, TOGETHER = (1, 20, 40), 6
SCREEN = 50
"""Tiles of 256 px that a screen shows at most."""


def write_scene(folder: Path, number: int, side: int, images: int) -> dict[str, Any]:
    """Writes the COGs of a scene of `side` metres, a day of June; returns its Item, with its assets in the bucket.

    The other bands of 20 m have the image of B11.

    Args:
        images: scenes that have COGs of their own; further ones have those of an earlier one.
    """
    about = Pass(datetime(2023, 6, 1, 10, 0, 31) + timedelta(days=number), orbit=79 if number % 2 else 122)
    texture = fractal(PERIOD, 1)
    rows, cols = -TOP // 10, LEFT // 10
    place = Place(TILE, EPSG, PixelBox(rows, cols, rows + side // 10, cols + side // 10), 10, 512)
    name, files = f"S2A_{TILE}_{about.when:%Y%m%d}_0_L2A", f"{side}-{number % images}"
    images_of = dict.fromkeys(DEFAULT_BANDS, "B11") | {b: b for b in ROLES}
    assets = {NAMES[b]: asset(files, f"{i}.tif") | raster_bands(about) for b, i in images_of.items()}
    assets["scl"] = asset(files, "SCL.tif")
    if not (folder / files / "SCL.tif").exists():
        _write_images(folder / files, number, side, texture)
    document = item(name, product_name(place, about), place, about, None, assets)
    for entry in document["assets"].values():
        entry["href"] = f"s3://{BUCKET}/{entry['href'].removeprefix('./')}"
    document["bbox"] = list(footprint(place).bounds)
    return document


def _write_images(folder: Path, number: int, side: int, texture: NDArray[np.float32]) -> None:
    half = side // 20
    classes = clouds((half, half), (0, 0), (0.05, 0.3, 0.6)[number % 3], number, texture)
    folder.mkdir(parents=True, exist_ok=True)
    for band in ROLES:
        metres = BANDS[band].resolution
        values = np.empty((side // metres, side // metres), np.int16)
        spectrum = tuple(max(v - GROUND.get(band, 0), 20) for v in SPECTRA[band])
        gain = 1 + 0.06 * np.sin(number)
        paint(values, 0, 0, texture, classes, 20 // metres, spectrum, 12.0, number, gain, 1000.0, 0.0)
        _write(folder / f"{band}.tif", values.astype(np.uint16), metres, "average")
    scl = np.array([0, 4, 6, 9, 10, 3, 11], np.uint8)[classes]
    _write(folder / "SCL.tif", scl, 20, "mode")


def _write(path: Path, values: np.ndarray, metres: int, overviews: str) -> None:
    profile = {
        "driver": "COG", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype.name,
        "crs": f"EPSG:{EPSG}", "transform": from_origin(LEFT, TOP, metres, metres), "nodata": 0, "compress": "DEFLATE",
        "predictor": "YES", "blocksize": 256, "overview_resampling": overviews, "num_threads": "ALL_CPUS", "level": 1,
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
    zooms = ([*matrix.tiles(*field, [zoom])] for zoom in range(15, 0, -1))
    tiles = next(tiles for tiles in zooms if len(tiles) <= SCREEN)[: COUNTS[-1]]
    with ThreadPoolExecutor(TOGETHER) as pool:
        came = pool.map(lambda t: get(template.format(z=t.z, x=t.x, y=t.y)), tiles)
        for number, body in enumerate(came, 1):
            assert body, f"no tile {tiles[number - 1]}"
            if number in COUNTS or number == len(tiles):
                click.echo(
                    f"{name}: {number} tiles of zoom {tiles[0].z} after {time.monotonic() - begun:.1f} s"
                )


def fit(store: str) -> str:
    """How scenes of a store's mosaic fit, by its report: tiles of a pass, and the mean of the bands' error steps at borders."""
    there = Store(store)
    version = open_version(there, "mosaic", current_version(there, "mosaic"))
    write_report(there, version, None)
    parts = there.read_json(version_key("mosaic", version.name, "report.json"))["parts"]
    out = []
    for state in ("off", "on"):
        passes = [abs(v) for p in parts for d in p["same_day"][state] for v in d["step"].values()]
        shown = f"{np.median(passes):.2%}, at most {max(passes):.2%}" if passes else "none"
        borders: dict[str, list[float]] = {}
        for row in (s for p in parts for s in p["error_steps"]):
            if (row["method"], row["normalize"]) == ("feather", state):
                borders.setdefault(row["border"], []).extend(v for v in row["step"] if v is not None)
        steps = ", ".join(f"{kind} {np.mean(values):.1f}" for kind, values in borders.items())
        out.append(f"normalize={state}: steps between tiles of a pass {shown}; error steps in 1e-4: {steps}")
    return "; ".join(out)


class Memory(threading.Thread):
    """Watches the memory of a process and those that it starts; `most` is the most so far, in megabytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most = pid, 0.0

    def run(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                with suppress(psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
                    self.most = max(self.most, megabytes(self.pid))
                time.sleep(0.3)


@contextmanager
def live(
    folder: Path, field: Bounds, days: str, archive: Archive, *more: str
) -> Iterator[tuple[str, Memory]]:
    """`terrazzo live` over a store of its own, `folder`/store; yields its address and its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    program = str(Path(sys.executable).with_name("terrazzo"))
    command = [
        program,
        "live",
        f"--bbox={' '.join(map(str, field))}",
        "--datetime",
        days,
        "--archive",
        archive.stac,
    ]
    command += ["--store", str(folder / "store"), "--port", "0", *more]
    with (folder / "live.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=archive.environment(), text=True
        )
    memory = Memory(process.pid)
    memory.start()
    try:
        assert process.stdout is not None
        line = re.match(r"map: (http://\S+)/", process.stdout.readline())
        assert line, (folder / "live.log").read_text()
        yield line[1], memory
    finally:
        process.terminate()
        process.wait()


@contextmanager
def stock(folder: Path, items: list[dict[str, Any]], s3: str) -> Iterator[tuple[str, Memory]]:
    """TiTiler's own mosaic of the same scenes, the newest first; yields its address and its memory."""
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
    memory = Memory(process.pid)
    memory.start()
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/docs"), process)
        yield f"http://127.0.0.1:{port}", memory
    finally:
        process.terminate()
        process.wait()


class Files(Mapping[str, bytes]):
    """Files of a folder by their paths in it, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = [str(f.relative_to(folder)) for f in sorted(folder.glob("*/*.tif"))]

    def __getitem__(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="build/live")
@click.option("--scenes", default=12, show_default=True)
@click.option("--images", default=3, show_default=True, help="scenes with images of their own")
@click.option(
    "--side", default=30, show_default=True, help="kilometres of a scene's side; 109 of a whole tile"
)
@click.option(
    "--box", default=10, show_default=True, help="kilometres of the side of the area that is asked for"
)
@click.option("--delay", default=50, show_default=True, help="milliseconds a request")
@click.option("--rate", default=50, show_default=True, help="megabytes a second of the line")
@click.option("--live/--no-live", "lives", default=True, help="time the first look")
@click.option("--whole", is_flag=True, help="go on until the mosaic is published")
@click.option("--cold", is_flag=True, help="also time it with nothing compiled, as after an installation")
@click.option("--stock/--no-stock", "compare", default=True, help="also time TiTiler's own mosaics")
@click.option("--seams", is_flag=True, help="also measure how scenes fit, live and published, on the sample")
def main(
    folder: Path,
    scenes: int,
    images: int,
    side: int,
    box: int,
    delay: int,
    rate: int,
    lives: bool,
    whole: bool,
    cold: bool,
    compare: bool,
    seams: bool,
) -> None:
    """Measure the first look."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    items = [write_scene(folder / "images", n, side * 1000, images) for n in range(scenes)]
    files = Files(folder / "images")
    files.names = [n for n in files.names if n.startswith(f"{side * 1000}-")]
    field = middle_of(Bounds(*items[0]["bbox"]), box)
    size = sum((files.folder / n).stat().st_size for n in files)
    click.echo(
        f"{scenes} scenes of {side} km with the images of {images}, {size / 1e6:.0f} MB, an area of {box} × {box} km;"
        f" load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        where = Path(scratch)
        if lives or cold or compare:
            with (
                s3_server(where, files, "seaweedfs") as s3,
                stac_server(where, items) as stac,
                Line(s3) as line,
                line.delayed(delay / 1e3, rate * 1e6),
            ):
                archive = Archive(stac, line.address)
                if cold:
                    os.environ["NUMBA_CACHE_DIR"] = str(where / "kernels")
                    first_look("live, nothing compiled", where / "cold", field, archive)
                if lives:
                    first_look("live", where / "warm", field, archive, whole=whole)
                if compare:
                    time_stock(where, items, field, line.address)
        if seams:
            fits(where / "seams")


def time_stock(folder: Path, items: list[dict[str, Any]], field: Bounds, s3: str) -> None:
    """Prints seconds to tiles of TiTiler's own mosaics, from the start of its server."""
    asked = [*(("assets", b) for b in ("red", "green", "blue")), ("rescale", "1000,3000")]
    before, begun = cpu(), time.monotonic()
    with stock(folder, items, s3) as (address, memory):
        query = urllib.parse.urlencode(asked)
        timed("titiler", f"{address}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?{query}", field, begun)
    click.echo(f"titiler: {cpu() - before:.1f} CPU-s in all, at most {memory.most:.0f} MB")


def middle_of(bounds: Bounds, kilometres: float) -> Bounds:
    """A square in the middle of a box in degrees."""
    x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    high = kilometres / 111.2 / 2
    wide = high / math.cos(math.radians(y))
    return Bounds(x - wide, y - high, x + wide, y + high)


def state_of(address: str) -> str | None:
    """Whether a server shows a look or the mosaic; None where it has nothing yet."""
    about = get(f"{address}/mosaics/mosaic/WebMercatorQuad/tilejson.json")
    return str(json.loads(about)["terrazzo:state"]) if about else None


def first_look(name: str, folder: Path, field: Bounds, archive: Archive, *, whole: bool = False) -> None:
    """Prints seconds, CPU seconds and memory of the first look, with `whole` also of all up to the mosaic."""
    before, begun = cpu(), time.monotonic()
    with live(folder, field, "2023-06", archive, *([] if whole else ["--no-precompute"])) as (
        address,
        memory,
    ):
        state = until(lambda: state_of(address), pause=0.2)
        assert state == "live"
        timed(name, f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png", field, begun)
        if whole:
            click.echo(f"{name}: at most {memory.most:.0f} MB until then")
            until(lambda: state_of(address) == "published", pause=1)
            click.echo(f"{name}: mosaic after {time.monotonic() - begun:.0f} s")
    click.echo(f"{name}: {cpu() - before:.1f} CPU-s in all, at most {memory.most:.0f} MB")


def fits(folder: Path) -> None:
    """Prints how the sample's scenes fit in its look and in the mosaic that replaces it."""
    folder.mkdir()
    # Of two tiles, each seen by the same passes.
    field = Bounds(15.5, 45.75, 16.3, 46.2)
    with s3_server(folder, sample_files()) as s3, stac_server(folder, sample_items()) as stac:
        create_store(folder / "run" / "store", StoreConfig(60.0, 120.0, 256, FOUR))
        with live(folder / "run", field, "2023-08", Archive(stac, s3)) as (address, memory):
            until(lambda: state_of(address) == "published", pause=1)
    looks = sorted((folder / "run").glob("store-live-*[0-9]"), key=lambda p: -int(p.name.rpartition("-")[2]))
    for store in (*looks, folder / "run" / "store"):
        click.echo(f"{store.name}: {fit(str(store))}")
    click.echo(f"live with the mosaic: at most {memory.most:.0f} MB")


if __name__ == "__main__":
    main()
