"""Measures of pixels: reflectance or an expression over it, and the difference to another selection."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo import expression as arithmetic
from terrazzo.bands import NODATA
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.request import CLASSES_BAND, PixelRequest
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target
from terrazzo.raster import reflectance
from terrazzo.version import Entry


@dataclass(frozen=True)
class Measure:
    """Values that are asked of pixels.

    Attributes:
        expression: over the bands of `pixels`; None: the bands themselves.
        baseline: day, month, year, interval or period whose values are taken off those of `pixels`; None: nothing is.
    """

    pixels: PixelRequest
    expression: str | None = None
    baseline: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each channel of `values`."""
        return tuple(arithmetic.parts(self.expression)) if self.expression else self.pixels.bands


@dataclass(frozen=True, eq=False)
class Chosen:
    """A measure with its scenes, and those of its baseline."""

    measure: Measure
    selection: Selection
    baseline: Selection | None

    def text(self) -> str:
        """One line that names what was asked, for headers, tags and keys."""
        text = self.selection.request.text()
        if self.measure.expression:
            text += f"&expression={self.measure.expression}"
        if self.baseline is not None:
            other = self.baseline.request
            text += f"&baseline={other.datetime or other.period}"
        return text


def measure_of(pixels: PixelRequest, expression: str | None, baseline: str | None) -> Measure:
    """A measure; two selections are compared without filling one from another period, unless that is asked for.

    Raises:
        InvalidRequest: a stage that is no reflectance is to be compared.
    """
    if baseline is not None:
        if pixels.stage in ("raw", "mask"):
            raise InvalidRequest(
                f"stage={pixels.stage} and baseline contradict each other: leave one of them out"
            )
        pixels = replace(pixels, fill=pixels.fill or "none")
    return Measure(pixels, " ".join(expression.split()) if expression else None, baseline)


def choose(engine: Engine, measure: Measure) -> Chosen:
    """A measure's scenes.

    Raises:
        InvalidRequest: a value is unknown.
    """
    other = None
    if measure.baseline is not None:
        other = engine.select(replace(measure.pixels, datetime=measure.baseline))
    return Chosen(measure, engine.select(measure.pixels), other)


def content_hash(engine: Engine, chosen: Chosen, target: Target) -> str:
    """Hash of everything that determines a target's values, without rendering; empty where there are none."""
    own = engine.content_hash(chosen.selection, target)
    if chosen.baseline is None or not own:
        return own
    other = engine.content_hash(chosen.baseline, target)
    return f"{own}-{other}" if other else ""


class Drawn(NamedTuple):
    """Values of a place.

    Attributes:
        values: (channel, row, col) int16 counts of 1e-4 as the engine has them, −32768 without data; of an expression
            float32, NaN without data.
        image: the engine's, its origins only where there are values, its quality that of both where two are compared.
        shown: scenes that the values come from.
        problems: scenes that were left out, and why.
    """

    values: NDArray[np.int16] | NDArray[np.float32]
    image: Image
    shown: tuple[Entry, ...]
    problems: tuple[str, ...]


def draw(chosen: Chosen, render: Callable[[Selection], Image]) -> Drawn:
    """The values of a measure; where either of two selections has no data there are none.

    Args:
        render: the engine's pixels of a selection, of a target or of points.
    """
    image = render(chosen.selection)
    base = None if chosen.baseline is None else render(chosen.baseline)
    values = _values(chosen.measure.expression, image, base)
    if base is None:
        return Drawn(values, image, _shown(image, image.provenance), image.problems)
    here = np.asarray(known(values).any(axis=0))
    merged = image._replace(
        provenance=np.where(here, image.provenance, -1).astype(np.int16), quality=image.quality | base.quality
    )
    before = _shown(base, np.where(here, base.provenance, -1))
    shown = {e.scene.id: e for e in (*_shown(image, merged.provenance), *before)}
    problems = dict.fromkeys((*image.problems, *base.problems))
    return Drawn(values, merged, tuple(shown.values()), tuple(problems))


def known(values: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of `Drawn.values` are there."""
    return np.asarray(np.isfinite(values) if values.dtype.kind == "f" else values != NODATA)


def _values(
    expression: str | None, image: Image, base: Image | None
) -> NDArray[np.int16] | NDArray[np.float32]:
    if expression is not None and image.bands != (CLASSES_BAND,):
        own = arithmetic.evaluate(expression, image.bands, reflectance(image.values))
        return (
            own
            if base is None
            else own - arithmetic.evaluate(expression, base.bands, reflectance(base.values))
        )
    if base is None:
        return image.values
    apart = np.clip(image.values.astype(np.int32) - base.values, NODATA + 1, -(NODATA + 1))
    empty = (image.values == NODATA) | (base.values == NODATA)
    return np.where(empty, NODATA, apart).astype(np.int16)


def _shown(image: Image, provenance: NDArray[np.integer]) -> tuple[Entry, ...]:
    return tuple(image.entries[n] for n in np.flatnonzero(np.bincount(provenance.ravel() + 1)[1:]))
