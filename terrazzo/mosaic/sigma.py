"""How sure a mosaic's values are: the standard error with which one predicts an independent clear observation of its period.

A pixel's clear observations x_i, one a pass, corrected and without gains, scatter about the mosaic's value m. Few of them say little, so that a prior
scatter τ, by band and level, stands for ν observations more (the moderated variance of Smyth 2004, doi 10.2202/1544-6115.1027):

    s² = (ν τ² + Σ w_i (x_i − m)²) / (ν + Σ w_i − 1),    σ = g F(n) s

τ is a table of all places, scaled by what the mosaic's own dates differ by, which is stored with the version. Versions that have no such scale have the
table's τ. F, by the count n of observations, and g, by band, are learnt on dates that were left out, so that the shares within σ and within 2σ come nearest to 68
and 95 %; within `WITHIN_95` σ of the mosaic lie 95 % (`python -m benchmarks.sigma` learns and judges). What all pixels of a date have in common, its air above all, is no smaller in a mean over many
pixels: `Common` is the same estimate, of the days' common offsets.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import BANDS
from terrazzo.config import Method, Stage
from terrazzo.errors import InvalidRequest
from terrazzo.grid import PixelBox
from terrazzo.mosaic.engine import FILLED, Engine, Image
from terrazzo.mosaic.lanes import SEASON
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.mosaic.request import UNMERGED
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.stack import PixelNumbers, clear_scenes, each_clear
from terrazzo.mosaic.warp import Points, Target, locate
from terrazzo.mosaic.zone import LAST_RESORT
from terrazzo.raster import reflectance
from terrazzo.version import Version

TABLE = {
    "B02": (0.0053, 0.133),
    "B03": (0.0043, 0.089),
    "B04": (0.0066, 0.177),
    "B08": (0.0027, 0.133),
    "B11": (0.0212, 0.044),
    "B12": (0.0212, 0.044),
}
"""a and b of a band: τ = a + b · reflectance, in reflectance. Other bands have those of the nearest wavelength."""


class Law(NamedTuple):
    """What makes a standard error of a prior and observations.

    Attributes:
        bands: g by the bands of `TABLE`.
        worth: ν of pixels, observations that the prior stands for; factors: F by the count of observations from 1, the last for all more.
        common_worth, common: ν and F of means over areas.
    """

    bands: tuple[float, ...]
    worth: float
    factors: tuple[float, ...]
    common_worth: float
    common: tuple[float, ...]


OF_TABLE = Law(
    (1.19, 0.96, 0.88, 1.01, 0.97, 0.96),
    3.0,
    (1.38, 1.07, 0.99, 0.97, 0.97, 0.92),
    2.0,
    (0.94, 0.88, 0.86, 0.92, 0.92, 1.01),
)
"""Of the table's own τ."""
OF_MOSAIC = Law(
    (1.37, 0.93, 1.01, 0.86, 0.79, 0.87),
    3.0,
    (1.21, 1.03, 0.94, 0.91, 0.91, 0.82),
    4.0,
    (0.83, 0.81, 0.76, 0.8, 0.8, 0.84),
)
"""Of a τ that the mosaic's dates scaled."""
WITHIN_95 = 2.5
"""Sigma within which 95 % of the observations lie: their errors have longer tails than a normal law, which has 1.96."""
AROUND = 64
"""Side, in pixels of the zone's grid, of the square around a place whose common error is computed."""


def require_sigma(measure: Measure, version: Version) -> None:
    """Refuses what predicts no observation.

    Raises:
        InvalidRequest: a measure is such; the message says why.
    """
    if measure.expression is not None or measure.baseline is not None:
        name = "baseline" if measure.expression is None else "expression"
        raise InvalidRequest(f"sigma and {name} contradict each other: sigma is of the bands of one time")
    _require(measure.pixels.stage, measure.pixels.method or version.config.method)


