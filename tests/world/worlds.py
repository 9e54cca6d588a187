"""Whole worlds: one truth, several passes over it, written as a folder of products."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from terrazzo.grid import Grid, PixelBox
from tests.world.land import Land, Place, landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import Seen, Sky, View, observe

FOUR = ("B02", "B03", "B04", "B08")
ALL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
FIRST = datetime(2023, 8, 3, 10, 0, tzinfo=UTC)
NORTH = ("33TWL", 32633, 5_100_000.0, 499_980.0)
"""Tile, zone, top and left of the default world."""
SOUTH = ("19HCC", 32719, 6_100_000.0, 300_000.0)
"""A place where y ≡ 40 mod 60, as it is for all products south of the equator."""
BORDER = (("33TYL", 32633, 5_000_000.0, 735_000.0), ("34TBR", 32634))
"""A place where zones 33 and 34 meet, and the other zone's tile."""
DATE_LINE = (("60TYL", 32660, 5_000_000.0, 735_000.0), ("01TBR", 32601))
"""The same where zones 60 and 1 meet: at the antimeridian."""
SOUTH_BORDER = (("19HGC", 32719, 6_100_000.0, 735_000.0), ("20HKH", 32720))
"""The same in the south."""
EQUATOR = (("33NYA", 32633, 5_760.0, 735_000.0), ("33MYV", 32733))
"""The same where north and south meet."""


@dataclass(frozen=True)
class Weather:
    """How much passes differ: standard deviations and shares from which each pass's sky is drawn.

    Attributes:
        gain: relative standard deviation of a pass's gain, in common and by band half as much.
        offset: standard deviation of its offset, reflectance.
        haze: mean path reflectance in B02 of the haziest pass; the clearest has none.
        ramp: relative change across the swath, of either sign.
        cloud, missed: mean share of clouds; they vary between passes from 0.3 to 1.7 times it.
        swath: every second pass covers this share of the width; 1 all.
    """

    gain: float = 0.0
    offset: float = 0.0
    haze: float = 0.0
    ramp: float = 0.0
    cloud: float = 0.0
    missed: float = 0.0
    swath: float = 1.0


TYPICAL = Weather(gain=0.05, offset=0.003, haze=0.03, ramp=0.04, cloud=0.25, missed=0.02, swath=0.7)


@dataclass(frozen=True)
class World:
    """A written world.

    Attributes:
        folder: where its products lie.
        land: truth by tile.
        seen: what each product saw, by its id.
    """

    folder: Path
    land: Mapping[str, Land]
    seen: Mapping[str, Seen]


def make_world(
    folder: Path,
    *,
    seed: int = 0,
    where: tuple[str, int, float, float] = NORTH,
    pixel: float = 10.0,
    window: int = 64,
    size: tuple[int, int] = (240, 300),
    dates: int = 4,
    bands: tuple[str, ...] = FOUR,
    weather: Weather = Weather(),
    view: View | None = None,
    neighbour: bool = False,
    zones: bool | tuple[str, int] = False,
    phenology: float = 0.0,
    about: Pass | None = None,
) -> World:
    """Writes a world's products.

    Args:
        where: tile, zone, top and left in metres.
        size: rows and columns of a product; multiples of 12 keep all resolutions whole.
        dates: passes, five days apart.
        view: every pass is seen under these angles, orbits from alternating sides.
        neighbour: adds the tile to the east, overlapping by a third, seen by the same passes.
        zones: adds the tile of the next zone over the same ground (use `where=BORDER[0]`), or of the one named.
        phenology: share of the crops that are harvested between first and last date.
        about: what products have in common; dates, satellites and orbits are set for each pass.
    """
    mgrs, epsg, top, left = where
    rows, cols = size
    step = cols * 2 // 3 // 12 * 12 if neighbour else 0
    whole = place_of(mgrs, epsg, top, left, rows, cols + step, pixel, window)
    places = [place_of(mgrs, epsg, top, left, rows, cols, pixel, window)]
    if neighbour:
        east = f"{mgrs[:3]}{chr(ord(mgrs[3]) + 1)}{mgrs[4]}"
        places.append(place_of(east, epsg, top, left + step * pixel, rows, cols, pixel, window))
    lands: dict[str, Land] = {}
    seen: dict[str, Seen] = {}
    for number in range(dates):
        season = phenology * number / max(dates - 1, 1)
        land = landscape(whole, bands, seed, day=season)
        sky = draw_sky(weather, bands, np.random.default_rng([seed, 3, number]), number, dates)
        if view is not None:
            side = 1 if number % 2 == 0 else -1
            sky = replace(sky, view=replace(view, tilt=(side * view.tilt[0], view.tilt[1])))
        pass_ = replace(
            about or Pass(FIRST),
            when=FIRST + timedelta(days=5 * number),
            satellite="S2A" if number % 2 == 0 else "S2B",
            orbit=79 if number % 2 == 0 else 122,
        )
        whole_seen = observe(land, sky)
        for place in places:
            record(folder, lands, seen, cut(whole_seen, place), pass_)
        if zones:
            other = other_zone(places[0], *(BORDER[1] if zones is True else zones))
            record(folder, lands, seen, observe(land.seen_from(other), replace(sky, swath=1.0)), pass_)
    return World(folder, lands, seen)


