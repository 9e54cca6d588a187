"""Statistics of features as TiTiler writes them: in each feature's properties."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.selection import newest_period
from terrazzo.statistics.areas import areas_of_features, groups
from terrazzo.statistics.question import Question, Rule
from terrazzo.statistics.run import answers, chosen_of, statistic_names

MOST_FEATURES = 1000
PERCENTILES = (2.0, 98.0)
"""Those that TiTiler computes where none are asked for."""


def with_statistics(
    engine: Engine,
    measure: Measure,
    features: Sequence[Mapping[str, Any]],
    crs: str,
    percentiles: tuple[float, ...] = PERCENTILES,
    rule: Rule = "exact",
) -> list[dict[str, Any]]:
    """Features with their statistics.

    Args:
        crs: of the features' coordinates.
        percentiles: 0–100, besides the median.

    Raises:
        InvalidRequest: there are too many features, or one is too large or has no place.
    """
    if len(features) > MOST_FEATURES:
        raise InvalidRequest(
            f"{len(features)} features: at most {MOST_FEATURES} at once; ask for a job, …/exports/statistics"
        )
    period = measure.pixels.datetime or newest_period(engine.version).name
    question = Question(measure, (period,), percentiles, rule)
    areas, chosen = areas_of_features(list(features), crs), chosen_of(engine, question)
    about = {
        "request": chosen[period].text(),
        "version": engine.version.name,
        "attribution": engine.version.attribution,
    }
    names = ["percentile_" + n[1:] if n[0] == "p" else n for n in statistic_names(question)]
    described = [dict(f) for f in features]
    for numbers in groups(areas, engine.version):
        found = answers(engine, question, chosen, areas, numbers)
        lacking = {"problems": list(found.problems)} if found.problems else {}
        for i, number in enumerate(numbers):
            bands = {
                name: dict(zip(names, map(_plain, found.table[i, 0, c]), strict=True))
                for c, name in enumerate(measure.names)
            }
            shares = {k: _plain(v[i, 0]) for k, v in found.shares.items()}
            own = features[number].get("properties") or {}
            described[number]["properties"] = {**own, "statistics": bands, **shares, **about, **lacking}
    return described


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