def _require(stage: Stage | None, method: Method) -> None:
    if stage in UNMERGED:
        raise InvalidRequest(
            f"sigma: stage={stage} shows one scene as it is, not what scenes say together; ask for stage merged or normalized"
        )
    if method.startswith("percentile:"):
        raise InvalidRequest(
            f"sigma: method={method} is a limit of the observations, not their middle; ask for another method, such as median"
        )


def sigma(engine: Engine, selection: Selection, where: Target | Points, image: Image) -> PixelNumbers:
    """(band, row, col) float32 standard errors in reflectance, of what an image shows of a selection.

    NaN without data, and where no scene of the period is clear: what fills a gap predicts nothing of this period.

    Args:
        where, image: what was asked for and what the engine gave.

    Raises:
        InvalidRequest: the request's values predict no observation.
        TooLarge: too many scenes lie there.
    """
    request, problems = selection.request, dict[str, None]()
    _require(request.stage, request.method)

    def weighed() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        for one in each_clear(engine, selection, where, "sigma", passes=True):
            problems.update(dict.fromkeys(one.problems))
            yield reflectance(one.values), weights(request.target, (one.day,))

    values = _observed(image)
    prior = prior_of(engine.version, request.period, request.bands)
    error = prior.of_pixels(values, _scattered(values, weighed()))
    return PixelNumbers(error.astype(np.float32), tuple(problems))


class PlaceSigma(NamedTuple):
    """Standard errors at a place in reflectance, a number a band; None where there is none.

    Attributes:
        sigma: of the place's own value.
        shared: the part of it that the place has in common with the pixels around.
        within_95: the distance from the value within which 95 % of independent clear observations lie.
        prior: whose dates the prior is of, the `mosaic`'s or those of a `table` of other places.
        problems: scenes that were left out, and why.
    """

    sigma: tuple[float | None, ...]
    shared: tuple[float | None, ...]
    within_95: tuple[float | None, ...]
    prior: Literal["mosaic", "table"]
    problems: tuple[str, ...]


def sigma_at(engine: Engine, selection: Selection, place: Points, image: Image, epsg: int) -> PlaceSigma:
    """The standard errors of one place.

    Args:
        image: what the engine gave for the place; epsg: zone whose pixels around the place tell what is shared.

    Raises:
        InvalidRequest, TooLarge: as of `sigma`.
    """
    at_place, problems = sigma(engine, selection, place, image)
    own = at_place[:, 0, 0].astype(np.float64)
    around = _around(engine, place, epsg)
    image = engine.render(selection, around)
    values, scenes, days, more = observed(engine, selection, around, image, "sigma")
    count = len(values)
    common = Common(count, 1)
    pixels = around.height * around.width
    whole = np.ones(pixels), np.zeros(pixels, np.int64)
    # Where no scene is clear there is no size to infer from.
    common.add(values.reshape(count, pixels), scenes.reshape(len(scenes), count, pixels), days, *whole)
    prior = prior_of(engine.version, selection.request.period, image.bands)
    shared = prior.of_means(*common.scatter(selection.request.target))[:, 0]
    every = tuple(dict.fromkeys((*problems, *more)))
    shared = np.minimum(shared, own)
    return PlaceSigma(_plain(own), _plain(shared), _plain(WITHIN_95 * own), prior.origin, every)


