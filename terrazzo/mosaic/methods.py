"""The merge methods, one entry each: merge, explain, help, map and documents all read this table.

A new method is an entry here and its kernel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Method
from terrazzo.mosaic import kernels, lanes

OUTLIER = 2.0
"""k of `robust`: the distance, in expected spreads, at which a scene counts half."""

RANGE = 2.0
"""Days in which the season changes a pixel as much as one date's noise: the nugget of `kriging` over the variance a day of its walk."""

Array = NDArray[np.float64]
Shares = Callable[[Array, Array, Array], Array]


class MergeMethod(NamedTuple):
    """How overlapping scenes become one value.

    Attributes:
        meaning: one line for help, map and documents.
        layered: scenes are laid over each other in order, so that a scene below full ones is not read.
        kernel: (reflectance, weight, nodata, is_float, unit, days, out, provenance, count) fills the last three; `unit` is the reflectance of one
            count, `days` (scene,) float32 those from the day that is shown.
        shares: (scene, band) parts of usable scenes in one pixel, from their (scene, band) counts, (scene,) weights and days.
        chosen: why the scene that shows was chosen; None: it has the largest share.
        unused: why a usable scene has no share.
        timed: days weigh.
    """

    meaning: str
    layered: bool
    kernel: Callable[..., None]
    shares: Shares
    chosen: str | None = None
    unused: str = "usable, but the scenes before it hide it"
    timed: bool = False


def _plain(kernel: Callable[..., None]) -> Callable[..., None]:
    """A kernel that needs neither unit nor days."""

    def run(
        reflectance: Any, weight: Any, nodata: int, is_float: bool, unit: float, days: Any, *results: Any
    ) -> None:
        kernel(reflectance, weight, nodata, is_float, *results)

    return run


def _dayless(kernel: Callable[..., None], *constants: float) -> Callable[..., None]:
    """A kernel that needs the unit, and constants behind it."""

    def run(
        reflectance: Any, weight: Any, nodata: int, is_float: bool, unit: float, days: Any, *results: Any
    ) -> None:
        kernel(reflectance, weight, nodata, is_float, unit, *constants, *results)

    return run


def _kriging(
    reflectance: Any, weight: Any, nodata: int, is_float: bool, unit: float, days: Any, *results: Any
) -> None:
    lanes.kriging(reflectance, weight, nodata, is_float, unit, days, RANGE, OUTLIER, *results)


def _first_shares(values: Array, weight: Array, days: Array) -> Array:
    out = np.zeros(values.shape)
    out[0] = 1
    return out


def _mean_shares(values: Array, weight: Array, days: Array) -> Array:
    return np.full(values.shape, 1 / len(values))


def _feather_shares(values: Array, weight: Array, days: Array) -> Array:
    x = weight / 255
    alpha = x * x * (3 - 2 * x)
    through = np.concatenate([[1.0], np.cumprod(1 - alpha)[:-1]])
    part = np.where(through < 1 / 255, 0, through * alpha)
    return np.repeat((part / part.sum())[:, None], values.shape[1], axis=1)


def _percentile(percent: int) -> MergeMethod:
    """The percentile of all clear scenes, band by band."""
    share = percent / 100

    def shares(values: Array, weight: Array, days: Array) -> Array:
        out = np.zeros(values.shape)
        at = share * (len(values) - 1)
        low, band = int(at), np.arange(values.shape[1])
        order = np.argsort(values, axis=0, kind="stable")
        out[order[low], band] = 1 - (at - low)
        if at > low:
            out[order[low + 1], band] = at - low
        return out

    name = "median" if percent == 50 else f"{percent} % percentile"
    return MergeMethod(
        f"the {name} of all clear scenes, band by band",
        False,
        _dayless(lanes.percentile, share),
        shares,
        chosen=f"nearest to the {name}",
        unused=f"usable, but not at the {name} in any band",
    )


def _geomedian_shares(values: Array, weight: Array, days: Array) -> Array:
    scenes, bands = values.shape
    middle = np.empty((bands, 1, 1))
    one = values[:, :, None, None].astype(np.int16), np.ones((scenes, 1, 1), np.uint8)
    lanes.geomedian(
        *one, NODATA, False, SCALE, middle, np.zeros((1, 1), np.int16), np.zeros((1, 1), np.int64)
    )
    # Where it stands still, it is the mean of the scenes with these weights.
    part = 1 / np.sqrt(((values - middle[:, 0, 0]) ** 2).sum(axis=1) + lanes.CLOSE**2)
    return np.repeat((part / part.sum())[:, None], bands, axis=1)


