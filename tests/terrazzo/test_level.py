"""A method that shows one day has that day's level: the season that gains take off comes back, haze does not."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from terrazzo.bands import SCALE
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.level import light_of_haze, parts
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.version import Version
from tests.chain import native, precompute
from tests.world.land import Land, landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import observe
from tests.world.worlds import FIRST, FOUR, NORTH, Weather, draw_sky

SIDE, HAZE = 192, 0.03
FADING = (1.06, 1.02, 0.98, 0.94)
"""Near infrared of four dates over the land's."""


@pytest.fixture(scope="module")
def fading(tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Land]:
    """A version of four dates, twelve days apart, over which all land loses near infrared; haze lies over the third."""
    base = tmp_path_factory.mktemp("fading")
    place = place_of(*NORTH, SIDE, SIDE, 60.0, 64)
    land = landscape(place, FOUR, 5)
    for number, share in enumerate(FADING):
        factor = np.array([1, 1, 1, share], np.float32)[:, None, None]
        sky = draw_sky(Weather(), FOUR, np.random.default_rng([5, number]), 1, 2)
        sky = replace(sky, haze=HAZE if number == 2 else 0.0, haze_length=6000.0)
        about = Pass(FIRST + timedelta(days=12 * number), "S2A", 79)
        write_product(base / "p", observe(replace(land, rho=land.rho * factor), sky), about)
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    assert done.version is not None
    return done.version, land


def shown(fading: tuple[Version, Land], number: int, normalize: bool = True) -> np.ndarray:
    """(band,) median of what `kriging` shows of a date over the land's."""
    version, land = fading
    day = str((FIRST + timedelta(days=12 * number)).date())
    image = native(
        version,
        land.place.box,
        32633,
        method="kriging",
        target=day,
        normalize=normalize,
        resampling="nearest",
    )
    return np.asarray(np.median((image.values * SCALE - land.rho)[:, land.kind > 0], axis=1))


def test_the_season_of_an_asked_day_is_in_its_level(fading: tuple[Version, Land]) -> None:
    first, last = (shown(fading, n)[3] for n in (0, 3))
    plain = [shown(fading, n, normalize=False)[3] for n in (0, 3)]
    assert first - last > 0.6 * (plain[0] - plain[1]) > 0.01


def test_haze_is_not(fading: tuple[Version, Land]) -> None:
    assert abs(shown(fading, 2)[0]) < 0.004 < shown(fading, 2, normalize=False)[0]


def test_the_cells_of_an_asked_day_are_those_of_the_windows_around_too(fading: tuple[Version, Land]) -> None:
    version, land = fading
    engine, grid, box = Engine(version, Blocks()), land.place.grid, land.place.box
    inner = type(box)(box.row0 + 70, box.col0 + 70, box.row0 + 110, box.col0 + 110)
    target = Target("EPSG:32633", grid.bounds(inner), *inner.shape)
    windows = inner.grown(2).coarser(64)
    plain, timed = (
        list(engine.planner.cells(engine.select(PixelRequest(FOUR, method=m, fill="none")), target))
        for m in ("feather", "kriging")
    )
    assert version.cells(32633, windows, "all") in plain
    assert version.cells(32633, windows.grown(1), "all") in timed


def test_parts_follow_time_and_what_scenes_count() -> None:
    days = np.array([-30.0, -1.0, 1.0, 30.0])
    weight = np.ones((4, 200))
    weight[:, 150:] = 0
    share = parts(weight, days)
    assert np.allclose(share[:, :150].sum(axis=0), 1, atol=1e-5)
    assert (share[:, 150:] == 0).all()
    assert share[1, 0] > 3 * share[0, 0]
    further = parts(np.insert(weight[:, :1], 2, 0, axis=0), np.insert(days, 2, 0.5))
    assert (np.delete(further, 2, axis=0) == share[:, :1]).all()


def test_light_of_haze_falls_with_the_wavelength() -> None:
    light = light_of_haze(FOUR)
    assert light[0] == 1
    assert (np.diff(light) < 0).all()


def test_a_day_without_a_pass_is_predicted_at_the_level_of_days_with_one(
    fading: tuple[Version, Land],
) -> None:
    version, land = fading
    first, between = (str((FIRST + timedelta(days=n)).date()) for n in (0, 2))
    asked = {"resampling": "nearest", "method": "median"}
    passed = native(version, land.place.box, 32633, datetime=first, fill="none", **asked)
    predicted = native(version, land.place.box, 32633, datetime=between, fill="predict", **asked)
    both = ((passed.values > 0) & (predicted.values > 0)).all(axis=0)
    apart = (predicted.values.astype(float) - passed.values)[:, both] * SCALE
    # The level of that day is 0.01 from the period's in near infrared.
    assert np.abs(np.median(apart, axis=1)).max() < 0.003
