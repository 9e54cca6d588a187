"""Reads boxes of pixels from the rasters of a store."""

from collections.abc import Callable

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from terrazzo.errors import ReadFailure
from terrazzo.grid import PixelBox


def read_box(path: str, covers: PixelBox, box: PixelBox, fill: float) -> NDArray[np.generic]:
    """(row, col) pixels of a box from a raster that covers another box of the same grid.

    Args:
        path: what rasterio opens.
        covers: the box of the whole raster.
        box: the pixels wanted; those beyond the raster get `fill`.

    Raises:
        ReadFailure: the file is missing or damaged.
    """
    try:
        with rasterio.open(path) as dataset:
            return read_open(dataset.read, dataset.dtypes[0], covers, box, fill)
    except RasterioError as error:
        raise ReadFailure(f"{path}: {error}") from None


def read_open(
    read: Callable[..., NDArray[np.generic]], dtype: str, covers: PixelBox, box: PixelBox, fill: float
) -> NDArray[np.generic]:
    """As `read_box`, from the read function of an open dataset."""
    common = box.intersection(covers)
    if common == box:
        return read(1, window=_window(common, covers))
    out = np.full(box.shape, fill, dtype)
    if not common.empty:
        out[common.within(box)] = read(1, window=_window(common, covers))
    return out


def _window(box: PixelBox, covers: PixelBox) -> RasterWindow:
    return RasterWindow(box.col0 - covers.col0, box.row0 - covers.row0, box.width, box.height)
