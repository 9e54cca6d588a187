"""What really changed between dates is not normalized away: fields, a flood, a lake on a window corner."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from terrazzo.bands import NODATA, SCALE
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.version import Version
from tests.chain import native, precompute
from tests.world.land import Land, landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import observe
from tests.world.worlds import FIRST, FOUR, NORTH, Weather, draw_sky

STUBBLE, WATER = (0.09, 0.12, 0.17, 0.25), (0.05, 0.05, 0.04, 0.02)
"""Reflectance in B02, B03, B04, B08."""
PATCHES: dict[str, tuple[slice, slice, tuple[float, ...]]] = {
    "field of 1.4 ha": (slice(30, 32), slice(40, 42), STUBBLE),
    "field of 92 ha": (slice(30, 46), slice(90, 106), STUBBLE),
    "fields of 15 km²": (slice(64, 128), slice(192, 256), STUBBLE),
    "flood of 9 km²": (slice(150, 200), slice(40, 90), WATER),
    "lake on a window corner": (slice(180, 204), slice(180, 204), WATER),
}
DATES = 6
KEPT, LEFT = 0.98, 0.004
"""Share of the change that is kept, and what the air's own change may leave, reflectance."""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Mapping[int, Land]]:
    """Six dates under changing air; in the last three the patches are new."""
    base = tmp_path_factory.mktemp("change")
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, 264, 348, 60.0, 64)
    before = landscape(place, FOUR, 11)
    rho = before.rho.copy()
    for rows, cols, values in PATCHES.values():
        rho[:, rows, cols] = np.array(values, np.float32)[:, None, None]
    lands = {n: before if n < DATES / 2 else replace(before, rho=rho) for n in range(DATES)}
    weather = Weather(gain=0.02, offset=0.001, haze=0.01, ramp=0.02)
    for number, land in lands.items():
        sky = draw_sky(weather, FOUR, np.random.default_rng([11, number]), number, DATES)
        about = Pass(FIRST + timedelta(days=5 * number), "S2A", 79)
        write_product(base / "p", observe(land, replace(sky, haze_length=6000.0)), about)
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    assert done.version is not None
    return done.version, lands


@pytest.mark.parametrize("name", PATCHES)
def test_the_change_between_two_dates_is_kept(changed: tuple[Version, Mapping[int, Land]], name: str) -> None:
    version, lands = changed
    entries = sorted(version.entries("all"), key=lambda e: e.scene.datetime)
    rows, cols, _ = PATCHES[name]

    def shown(number: int) -> np.ndarray:
        box = lands[0].place.box
        image = native(
            version,
            box,
            32633,
            ids=(entries[number].scene.id,),
            fill="none",
            method="first",
            resampling="nearest",
        )
        return np.where(image.values == NODATA, np.nan, image.values * SCALE)[:, rows, cols]

    told = shown(4) - shown(1)
    both = np.isfinite(told)
    true = (lands[4].rho - lands[1].rho)[:, rows, cols]
    told, true = (np.array([np.median(v[k][both[k]]) for k in range(len(FOUR))]) for v in (told, true))
    assert (np.abs(told - true) < LEFT + (1 - KEPT) * np.abs(true)).all(), (told, true)
