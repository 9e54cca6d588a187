"""The rhythm of the orbits: learned from the passes that catalogues list, it predicts all passes.

A Sentinel-2 satellite flies 143 revolutions in ten days and then the same ones again. So the time of a pass less the
share of the ten days that follows from its relative orbit is, modulo ten days, one number for all passes of a satellite: its
phase. It was 2.885 days for S2A until its orbit was moved in 2025 and 4.885 since (counted from 2015-01-01), 7.885 for
S2B, and 2.885 for S2C, which took S2A's place. What the phase is, and from when to when, is learned, not assumed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor

import numpy as np

CYCLE, REVOLUTIONS = 10.0, 143
"""Days of the repeat cycle and revolutions in it (ESA, Sentinel-2 User Handbook)."""
ORIGIN = datetime(2015, 1, 1, tzinfo=UTC)
NEAR = 0.25
"""Days between phases that are one: archives name the start of the pass or the moment of the tile, half an hour apart;
an orbit can only be moved by whole days and keep its ground track."""
NEXT = CYCLE / REVOLUTIONS
"""Days from one orbit to the next."""
MARGIN = timedelta(days=CYCLE)
"""Before and after the passes that show a phase in which it may have been kept."""
LEAST = 3
"""Passes in a new phase that are a moved orbit and not an Item in error."""
COUNTED = 0.9
"""Share of the passes that the count of orbits explains where it is right."""


@dataclass(frozen=True, order=True)
class Pass:
    """A satellite over a tile."""

    when: datetime
    satellite: str
    orbit: int
    tile: str


@dataclass(frozen=True)
class Epoch:
    """A time in which a satellite kept its phase.

    Attributes:
        phases: days by relative orbit.
        first, last: the passes that showed it.
        count: how many these are.
    """

    satellite: str
    phases: Mapping[int, float]
    first: datetime
    last: datetime
    count: int

    def times(
        self, orbit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[datetime]:
        """Every pass of a relative orbit from first to last, or from another moment to another."""
        since, until = since or self.first, until or self.last
        if orbit not in self.phases:
            return []
        # An hour is the most by which archives' times of one pass differ.
        begin, end = _days(since) - 1 / 24, _days(until) + 1 / 24
        at = self.phases[orbit]
        numbers = range(ceil((begin - at) / CYCLE), floor((end - at) / CYCLE) + 1)
        return [ORIGIN + timedelta(days=at + n * CYCLE) for n in numbers]

    def cycle(self, orbit: int, when: datetime) -> int:
        """The number of the ten-day cycle in which a pass of an orbit lies."""
        return round((_days(when) - self.phases[orbit]) / CYCLE)


def learn(passes: Sequence[Pass]) -> tuple[Epoch, ...]:
    """The epochs of every satellite, those of one in the order of time.

    Passes off the rhythm, fewer than three together, are no epoch. Their relative orbit is 1 to 143.
    """
    every: list[Epoch] = []
    orbits = {p.orbit for p in passes}
    for satellite in sorted({p.satellite for p in passes}):
        # All tiles of a pass are one witness.
        seen = sorted({(p.when, p.orbit) for p in _one_a_datatake(passes, satellite)})
        counted, first = (_epochs(satellite, seen, orbits, by) for by in (_by_count, _by_first(seen)))
        explained = [sum(e.count for e in epochs) for epochs in (counted, first)]
        every += counted if explained[0] >= COUNTED * explained[1] else first
    return tuple(every)


def orbit_of(satellite: str, when: datetime, epochs: Sequence[Epoch]) -> int:
    """The relative orbit, of those that are known, that a satellite flies at a moment; 0 where none is near."""
    away = {
        orbit: _apart(_days(when), phase)
        for e in epochs
        if e.satellite == satellite and e.first - MARGIN <= when <= e.last + MARGIN
        for orbit, phase in e.phases.items()
    }
    best = min(away, key=lambda orbit: away[orbit], default=0)
    return best if best and away[best] < NEXT / 2 else 0


def _epochs(
    satellite: str,
    seen: Sequence[tuple[datetime, int]],
    orbits: set[int],
    offset: Callable[[int], float | None],
) -> list[Epoch]:
    """The epochs of a satellite by the phases of its passes, when an orbit's share of the cycle is known."""
    times = [when for when, orbit in seen if offset(orbit) is not None]
    phases = [(_days(when) - known) % CYCLE for when, orbit in seen if (known := offset(orbit)) is not None]
    labels = _clusters(phases)
    epochs = []
    for label, begin, end in _runs(labels):
        inside = [i for i in range(begin, end) if labels[i] == label]
        phase = _middle([phases[i] for i in inside])
        by_orbit = {o: phase + known for o in orbits if (known := offset(o)) is not None}
        epochs.append(Epoch(satellite, by_orbit, times[inside[0]], times[inside[-1]], len(inside)))
    return epochs


def _by_count(orbit: int) -> float:
    """Days from the cycle's beginning to a relative orbit."""
    return orbit * NEXT


def _by_first(seen: Sequence[tuple[datetime, int]]) -> Callable[[int], float | None]:
    """The same where orbits are numbered in another way: by when each was first flown."""
    first: dict[int, float] = {}
    for when, orbit in seen:
        first.setdefault(orbit, _days(when) % CYCLE)
    return first.get


def _one_a_datatake(passes: Sequence[Pass], satellite: str) -> Iterator[Pass]:
    """The earliest tile of each pass of a satellite."""
    last: dict[int, datetime] = {}
    for one in sorted(p for p in passes if p.satellite == satellite):
        if one.orbit not in last or one.when - last[one.orbit] > timedelta(days=NEAR):
            last[one.orbit] = one.when
            yield one


def _clusters(phases: Sequence[float]) -> list[int]:
    """A number for each phase, the same for phases that are near each other on the circle of ten days."""
    centres: list[float] = []
    labels = []
    for phase in phases:
        near = [i for i, c in enumerate(centres) if _apart(phase, c) <= NEAR]
        if not near:
            centres.append(phase)
        labels.append(near[0] if near else len(centres) - 1)
    return labels


def _runs(labels: Sequence[int]) -> list[tuple[int, int, int]]:
    """Label, begin and end of the times in which a phase was kept; what is too short to be one is passed over."""
    enough = {label for label, count in Counter(labels).items() if count >= LEAST}
    enough = enough or {label for label, _ in Counter(labels).most_common(1)}
    runs: list[list[int]] = []
    for i, label in enumerate(labels):
        if label not in enough:
            continue
        if runs and runs[-1][0] == label:
            runs[-1][2:] = [i + 1, runs[-1][3] + 1]
        else:
            runs.append([label, i, i + 1, 1])
    merged: list[tuple[int, int, int]] = []
    for label, begin, end, count in runs:
        if count < LEAST and len(runs) > 1:
            continue
        if merged and merged[-1][0] == label:
            merged[-1] = (label, merged[-1][1], end)
        else:
            merged.append((label, begin, end))
    return merged


def _days(when: datetime) -> float:
    return (when - ORIGIN) / timedelta(days=1)


def _apart(a: float, b: float) -> float:
    return abs((a - b + CYCLE / 2) % CYCLE - CYCLE / 2)


def _middle(phases: Sequence[float]) -> float:
    """The median of phases that lie near each other on the circle."""
    first = phases[0]
    return float(first + np.median([(p - first + CYCLE / 2) % CYCLE - CYCLE / 2 for p in phases]))
