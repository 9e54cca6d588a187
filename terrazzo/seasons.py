"""A period whose dates show different land, and the shorter periods that would hold dates that agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True)
class Apart:
    """Two dates of one period that air and gains cannot bring together.

    Attributes:
        dates: the two dates that differ most.
        changed: share of the land that both show clear and that changed, 0–1.
        split: first and last day of each of the fewest periods whose dates agree, oldest first.
    """

    dates: tuple[date, date]
    changed: float
    split: tuple[tuple[date, date], ...]

    def __str__(self) -> str:
        first, second = self.dates
        periods = ", ".join(f"{a} to {b}" for a, b in self.split)
        return (
            f"{100 * self.changed:.0f} % of the land changed between {first} and {second}, by more than air and gains explain;"
            f" these periods hold dates that agree: {periods}"
        )

    def as_json(self) -> dict[str, Any]:
        """Days as text."""
        return {
            "dates": [d.isoformat() for d in self.dates],
            "changed": self.changed,
            "split": [[a.isoformat(), b.isoformat()] for a, b in self.split],
        }


def apart_from_json(raw: Mapping[str, Any]) -> Apart:
    """What `Apart.as_json` wrote."""
    first, second = map(date.fromisoformat, raw["dates"])
    split = tuple((date.fromisoformat(a), date.fromisoformat(b)) for a, b in raw["split"])
    return Apart((first, second), raw["changed"], split)
