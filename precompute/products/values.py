"""Values of documents that others wrote: one of another type, a null or NaN is as if it were not there."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from terrazzo.errors import ProductError

AHEAD = timedelta(days=1)
"""By how much this machine's clock may be behind."""


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any) -> str | None:
    """A text that is not empty."""
    return value.strip() or None if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """A finite number; tables of Items write a null as NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def missing(value: Any) -> bool:
    """Whether nothing is said: null, or the NaN that a table makes of it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def moment(value: Any, what: str) -> datetime | None:
    """A date and time with its zone, UTC where it names none.

    Raises:
        ProductError: it is none, one before Sentinel-2 flew, or in the future.
    """
    if missing(value):
        return None
    try:
        when = datetime.fromisoformat(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        known = when.astimezone(UTC).year >= 2015
    except (TypeError, ValueError, OverflowError):
        known = False
    if not known:
        raise ProductError(f"{what} is {value!r}, no date of Sentinel-2; correct the Item or fetch it again")
    if when > datetime.now(UTC) + AHEAD:
        raise ProductError(
            f"{what} is {value!r}, in the future; correct the Item or fetch it again, or set this machine's clock"
        )
    return when
