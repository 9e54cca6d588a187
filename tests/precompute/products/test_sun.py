"""The sun of an Item is checked against place and time, and a low one is not corrected by beyond what is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from terrazzo.precompute.correct.brdf import COEFFICIENTS, LOWEST_SUN
from terrazzo.precompute.correct.factors import coarse_coefficients, view_of
from terrazzo.precompute.products.angles import Angles, read_angles
from terrazzo.precompute.products.items import product_from_item
from terrazzo.precompute.products.sun import checked_sun, sun_position

ITEMS = (
    "stac_cdse_sentinel-2-l2a_item_N0500.json",
    "stac_cdse_sentinel-2-l2a_item_S2C_N0512.json",
    "stac_earthsearch_v1_sentinel-2-l1c_item.json",
    "stac_earthsearch_v1_sentinel-2-l2a_item_13TDE_20231008.json",
    "stac_planetarycomputer_sentinel-2-l2a_item.json",
)


def told(data: Path, name: str) -> tuple[tuple[float, float], tuple]:
    item = json.loads((data / "imagery/metadata" / name).read_text())
    product = product_from_item(item, Path("x.json"))
    assert product.sun is not None
    place = shapely.centroid(shapely.geometry.shape(item["geometry"]))
    return product.sun, (product.datetime, place.x, place.y)


def direction(sun: tuple[float, float]) -> np.ndarray:
    z, a = np.radians(sun)
    return np.array([np.cos(z), np.sin(z) * np.sin(a), np.sin(z) * np.cos(a)])


def apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(np.degrees(np.arccos(np.clip(direction(a) @ direction(b), -1, 1))))


@pytest.mark.parametrize("name", ITEMS)
def test_the_sun_stands_where_the_archives_say(data, name):
    sun, where = told(data, name)
    assert apart(sun, sun_position(*where)) < 7.0
    assert checked_sun(sun, *where) == (sun, None)


@pytest.mark.parametrize("name", ITEMS)
def test_a_zenith_written_as_elevation_and_swapped_angles_are_read_as_they_are_meant(data, name):
    sun, where = told(data, name)
    elevation = 90 - sun[0]
    for wrong in ((elevation, sun[1]), (90 - sun[1], elevation), (10.0, (sun[1] + 180) % 360)):
        found, note = checked_sun(wrong, *where)
        if note is None:
            assert apart(wrong, sun) < 17.0
        else:
            assert apart(found, sun) < 7.0
            assert "Item" in note


def test_without_a_word_the_sun_is_that_of_place_and_time_and_at_night_it_is_assumed_and_said():
    when = told_time()
    day, note = checked_sun(None, when, 15.0, 46.0)
    assert note is None
    assert day == sun_position(when, 15.0, 46.0)
    night, said = checked_sun(None, when, -165.0, 46.0)
    assert night == (45.0, 180.0)
    assert said is not None
    kept, doubt = checked_sun((40.0, 150.0), when, -165.0, 46.0)
    assert kept == (40.0, 150.0)
    assert doubt is not None


def told_time():
    from datetime import UTC, datetime

    return datetime(2023, 8, 15, 9, 58, tzinfo=UTC)


@pytest.fixture(scope="module")
def granule(data) -> Angles:
    return read_angles(str(data / "imagery/metadata/L1C_N0301_S2A_46RER_20210908_MTD_TL.xml"))


def factors(angles: Angles, zenith: float, band: str = "B04") -> np.ndarray:
    low = replace(angles, sun_zenith=np.full_like(angles.sun_zenith, zenith))
    found = coarse_coefficients(low, band, satellite="S2A", brdf="nadir", air=None)
    assert found is not None
    return found.values[-1]


@pytest.mark.parametrize("band", COEFFICIENTS)
def test_the_factor_is_held_towards_the_horizon(granule, band):
    held = factors(granule, LOWEST_SUN, band)
    for zenith in (76.0, 82.0, 86.0, 87.0, 89.0):
        np.testing.assert_array_equal(factors(granule, zenith, band), held)
    assert (held > 0.6).all()
    assert (held < 1.6).all()
    assert not np.array_equal(factors(granule, LOWEST_SUN - 5, band), held)


@pytest.mark.parametrize("band", ["B02", "B08", "B8A", "B12"])
def test_a_band_without_view_grids_is_corrected_by_the_nearest_that_has_them(granule, band):
    lacking = replace(granule, view={b: v for b, v in granule.view.items() if b != band})
    assert view_of(lacking, band) not in (None, band)
    own = coarse_coefficients(granule, band, satellite="S2A", brdf="nadir", air=None)
    found = coarse_coefficients(lacking, band, satellite="S2A", brdf="nadir", air=None)
    assert own is not None
    assert found is not None
    assert np.abs(found.values[-1].mean() - own.values[-1].mean()) < 0.01
    none = replace(granule, view={})
    assert view_of(none, band) is None
    assert coarse_coefficients(none, band, satellite="S2A", brdf="nadir", air=None) is None
