"""Which of the passes that the rhythm of the orbits predicts were to be expected: in the light, planned, and published.

A satellite does not take every pass: not in the dark, not in an outage or a manoeuvre, not where a plan takes every second
cycle only (S2A outside Europe since 2025), and of a tile's mere corner not every product is published. Each of these is
seen in the passes that are there; what chance would hardly leave out is no gap of a catalogue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import shapely
from scipy.special import bdtrc

from terrazzo.precompute.acquire.area import from_tile
from terrazzo.precompute.acquire.rhythm import MARGIN, Epoch
from terrazzo.precompute.products.sun import sun_position

DARK, NOT_ACQUIRED, IRREGULAR = "dark", "not_acquired", "irregular"
LOW_SUN = 75.0
"""Degrees from the zenith up to which the sun keeps no pass from being taken; ESA's limit is 85 since October 2019."""
SEASON, SEASON_PASSES = timedelta(days=45), 3
"""How far apart passes of one dark season lie, and how many there are at least."""
YEAR = timedelta(days=366)
AROUND = 5
"""Passes of every second cycle before and after one that decide whether it was planned."""
CHANCE = 1e-4
"""What is less likely than this, if passes were missing at random, is not missing at random."""
LEAST_SHARE = 0.02
"""Share of passes that is missing at random, at least: too few passes do not prove 0."""
SELDOM = 0.15
"""Share of missing passes from which a tile and orbit may be one of which not all are published."""
CORNER = 0.03
"""Share of a tile that a pass must see to be expected to be published."""


@dataclass(frozen=True)
class Slot:
    """A pass that the rhythm predicts.

    Attributes:
        number: of the ten-day cycle.
        there: a catalogue lists it.
    """

    epoch: int
    satellite: str
    orbit: int
    tile: str
    number: int
    when: datetime
    there: bool

    @property
    def series(self) -> tuple[str, int]:
        return self.tile, self.orbit


def slots(
    epochs: Sequence[Epoch],
    series: Iterable[tuple[str, int]],
    seen: Mapping[tuple[str, int, str], Sequence[datetime]],
) -> list[Slot]:
    """Every pass of tiles and orbits, in the order of time.

    Args:
        series: tile and relative orbit.
        seen: times of the passes that are listed, by satellite, orbit and tile.
    """
    begin, end = min(e.first for e in epochs), max(e.last for e in epochs)
    slots = []
    for index, epoch in enumerate(epochs):
        # A satellite that flies at the ends of what is known did so a cycle before and after, too.
        since = begin if epoch.first - begin <= MARGIN else epoch.first
        until = end if end - epoch.last <= MARGIN else epoch.last
        for tile, orbit in series:
            there = {
                epoch.cycle(orbit, w)
                for w in seen.get((epoch.satellite, orbit, tile), ())
                if orbit in epoch.phases
            }
            for when in epoch.times(orbit, since, until):
                number = epoch.cycle(orbit, when)
                slots.append(Slot(index, epoch.satellite, orbit, tile, number, when, number in there))
    return sorted(slots, key=lambda s: (s.when, s.satellite, s.tile))


def unexpected(known: Sequence[Slot], shares: Mapping[tuple[str, int], float]) -> dict[Slot, str]:
    """The passes that are not listed and need not be, with the reason.

    Args:
        shares: of a tile that an orbit sees, by tile and orbit, where this is known.
    """
    out: dict[Slot, str] = {}
    out |= _dark(known)
    out |= {s: IRREGULAR for s in known if not s.there and shares.get(s.series, 1.0) < CORNER}
    out |= _outages([s for s in known if s not in out])
    left = [s for s in known if s not in out]
    out |= _unplanned(left, _missing_share(left))
    left = [s for s in known if s not in out]
    out |= _seldom(left, _missing_share(left))
    return out