def _medoid_shares(values: Array, weight: Array, days: Array) -> Array:
    out = np.zeros(values.shape)
    far = np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=-1))
    out[far.sum(axis=1).argmin()] = 1
    return out


def _robust_shares(values: Array, weight: Array, days: Array) -> Array:
    scenes, bands = values.shape
    distance = np.zeros(scenes)
    for v in values.T:
        middle = kernels.weighted_median(np.ascontiguousarray(v), weight, scenes, np.empty((2, scenes)))
        distance += ((v - middle) / (0.006 / SCALE + 0.1 * max(middle, 0.0))) ** 2 / bands
    part = weight / (1 + (distance / OUTLIER**2) ** 2)
    return np.repeat((part / part.sum())[:, None], bands, axis=1)


def _kriging_shares(values: Array, weight: Array, days: Array) -> Array:
    bands = values.shape[1]
    full = (weight / 255) ** 2

    def near(a: Array, b: Array, spread: Array, apart: Array) -> Array:
        far = (((a - b) / spread) ** 2).mean(axis=-1) / (1 + np.abs(apart) / lanes.SEASON)
        return np.asarray(1 / (1 + (far / OUTLIER**2) ** 2))

    def spread(level: Array) -> Array:
        return np.asarray(lanes.SPREAD + lanes.SPREAD_SHARE * np.maximum(level, 0))

    pairs = near(values[:, None], values[None], spread(values.min(axis=0)), days[:, None] - days)
    weighs = full * pairs[(pairs @ (full / (1 + np.abs(days) / lanes.SEASON))).argmax()]
    part = through_time(weighs, days)
    weighs = full * near(values, part @ values, spread(part @ values), days)
    return np.repeat(through_time(weighs, days)[:, None], bands, axis=1)


def through_time(weight: Array, days: Array, steady: float = RANGE) -> Array:
    """(scene,) parts of scenes in the value at day 0 of a random walk: ordinary kriging, whose system is solved as it stands.

    Args:
        weight: of each scene, 1 over its part of the nugget; steady: nugget over the variance a day of the walk, days.
    """
    some = weight > 1e-12
    noise, at = steady / weight[some], days[some]
    n = len(at)
    system = np.ones((n + 1, n + 1))
    # A random walk has no covariance, but half the variance of its differences, negative, serves as one beside the constraint on the sum.
    system[:n, :n] = -np.abs(at[:, None] - at) / 2 + np.diag(noise)
    system[n, n] = 0
    right = np.append(-np.abs(at) / 2, 1)
    out = np.zeros(len(weight))
    out[some] = np.linalg.solve(system, right)[:n]
    return out


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
    "median": _percentile(50),
    "mean": MergeMethod("the mean of all clear scenes", False, _plain(kernels.mean), _mean_shares),
    "robust": MergeMethod(
        "a weighted mean that gives outliers little weight",
        False,
        _dayless(kernels.robust, OUTLIER),
        _robust_shares,
    ),
    "geomedian": MergeMethod(
        "the geometric median of all clear scenes, over all bands",
        False,
        _dayless(lanes.geomedian),
        _geomedian_shares,
    ),
    "medoid": MergeMethod(
        "the clear scene nearest to all others, over all bands",
        False,
        _dayless(lanes.medoid),
        _medoid_shares,
        chosen="nearest to all other scenes",
        unused="usable, but another one is nearer to all others",
    ),
    "kriging": MergeMethod(
        "the asked day, or the period's middle: kriging in time, outliers weigh little",
        False,
        _kriging,
        _kriging_shares,
        chosen="weighs most by its clearness, nearness in time and likeness to the value",
        unused="usable, but unlike the others",
        timed=True,
    ),
    "percentile:10": _percentile(10),
    "percentile:25": _percentile(25),
    "percentile:75": _percentile(75),
    "percentile:90": _percentile(90),
}
assert set(METHODS) == set(get_args(Method))


def shares(
    values: NDArray[np.int16],
    weight: NDArray[np.uint8],
    method: Method,
    days: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    """(scene, band) shares of each scene in a merged pixel: their products with `values` sum up to it.

    Args:
        values: (scene, band) int16, nodata −32768; weight: (scene,); the first axis is the order, first wins.
        days: (scene,) from the day that is shown; without it, all are of one day.
    """
    out = np.zeros(values.shape)
    usable = np.flatnonzero((weight > 0) & (values != NODATA).all(axis=1))
    if usable.size:
        when = np.zeros(len(weight)) if days is None else days.astype(np.float64)
        out[usable] = METHODS[method].shares(
            values[usable].astype(np.float64), weight[usable].astype(np.float64), when[usable]
        )
    return out
