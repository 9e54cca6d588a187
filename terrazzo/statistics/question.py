"""What is asked of areas, the same from the command line and over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.sigma import require_sigma
from terrazzo.request.parameters import PERCENTILES, TABULATED
from terrazzo.request.parse import UNMEASURED, measured, values
from terrazzo.version import Version

Rule = Literal["exact", "centre"]


@dataclass(frozen=True)
class Question:
    """What is asked of each area.

    Attributes:
        measure: bands or expressions; its `datetime` gives way to each of `periods`.
        percentiles: 0–100, besides the median.
        sigma: whether to compute standard errors.
    """

    measure: Measure
    periods: tuple[str, ...]
    percentiles: tuple[float, ...] = PERCENTILES
    rule: Rule = "exact"
    sigma: bool = False


def parse_table(raw: Mapping[str, Any], version: Version) -> tuple[Question, str, str | None, str | None]:
    """A question with the table's format (parquet or csv), the column that names the areas, and the layer they lie in.

    Raises:
        InvalidRequest: a parameter or value is not understood; the message lists those that are.
    """
    given = values(raw, TABULATED)
    return _question(given, version), given.get("format", "parquet"), given.get("id"), given.get("layer")


def _question(given: Mapping[str, Any], version: Version) -> Question:
    if given.get("stage") in UNMEASURED:
        raise InvalidRequest(f"stage={given['stage']}: statistics are of corrected, merged or normalized")
    every = tuple(p.name for p in version.periods.values() if not p.members)
    measure = measured(given, version)
    if given.get("sigma"):
        require_sigma(measure, version)
    return Question(
        measure,
        tuple(dict.fromkeys(given.get("period", ()))) or every,
        given.get("percentiles", PERCENTILES),
        given.get("rule", "exact"),
        given.get("sigma", False),
    )