def _missing_share(known: Sequence[Slot]) -> float:
    """Share of passes that is missing at random: in the better half of tiles and orbits."""
    counts = _counts(known)
    best = sorted(counts.values(), key=lambda c: c[0] / c[1])[: (len(counts) + 1) // 2]
    return max(LEAST_SHARE, sum(c[0] for c in best) / max(1, sum(c[1] for c in best)))


def _counts(known: Sequence[Slot]) -> dict[tuple[str, int], tuple[int, int]]:
    """Missing and all passes of each tile and orbit."""
    counts: dict[tuple[str, int], tuple[int, int]] = {}
    for slot in known:
        missing, all_of = counts.get(slot.series, (0, 0))
        counts[slot.series] = missing + (not slot.there), all_of + 1
    return counts


def _by_chance(missing: int, of: int, share: float) -> float:
    """Probability that as many or more are missing at random."""
    return float(bdtrc(missing - 1, of, share)) if missing else 1.0


def _dark(known: Sequence[Slot]) -> dict[Slot, str]:
    """Passes with a lower sun than all others of the satellite and orbit within a year.

    Only passes of one orbit are compared: archives that give the start of a pass, some minutes before the tile, make an error
    in the sun that depends on the hour.
    """
    middles = {tile: shapely.point_on_surface(from_tile(tile)) for tile in {s.tile for s in known}}
    zenith = {s: sun_position(s.when, middles[s.tile].x, middles[s.tile].y)[0] for s in known}
    there: dict[tuple[str, int], list[tuple[datetime, float]]] = {}
    for slot in known:
        if slot.there:
            there.setdefault((slot.satellite, slot.orbit), []).append((slot.when, zenith[slot]))

    def lowest(slot: Slot) -> float:
        others = there.get((slot.satellite, slot.orbit), ())
        return max((z for when, z in others if abs(when - slot.when) < YEAR), default=LOW_SUN)

    below = [s for s in known if not s.there and zenith[s] > LOW_SUN and zenith[s] > lowest(s)]
    times: dict[tuple[str, int], list[datetime]] = {}
    for slot in below:
        times.setdefault(slot.series, []).append(slot.when)
    begin, end = min(s.when for s in known), max(s.when for s in known)

    def is_season(slot: Slot) -> bool:
        """Whether a pass is in a dark season: one or two at midwinter are none, but what is known may end in one."""
        cut_off = slot.when - begin < SEASON or end - slot.when < SEASON
        return cut_off or sum(abs(t - slot.when) < SEASON for t in times[slot.series]) >= SEASON_PASSES

    return {s: DARK for s in below if is_season(s)}


def _outages(known: Sequence[Slot]) -> dict[Slot, str]:
    """Passes of a satellite in times in which it took nothing of the area."""
    share = _missing_share(known)
    out: dict[Slot, str] = {}
    for epoch in {s.epoch for s in known}:
        takes: dict[tuple[int, int], list[Slot]] = {}
        for slot in known:
            if slot.epoch == epoch:
                takes.setdefault((slot.orbit, slot.number), []).append(slot)
        empty = [not any(s.there for s in take) for take in takes.values()]
        members = list(takes.values())
        for begin, end in _true_runs(empty):
            # Neither tiles nor whole passes are missing so often by themselves.
            others = max(LEAST_SHARE, (sum(empty) - (end - begin)) / max(1, len(empty) - (end - begin)))
            chance = np.prod([max(share ** len(take), others) for take in members[begin:end]])
            if chance < CHANCE:
                out |= {s: NOT_ACQUIRED for take in members[begin:end] for s in take}
    return out


def _true_runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.array([False, *flags, False]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _unplanned(known: Sequence[Slot], share: float) -> dict[Slot, str]:
    """Passes whose neighbours of every second cycle are missing too."""
    groups: dict[tuple[int, str, int, int], list[Slot]] = {}
    for slot in known:
        groups.setdefault((slot.epoch, *slot.series, slot.number % 2), []).append(slot)
    out = {}
    for group in groups.values():
        missing = [not s.there for s in group]
        for i, slot in enumerate(group):
            around = missing[max(0, i - AROUND) : i] + missing[i + 1 : i + 1 + AROUND]
            if missing[i] and _by_chance(sum(around), len(around), share) < CHANCE:
                out[slot] = IRREGULAR
    return out


def _seldom(known: Sequence[Slot], share: float) -> dict[Slot, str]:
    """Passes of tiles and orbits of which far more are missing than of the others."""
    odd = {
        series
        for series, (missing, of) in _counts(known).items()
        if missing / of > max(SELDOM, 2 * share) and _by_chance(missing, of, share) < CHANCE / 10
    }
    return {s: IRREGULAR for s in known if s.series in odd and not s.there}
