"""Another composite, whose level scenes are brought to."""

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from terrazzo.bands import NODATA, SCALE, stored_factor
from terrazzo.errors import StoreError
from terrazzo.grid import PixelBox
from terrazzo.precompute.products.files import open_as
from terrazzo.store import Store

MOST_REFLECTANCE = 2.0
"""Median of a composite above which its numbers are no reflectance."""


def read_composite(path: str, band: str, store: Store, epsg: int, box: PixelBox) -> NDArray[np.int16]:
    """A band of another composite on a box of the zone grid at the band's own pixel, bilinear, `NODATA` beyond it.

    Raises:
        StoreError: the raster cannot be read, has no such band or no coordinate system, or holds no reflectance.
    """
    grid, f = store.grid(epsg), stored_factor(band)
    own = box.coarser(f)
    try:
        with open_as(path, ("GTiff", "VRT")) as file:
            if file.crs is None:
                raise StoreError(
                    f"reference {path} has no coordinate system: gdal_edit.py -a_srs gives it one"
                )
            if band not in file.descriptions:
                raise StoreError(
                    f"reference {path} has no band named {band}: its bands' descriptions name them"
                )
            number = file.descriptions.index(band) + 1
            scale, offset = file.scales[number - 1], file.offsets[number - 1]
            with WarpedVRT(
                file, crs=f"EPSG:{epsg}", transform=grid.transform(box) @ Affine.scale(f), height=own.height,
                width=own.width, resampling=Resampling.bilinear, dtype="float32", nodata=np.nan,
                # Else GDAL takes a pixel for valid where any band is, and mixes the gap of one band into its neighbours.
                UNIFIED_SRC_NODATA="NO",
            ) as warped:  # fmt: skip
                rho = warped.read(number) * scale + offset
    except RasterioError as error:
        raise StoreError(f"reference {path}: {error}") from None
    known = np.isfinite(rho)
    if known.any() and (middle := float(np.median(rho[known]))) > MOST_REFLECTANCE:
        raise StoreError(
            f"reference {path}, band {band}: {middle:g} is no reflectance; the file must name its scale"
            " (gdal_edit.py -scale 0.0001, for counts of 1e-4)"
        )
    counts = np.clip(np.rint(np.where(known, rho, 0) / SCALE), -32767, 32767)
    return np.where(known, counts, NODATA).astype(np.int16)