def _around(engine: Engine, place: Points, epsg: int) -> Target:
    """The pixels of a zone's grid around a place, `AROUND` a side."""
    grid = engine.version.store.grid(epsg)
    rows, cols = locate(place, grid, 0, engine.planner.area)
    row, col = (int(np.floor(v[0, 0])) - AROUND // 2 for v in (rows, cols))
    box = PixelBox(row, col, row + AROUND, col + AROUND)
    return Target(f"EPSG:{epsg}", grid.bounds(box), AROUND, AROUND)


class Observed(NamedTuple):
    """Values and what was observed of them.

    Attributes:
        values: (band, row, col) reflectance of an image, NaN without data and where no scene of the period is clear.
        scenes: (pass, band, row, col) clear observations of each pass; days: (pass,) of them.
        problems: scenes that were left out, and why.
    """

    values: NDArray[np.float32]
    scenes: NDArray[np.float32]
    days: tuple[date, ...]
    problems: tuple[str, ...]


def observed(
    engine: Engine, selection: Selection, where: Target | Points, image: Image, name: str
) -> Observed:
    """The values of an image with the clear observations of each pass.

    Args:
        name: what asks, for the error.

    Raises:
        TooLarge: too many scenes lie there, or they do not fit in memory.
    """
    scenes = clear_scenes(engine, selection, where, name, passes=True)
    return Observed(_observed(image), reflectance(scenes.values), scenes.days, scenes.problems)


def _observed(image: Image) -> NDArray[np.float32]:
    """(band, row, col) reflectance of an image, NaN without data and where no scene of the period is clear."""
    values = reflectance(image.values)
    values[:, image.quality & (FILLED | LAST_RESORT | PREDICTED) > 0] = np.nan
    return values


def _plain(numbers: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(round(float(n), 5) if np.isfinite(n) else None for n in numbers)


def table(bands: Sequence[str]) -> NDArray[np.float64]:
    """(band, 2) of `TABLE`."""
    return np.array(list(TABLE.values()))[_nearest(bands)]


def _nearest(bands: Sequence[str]) -> list[int]:
    """Of each band, the row of `TABLE` of the nearest wavelength."""
    middles = np.array([BANDS[known].centre_nm[0] for known in TABLE])
    return [int(np.abs(middles - BANDS[b].centre_nm[0]).argmin()) for b in bands]


class ScatterPrior(NamedTuple):
    """What is known of bands before observations.

    Attributes:
        tau: (band, 2) intercept and slope of τ; scale: (band,) g.
        law: whose ν and F hold.
        origin: whose dates τ is of.
    """

    tau: NDArray[np.float64]
    scale: NDArray[np.float64]
    law: Law
    origin: Literal["mosaic", "table"]

    def of_pixels(self, values: NDArray[np.floating], about: "Scatter") -> NDArray[np.float64]:
        """Standard errors of pixels, as `standard_error`."""
        return self._scaled(standard_error(values, about, self.tau, self.law.worth, self.law.factors))

    def of_means(self, values: NDArray[np.floating], about: "Scatter") -> NDArray[np.float64]:
        """Standard errors of means over areas, as `standard_error`."""
        return self._scaled(standard_error(values, about, self.tau, self.law.common_worth, self.law.common))

    def _scaled(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.scale.reshape(-1, *(1,) * (error.ndim - 1)) * error


def prior_of(version: Version, period: str, bands: Sequence[str]) -> ScatterPrior:
    """The prior of a version's period: its own dates', or the table's where its dates never show the same ground or its release stored none."""
    own = version.scatter.get(period)
    near = _nearest(bands)
    if own is None:
        return ScatterPrior(table(bands), np.array(OF_TABLE.bands)[near], OF_TABLE, "table")
    tau = np.array([own[b] for b in bands], np.float64)
    return ScatterPrior(tau, np.array(OF_MOSAIC.bands)[near], OF_MOSAIC, "mosaic")


class Scatter(NamedTuple):
    """How observations scatter about values: Σ w (x − m)², Σ w, and how many there are, each in the shape of the values."""

    squares: NDArray[np.float64]
    total: NDArray[np.float64]
    count: NDArray[np.float64]  # type: ignore[assignment]


def scatter(
    values: NDArray[np.floating], scenes: NDArray[np.floating], weight: NDArray[np.float64]
) -> Scatter:
    """The scatter of observations about the values that a mosaic has there.

    Args:
        values: (band, …) of the mosaic; scenes: (scene, band, …) observations, NaN where not clear.
        weight: (scene, …) above 0 up to 1, as it broadcasts to the scenes.
    """
    return _scattered(values, zip(scenes, weight, strict=True))


def _scattered(
    values: NDArray[np.floating], weighed: Iterable[tuple[NDArray[np.floating], NDArray[np.float64]]]
) -> Scatter:
    """`scatter` of observations with their weights, of which one is in memory at once."""
    squares, total, count = (np.zeros(values.shape) for _ in range(3))
    for scene, w in weighed:
        seen = np.isfinite(scene)
        squares += np.where(seen, w * (scene - values) ** 2, 0)
        total += np.where(seen, w, 0)
        count += seen
    return Scatter(squares, total, count)


def standard_error(
    values: NDArray[np.floating],
    about: Scatter,
    tau: NDArray[np.float64],
    worth: float,
    factors: Sequence[float],
) -> NDArray[np.float64]:
    """F(n) s of the module's equation, in the unit of the values; NaN where there is no value or no observation.

    Args:
        values: (band, …) of the mosaic.
        tau: (band, 2) intercept and slope of the prior scatter.
        worth: ν; factors: F by count from 1, the last for all more.
    """
    a, b = tau.T.reshape(2, -1, *(1,) * (values.ndim - 1))
    expected = a + b * np.maximum(values, 0)
    variance = (worth * expected**2 + about.squares) / (worth + np.maximum(about.total - 1, 0))
    factor = np.array(factors)[np.clip(about.count, 1, len(factors)).astype(np.int64) - 1]
    return np.where(about.count > 0, factor * np.sqrt(variance), np.nan)


class Common:
    """What the pixels of areas have in common on each day, summed over any number of parts.

    A mean over an area errs by its days' common offsets; the offset of a day is the mean of its observations less the mosaic's mean there.
    """

    def __init__(self, bands: int, areas: int) -> None:
        self._days: dict[date, NDArray[np.float64]] = {}
        self._level = np.zeros((2, bands, areas))

    def add(
        self,
        values: NDArray[np.float32],
        scenes: NDArray[np.float32],
        days: Sequence[date],
        shares: NDArray[np.float64],
        areas: NDArray[np.int64],
    ) -> None:
        """Adds pixels.

        Args:
            values: (band, pixel) of the mosaic; scenes: (scene, band, pixel) observations, NaN where there are none.
            days: (scene,) of each.
            shares: (pixel,) by which an area covers each; areas: (pixel,) number of that area.
        """
        self._level += area_sums(values, shares, areas, self._level.shape[-1])
        for scene, day in zip(scenes, days, strict=True):
            sums = self._days.setdefault(day, np.zeros(self._level.shape))
            sums += area_sums(scene - values, shares, areas, sums.shape[-1])

    def scatter(self, target: date | None) -> tuple[NDArray[np.float64], Scatter]:
        """(band, area) means of the mosaic, and the scatter of the days' means about them, NaN without data.

        Args:
            target: the day that is shown, for methods that weigh days.
        """
        days = tuple(self._days)
        sums = np.array([self._days[d] for d in days]).reshape(-1, *self._level.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            level, offsets = self._level[0] / self._level[1], sums[:, 0] / sums[:, 1]
            # A day that shows a corner of an area says little of the whole; one of two passes shows no more than the whole.
            seen = np.minimum(np.nan_to_num(sums[:, 1] / self._level[1]), 1)
        return level, scatter(level, level + offsets, seen * weights(target, days)[:, None, None])


def area_sums(
    values: NDArray[np.floating], shares: NDArray[np.float64], areas: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """(2, band, area) sums of shares times values, and of the shares of values that are there."""
    known = np.isfinite(values)
    weighed = (np.where(known, shares * values, 0), np.where(known, shares, 0))
    return np.array([[np.bincount(areas, band, count) for band in part] for part in weighed])


def weights(target: date | None, days: Sequence[date]) -> NDArray[np.float64]:
    """(scene,) 1; by nearness in time to the day that is shown, for methods that weigh days."""
    if target is None:
        return np.ones(len(days))
    apart = np.array([(d - target).days for d in days], np.float64)
    return 1 / (1 + np.abs(apart) / SEASON)
