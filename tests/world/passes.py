"""Catalogues of a made-up world of passes: real satellites with their real rhythm and history, and known faults.

Satellites, phases and moves are those of Sentinel-2 (docs/decisions.md); each catalogue writes Items with the keys that
its real Items in tests/data have.
"""

import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import shapely

from terrazzo.precompute.acquire.area import from_tile
from terrazzo.precompute.products.sun import sun_position

ORIGIN = datetime(2015, 1, 1, tzinfo=UTC)
METADATA = Path(__file__).parents[1] / "data" / "imagery" / "metadata"
TEMPLATES = {
    "earth-search": "stac_earthsearch_v1_sentinel-2-l2a_item_13TDE_20231008.json",
    "planetary-computer": "stac_planetarycomputer_sentinel-2-l2a_item.json",
    "cdse": "stac_cdse_sentinel-2-l2a_item_S2C_N0512.json",
    "eopf": "stac_eopf_s2c_item.json",
}
"""Real Items by archive."""


@dataclass(frozen=True)
class Flight:
    """A satellite in one place of the orbit: days of phase since 2015, first and last day; `every` second cycle with 2."""

    satellite: str
    phase: float
    first: date
    last: date
    every: int = 1


FLIGHTS = (
    Flight("S2A", 2.885, date(2015, 7, 1), date(2025, 1, 20)),
    Flight("S2B", 7.885, date(2017, 4, 1), date(2030, 1, 1)),
    Flight("S2C", 2.885, date(2025, 1, 21), date(2030, 1, 1)),
    Flight("S2A", 4.885, date(2025, 3, 14), date(2026, 3, 13)),
)


@dataclass(frozen=True)
class Taken:
    """A pass over a tile that was taken."""

    satellite: str
    orbit: int
    tile: str
    when: datetime

    @property
    def start(self) -> datetime:
        """When the datatake begins, some minutes before the tile."""
        return self.when - timedelta(minutes=8)


@dataclass(frozen=True)
class Made:
    """A product of a pass: what it was made with, when, of which datastrip, and when its catalogue got it."""

    taken: Taken
    baseline: str
    delay: timedelta = timedelta(hours=4)
    came: timedelta = timedelta(hours=7)
    strip: timedelta = timedelta(minutes=-1)
    half: str = ""

    @property
    def name(self) -> str:
        t, made = self.taken, self.taken.when + self.delay
        start = t.start.strftime("%Y%m%dT%H%M%S")
        return f"{t.satellite}_MSIL2A_{start}_N{self.baseline}_R{t.orbit:03d}_T{t.tile}_{made:%Y%m%dT%H%M%S}"


