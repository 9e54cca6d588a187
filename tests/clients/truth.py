"""A picture to compare tiles with: the natural style, stretched here from served reflectance."""

import io
import urllib.request
from pathlib import Path

import numpy as np
import rasterio

from terrazzo.bands import STYLES
from tests.waiting import PATIENCE


def natural(address: str, box: str, epsg: int, path: Path) -> Path:
    """Writes the natural style of a box of a mosaic on its zone's grid, 0 without data."""
    url = f"{address}/mosaics/mosaic/bbox/{box}.tif?coord_crs=EPSG:{epsg}&bands=B04,B03,B02"
    style = STYLES["natural"]
    with rasterio.open(io.BytesIO(urllib.request.urlopen(url, timeout=PATIENCE).read())) as dataset:
        values = dataset.read()
        grid = {k: dataset.profile[k] for k in ("driver", "width", "height", "crs", "transform")}
    low, high = style.rescale
    stretched = np.clip((values * 1e-4 - low) / (high - low), 0, 1) ** (1 / style.gamma)
    picture = np.where((values == -32768).any(axis=0), 0, np.maximum(np.rint(stretched * 255), 1))
    with rasterio.open(path, "w", **grid, count=3, dtype="uint8", nodata=0) as dataset:
        dataset.write(picture.astype(np.uint8))
    return path
