"""What is asked of areas, the same from the command line and over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from terrazzo.errors import InvalidRequest
from terrazzo.export.order import MEASURED, known_only, measure_from, one_of, texts
from terrazzo.mosaic.measure import Measure
from terrazzo.version import Version

Rule = Literal["exact", "centre"]
PERCENTILES = (5.0, 25.0, 75.0, 95.0)
MOST_PERCENTILES = 20
PARAMETERS: dict[str, str] = {
    "period": "names of periods, days, months, years or intervals; every period by default",
    **{k: v for k, v in MEASURED.items() if k not in ("datetime", "resampling")},
    "percentiles": f"besides the median, 0 to 100; {', '.join(f'{p:g}' for p in PERCENTILES)} by default",
    "rule": "exact (default): pixels weigh by the share that is covered; centre: those whose middle lies inside, whole",
}
TABLE_PARAMETERS: dict[str, str] = {
    **PARAMETERS,
    "id": "column that names the areas, by default the feature's number",
    "layer": "layer of a GeoPackage, by default the first",
    "format": "parquet (default) or csv",
}


@dataclass(frozen=True)
class Question:
    """What is asked of each area.

    Attributes:
        measure: bands or expressions; its `datetime` gives way to each of `periods`.
        percentiles: 0–100, besides the median.
    """

    measure: Measure
    periods: tuple[str, ...]
    percentiles: tuple[float, ...] = PERCENTILES
    rule: Rule = "exact"


def parse_question(raw: Mapping[str, Any], version: Version) -> Question:
    """A question from the values of `PARAMETERS`; `version` is the one that it names.

    Raises:
        InvalidRequest: a parameter or value is not understood; the message lists those that are.
    """
    given = {k: v for k, v in raw.items() if v is not None}
    known_only(given, PARAMETERS)
    if given.get("stage") in ("raw", "mask"):
        raise InvalidRequest(f"stage={given['stage']}: statistics are of corrected, merged or normalized")
    every = tuple(p.name for p in version.periods.values() if not p.members)
    return Question(
        measure_from(given, version),
        tuple(dict.fromkeys(texts(given, "period"))) or every,
        percentiles_of(given.get("percentiles", PERCENTILES)),
        rule_of(given.get("rule")),
    )


def percentiles_of(given: Any) -> tuple[float, ...]:
    """Percentiles given as a list, or as text with commas.

    Raises:
        InvalidRequest: one is no number from 0 to 100, or there are too many.
    """
    try:
        found = tuple(float(p) for p in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        found = (-1.0,)
    if not all(0 <= p <= 100 for p in found) or len(found) > MOST_PERCENTILES:
        raise InvalidRequest(f"percentiles: up to {MOST_PERCENTILES} numbers, 0 to 100")
    return tuple(dict.fromkeys(found))


def rule_of(given: Any) -> Rule:
    """The rule by its name, exact by default.

    Raises:
        InvalidRequest: there is no such rule.
    """
    return one_of({"rule": given}, "rule", get_args(Rule)) or "exact"  # type: ignore[return-value]


def parse_table(raw: Mapping[str, Any], version: Version) -> tuple[Question, str, str | None, str | None]:
    """A question with the table's format (parquet or csv), the column that names the areas, and the layer they lie in.

    Raises:
        InvalidRequest: a parameter or value is not understood; the message lists those that are.
    """
    given = {k: v for k, v in raw.items() if v is not None}
    known_only(given, TABLE_PARAMETERS)
    form = one_of(given, "format", ("parquet", "csv")) or "parquet"
    names = {k: given.pop(k, None) for k in ("id", "layer", "format")}
    if not all(isinstance(v, str | None) for v in names.values()):
        raise InvalidRequest("id, layer: names")
    return parse_question(given, version), form, names["id"], names["layer"]
