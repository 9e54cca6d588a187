"""The merge methods, one entry each: merge, explain, help, map and documents all read this table.

A new method is an entry here and its kernel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Method
from terrazzo.mosaic import kernels

OUTLIER = 2.0
"""k of `robust`: the distance, in expected spreads, at which a scene counts half."""

Shares = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


class MergeMethod(NamedTuple):
    """How overlapping scenes become one value.

    Attributes:
        meaning: one line for help, map and documents.
        layered: scenes are laid over each other in order, so that a scene below full ones is not read.
        kernel: (reflectance, weight, nodata, is_float, unit, out, provenance, count) fills the last three; `unit` is the reflectance of one count.
        shares: (scene, band) parts of usable scenes in one pixel, from their (scene, band) counts and (scene,) weights.
        chosen: why the scene that shows was chosen; None: it has the largest share.
        unused: why a usable scene has no share.
    """

    meaning: str
    layered: bool
    kernel: Callable[..., None]
    shares: Shares
    chosen: str | None = None
    unused: str = "usable, but the scenes before it hide it"


def _plain(kernel: Callable[..., None]) -> Callable[..., None]:
    """A kernel that needs no unit."""

    def run(reflectance: Any, weight: Any, nodata: int, is_float: bool, unit: float, *results: Any) -> None:
        kernel(reflectance, weight, nodata, is_float, *results)

    return run


def _robust(reflectance: Any, weight: Any, nodata: int, is_float: bool, unit: float, *results: Any) -> None:
    kernels.robust(reflectance, weight, nodata, is_float, unit, OUTLIER, *results)


def _first_shares(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros(values.shape)
    out[0] = 1
    return out


def _mean_shares(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(values.shape, 1 / len(values))


def _feather_shares(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    x = weight / 255
    alpha = x * x * (3 - 2 * x)
    through = np.concatenate([[1.0], np.cumprod(1 - alpha)[:-1]])
    part = np.where(through < 1 / 255, 0, through * alpha)
    return np.repeat((part / part.sum())[:, None], values.shape[1], axis=1)


def _median_shares(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros(values.shape)
    for b, order in enumerate(np.argsort(values, axis=0, kind="stable").T):
        middle = order[(order.size - 1) // 2 : order.size // 2 + 1]
        out[middle, b] = 1 / middle.size
    return out


def _robust_shares(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    scenes, bands = values.shape
    distance = np.zeros(scenes)
    for v in values.T:
        middle = kernels.weighted_median(np.ascontiguousarray(v), weight, scenes, np.empty((2, scenes)))
        distance += ((v - middle) / (0.006 / SCALE + 0.1 * max(middle, 0.0))) ** 2 / bands
    part = weight / (1 + (distance / OUTLIER**2) ** 2)
    return np.repeat((part / part.sum())[:, None], bands, axis=1)


METHODS: dict[Method, MergeMethod] = {
    "feather": MergeMethod(
        "clear scenes in order, blended towards their edges", True, _plain(kernels.feather), _feather_shares
    ),
    "first": MergeMethod(
        "the first clear scene in order, unblended",
        True,
        _plain(kernels.first),
        _first_shares,
        chosen="first usable in order",
        unused="usable, but another one comes first in the order",
    ),
    "median": MergeMethod(
        "the median of all clear scenes, band by band",
        False,
        _plain(kernels.median),
        _median_shares,
        chosen="nearest to the median",
        unused="usable, but not in the middle in any band",
    ),
    "mean": MergeMethod("the mean of all clear scenes", False, _plain(kernels.mean), _mean_shares),
    "robust": MergeMethod(
        "a weighted mean that gives outliers little weight", False, _robust, _robust_shares
    ),
}
assert set(METHODS) == set(get_args(Method))


def shares(values: NDArray[np.int16], weight: NDArray[np.uint8], method: Method) -> NDArray[np.float64]:
    """(scene, band) shares of each scene in a merged pixel: their products with `values` sum up to it.

    Args:
        values: (scene, band) int16, nodata −32768; weight: (scene,); the first axis is the order, first wins.
    """
    out = np.zeros(values.shape)
    usable = np.flatnonzero((weight > 0) & (values != NODATA).all(axis=1))
    if usable.size:
        out[usable] = METHODS[method].shares(
            values[usable].astype(np.float64), weight[usable].astype(np.float64)
        )
    return out
