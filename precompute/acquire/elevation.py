"""Elevation at the nodes of a scene from a model the user names, such as a VRT of Copernicus DEM tiles."""

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling

from precompute.acquire.angles import Angles
from terrazzo.errors import UnreadableAsset


def node_elevation(dem: Path, angles: Angles, epsg: int) -> NDArray[np.float64]:
    """(row, col) mean elevation in metres around each node of the angle grids; 0 (the sea) where the model has none.

    Raises:
        UnreadableAsset: the model cannot be read.
    """
    rows, cols = angles.sun_zenith.shape
    transform = from_origin(
        angles.left - angles.step / 2, angles.top + angles.step / 2, angles.step, angles.step
    )
    try:
        with (
            rasterio.open(dem) as source,
            WarpedVRT(
                source,
                crs=f"EPSG:{epsg}",
                transform=transform,
                width=cols,
                height=rows,
                resampling=Resampling.average,
            ) as warped,
        ):
            values = warped.read(1, masked=True)
    except RasterioError as error:
        raise UnreadableAsset(
            f"elevation model {dem}: {error}; name one raster (a VRT of many) in any grid, or leave --dem out"
        ) from None
    return np.asarray(values.astype(np.float64).filled(0.0))