def make_border(
    folder: Path,
    *,
    border: tuple[tuple[str, int, float, float], tuple[str, int]] = BORDER,
    weather: Weather,
    level: float,
    seed: int = 0,
    pixel: float = 60.0,
    window: int = 32,
    size: tuple[int, int] = (192, 320),
    overlap: int = 160,
    dates: int = 3,
) -> tuple[World, Land]:
    """Writes two tiles of two zones, the second east of the first, and tells the land under both on the first one's grid.

    Args:
        border: tile, zone, top and left in metres of the first, tile and zone of the second.
        level: factor by which all scenes of the second are brighter; the passes' gains and haze differ besides, by `weather`.
        overlap: columns of the first that the second sees too.
    """
    (mgrs, epsg, top, left), other = border
    west = place_of(mgrs, epsg, top, left, *size, pixel, window)
    away, b = size[1] - overlap, west.box
    east = other_zone(replace(west, box=PixelBox(b.row0, b.col0 + away, b.row1, b.col1 + away)), *other)
    around = PixelBox(b.row0, b.col0, b.row1, b.col1 + away).grown(size[0] // 4)
    land = landscape(replace(west, box=around), FOUR, seed)
    lands: dict[str, Land] = {}
    seen: dict[str, Seen] = {}
    for number in range(dates):
        pass_ = Pass(FIRST + timedelta(days=5 * number))
        for side, ground in enumerate((land.cut(west), land.seen_from(east))):
            sky = draw_sky(weather, FOUR, np.random.default_rng([seed, 4, side, number]), number, dates)
            gain = {band: g * level**side for band, g in (sky.gain or {}).items()}
            record(folder, lands, seen, observe(ground, replace(sky, gain=gain)), pass_)
    return World(folder, lands, seen), land


def draw_sky(
    weather: Weather, bands: Sequence[str], rng: np.random.Generator, number: int, dates: int
) -> Sky:
    """A pass's sky, drawn from what passes differ by."""
    common = rng.normal(0, weather.gain)
    gain = {b: float(np.exp(common + rng.normal(0, weather.gain / 2))) for b in bands}
    offset = {b: float(rng.normal(0, weather.offset)) for b in bands}
    share = rng.uniform(0.3, 1.7, 2)
    return Sky(
        gain=gain,
        offset=offset,
        haze=weather.haze * number / max(dates - 1, 1),
        ramp=float(rng.choice([-1, 1]) * weather.ramp),
        swath=1.0 if number % 2 == 0 else weather.swath * (1 if number % 4 == 1 else -1),
        cloud=float(min(weather.cloud * share[0], 0.95)),
        missed=float(min(weather.missed * share[1], 0.95)),
        seed=int(rng.integers(2**31)),
    )


def cut(seen: Seen, place: Place) -> Seen:
    """What a pass saw of a smaller place."""
    at = place.box.within(seen.land.place.box)
    arrays = {k: getattr(seen, k)[at] for k in ("valid", "cloud", "shadow", "missed", "detector")}
    return replace(seen, land=seen.land.cut(place), rho=seen.rho[:, *at], **arrays)


def record(folder: Path, lands: dict[str, Land], seen: dict[str, Seen], one: Seen, about: Pass) -> None:
    """Writes a product and notes its truth; a tile's truth is that of the first pass."""
    path = write_product(folder, one, about)
    lands.setdefault(one.land.place.mgrs, one.land)
    seen[path.stem] = one


def other_zone(place: Place, mgrs: str, epsg: int) -> Place:
    """A place of the next zone whose middle is that of `place`, of the same size."""
    from pyproj import Transformer

    b = place.grid.bounds(place.box)
    x, y = Transformer.from_crs(place.epsg, epsg, always_xy=True).transform(
        (b.left + b.right) / 2, (b.bottom + b.top) / 2
    )
    h, w = place.box.shape
    origin = Grid(epsg, place.pixel, place.window).origin_y
    row, col = round((origin - y) / place.pixel) - h // 2, round(x / place.pixel) - w // 2
    # Real products begin at multiples of 60 m.
    row, col = row // 6 * 6, col // 6 * 6
    return Place(mgrs, epsg, PixelBox(row, col, row + h, col + w), place.pixel, place.window)
