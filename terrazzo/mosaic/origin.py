"""Where an image's pixels come from and how sure they are, as numbers a pixel: scene, day, age, count, quality, weight,
score, spread, sigma, gain, and deviations from the geometric median."""

from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Method, day_interval
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.mads import MADS, mads
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.mosaic.quality import FLAGS, SEVERAL, quality
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.sigma import sigma
from terrazzo.mosaic.spread import spread
from terrazzo.mosaic.stack import PixelNumbers
from terrazzo.mosaic.warp import Target, locate
from terrazzo.mosaic.weight import clear_scores, weight
from terrazzo.mosaic.zone import Merging
from terrazzo.version import Version

EPOCH = date(1970, 1, 1)
PREDICTED_DAY = -1
"""The day of a value that no scene showed: before all days."""
GAIN_ONE = 10_000
"""The number that stands for a gain of 1."""


class Rendering(NamedTuple):
    """An image and what it was rendered from."""

    engine: Engine
    selection: Selection
    target: Target
    image: Image


class Origin(NamedTuple):
    """One kind of such numbers.

    Attributes:
        compute: (row, col) int16 of a rendering, −32768 without data; `PixelNumbers` where scenes may be missing from them.
        count_to: number up to which the image's `count` must be exact.
        compares: whether it looks at all scenes at once.
        by_band: (band, row, col) float32 in reflectance, NaN without data, where files hold that instead.
        method: the only one that it goes with; None: any does.
    """

    title: str
    unit: str
    compute: Callable[[Rendering], NDArray[np.int16] | PixelNumbers]
    count_to: int = 0
    compares: bool = False
    by_band: Callable[[Rendering], PixelNumbers] | None = None
    method: Method | None = None

    def numbers(self, rendering: Rendering) -> PixelNumbers:
        """(row, col) int16 of a rendering, −32768 without data."""
        out = self.compute(rendering)
        return out if isinstance(out, PixelNumbers) else PixelNumbers(out)

    def values(self, rendering: Rendering) -> NDArray[np.int16]:
        """The values of `numbers` alone."""
        return self.numbers(rendering).values

    def stored(self, rendering: Rendering) -> PixelNumbers:
        """(band, row, col) as files hold it."""
        if self.by_band is not None:
            return self.by_band(rendering)
        values, problems = self.numbers(rendering)
        return PixelNumbers(values[None], problems)


def days(image: Image) -> NDArray[np.int64]:
    """Day since 1970 of each of an image's entries."""
    return np.array([(e.scene.datetime.date() - EPOCH).days for e in image.entries] or [0])


def _seen(image: Image, values: NDArray[np.generic]) -> NDArray[np.int16]:
    """(row, col) int16 of values of any type where a scene shows, `NODATA` elsewhere."""
    # Not np.where: NODATA is beyond what unsigned values hold, and became 0 among them, or an OverflowError.
    out = np.full(image.provenance.shape, NODATA, np.int16)
    np.copyto(out, values, where=image.provenance >= 0, casting="unsafe")
    return out


def _day(rendering: Rendering) -> NDArray[np.int16]:
    image = rendering.image
    shown = days(image)[np.maximum(image.provenance, 0)]
    return _seen(image, np.where(image.quality & PREDICTED > 0, PREDICTED_DAY, shown))


def last_day(selection: Selection, version: Version) -> date:
    """The last day of a selection's time: that of what was asked for, or of its period."""
    request = selection.request
    last = day_interval(request.datetime)[1] if request.datetime else None
    return last or version.periods[request.period].end


def _age(rendering: Rendering) -> NDArray[np.int16]:
    image, selection = rendering.image, rendering.selection
    version = rendering.engine.version
    newest = selection.days[1] if selection.days else last_day(selection, version)
    ages = _seen(image, (newest - EPOCH).days - days(image)[np.maximum(image.provenance, 0)])
    # No scene showed what is predicted.
    ages[image.quality & PREDICTED > 0] = NODATA
    return ages


def _mean_gain(rendering: Rendering) -> NDArray[np.int16]:
    image, version, request = rendering.image, rendering.engine.version, rendering.selection.request
    out = np.full(image.provenance.shape, GAIN_ONE)
    for number in np.unique(image.provenance[image.provenance >= 0]) if request.normalized else ():
        entry, here = image.entries[int(number)], image.provenance == number
        merging = Merging(version, rendering.engine.blocks, request, entry.scene.epsg, 0)
        gains_here = merging.corner_gains(entry, entry.scene.box)
        if gains_here is None:
            continue
        gain, _, windows = gains_here
        grid = version.store.grid(entry.scene.epsg)
        rows, cols = locate(rendering.target, grid, 0, rendering.engine.planner.area)
        field = gains.at(gain.mean(axis=0), windows, rows[here], cols[here], grid.window)
        out[here] = np.rint(GAIN_ONE * field)
    return _seen(image, out)


