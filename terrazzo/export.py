"""Writes any box of a mosaic as one Cloud-Optimized GeoTIFF, window by window, so that memory stays bounded."""

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window as RasterWindow

from terrazzo.bands import NODATA, SCALE
from terrazzo.errors import InvalidRequest, OutsideCoverage
from terrazzo.grid import Bounds, Grid, PixelBox, is_utm
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.version import Version

WINDOW = 1024
"""Side of the windows that are rendered one by one, in pixels."""
DEGREE = 111_319.490_793
"""Metres of a degree on the equator of WGS 84."""


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        share: share of the pixels that hold data, 0–1.
        problems: scenes that were left out, and why.
    """

    path: Path
    share: float
    problems: tuple[str, ...]


def native_crs(version: Version, lon: float) -> str:
    """The UTM zone of a mosaic whose middle lies nearest to a longitude."""

    def away(epsg: int) -> float:
        return abs((lon - ((epsg % 100) * 6 - 183) + 180) % 360 - 180)

    return f"EPSG:{min(version.zones, key=away)}"


def export_target(
    version: Version,
    bounds: Bounds,
    bounds_crs: str = "EPSG:4326",
    crs: str | None = None,
    resolution: float | None = None,
) -> Target:
    """The pixels of an export: the box, grown outward to whole pixels of the grid anchored at the origin.

    Args:
        crs: coordinate system of the file, by default the mosaic's UTM zone nearest to the box.
        resolution: pixel size in units of `crs`, by default the store's pixel.

    Raises:
        InvalidRequest: a coordinate system is unknown, or the box is empty or has no place in it.
    """
    if not all(np.isfinite(bounds)) or bounds.left >= bounds.right or bounds.bottom >= bounds.top:
        raise InvalidRequest("the box must be W S E N, W below E and S below N")
    if crs is None:
        centre = ((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2)
        crs = native_crs(version, transformer(bounds_crs, "EPSG:4326").transform(*centre)[0])
    to_file = transformer(bounds_crs, crs)
    left, bottom, right, top = bounds
    if bounds_crs != crs:
        left, bottom, right, top = to_file.transform_bounds(*bounds, densify_pts=21)
    if not all(np.isfinite((left, bottom, right, top))):
        raise InvalidRequest(f"the box has no place in {crs}")
    known = CRS.from_user_input(crs)
    pixel = version.store.config.pixel
    size = resolution or (pixel / DEGREE if known.is_geographic else pixel)
    if size <= 0:
        raise InvalidRequest(f"resolution {size}: above 0")
    code = known.to_epsg()
    if code is not None and is_utm(code):
        grid = Grid(code, size, version.store.config.window)
        box = grid.box_from_bounds(left, bottom, right, top)
        return Target(crs, grid.bounds(box), box.height, box.width)
    box = _outward(left, bottom, right, top, size)
    snapped = Bounds(box.col0 * size, -box.row1 * size, box.col1 * size, -box.row0 * size)
    return Target(crs, snapped, box.height, box.width)


def _outward(left: float, bottom: float, right: float, top: float, size: float) -> PixelBox:
    near = 1e-6
    return PixelBox(
        int(np.floor(-top / size + near)),
        int(np.floor(left / size + near)),
        int(np.ceil(-bottom / size - near)),
        int(np.ceil(right / size - near)),
    )


def windows(target: Target, side: int = WINDOW) -> Iterator[tuple[RasterWindow, Target]]:
    """The parts of a target, row by row, each with its place in the whole."""
    dx, dy = target.resolution
    left, top = target.bounds.left, target.bounds.top
    for row in range(0, target.height, side):
        for col in range(0, target.width, side):
            height, width = min(side, target.height - row), min(side, target.width - col)
            bounds = Bounds(
                left + col * dx, top - (row + height) * dy, left + (col + width) * dx, top - row * dy
            )
            yield RasterWindow(col, row, width, height), Target(target.crs, bounds, height, width)


def export(
    engine: Engine, selection: Selection, target: Target, path: Path, *, workers: int = 1
) -> Iterator[float | Exported]:
    """Renders a target into a COG; yields the share that is done, and at the end what was written.

    The file is int16 with scale 1e-4 and nodata −32768 (`stage=raw`: the product's numbers, `mask`: classes), with
    band names, attribution, version and request in its tags. It appears whole or not at all.

    Raises:
        OutsideCoverage: no pixel of the target holds data.
        OSError: the disk is full or the folder cannot be written.
    """
    version, stage = engine.version, selection.request.stage
    bands = ("mask",) if stage == "mask" else selection.request.bands
    problems: dict[str, None] = {}
    filled = 0
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tif")
    os.close(handle)
    work, whole = Path(name), Path(name).with_suffix(".part")
    try:
        with rasterio.open(work, "w", **_profile(target, len(bands))) as file:
            for i, band in enumerate(bands, 1):
                file.set_band_description(i, band)
            if stage not in ("raw", "mask"):
                file.scales, file.offsets = (SCALE,) * len(bands), (0.0,) * len(bands)
            file.update_tags(**_tags(version, selection))
            total, done = target.height * target.width, 0
            for window, image in _rendered(engine, selection, target, workers):
                file.write(image.values, window=window)
                filled += int((image.values[0] != NODATA).sum())
                problems |= dict.fromkeys(image.problems)
                done += window.width * window.height
                yield done / total
        if not filled:
            raise OutsideCoverage(
                f"the box holds no data for {selection.request.text()}; the mosaic covers {tuple(version.bounds)}"
            )
        copy_raster(
            work,
            whole,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            BLOCKSIZE="512",
            OVERVIEW_RESAMPLING="NEAREST" if stage == "mask" else "AVERAGE",
            BIGTIFF="IF_SAFER",
            NUM_THREADS=str(workers),
        )
        os.chmod(whole, 0o644)
        with whole.open("rb") as finished:
            os.fsync(finished.fileno())
        os.replace(whole, path)
    except rasterio.errors.RasterioError as error:
        raise OSError(f"cannot write {path}: {error}; is the disk full?") from error
    finally:
        work.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
    yield Exported(path, filled / total, tuple(problems))


def _profile(target: Target, count: int) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "count": count,
        "height": target.height,
        "width": target.width,
        "dtype": "int16",
        "crs": target.crs,
        "transform": rasterio.transform.from_bounds(*target.bounds, target.width, target.height),
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
        "zstd_level": 1,
        "bigtiff": "if_safer",
    }


def _tags(version: Version, selection: Selection) -> Mapping[str, str]:
    return {
        "TERRAZZO_MOSAIC": version.mosaic_id,
        "TERRAZZO_VERSION": version.name,
        "TERRAZZO_REQUEST": selection.request.text(),
        "ATTRIBUTION": version.attribution,
    }


def _rendered(
    engine: Engine, selection: Selection, target: Target, workers: int
) -> Iterator[tuple[RasterWindow, Image]]:
    """The windows' images in order; at most `workers` + 1 are in memory."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[RasterWindow, Future[Image]]] = deque()
        for window, part in windows(target):
            waiting.append((window, pool.submit(engine.render, selection, part)))
            if len(waiting) > workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for window, future in waiting:
            yield window, future.result()