def flown(
    places: Sequence[tuple[str, int]], first: date, last: date, flights: Sequence[Flight] = FLIGHTS
) -> list[Taken]:
    """Every pass of tiles and relative orbits in a time, in its order."""
    found = []
    for flight in flights:
        begin, end = max(first, flight.first), min(last, flight.last)
        for tile, orbit in places:
            at = flight.phase + orbit * 10 / 143
            number = int(((datetime.combine(begin, time.min, UTC) - ORIGIN) / timedelta(days=1) - at) // 10)
            when = ORIGIN + timedelta(days=at + number * 10)
            while when.date() <= end:
                if when.date() >= begin and number % flight.every == 0:
                    found.append(Taken(flight.satellite, orbit, tile, when))
                when, number = when + timedelta(days=10), number + 1
    return sorted(found, key=lambda t: (t.when, t.tile))


def item_of(archive: str, made: Made) -> dict[str, Any]:
    """A product's Item as an archive writes it, without its files."""
    item = copy.deepcopy(_template(archive))
    item["assets"], item["links"] = {}, []
    t, p = made.taken, item["properties"]
    shape = from_tile(t.tile)
    if made.half:
        west, south, east, north = shape.bounds
        middle = (south + north) / 2
        cut = {"north": (west, middle - 0.05, east, north), "south": (west, south, east, middle + 0.05)}
        corner = {"corner": (west, south, west + 0.1, south + 0.1)}
        shape = shapely.intersection(shape, shapely.box(*{**cut, **corner}[made.half]))
    item["geometry"], item["bbox"] = json.loads(shapely.to_geojson(shape)), list(shape.bounds)
    generated, came = (f"{t.when + d:%Y-%m-%dT%H:%M:%S.000000Z}" for d in (made.delay, made.came))
    strip = f"{t.satellite}_OPER_MSI_L2A_DS_2APS_{t.when + made.delay:%Y%m%dT%H%M%S}_S{t.when + made.strip:%Y%m%dT%H%M%S}"
    version = f"{made.baseline[:2]}.{made.baseline[2:]}"
    p["platform"] = f"sentinel-2{t.satellite[-1].lower()}"
    told = {
        "grid:code": f"MGRS-{t.tile.lstrip('0')}" if archive == "earth-search" else f"MGRS-{t.tile}",
        "s2:mgrs_tile": t.tile,
        "s2:product_uri": f"{made.name}.SAFE",
        "s2:generation_time": generated,
        "s2:datastrip_id": f"{strip}_N{version}",
        "eopf:datastrip_id": f"{strip}_N{version}",
        "s2:processing_baseline": version,
        "processing:version": version,
        "processing:datetime": generated,
        "sat:relative_orbit": t.orbit,
        "created": came,
        "published": came,
        "updated": came,
        "s2:nodata_pixel_percentage": 100 * (1 - shape.area / from_tile(t.tile).area),
    }
    p |= {key: value for key, value in told.items() if key in p}
    p["datetime"] = f"{t.when if archive == 'earth-search' else t.start:%Y-%m-%dT%H:%M:%S.024000Z}"
    p |= {key: p["datetime"] for key in ("start_datetime", "end_datetime") if key in p}
    half = "_1" if made.half == "south" else "_0"
    item["id"] = {
        "earth-search": f"{t.satellite}_{t.tile}_{t.when:%Y%m%d}{half}_L2A_{made.baseline}",
        "planetary-computer": made.name.replace(f"_N{made.baseline}", ""),
    }.get(archive, made.name)
    return item


_READ: dict[str, dict[str, Any]] = {}


def _template(archive: str) -> dict[str, Any]:
    if archive not in _READ:
        item = json.loads((METADATA / TEMPLATES[archive]).read_text())
        _READ[archive] = {**item, "assets": {}, "links": []}
    return _READ[archive]


@dataclass
class World:
    """Catalogues with faults, and what is right to say of each pass: its cause, by satellite, orbit, tile and day."""

    items: dict[str, list[dict[str, Any]]]
    truth: dict[tuple[str, int, str, date], str] = field(default_factory=dict)
    taken: int = 0


PLACES = (("33TWL", 122), ("33TWL", 79), ("33TWM", 122), ("33TWM", 79), ("33TVL", 122), ("33TVM", 122))
CORNER = ("33TVL", 79)
"""Of this tile the orbit sees a corner, which is published now and then."""
OUTAGE = ("S2B", date(2024, 9, 2), date(2024, 10, 8))
DARK = 85.0
"""Degrees from the zenith beyond which nothing is taken (ESA, since October 2019)."""
RATES = {"in_one_only": 1 / 3, "in_no_catalogue": 0.05, "delayed": 0.05, "superseded": 0.06, "split": 0.05}
"""Shares of the passes that have a fault."""


def faulty(
    archives: tuple[str, str],
    first: date,
    last: date,
    seed: int,
    *,
    places: Sequence[tuple[str, int]] = PLACES,
    corner_is_drawn: bool = True,
    rates: Mapping[str, float] = RATES,
    flights: Sequence[Flight] = FLIGHTS,
) -> World:
    """Two catalogues of which a third of the passes is taken out of the second, some out of both, some late, split or made again.

    Args:
        places: tiles and relative orbits that see them.
        corner_is_drawn: the Items of a tile's corner have its outline, else the whole tile's.
    """
    chance = random.Random(seed)
    rates = rates or {
        "in_one_only": 1 / 3,
        "in_no_catalogue": 0.05,
        "delayed": 0.05,
        "superseded": 0.06,
        "split": 0.05,
    }
    world = World({a: [] for a in archives})
    a, b = archives
    outage, begin, end = OUTAGE
    middles = {tile: shapely.point_on_surface(from_tile(tile)) for tile, _ in (*places, CORNER)}
    for taken in flown([*places, CORNER], first, last, flights):
        middle = middles[taken.tile]
        if sun_position(taken.when, middle.x, middle.y)[0] > DARK:
            continue
        if taken.satellite == outage and begin <= taken.when.date() <= end:
            continue
        corner = (taken.tile, taken.orbit) == CORNER
        if corner and chance.random() < 0.4:
            continue
        fault = chance.choices([*rates, ""], [*rates.values(), 1 - sum(rates.values())])[0]
        if corner and fault == "in_no_catalogue":
            fault = ""
        world.taken += 1
        plain = Made(
            taken,
            "0510" if taken.when.year < 2025 else "0511",
            half="corner" if corner and corner_is_drawn else "",
        )
        hours = timedelta(hours=chance.uniform(3, 12))
        plain = Made(
            taken, plain.baseline, hours, hours + timedelta(hours=chance.uniform(1, 9)), half=plain.half
        )
        held = {a: [plain], b: [plain]}
        if fault == "in_one_only":
            held[b] = []
        elif fault == "in_no_catalogue":
            held = {a: [], b: []}
        elif fault == "delayed":
            days = timedelta(days=chance.uniform(4, 30))
            late = Made(taken, plain.baseline, plain.delay, days, half=plain.half)
            if chance.random() < 0.5:
                # Made late, for all; the only lateness that an archive without dates of its own can show.
                late = Made(taken, plain.baseline, days, days + hours, half=plain.half)
                held = {a: [late], b: [late]}
            else:
                held[next(n for n in archives if "created" in _template(n)["properties"])] = [late]
        elif fault == "superseded":
            again = timedelta(days=chance.uniform(60, 300))
            new = Made(taken, "0512", again, again + timedelta(days=1), half=plain.half)
            held = chance.choice(
                ({a: [plain], b: [new]}, {a: [plain, new], b: [plain]}, {a: [plain, new], b: [new]})
            )
        elif fault == "split" and not corner:
            more = {"came": plain.came, "half": "south", "strip": timedelta(minutes=6)}
            parts = [
                Made(taken, plain.baseline, plain.delay, plain.came, half="north"),
                Made(taken, plain.baseline, plain.delay + timedelta(minutes=40), **more),
            ]
            held = {a: parts, b: chance.choice((parts, parts[:1]))}
        else:
            fault = ""
        if fault:
            world.truth[taken.satellite, taken.orbit, taken.tile, taken.when.date()] = fault
        for archive, products in held.items():
            world.items[archive] += [item_of(archive, made) for made in products]
    return world
