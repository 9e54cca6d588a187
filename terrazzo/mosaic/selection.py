"""Which scenes a request allows, in the one order of their period."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from terrazzo.config import Method, Period, Stage, day_interval
from terrazzo.errors import InvalidRequest
from terrazzo.grid import PixelBox
from terrazzo.mosaic.methods import METHODS
from terrazzo.mosaic.request import UNMERGED, PixelRequest, Resolved, check, stage_of
from terrazzo.version import Entry, Places, Version, places_of


@dataclass(frozen=True, eq=False)
class Selection:
    """A resolved request and its scenes, first wins."""

    request: Resolved
    entries: tuple[Entry, ...]
    places: Places

    def shown(self, epsg: int, level: int, box: PixelBox) -> list[tuple[int, Entry]]:
        """The scenes that lie in a box of a level's grid of a zone, numbered by their place in the order."""
        if epsg not in self.zones:
            return []
        numbers, boxes = self.zones[epsg]
        side = 2**level
        first, last = np.array(box[:2]), np.array(box[2:])
        touched = (boxes[:, :2] // side < last) & (-(-boxes[:, 2:] // side) > first)
        return [(n, self.entries[n]) for n in numbers[touched.all(axis=1)].tolist()]

    def covered(self, epsg: int, level: int) -> PixelBox:
        """The box of a level's grid around a zone's scenes."""
        _, boxes = self.zones[epsg]
        (row0, col0), (row1, col1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return PixelBox(int(row0), int(col0), int(row1), int(col1)).coarser(2**level)

    @cached_property
    def days(self) -> tuple[date, date] | None:
        """The first and the last day of its scenes; None without any."""
        days = [e.scene.datetime.date() for e in self.entries]
        return (min(days), max(days)) if days else None

    @cached_property
    def zones(self) -> Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """By zone: the scenes' places in the order, and their boxes at full resolution."""
        zones = {}
        for epsg in np.unique(self.places.epsg).tolist():
            numbers = np.flatnonzero(self.places.epsg == epsg)
            zones[epsg] = numbers, self.places.boxes[numbers]
        return zones


def select(version: Version, request: PixelRequest) -> Selection:
    """Resolves a request against a version.

    Raises:
        InvalidRequest: a value is unknown, or no period's gains fit the dates; the message says what does.
    """
    check(request, version)
    stage = stage_of(request, version)
    period, interval = _period(version, request, needs_gains=stage == "normalized")
    config = version.config
    _require_predictable(request, period, stage, interval)
    method: Method = "first" if stage in UNMERGED else request.method or config.method
    target = _target(request.target, method, period, interval)
    resolved = Resolved(
        bands=request.bands,
        period=period.name,
        datetime=request.datetime if request.datetime != period.name else None,
        max_cloud=config.max_cloud if request.max_cloud is None else float(request.max_cloud),
        orbit=request.orbit,
        ids=tuple(sorted(request.ids)),
        method=method,
        stage=stage,
        fill=request.fill or config.fill,
        snow=request.snow or config.snow,
        resampling="nearest" if stage == "mask" else request.resampling or config.resampling,
        target=target,
        # Every pixel has a score of 0: that is the same as asking for none.
        min_score=float(request.min_score) if request.min_score else None,
        # What gains to another composite take off is the scenes' error: the operator trusts its level more than theirs.
        common_level=True if target is not None and config.reference == "external" else None,
    )
    return _selected(version, period.name, resolved, interval)


def _require_predictable(
    request: PixelRequest, period: Period, stage: Stage, interval: tuple[date | None, date | None]
) -> None:
    """Checks that a request with `fill=predict` asks for one day's reflectance.

    Raises:
        InvalidRequest: it asks for several days, for another stage, or names scenes.
    """
    if request.fill != "predict":
        return
    if interval[0] is None or interval[0] != interval[1]:
        raise InvalidRequest(
            f"fill=predict predicts what one day's clouds hide: name that day, such as datetime={period.middle}"
        )
    if request.ids:
        raise InvalidRequest(
            "fill=predict and ids contradict each other: it reads the other dates too; leave one of them out"
        )
    if stage not in ("merged", "normalized"):
        raise InvalidRequest(f"fill=predict and stage={stage} contradict each other: leave one of them out")


def _target(
    asked: str | None, method: Method, period: Period, interval: tuple[date | None, date | None]
) -> date | None:
    """The day that is shown: the asked one, or the middle of the interval or period; None for methods that weigh no days.

    Raises:
        InvalidRequest: a day is asked of such a method, or it is none, or lies beside the days whose scenes take part.
    """
    if not METHODS[method].timed:
        if asked is not None:
            raise InvalidRequest(f"target={asked}: method={method} shows no single day; add method=kriging")
        return None
    start, end = interval
    if asked is None:
        return start + timedelta(days=(end - start).days // 2) if start and end else period.middle
    day, last = day_interval(asked)
    if day is None or day != last:
        raise InvalidRequest(f"target={asked}: one day, such as {period.middle}")
    start, end = start or period.start, end or period.end
    if not start <= day <= end:
        raise InvalidRequest(
            f"target={asked}: scenes of {start}/{end} take part, and none before and after that day; name a day of these, or"
            " another datetime"
        )
    return day


def _selected(
    version: Version, period: str, request: Resolved, interval: tuple[date | None, date | None]
) -> Selection:
    everything = version.entries(period)
    entries = tuple(e for e in everything if allowed(e, request, interval))
    if len(entries) == len(everything):
        return Selection(request, everything, version.places(period))
    return Selection(request, entries, places_of(entries))


def adjacent_periods(version: Version, name: str) -> list[str]:
    """The periods that fill the gaps of one, the nearest in time first: no parents, and none of its own members."""
    here = version.periods[name]
    others = [
        p
        for p in version.periods.values()
        if not p.members and p.name != name and p.name not in set(here.members)
    ]
    return [p.name for p in sorted(others, key=lambda p: (abs((p.middle - here.middle).days), p.name))]


def adjacent(version: Version, request: Resolved) -> list[Selection]:
    """The same request over the periods that fill its gaps, the nearest in time first."""
    return [
        _selected(version, name, request, (None, None)) for name in adjacent_periods(version, request.period)
    ]


def newest_period(version: Version) -> Period:
    """The newest period that is no parent."""
    return max((p for p in version.periods.values() if not p.members), key=lambda p: p.end)


def _period(
    version: Version, request: PixelRequest, *, needs_gains: bool
) -> tuple[Period, tuple[date | None, date | None]]:
    if request.datetime is None:
        return newest_period(version), (None, None)
    if request.datetime in version.periods:
        return version.periods[request.datetime], (None, None)
    interval = day_interval(request.datetime)
    first, last = interval
    touched = [
        p
        for p in version.periods.values()
        if not p.members and (last is None or p.start <= last) and (first is None or first <= p.end)
    ]
    known = ", ".join(f"{p.name} ({p.start}/{p.end})" for p in version.periods.values())
    if not touched:
        raise InvalidRequest(f"datetime={request.datetime} lies in no period; there are: {known}")
    if len(touched) == 1:
        return touched[0], interval
    names = {p.name for p in touched}
    parents = [p for p in version.periods.values() if names <= set(p.members)]
    if parents:
        return min(parents, key=lambda p: (len(p.members), p.name)), interval
    raise InvalidRequest(
        f"datetime={request.datetime} spans the periods {', '.join(sorted(names))}, and no parent period holds them"
        + (" with gains of its own" if needs_gains else "")
        + f"; there are: {known}"
    )


def allowed(entry: Entry, request: Resolved, interval: tuple[date | None, date | None]) -> bool:
    """Whether a request takes a scene whose day lies in an interval, None being open."""
    scene, (first, last) = entry.scene, interval
    day = scene.datetime.date()
    return (
        (first is None or first <= day)
        and (last is None or day <= last)
        and 100 * scene.cloud_share <= request.max_cloud
        and (request.orbit is None or scene.relative_orbit == request.orbit)
        and (not request.ids or scene.id in request.ids)
    )
