"""Elevation of a scene: from a model the user names, such as a VRT of Copernicus DEM tiles, or from a product's weather models."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling

from terrazzo.errors import UnreadableAsset
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.products.angles import Angles
from terrazzo.precompute.products.auxiliary import read_height
from terrazzo.precompute.products.files import open_as

DRIVERS = ("GTiff", "VRT", "SRTMHGT", "DTED")
"""What elevation models come as. GDAL would read much more, some of it programs or addresses."""


def node_elevation(dem: Path, angles: Angles, epsg: int) -> NDArray[np.float64]:
    """(row, col) mean elevation in metres around each node of the angle grids; 0 (the sea) where the model has none.

    Raises:
        UnreadableAsset: the model cannot be read.
    """
    transform = from_origin(
        angles.left - angles.step / 2, angles.top + angles.step / 2, angles.step, angles.step
    )
    return _warped(dem, epsg, transform, angles.sun_zenith.shape, Resampling.average).astype(np.float64)


def modelled_elevation(paths: Iterable[str], angles: Angles, epsg: int) -> NDArray[np.float64] | None:
    """(row, col) metres of the ground at the nodes as the weather models of a product have it; None if they have none."""
    rows, cols = np.indices(angles.sun_zenith.shape)
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(angles.left + cols * angles.step, angles.top - rows * angles.step)
    heights = (read_height(path, np.asarray(lon), np.asarray(lat)) for path in paths)
    return next((height for height in heights if height is not None), None)


def elevation_on(dem: Path, grid: Grid, box: PixelBox) -> NDArray[np.float32]:
    """(row, col) elevation in metres of a box of a grid; 0 (the sea) where the model has none.

    Raises:
        UnreadableAsset: the model cannot be read.
    """
    return _warped(dem, grid.epsg, grid.transform(box), box.shape, Resampling.bilinear)


def _warped(
    dem: Path, epsg: int, transform: Affine, shape: tuple[int, int], resampling: Resampling
) -> NDArray[np.float32]:
    try:
        with (
            open_as(dem, DRIVERS) as source,
            WarpedVRT(
                source,
                crs=f"EPSG:{epsg}",
                transform=transform,
                height=shape[0],
                width=shape[1],
                resampling=resampling,
            ) as warped,
        ):
            values = warped.read(1, masked=True)
    except RasterioError as error:
        raise UnreadableAsset(
            f"elevation model {dem}: {error}; name one raster in any grid, a GeoTIFF, HGT, DTED, or a VRT of many, or leave --dem out"
        ) from None
    return np.asarray(values.astype(np.float32).filled(0))
