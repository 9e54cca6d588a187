"""`terrazzo audit`: which passes archives should list, and what became of each that is not simply there."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from terrazzo.errors import InvalidRequest
from terrazzo.precompute.acquire import causes, expected
from terrazzo.precompute.acquire.area import from_tile
from terrazzo.precompute.acquire.causes import CatalogueFinding, Cause
from terrazzo.precompute.acquire.rhythm import Epoch, Pass, learn, orbit_of
from terrazzo.precompute.acquire.search import Query, tidy, touches
from terrazzo.precompute.products.items import product_from_item
from terrazzo.precompute.products.passes import outline
from terrazzo.precompute.products.product import LeftOut, Product
from terrazzo.precompute.products.validation import validated
from terrazzo.precompute.products.values import moment, number, text
from terrazzo.words import counted

_square = cache(from_tile)
SAME = timedelta(hours=6)
"""Largest difference between archives' times of one pass: its start or the moment of the tile."""
STRIP = re.compile(r"_S(\d{8}T\d{6})_")
"""When a datastrip begins, in its name."""
USUAL = timedelta(days=2)
"""Time after which a pass is listed where no archive's own delay is known."""
LATE = 2.0
"""Days beyond what is usual at the time that make a pass late."""
AROUND = 10
"""Passes before and after one that define what is usual."""


