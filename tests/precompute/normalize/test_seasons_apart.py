"""A clear August scene with one of November beside it: neither is taken for haze, and August keeps its own forest."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from terrazzo.bands import NODATA, SCALE
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.version import Version
from tests.chain import native, precompute, weight_of
from tests.world.land import Land, landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import observe
from tests.world.worlds import FIRST, FOUR, NORTH, Weather, draw_sky

BARE = (1.15, 1.1, 2.2, 0.4)
"""What is left in November of August's reflectance where something grew; red rises."""
SIDE = 192
GREEN = 0.2
"""Near infrared from which something grows."""


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Land]:
    """A version of two dates, eighty days apart, and August's land."""
    base = tmp_path_factory.mktemp("seasons")
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, SIDE, SIDE, 60.0, 64)
    august = landscape(place, FOUR, 11)
    bare = np.where(august.rho[3] > GREEN, np.array(BARE, np.float32)[:, None, None], 1)
    lands = (august, replace(august, rho=(august.rho * bare).astype(np.float32)))
    for number, land in enumerate(lands):
        weather = Weather(gain=0.0, offset=0.0, haze=0.0, ramp=0.0)
        sky = draw_sky(weather, FOUR, np.random.default_rng([11, number]), number, 2)
        about = Pass(FIRST + timedelta(days=80 * number), "S2A", 79)
        write_product(base / "p", observe(land, replace(sky, haze_length=6000.0)), about)
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    assert done.version is not None
    return done.version, august


def test_neither_season_is_taken_for_cloud(seasons: tuple[Version, Land]) -> None:
    version, land = seasons
    entries = sorted(version.entries("all"), key=lambda e: e.scene.datetime)
    here = land.place.box.within(entries[0].scene.box)
    first, last = (float((weight_of(version.store, e)[here] > 1).mean()) for e in entries)
    assert first > 0.95
    assert last > 0.5
    assert entries[0].haze > 0.9


def test_a_clear_august_keeps_its_forest_in_every_band(seasons: tuple[Version, Land]) -> None:
    version, august = seasons
    entry = min(version.entries("all"), key=lambda e: e.scene.datetime)
    image = native(
        version,
        august.place.box,
        32633,
        ids=(entry.scene.id,),
        fill="none",
        method="first",
        resampling="nearest",
    )
    shown = np.where(image.values == NODATA, np.nan, image.values * SCALE)
    green = (august.rho[3] > GREEN) & np.isfinite(shown).all(axis=0)
    assert (np.abs(np.median(shown[:, green] / august.rho[:, green], axis=1) - 1) < 0.02).all()
