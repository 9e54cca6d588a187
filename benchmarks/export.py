"""What an export costs: CPU and memory of Terrazzo, rasterio.merge, gdalbuildvrt + gdal_translate and GDAL's GTI for the same pixels.

    python -m benchmarks.export --store FOLDER [--side 10980] [--bands B02,B03,B04,B08]

FOLDER is a store made by `python -m benchmarks.scenes`. All ways write the same COG (DEFLATE, 512 px, averaged overviews) of a square
of the first tile: of each pixel the first scene, in the mosaic's order, that holds data. Each runs in a process of its own; CPU is
user + system of it and its children, memory its greatest resident size. `floor` decodes one scene and encodes it, without any
mosaic; `default` is what users get: clouds out, gains, feather, which none of the others can do. Pixels are compared at the end.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import rasterio
import shapely
from rasterio.merge import merge
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_bounds
from rasterio.windows import Window

from terrazzo.bands import NODATA
from terrazzo.export.files import Band, Raster, vrt
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.warp import Target
from terrazzo.scene import Scene
from terrazzo.store import Store
from terrazzo.version import Version, open_version

COG = {
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "YES",
    "BLOCKSIZE": "512",
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "2",
}


def square(version: Version, side: int) -> tuple[int, Bounds]:
    """Zone and outer rectangle of a square in the middle of the first scene's tile."""
    scene = version.entries("all")[0].scene
    grid, box = version.store.grid(scene.epsg), scene.box
    row, col = (max(0, (box.row1 - box.row0 - side) // 2), max(0, (box.col1 - box.col0 - side) // 2))
    first = PixelBox(box.row0 + row, box.col0 + col, box.row0 + row + side, box.col0 + col + side)
    return scene.epsg, grid.bounds(first)


def scenes(version: Version) -> list[Scene]:
    """Those of the first scene's tile, in the mosaic's order."""
    every = [e.scene for e in version.entries("all")]
    return [s for s in every if s.mgrs == every[0].mgrs]


def sources(version: Version, band: str) -> list[str]:
    """The files of a band, first in the mosaic's order first."""
    return [version.store.raster_path(s.band_key(band)) for s in scenes(version)]


def terrazzo_way(version: Version, bands: list[str], side: int, out: Path, **asked: str) -> None:
    """Our own export."""
    epsg, bounds = square(version, side)
    place = {"bbox": list(bounds), "bbox_crs": f"EPSG:{epsg}", "ids": [s.id for s in scenes(version)]}
    raw = {**place, "bands": bands, "extras": "none", **asked}
    list(export(Engine(version, Blocks()), parse_order(raw, version), out, workers=2))


def first(version: Version, bands: list[str], side: int, out: Path) -> None:
    """Terrazzo, the first scene that holds data."""
    terrazzo_way(version, bands, side, out, stage="corrected", resampling="nearest")


def default(version: Version, bands: list[str], side: int, out: Path) -> None:
    """Terrazzo as it is by default: clouds out, gains, feather."""
    terrazzo_way(version, bands, side, out)


def rasterio_merge(version: Version, bands: list[str], side: int, out: Path) -> None:
    """rasterio.merge band by band, then GDAL's COG driver."""
    epsg, bounds = square(version, side)
    size = {"width": side, "height": side, "count": len(bands)}
    profile = {
        "driver": "GTiff",
        "dtype": "int16",
        "nodata": NODATA,
        "crs": f"EPSG:{epsg}",
        "tiled": True,
        **size,
    }
    place = from_bounds(*bounds, side, side)
    work = out.with_suffix(".work.tif")
    with rasterio.open(work, "w", transform=place, compress="zstd", zstd_level=1, **profile) as file:
        for i, band in enumerate(bands, 1):
            merged, _ = merge(sources(version, band), bounds=tuple(bounds), nodata=NODATA, method="first")
            file.write(merged[0], i)
    copy_raster(work, out, driver="COG", **COG)
    work.unlink()


def gdal(version: Version, bands: list[str], side: int, out: Path) -> None:
    """gdalbuildvrt of each band, gdalbuildvrt -separate over them, gdal_translate to a COG."""
    _, b = square(version, side)
    names = []
    for band in bands:
        name = str(out.with_suffix(f".{band}.vrt"))
        # GDAL shows the last source on top.
        run(
            "gdalbuildvrt",
            "-q",
            "-te",
            *map(str, b),
            "-srcnodata",
            str(NODATA),
            "-vrtnodata",
            str(NODATA),
            name,
            *sources(version, band)[::-1],
        )
        names.append(name)
    whole = str(out.with_suffix(".vrt"))
    run("gdalbuildvrt", "-q", "-separate", whole, *names)
    options = [part for k, v in COG.items() for part in ("-co", f"{k}={v}")]
    run("gdal_translate", "-q", "-of", "COG", *options, whole, str(out))
    for name in (*names, whole):
        os.unlink(name)


def floor(version: Version, bands: list[str], side: int, out: Path) -> None:
    """Decoding one scene and encoding it as it is."""
    epsg, bounds = square(version, side)
    names = []
    for band in bands:
        name = out.with_suffix(f".{band}.vrt")
        path = sources(version, band)[0]
        with rasterio.open(path) as file:
            at = ~from_bounds(*bounds, side, side) * (file.bounds.left, file.bounds.top)
            full = [(Window(round(at[0]), round(at[1]), file.width, file.height), path)]
        kind = Raster(None, (Band(band),), "int16", NODATA, True)
        name.write_text(vrt(kind, Target(f"EPSG:{epsg}", bounds, side, side), full, {}))
        names.append(name)
    separately(names, epsg, bounds, side, out)


def gti(version: Version, bands: list[str], side: int, out: Path) -> None:
    """GDAL's tile index of each band, a VRT over them, GDAL's COG driver."""
    epsg, b = square(version, side)
    names = []
    for band in bands:
        paths = sources(version, band)
        index, name = out.with_suffix(f".{band}.gpkg"), out.with_suffix(f".{band}.gti")
        boxes = []
        for path in paths:
            with rasterio.open(path) as file:
                boxes.append(shapely.box(*file.bounds))
        # The last is shown on top.
        table = pa.table(
            {"location": paths, "rank": [-n for n in range(len(paths))], "geom": shapely.to_wkb(boxes)}
        )
        pyogrio.write_arrow(
            table, index, layer="tiles", geometry_name="geom", geometry_type="Polygon", crs=f"EPSG:{epsg}"
        )
        pixel = version.store.config.pixel
        name.write_text(
            f"<GDALTileIndexDataset><IndexDataset>{index}</IndexDataset><IndexLayer>tiles</IndexLayer>"
            "<LocationField>location</LocationField><SortField>rank</SortField><SortFieldAsc>true</SortFieldAsc>"
            f"<ResX>{pixel}</ResX><ResY>{pixel}</ResY><MinX>{b.left}</MinX><MinY>{b.bottom}</MinY><MaxX>{b.right}</MaxX>"
            f"<MaxY>{b.top}</MaxY><BandCount>1</BandCount><DataType>Int16</DataType><NoDataValue>{NODATA}</NoDataValue>"
            "</GDALTileIndexDataset>"
        )
        names.append(name)
    separately(names, epsg, b, side, out)


def separately(names: list[Path], epsg: int, bounds: Bounds, side: int, out: Path) -> None:
    """A COG whose bands are single rasters, by GDAL's driver."""
    text = "".join(
        f'<VRTRasterBand dataType="Int16" band="{i}"><NoDataValue>{NODATA}</NoDataValue><SimpleSource>'
        f"<SourceFilename>{n}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, n in enumerate(names, 1)
    )
    pixel = (bounds.right - bounds.left) / side
    place = ", ".join(repr(v) for v in (bounds.left, pixel, 0.0, bounds.top, 0.0, -pixel))
    whole = out.with_suffix(".vrt")
    whole.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:{epsg}</SRS>'
        f"<GeoTransform>{place}</GeoTransform>{text}</VRTDataset>"
    )
    copy_raster(whole, out, driver="COG", **COG)


WAYS: dict[str, Callable[[Version, list[str], int, Path], None]] = {
    "floor": floor,
    "first": first,
    "default": default,
    "rasterio.merge": rasterio_merge,
    "gdalbuildvrt": gdal,
    "gti": gti,
}


def run(*command: str) -> None:
    """A program of GDAL, without the paths of this environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GDAL", "PROJ"))}
    subprocess.run(command, check=True, env=kept)


def measured(name: str, arguments: list[str], out: Path) -> tuple[float, float, float]:
    """CPU seconds, gigabytes and elapsed seconds of a way in a process of its own."""
    start = time.perf_counter()
    pid = os.spawnv(
        os.P_NOWAIT,
        sys.executable,
        [sys.executable, "-m", "benchmarks.export", *arguments, "--way", name, "--out", str(out)],
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{name} failed with {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6, time.perf_counter() - start


def equal(a: Path, b: Path) -> float:
    """Share of equal pixels of two files, read in strips."""
    same, total = 0, 0
    with rasterio.open(a) as one, rasterio.open(b) as two:
        for row in range(0, one.height, 512):
            window = Window(0, row, one.width, min(512, one.height - row))
            x, y = one.read(window=window), two.read(window=window)
            same += int(np.count_nonzero(x == y))
            total += x.size
    return same / total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--side", type=int, default=10980, help="pixels a side [10980]")
    parser.add_argument("--bands", default="B02,B03,B04,B08")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated [all]")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.way:
        WAYS[a.way](open_version(Store(a.store), "mosaic"), a.bands.split(","), a.side, a.out)
        return
    ways = [w for w in a.ways.split(",") if w != "gdalbuildvrt" or shutil.which("gdalbuildvrt")]
    arguments = ["--store", str(a.store), "--side", str(a.side), "--bands", a.bands]
    found = {}
    with tempfile.TemporaryDirectory(dir=a.store) as folder:
        outs = {w: Path(folder) / f"{w}.tif" for w in ways}
        print(
            f"{a.side}² × {len(a.bands.split(','))} bands\n\n| way | CPU s | GB | elapsed s | × first |\n|---|---|---|---|---|"
        )
        for way in ways:
            found[way] = cpu, gigabytes, elapsed = measured(way, arguments, outs[way])
            ratio = f"{cpu / found['first'][0]:.2f}" if "first" in found else ""
            print(f"| {way} | {cpu:.1f} | {gigabytes:.2f} | {elapsed:.0f} | {ratio} |", flush=True)
        for way in ("rasterio.merge", "gdalbuildvrt", "gti"):
            if way in found and "first" in found:
                print(f"{100 * equal(outs['first'], outs[way]):.4f} % of the values of {way} equal ours")


if __name__ == "__main__":
    main()
