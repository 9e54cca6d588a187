"""Statistics of areas that lie near each other: from the question and the places to numbers, nothing is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.bulk.windows import window_side, windows
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import FILLED, Engine
from terrazzo.mosaic.measure import Chosen, choose, draw
from terrazzo.mosaic.origin import EPOCH, days, last_day
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.zone import LAST_RESORT
from terrazzo.statistics import sigma_of_areas
from terrazzo.statistics.areas import Areas
from terrazzo.statistics.places import Group, blocks, group, is_large, placed
from terrazzo.statistics.question import Question
from terrazzo.statistics.tally import Tally
from terrazzo.statistics.zonal import MEASURES, Cover, cover, summaries
from terrazzo.stop import require_wanted

MOST_SAMPLES = 64 << 20
"""Pixels of a group times channels that are in memory at once, for each thread."""
SHARES = ("clear_share", "filled_share", "age_days")
NO_DATA, NO_MIDDLE = "no data in this time", "no pixel's middle lies inside: ask with rule exact"
"""Why there are no pixels of an area that lies in the mosaic."""


class PixelLayers(NamedTuple):
    """Pixels of a target.

    Attributes:
        values: (channel, row, col) float32 reflectance or values of an expression, NaN without data.
        dated: (row, col) where a scene shows, and the value is not predicted.
        filled: (row, col) where another period's scene shows, or the value is predicted; clear: where one's own shows and is clear.
        day: (row, col) days since 1970 of the scene that shows; where there is one.
        scenes: ids of the scenes that show.
    """

    values: NDArray[np.float32]
    dated: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    day: NDArray[np.float32]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]


class Answers(NamedTuple):
    """Statistics of areas.

    Attributes:
        table: (area, period, channel, statistic) in the order of `statistic_names`.
        shares: by name, (area, period), as `shares` gives.
        reasons: (area,) why there are no polygons in the mosaic; empty where there are.
        scenes: ids of the scenes that show.
    """

    table: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    reasons: NDArray[np.object_]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]

    def why(self) -> NDArray[np.object_]:
        """(area, period, channel) why a row has no pixels; None where it has."""
        inside = np.where(np.isnan(self.shares["clear_share"]), NO_MIDDLE, NO_DATA)[..., None]
        named = self.reasons[:, None, None]
        why = np.where(named == "", inside, named).astype(object)
        why = np.broadcast_to(why, self.table.shape[:3]).copy()
        why[self.table[..., 0] > 0] = None
        return why


class PeriodAnswers(NamedTuple):
    """Statistics of areas in one period.

    Attributes:
        table: (area, channel, statistic).
        sums: as `share_sums` gives.
    """

    table: NDArray[np.float64]
    sums: NDArray[np.float64]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]


def chosen_of(engine: Engine, question: Question) -> dict[str, Chosen]:
    """The scenes of each period.

    Raises:
        InvalidRequest: a value is unknown.
    """
    measure = question.measure
    return {
        p: choose(engine, replace(measure, pixels=replace(measure.pixels, datetime=p)))
        for p in question.periods
    }


def statistic_names(question: Question) -> tuple[str, ...]:
    """Names of the columns that `summaries` fills, and of the standard errors where they are asked for."""
    named = (*MEASURES, "median", *(f"p{p:g}" for p in question.percentiles))
    return (*named, *sigma_of_areas.NAMES) if question.sigma else named


def answers(
    engine: Engine,
    question: Question,
    chosen: Mapping[str, Chosen],
    areas: Areas,
    numbers: NDArray[np.int64],
) -> Answers:
    """Statistics of areas that lie near each other, or of one large area, for each period of `chosen`."""
    here = placed(areas, engine.version, numbers)
    quantiles = [0.5, *(p / 100 for p in question.percentiles)]
    shape = (len(numbers), len(chosen))
    table = np.full((*shape, len(question.measure.names), len(statistic_names(question))), np.nan)
    table[..., 0] = 0
    per_area = {k: np.full(shape, np.nan) for k in SHARES}
    scenes, problems = list[str](), list[str]()
    together = group(here, engine.version, numbers)
    for i, one in enumerate(chosen.values()):
        if together is None:
            break
        if is_large(here, engine.version):
            squares = blocks(areas, engine.version, here, numbers)
            part = _of_blocks(engine, question, one, squares, quantiles)
        else:
            part = _of_group(engine, question, one, together, quantiles)
        table[:, i] = part.table
        for name, values in shares(part.sums).items():
            per_area[name][:, i] = values
        scenes += part.scenes
        problems += part.problems
    return Answers(
        table, per_area, here.reasons, tuple(dict.fromkeys(scenes)), tuple(dict.fromkeys(problems))
    )


def _of_group(
    engine: Engine, question: Question, chosen: Chosen, here: Group, quantiles: Sequence[float]
) -> PeriodAnswers:
    covered, layers = cover(here.polygons, here.target, question.rule), layers_of(engine, chosen, here.target)
    table, problems = summaries(layers.values, covered, quantiles), dict.fromkeys(layers.problems)
    if question.sigma:
        errors = sigma_of_areas.AreaSigma(engine, chosen, len(table))
        errors.add(here.target, covered)
        table = np.concatenate([table, errors.columns()], axis=2)
        problems |= errors.problems
    sums = share_sums(layers, covered, _last(engine, chosen))
    return PeriodAnswers(table, sums, layers.scenes, tuple(problems))


def _of_blocks(
    engine: Engine, question: Question, chosen: Chosen, squares: Iterable[Group], quantiles: Sequence[float]
) -> PeriodAnswers:
    """The same of one area in squares, of which one is in memory at once."""
    tallies, sums = [Tally() for _ in question.measure.names], np.zeros((5, 1))
    scenes, problems = dict[str, None](), dict[str, None]()
    errors = sigma_of_areas.AreaSigma(engine, chosen, 1) if question.sigma else None
    for here in squares:
        require_wanted()
        covered = cover(here.polygons, here.target, question.rule)
        layers = layers_of(engine, chosen, here.target)
        for tally, channel in zip(tallies, layers.values, strict=True):
            tally.add(channel.ravel()[covered.cells], covered.shares)
        if errors is not None:
            errors.add(here.target, covered)
        sums += share_sums(layers, covered, _last(engine, chosen))
        scenes |= dict.fromkeys(layers.scenes)
        problems |= dict.fromkeys(layers.problems)
    table = np.array([[t.row(quantiles) for t in tallies]])
    if errors is not None:
        table = np.concatenate([table, errors.columns()], axis=2)
        problems |= errors.problems
    return PeriodAnswers(table, sums, tuple(scenes), tuple(problems))


def layers_of(engine: Engine, chosen: Chosen, target: Target) -> PixelLayers:
    """The pixels of a target, rendered in windows."""
    channels, pixels = len(chosen.measure.names), target.height * target.width
    if channels * pixels > MOST_SAMPLES:
        raise InvalidRequest(
            f"areas whose box holds {pixels} px in {channels} bands: at most {MOST_SAMPLES} values; ask for fewer bands or divide them"
        )
    values = np.empty((channels, *target.shape), np.float32)
    dated, filled, clear = (np.empty(target.shape, np.bool_) for _ in range(3))
    day, scenes, problems = np.empty(target.shape, np.float32), list[str](), list[str]()
    for window, part in windows(target, window_side(engine.planner.holding(chosen.selection), 1)):
        drawn = draw(chosen, partial(engine.render, target=part))
        here = (
            slice(window.row_off, window.row_off + window.height),
            slice(window.col_off, window.col_off + window.width),
        )
        own = drawn.values
        values[:, *here] = own if own.dtype.kind == "f" else np.where(own == NODATA, np.nan, own * SCALE)
        seen, bits = drawn.image.provenance >= 0, drawn.image.quality
        dated[here] = seen & (bits & PREDICTED == 0)
        filled[here] = seen & (bits & (FILLED | PREDICTED) > 0)
        clear[here] = seen & (bits & (FILLED | PREDICTED | LAST_RESORT) == 0)
        day[here] = days(drawn.image)[np.maximum(drawn.image.provenance, 0)]
        scenes += [e.scene.id for e in drawn.shown]
        problems += drawn.problems
    return PixelLayers(
        values, dated, filled, clear, day, tuple(dict.fromkeys(scenes)), tuple(dict.fromkeys(problems))
    )


def share_sums(layers: PixelLayers, covered: Cover, last: int) -> NDArray[np.float64]:
    """(5, area) sums over pixels that an area covers, by the share covered: of all, clear, filled, dated, days of age.

    Args:
        last: day, since 1970, that ages are counted from.
    """
    cells = covered.cells
    dated = layers.dated.ravel()[cells]
    age = np.where(dated, last - layers.day.ravel()[cells], 0.0)
    layered = (np.ones(len(cells)), layers.clear.ravel()[cells], layers.filled.ravel()[cells], dated, age)
    return np.stack([covered.sums(layer) for layer in layered])


def _last(engine: Engine, chosen: Chosen) -> int:
    return (last_day(chosen.selection, engine.version) - EPOCH).days


def shares(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """By name, (area,): share of an area that is clear, share that was filled, mean age in days of what scenes show there; NaN without such pixels.

    Args:
        sums: as `share_sums` gives.
    """
    total, clear, filled, dated, age = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"clear_share": clear / total, "filled_share": filled / total, "age_days": age / dated}