def _mean_spread(rendering: Rendering) -> PixelNumbers:
    every, problems = spread(rendering.engine, rendering.selection, rendering.target)
    known = (every != NODATA).all(axis=0)
    mean = np.where(known, np.rint(every.mean(axis=0)), NODATA)
    return PixelNumbers(_seen(rendering.image, mean), problems)


def _mean_sigma(rendering: Rendering) -> PixelNumbers:
    every, problems = sigma(*rendering)
    known = np.isfinite(every).all(axis=0)
    mean = np.where(known, every, 0).mean(axis=0) / SCALE
    counts = np.where(known, np.rint(np.minimum(mean, np.iinfo(np.int16).max)), NODATA)
    return PixelNumbers(_seen(rendering.image, counts), problems)


def _deviation(name: str) -> Callable[[Rendering], PixelNumbers]:
    def values(rendering: Rendering) -> PixelNumbers:
        three, problems = mads(rendering.engine, rendering.selection, rendering.target)
        return PixelNumbers(_seen(rendering.image, three[MADS.index(name)]), problems)

    return values


ORIGINS: dict[str, Origin] = {
    "scene": Origin(
        "Which scene",
        "place of the scene in the order, 0 first",
        lambda rendering: _seen(rendering.image, rendering.image.provenance),
    ),
    "date": Origin("Which day", "days since 1970-01-01", _day),
    "age": Origin(
        "How old",
        "days before the newest scene of the request; fewer than 0: filled from a later period; none where predicted",
        _age,
    ),
    "count": Origin(
        "How many scenes are usable",
        "scenes",
        lambda rendering: _seen(rendering.image, rendering.image.count),
        count_to=ALL,
    ),
    "quality": Origin(
        "Quality",
        "bits: " + ", ".join(f"{bit} {FLAGS[bit].text}" for bit in sorted(FLAGS)),
        lambda rendering: _seen(rendering.image, quality(*rendering)),
        count_to=SEVERAL,
    ),
    "weight": Origin(
        "How much the scene weighs",
        "1 (last resort) to 255 (clear, far from any cloud)",
        lambda rendering: weight(*rendering),
    ),
    "score": Origin(
        "How likely the pixel is clear",
        "clear score, 0 to 100 per cent, of the scene that shows",
        lambda rendering: clear_scores(*rendering),
    ),
    "spread": Origin(
        "How far the clear scenes disagree",
        "1e-4 reflectance, mean of the bands' median absolute deviations",
        _mean_spread,
        compares=True,
    ),
    "sigma": Origin(
        "How sure the values are",
        "1e-4 reflectance, mean of the bands' standard errors",
        _mean_sigma,
        compares=True,
        by_band=lambda rendering: sigma(*rendering),
    ),
    "gain": Origin(
        "Gain of the scene that shows", "1e-4, mean of the bands' gains; 10000 changes nothing", _mean_gain
    ),
    "emad": Origin(
        "Euclidean distance from the geometric median",
        "1e-4 reflectance, median of the clear scenes",
        _deviation("emad"),
        compares=True,
        method="geomedian",
    ),
    "smad": Origin(
        "Angle from the geometric median",
        "1e-5, 1 less the cosine, median of the clear scenes",
        _deviation("smad"),
        compares=True,
        method="geomedian",
    ),
    "bcmad": Origin(
        "Bray–Curtis distance from the geometric median",
        "1e-4, median of the clear scenes",
        _deviation("bcmad"),
        compares=True,
        method="geomedian",
    ),
}


def compares(names: tuple[str, ...]) -> bool:
    """Whether one of these origins looks at all scenes at once."""
    return any(ORIGINS[n].compares for n in names)


def count_needed(names: tuple[str, ...]) -> int:
    """The number up to which these origins need an image's `count`."""
    return max((ORIGINS[n].count_to for n in names), default=0)


def fit(names: tuple[str, ...], method: Method) -> None:
    """Checks that origins go with a method.

    Raises:
        InvalidRequest: one goes with another one alone.
    """
    for name in names:
        wanted = ORIGINS[name].method
        if wanted not in (None, method):
            raise InvalidRequest(
                f"extras={name}: the distance from another composite than method={method}; add method={wanted}"
            )
