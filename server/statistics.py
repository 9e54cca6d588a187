"""Statistics of features as TiTiler writes them: in each feature's properties."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.selection import newest_period
from terrazzo.mosaic.sigma import require_sigma
from terrazzo.statistics.answers import answers, chosen_of, statistic_names
from terrazzo.statistics.areas import areas_of_features
from terrazzo.statistics.places import MOST_PIXELS, groups
from terrazzo.statistics.question import Question, Rule

MOST_FEATURES = 1000
PERCENTILES = (2.0, 98.0)
"""Those that TiTiler computes where none are asked for."""


OURS = (
    "statistics",
    "clear_share",
    "filled_share",
    "age_days",
    "request",
    "version",
    "attribution",
    "problems",
    "reason",
)
"""Properties that are written into features."""
PREFIX = "terrazzo:"
"""Before those of ours whose names a feature has for properties of its own."""


def with_statistics(
    engine: Engine,
    measure: Measure,
    features: Sequence[Mapping[str, Any]],
    crs: str,
    percentiles: tuple[float, ...] = PERCENTILES,
    rule: Rule = "exact",
    *,
    sigma: bool = False,
) -> list[dict[str, Any]]:
    """Features with their statistics, and with all that they had.

    Args:
        crs: of the features' coordinates.
        percentiles: 0–100, besides the median.
        sigma: whether to compute standard errors.

    Raises:
        InvalidRequest: there are too many features, or one is too large.
    """
    if len(features) > MOST_FEATURES:
        raise InvalidRequest(
            f"{len(features)} features: at most {MOST_FEATURES} at once; ask for a job, …/exports/statistics"
        )
    period = measure.pixels.datetime or newest_period(engine.version).name
    if sigma:
        require_sigma(measure, engine.version)
    question = Question(measure, (period,), percentiles, rule, sigma)
    areas, chosen = areas_of_features(list(features), crs), chosen_of(engine, question)
    about = {
        "request": chosen[period].text(),
        "version": engine.version.name,
        "attribution": engine.version.attribution,
    }
    names = ["percentile_" + n[1:] if n[0] == "p" else n for n in statistic_names(question)]
    described = [dict(f) for f in features]
    for numbers in groups(areas, engine.version, MOST_PIXELS):
        columns = answers(engine, question, chosen, areas, numbers)
        lacking = {"problems": list(columns.problems)} if columns.problems else {}
        reasons = columns.why()
        for i, number in enumerate(numbers):
            bands = {
                name: dict(zip(names, map(_plain, columns.table[i, 0, c]), strict=True))
                for c, name in enumerate(measure.names)
            }
            shares = {k: _plain(v[i, 0]) for k, v in columns.shares.items()}
            empty = {"reason": reasons[i, 0, 0]} if all(reasons[i, 0]) else {}
            ours = {"statistics": bands, **shares, **about, **lacking, **empty}
            described[number]["properties"] = _beside(features[number].get("properties") or {}, ours)
    return described


def _beside(own: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """A feature's own properties and ours; ours have a prefix where the name is taken, unless an earlier answer took it."""
    if own.keys() >= {"statistics", "request", "version", "attribution"}:
        own = {k: v for k, v in own.items() if k not in OURS}
    return {**own, **{f"{PREFIX}{k}" if k in own else k: v for k, v in ours.items()}}


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