@dataclass(frozen=True)
class Sighting:
    """A product as a catalogue lists it.

    Attributes:
        came: when the catalogue got it, else when it was made.
        strip_start: when its datastrip begins, as ESA writes it; empty if the Item does not say.
        share: of its tile that it holds; None if the Item does not say.
    """

    product: Product
    archive: str
    came: datetime
    strip_start: str = ""
    share: float | None = None

    @property
    def order(self) -> tuple[str, datetime]:
        """Sorts processings of the same ground, the newest last, by when ESA's name says they were made: the same in all archives."""
        p = self.product
        produced = datetime.strptime(p.strip, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if p.strip else p.generated
        return p.baseline, produced


@dataclass(frozen=True)
class Audit:
    """What catalogues have of an area and what they lack.

    Attributes:
        passes: that were expected or are listed, of one tile each, in the time asked for.
        findings: of passes that are not simply there, in the order of time.
        epochs: the rhythm that was learned.
        archives: products that each lists.
        unread: Items that name no pass.
        notes: what a user should know of the whole.
    """

    passes: int
    findings: tuple[CatalogueFinding, ...]
    epochs: tuple[Epoch, ...]
    archives: Mapping[str, int]
    unread: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether there is nothing to fetch or to ask for."""
        return not any(f.act for f in self.findings)


@dataclass(frozen=True)
class PassKey:
    """A pass over a tile, by its earliest known time."""

    satellite: str
    orbit: int
    tile: str
    when: datetime

    @property
    def place(self) -> tuple[str, str]:
        return self.satellite, self.tile


@dataclass(frozen=True)
class Shown:
    """A scene that a mosaic shows, by satellite and tile, and the baseline it was made of."""

    place: tuple[str, str]
    when: datetime
    baseline: str


def sighting(item: Any, archive: str, query: Query) -> Sighting | LeftOut | None:
    """What an Item says of a pass; None where it is none of the query's. Its files do not matter."""
    item = {**tidy(item), "assets": {}}
    shape = outline(item.get("geometry"))
    if shape is not None and not touches(shape, query.area):
        return None
    product = validated(str(item.get("id")), lambda: product_from_item(item, Path(f"{archive}.json")))
    if isinstance(product, LeftOut):
        return product
    if product.level.lower() != query.level:
        return None
    try:
        tile = _square(product.mgrs)
    except InvalidRequest as error:
        return LeftOut(product.id, str(error))
    if shape is None and not touches(tile, query.area):
        return None
    p = item["properties"]
    strip = STRIP.search(next((t for k in ("s2", "eopf") if (t := text(p.get(f"{k}:datastrip_id")))), ""))
    return Sighting(
        product, archive, _came(p) or product.generated, strip[1] if strip else "", _share(p, shape, tile)
    )


def _came(p: Mapping[str, Any]) -> datetime | None:
    for key in ("published", "created"):
        try:
            when = moment(p.get(key), key)
        except ValueError:
            continue
        if when is not None:
            return when
    return None


def _share(p: Mapping[str, Any], shape: shapely.Geometry | None, tile: shapely.Geometry) -> float | None:
    empty = number(p.get("s2:nodata_pixel_percentage"))
    if empty is not None:
        return 1 - empty / 100
    return None if shape is None else float(shapely.intersection(shape, tile).area / tile.area)


def compare(
    sightings: Sequence[Sighting],
    archives: Sequence[str],
    first: date,
    last: date,
    now: datetime,
    *,
    unread: Sequence[LeftOut] = (),
    shown: Sequence[Shown] = (),
) -> Audit:
    """Compares what catalogues list with the rhythm of the orbits.

    Args:
        sightings: of the days asked for and, for the rhythm, some before and after.
        archives: names, the preferred first.
        first, last: days that are reported.
        now: until when passes can be there.
        unread: Items that name no pass.
        shown: what the mosaic shows.
    """
    epochs = learn(
        [
            Pass(s.product.datetime, s.product.platform, s.product.relative_orbit, s.product.mgrs)
            for s in sightings
            if s.product.relative_orbit
        ]
    )
    sightings = [_with_orbit(s, epochs) for s in sightings]
    listed = _passes([s for s in sightings if s.product.relative_orbit])
    begin = datetime.combine(first, time.min, UTC)
    end = min(now, datetime.combine(last, time.max, UTC))
    usual = {a: _usual([s for s in sightings if s.archive == a], now) for a in archives}
    late = _late(listed, archives)
    scenes: dict[tuple[str, str], list[Shown]] = {}
    for scene in shown:
        scenes.setdefault(scene.place, []).append(scene)
    days = [(k, m) for k, m in listed.items() if begin <= k.when <= end]
    findings = []
    for key, members in days:
        held = [s.baseline for s in scenes.get(key.place, ()) if abs(s.when - key.when) <= SAME]
        finding = causes.of_listed(
            key, members, archives, now - key.when, usual, late.get(key, {}), min(held, default=None)
        )
        findings += [] if finding is None else [finding]
    absent, why = _absent(epochs, listed)
    whole = _whole_passes(absent, listed)
    slots = [s for s in absent if begin <= s.when <= end and why.get(s) != expected.DARK]
    count = len(days) + sum(s not in why for s in slots)
    delay = max(usual.values(), default=USUAL)
    findings += [_of_slot(s, why.get(s), s in whole, now - s.when < delay) for s in slots]
    findings.sort(key=lambda f: (f.key.when, f.key.tile))
    return Audit(
        count,
        tuple(findings),
        epochs,
        {a: sum(s.archive == a for s in sightings) for a in archives},
        tuple(unread),
        tuple(_notes(sightings, epochs, listed, end)),
    )


def _of_slot(slot: expected.Slot, reason: str | None, whole: bool, soon: bool) -> CatalogueFinding:
    """What an expected pass is that no catalogue lists.

    Args:
        whole: whether the pass is missing over all tiles.
        soon: whether catalogues usually list a pass later than now.
    """
    key = PassKey(slot.satellite, slot.orbit, slot.tile, slot.when)
    if reason is None and soon:
        return CatalogueFinding(key, Cause.AWAITED, {}, "listed by no catalogue yet, as is usual so soon")
    return causes.of_absent(key, reason, whole)


def _with_orbit(one: Sighting, epochs: Sequence[Epoch]) -> Sighting:
    """Returns a product without an orbit in its Item with the orbit that is flown at its time, if any."""
    if one.product.relative_orbit:
        return one
    orbit = orbit_of(one.product.platform, one.product.datetime, epochs)
    return replace(one, product=replace(one.product, relative_orbit=orbit))


def _passes(sightings: Sequence[Sighting]) -> dict[PassKey, list[Sighting]]:
    """The products of each pass over a tile."""
    groups: dict[tuple[str, int, str], list[tuple[PassKey, list[Sighting]]]] = {}
    for s in sorted(sightings, key=lambda s: s.product.datetime):
        p = s.product
        group = groups.setdefault((p.platform, p.relative_orbit, p.mgrs), [])
        if not group or p.datetime - group[-1][0].when > SAME:
            group.append((PassKey(p.platform, p.relative_orbit, p.mgrs, p.datetime), []))
        group[-1][1].append(s)
    return {key: members for group in groups.values() for key, members in group}


def _absent(
    epochs: Sequence[Epoch], listed: Mapping[PassKey, Sequence[Sighting]]
) -> tuple[list[expected.Slot], dict[expected.Slot, str]]:
    """Passes that the rhythm predicts and no archive lists, and why some are not expected."""
    if not epochs:
        return [], {}
    seen: dict[tuple[str, int, str], list[datetime]] = {}
    shares: dict[tuple[str, int], list[float]] = {}
    for key, members in listed.items():
        seen.setdefault((key.satellite, key.orbit, key.tile), []).append(key.when)
        shares_of_pass = [s.share for s in members if s.share is not None]
        shares.setdefault((key.tile, key.orbit), []).extend([sum(shares_of_pass)] if shares_of_pass else [])
    known = expected.slots(epochs, list(shares), seen)
    why = expected.unexpected(known, {k: float(np.median(v)) for k, v in shares.items() if v})
    return [s for s in known if not s.there], why


def _whole_passes(
    absent: Sequence[expected.Slot], listed: Mapping[PassKey, Sequence[Sighting]]
) -> set[expected.Slot]:
    """Of the passes that nobody lists those of which no other tile is listed either."""
    there = {
        (k.satellite, k.orbit, d)
        for k in listed
        for d in (k.when.date(), (k.when + SAME).date(), (k.when - SAME).date())
    }
    return {s for s in absent if (s.satellite, s.orbit, s.when.date()) not in there}


def _usual(sightings: Sequence[Sighting], now: datetime) -> timedelta:
    """How long after a pass an archive lists nine tenths of them, of those of the last two months."""
    delays = [s.came - s.product.datetime for s in sightings if now - s.product.datetime < timedelta(days=60)]
    if not delays:
        return USUAL
    days = float(np.quantile([d / timedelta(days=1) for d in delays], 0.9))
    return timedelta(days=min(10.0, max(0.5, days)))


def _late(
    listed: Mapping[PassKey, Sequence[Sighting]], archives: Sequence[str]
) -> dict[PassKey, dict[str, tuple[float, float]]]:
    """Passes that an archive got later than others of the time: days that it took, and the usual ones."""
    out: dict[PassKey, dict[str, tuple[float, float]]] = {}
    for archive in archives:
        firsts = [
            (key, min((s for s in members if s.archive == archive), key=lambda s: s.came))
            for key, members in sorted(listed.items(), key=lambda kv: kv[0].when)
            if any(s.archive == archive for s in members)
        ]
        delays = np.array([(s.came - s.product.datetime) / timedelta(days=1) for _, s in firsts])
        for i, (key, one) in enumerate(firsts):
            near = [k for k in range(max(0, i - AROUND), min(len(firsts), i + AROUND + 1)) if k != i]
            if len(near) < AROUND // 2:
                continue
            # What was made with a newer baseline than those after it was made again, not late.
            after = [k for k in near if k > i] or near
            usual = Counter(firsts[k][1].product.baseline for k in after).most_common(1)[0][0]
            if one.product.baseline > usual:
                continue
            middle = float(np.median(delays[near]))
            spread = 1.4826 * float(np.median(np.abs(delays[near] - middle)))
            if delays[i] > middle + max(LATE, 6 * spread):
                out.setdefault(key, {})[archive] = (float(delays[i]), middle)
    return out


def _notes(
    sightings: Sequence[Sighting],
    epochs: Sequence[Epoch],
    listed: Mapping[PassKey, Sequence[Sighting]],
    end: datetime,
) -> list[str]:
    notes = []
    unknown = sum(not s.product.relative_orbit for s in sightings)
    if unknown:
        notes.append(f"{counted(unknown, 'product')} without a relative orbit: not compared")
    last = {e.satellite: e for e in epochs}
    for satellite, epoch in last.items():
        series = {(k.tile, k.orbit) for k in listed if k.satellite == satellite}
        due = sum(len(epoch.times(orbit, epoch.last + timedelta(hours=2), end)) for _, orbit in series)
        if due >= len(series) and end - epoch.last > timedelta(days=10):
            notes.append(
                f"{satellite} is listed until {epoch.last:%Y-%m-%d}; {due} passes of its rhythm follow until {end:%Y-%m-%d}:"
                " it stopped or moved, or the catalogues do not go on"
            )
    return notes
