"""Writes the rasters of an export as one Zarr folder, version 2, as xarray and GDAL read it. Needs `terrazzo[zarr]`."""

import re
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import rasterio
import zarr
from rasterio.windows import Window

CHUNK = 1024
"""Pixels a side of a chunk: the blocks of exports are whole parts of it."""
GRID = "spatial_ref"
"""Variable that holds the coordinate system, as rioxarray and odc-geo look for it."""


def write_cube(days: Sequence[tuple[date, Sequence[Path]]], folder: Path) -> None:
    """Writes rasters of one grid as a cube: a variable (time, y, x) of each band, a day after the other; whole or not at all.

    Args:
        days: with the rasters of each, those of all days alike.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    group = zarr.open_group(part, mode="w", zarr_format=2, attributes={"Conventions": "CF-1.8"})
    numbers = np.array([(day - date(1970, 1, 1)).days for day, _ in days], "int32")
    time = group.create_array("time", data=numbers, compressors=None)
    time.attrs.update(
        {"_ARRAY_DIMENSIONS": ["time"], "units": "days since 1970-01-01", "calendar": "standard"}
    )
    for at, (_, rasters) in enumerate(days):
        for path in rasters:
            with rasterio.open(path) as dataset:
                if "x" not in group:
                    _write_grid(group, dataset)
                for number in dataset.indexes:
                    _write_band(group, dataset, number, (at, len(days)))
    zarr.consolidate_metadata(group.store, zarr_format=2)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def write_zarr(rasters: Sequence[Path], folder: Path) -> None:
    """Writes each band of rasters of one grid as a variable (y, x) with its numbers, scale and nodata; whole or not at all.

    GDAL reads version 3 since 3.11 only, so this is version 2. Chunks without data are not written: Zarr's own fill value is
    the nodata, as is `_FillValue`, by which xarray masks. A folder of that name is replaced.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    group = zarr.open_group(part, mode="w", zarr_format=2, attributes={"Conventions": "CF-1.8"})
    for path in rasters:
        with rasterio.open(path) as dataset:
            if "x" not in group:
                _write_grid(group, dataset)
            for number in dataset.indexes:
                _write_band(group, dataset, number)
    zarr.consolidate_metadata(group.store, zarr_format=2)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _write_grid(group: zarr.Group, dataset: Any) -> None:
    """The coordinates of pixels' middles, and the coordinate system."""
    t = dataset.transform
    axes = {
        "x": t.c + (np.arange(dataset.width) + 0.5) * t.a,
        "y": t.f + (np.arange(dataset.height) + 0.5) * t.e,
    }
    for name, values in axes.items():
        array = group.create_array(name, data=values, compressors=None)
        array.attrs.update({"_ARRAY_DIMENSIONS": [name], "standard_name": f"projection_{name}_coordinate"})
    system = group.create_array(GRID, data=np.array(0, "int32"), compressors=None)
    geotransform = " ".join(map(repr, t.to_gdal()))
    wkt = dataset.crs.to_wkt()
    system.attrs.update(
        {"_ARRAY_DIMENSIONS": [], "crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": geotransform}
    )


def _write_band(group: zarr.Group, dataset: Any, number: int, at: tuple[int, int] | None = None) -> None:
    """Writes a band as a variable, or, `at` a place of so many in time, as a day of one."""
    name = dataset.descriptions[number - 1] or f"b{number}"
    nodata, is_new = dataset.nodatavals[number - 1], at is None or at[0] == 0
    array: Any = (
        _array(group, dataset, number, name, at[1] if at else None) if is_new else group[_plain(name)]
    )
    for row in range(0, dataset.height, CHUNK):
        for col in range(0, dataset.width, CHUNK):
            height, width = min(CHUNK, dataset.height - row), min(CHUNK, dataset.width - col)
            block = dataset.read(number, window=Window(col, row, width, height))
            if nodata is None or (block != nodata).any():
                place = np.s_[row : row + height, col : col + width]
                array[(at[0], *place) if at else place] = block


def _array(group: zarr.Group, dataset: Any, number: int, name: str, times: int | None) -> Any:
    """A variable for a band, without values: (y, x), or (time, y, x) for so many times."""
    dtype, nodata = np.dtype(dataset.dtypes[number - 1]), dataset.nodatavals[number - 1]
    missing = None if nodata is None else dtype.type(nodata).item()
    array = group.create_array(
        _plain(name),
        shape=(*([] if times is None else [times]), *dataset.shape),
        chunks=(*([] if times is None else [1]), min(CHUNK, dataset.height), min(CHUNK, dataset.width)),
        dtype=dtype,
        fill_value=missing,
        compressors=numcodecs.Zlib(6),
    )
    about: dict[str, Any] = {
        "_ARRAY_DIMENSIONS": [*([] if times is None else ["time"]), "y", "x"],
        "grid_mapping": GRID,
        "coordinates": GRID,
        "long_name": name,
        # As GDAL's driver reads it.
        "_CRS": {"wkt": dataset.crs.to_wkt()},
    }
    if missing is not None:
        about["_FillValue"] = missing
    if dataset.scales[number - 1] != 1:
        about["scale_factor"] = dataset.scales[number - 1]
    array.attrs.update(about)
    return array


def _plain(name: str) -> str:
    """A band's name as a key: expressions have signs that no key may have."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "band"
