"""What part each scene has in a merged pixel: the formulas of the merge, said for one pixel."""

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Method
from terrazzo.mosaic import kernels
from terrazzo.mosaic.merge import OUTLIER


def shares(values: NDArray[np.int16], weight: NDArray[np.uint8], method: Method) -> NDArray[np.float64]:
    """(scene, band) shares of each scene in a merged pixel: their products with `values` sum up to it.

    Args:
        values: (scene, band) int16, nodata −32768; weight: (scene,); the first axis is the order, first wins.
    """
    scenes, bands = values.shape
    out = np.zeros((scenes, bands))
    usable = np.flatnonzero((weight > 0) & (values != NODATA).all(axis=1))
    if not usable.size:
        return out
    if method == "first":
        out[usable[0]] = 1
    elif method == "mean":
        out[usable] = 1 / usable.size
    elif method == "feather":
        x = weight[usable] / 255
        alpha = x * x * (3 - 2 * x)
        through = np.concatenate([[1.0], np.cumprod(1 - alpha)[:-1]])
        part = np.where(through < 1 / 255, 0, through * alpha)
        out[usable] = (part / part.sum())[:, None]
    elif method == "median":
        for b in range(bands):
            order = usable[np.argsort(values[usable, b], kind="stable")]
            middle = order[(order.size - 1) // 2 : order.size // 2 + 1]
            out[middle, b] = 1 / middle.size
    else:
        w, far = weight[usable].astype(np.float64), np.zeros(usable.size)
        for b in range(bands):
            v = values[usable, b].astype(np.float64)
            middle_value = kernels.weighted_median(v, w, v.size, np.empty((2, v.size)))
            far += ((v - middle_value) / (0.006 / SCALE + 0.1 * max(middle_value, 0.0))) ** 2 / bands
        w = w / (1 + (far / OUTLIER**2) ** 2)
        out[usable] = (w / w.sum())[:, None]
    return out
