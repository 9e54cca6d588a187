"""Rasters that are written are whole, or it is an error."""

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from terrazzo.raster import new_raster


def test_a_raster_that_the_disk_did_not_take_is_an_error(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 60_000, (1, 512, 512), np.uint16)
    profile = {"driver": "GTiff", "height": 512, "width": 512, "count": 1, "dtype": "uint16", "tiled": True}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # All blocks stay with GDAL until the file is closed.
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        with pytest.raises(OSError, match="disk full"), new_raster(tmp_path / "a.tif", **profile) as out:
            out.write(values, Window(0, 0, 512, 512))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with new_raster(tmp_path / "a.tif", **profile) as out:
        out.write(values, Window(0, 0, 512, 512))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.read() == values).all()
