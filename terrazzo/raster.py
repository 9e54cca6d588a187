"""Reads boxes of pixels from open datasets, and stored numbers as reflectance."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from terrazzo.bands import NODATA, SCALE
from terrazzo.grid import PixelBox


def reflectance(values: NDArray[np.int16]) -> NDArray[np.float32]:
    """Reflectance of stored numbers, of the same shape; NaN where they are `NODATA`."""
    return np.where(values == NODATA, np.float32(np.nan), values * np.float32(SCALE)).astype(np.float32)


def read_open(
    read: Callable[..., NDArray[np.generic]], dtype: str, covers: PixelBox, box: PixelBox, fill: float
) -> NDArray[np.generic]:
    """(row, col) pixels of a box from a dataset that covers another box of the same grid.

    Args:
        read: of the open dataset.
        covers: the box of the whole dataset.
        box: the pixels wanted; those beyond the dataset get `fill`.
    """
    common = box.intersection(covers)
    if common == box:
        return read(1, window=_window(common, covers))
    out = np.full(box.shape, fill, dtype)
    if not common.empty:
        out[common.within(box)] = read(1, window=_window(common, covers))
    return out


def _window(box: PixelBox, covers: PixelBox) -> RasterWindow:
    return RasterWindow(box.col0 - covers.col0, box.row0 - covers.row0, box.width, box.height)
