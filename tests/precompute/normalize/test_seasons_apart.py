"""A clear August scene with one of November beside it: neither is taken for haze, August keeps its own forest, and the period is named."""

import shutil
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from starlette.testclient import TestClient

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Period
from terrazzo.precompute.judge import seasons
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.store import Store
from terrazzo.version import Version, read_collection, version_key
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
def two_dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Land, str]:
    """A version of two dates, eighty days apart, August's land, and what precompute printed."""
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
    return done.version, august, "\n".join(done.notes)


def test_a_tile_of_which_nothing_can_be_read_is_not_looked_at(two_dates, tmp_path) -> None:
    version, _, _ = two_dates
    store = Store(shutil.copytree(version.store.root, tmp_path / "store"))
    scenes = [e.scene for e in version.entries("all")]
    for scene in scenes:
        store.delete(scene.band_key("B08"))
    assert seasons.apart(store, version.periods["all"], scenes) is None


def test_neither_season_is_taken_for_cloud(two_dates: tuple[Version, Land, str]) -> None:
    version, land, _ = two_dates
    entries = sorted(version.entries("all"), key=lambda e: e.scene.datetime)
    here = land.place.box.within(entries[0].scene.box)
    first, last = (float((weight_of(version.store, e)[here] > 1).mean()) for e in entries)
    assert first > 0.95
    assert last > 0.5
    assert entries[0].haze > 0.9


def test_what_does_not_count_of_a_date_that_its_mask_calls_clear_is_said(tmp_path) -> None:
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, SIDE, SIDE, 60.0, 64)
    land = landscape(place, FOUR, 11)
    for number, missed in enumerate((0.0, 0.0, 0.3)):
        sky = replace(draw_sky(Weather(), FOUR, np.random.default_rng([11, number]), 0, 3), missed=missed)
        write_product(tmp_path / "p", observe(land, sky), Pass(FIRST + timedelta(days=5 * number), "S2A", 79))
    done, _ = precompute(tmp_path / "p", tmp_path / "s", pixel=60.0, recipe=Recipe("scl"))
    assert done.version is not None
    clouded = max(done.version.entries("all"), key=lambda e: e.scene.datetime)
    here = place.box.within(clouded.scene.box)
    counts = float((weight_of(done.version.store, clouded)[here] > 1).mean())
    assert counts < 0.9
    (said,) = [n for n in done.notes if "of what its mask calls clear does not count" in n]
    assert said.startswith(f"{clouded.scene.id}: {100 * (1 - counts):.0f} % of")


def test_a_clear_august_keeps_its_forest_in_every_band(two_dates: tuple[Version, Land, str]) -> None:
    version, august, _ = two_dates
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


def test_a_period_whose_dates_are_too_far_apart_is_named_with_its_split(
    two_dates: tuple[Version, Land, str],
) -> None:
    version, _, notes = two_dates
    august, november = date(2023, 8, 3), date(2023, 10, 22)
    named = version.apart["all"]
    assert named.dates == (august, november)
    assert named.changed > 0.8
    assert named.split == ((august, date(2023, 9, 12)), (date(2023, 9, 13), november))
    advice = "these periods hold dates that agree: 2023-08-03 to 2023-09-12, 2023-09-13 to 2023-10-22"
    assert f"period all: {named}" in notes
    assert advice in notes
    page = version.store.read_bytes(version_key("mosaic", version.name, "report.html")).decode()
    assert advice in page
    (period,) = read_collection(version.store, "mosaic")["terrazzo:periods"]
    assert period["apart"]["split"][1] == ["2023-09-13", "2023-10-22"]


def test_the_server_names_it_in_the_mosaic_and_in_the_account_of_a_pixel(
    two_dates: tuple[Version, Land, str],
) -> None:
    version, _, _ = two_dates
    lon, lat = (version.bounds[0] + version.bounds[2]) / 2, (version.bounds[1] + version.bounds[3]) / 2
    with TestClient(create_app(Settings(store=version.store.url))) as client:
        (period,) = client.get("/mosaics/mosaic").json()["terrazzo:periods"]
        accounts = [
            client.get(f"/mosaics/mosaic/explain/{lon:.5f},{lat:.5f}", params={"f": f}).text
            for f in ("json", "txt", "html")
        ]
    assert period["apart"]["changed"] > 0.8
    assert all("by more than air and gains explain" in a for a in accounts)


def shown(land: Land, gain: float = 1.0, haze: float = 0.0) -> np.ndarray:
    """(band, place) red and near infrared of a land under an even sky."""
    light = np.array([[0.56 * haze], [0.36 * haze]], np.float32)
    return np.asarray((gain * land.rho[2:].reshape(2, -1) + light)[:, ::7], np.float32)


def test_gains_haze_and_some_harvest_are_no_other_season() -> None:
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, SIDE, SIDE, 60.0, 64)
    before, after = (landscape(place, FOUR, 4, day=day) for day in (0, 0.4))
    new, both = seasons.pairs(np.stack([shown(before), shown(before, 1.15, 0.04), shown(after, 0.9)]))
    assert (new / np.maximum(both, 1) < 0.6 * seasons.MOST_CHANGED).all()


def test_the_split_has_the_fewest_periods_and_lies_where_most_changes() -> None:
    days = [date(2023, 6, d) for d in (1, 11, 21)] + [date(2023, 7, 1)]
    share = np.array([[0, 0.2, 0.7, 0.9], [0.2, 0, 0.4, 0.8], [0.7, 0.4, 0, 0.1], [0.9, 0.8, 0.1, 0]])
    period = Period("early summer", date(2023, 5, 20), date(2023, 7, 10))
    assert seasons.split(period, days, share) == (
        (date(2023, 5, 20), date(2023, 6, 16)),
        (date(2023, 6, 17), date(2023, 7, 10)),
    )
