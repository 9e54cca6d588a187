"""Standard errors: true for noise that is known, at every endpoint, refused where a value predicts nothing."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from terrazzo.errors import InvalidRequest, TooLarge
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import PixelBox
from terrazzo.mosaic import stack
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.sigma import (
    OF_MOSAIC,
    OF_TABLE,
    TABLE,
    Common,
    ScatterPrior,
    prior_of,
    require_sigma,
    scatter,
    sigma,
    sigma_at,
    standard_error,
    table,
    weights,
)
from terrazzo.mosaic.sigma import observed as clear_observations
from terrazzo.mosaic.stack import clear_scenes
from terrazzo.mosaic.warp import Points, Target
from terrazzo.mosaic.zone import LAST_RESORT
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.statistics.question import parse_table
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.chain import precompute
from tests.world.worlds import FOUR, Weather, make_world

FLAT = ScatterPrior(np.array([[0.02, 0.0]]), np.ones(1), OF_MOSAIC, "mosaic")
FACTORS, COMMON = OF_MOSAIC.factors, OF_MOSAIC.common
DAYS = [date(2023, 6, 1) + timedelta(days=5 * n) for n in range(40)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Six dates under haze and clouds, every second pass a narrow swath."""
    base = tmp_path_factory.mktemp("sigma")
    weather = Weather(gain=0.04, haze=0.02, cloud=0.3, missed=0.02, swath=0.5)
    made = make_world(
        base / "p", seed=4, pixel=60.0, size=(192, 240), dates=6, weather=weather, phenology=0.3
    )
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    (land,) = made.land.values()
    return Engine(done.version, Blocks()), land.place.box


def target_of(engine, box):
    return Target("EPSG:32633", engine.version.store.grid(32633).bounds(box), *box.shape)


def error_of(values, scenes, prior=FLAT):
    return prior.of_pixels(values, scatter(values, scenes, np.ones((len(scenes), 1, 1))))


def of_means(sums, target=None):
    return FLAT.of_means(*sums.scatter(target))


def test_many_observations_show_the_noise_that_is_there():
    """Noise of .05 where the prior expects .02: of 60 dates the prior is forgotten, of three it is not."""
    rng = np.random.default_rng(0)
    scenes = 0.3 + rng.normal(0, 0.05, (60, 1, 4000))
    many = error_of(scenes.mean(axis=0), scenes)
    few = error_of(scenes[:3].mean(axis=0), scenes[:3])
    assert np.sqrt((many**2).mean()) == pytest.approx(FACTORS[-1] * 0.05, rel=0.1)
    assert few.mean() < many.mean()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_sigma_holds_about_two_thirds_of_unseen_dates_whose_noise_is_the_priors(count):
    rng = np.random.default_rng(count)
    scenes = 0.3 + rng.normal(0, 0.02, (count, 1, 20_000))
    values, unseen = np.median(scenes, axis=0), 0.3 + rng.normal(0, 0.02, (1, 20_000))
    z = np.abs(values - unseen) / error_of(values, scenes)
    # Learnt on real dates, whose tails are longer than a normal law's.
    assert 0.5 < (z <= 1).mean() < 0.85
    assert (z <= 2).mean() > 0.85


REFLECTANCE = st.floats(-0.05, 1.2)


@st.composite
def observed(draw):
    """A mosaic of two bands and five pixels with up to six scenes, holes in all of them."""
    shape = (2, 5)
    count = draw(st.integers(0, 6))
    numbers = arrays(np.float64, (count + 1, *shape), elements=REFLECTANCE)
    holes = draw(arrays(np.bool_, (count + 1, *shape)))
    every = np.where(holes, np.nan, draw(numbers))
    return every[0], every[1:]


@given(observed(), st.floats(0.1, 50))
def test_there_is_a_sigma_wherever_a_value_is_observed_and_it_scales_with_the_values(seen, scale):
    values, scenes = seen
    weight, tau, law = np.ones((len(scenes), 1, 1)), table(("B02", "B08")), (3.0, (1.3, 1.0))
    own = standard_error(values, scatter(values, scenes, weight), tau, *law)
    there = np.isfinite(values) & np.isfinite(scenes).any(axis=0)
    assert (np.isfinite(own) == there).all()
    assert (own[there] > 0).all()
    larger = standard_error(
        scale * values, scatter(scale * values, scale * scenes, weight), tau * np.array([scale, 1.0]), *law
    )
    np.testing.assert_allclose(larger, scale * own, rtol=1e-9)
    turned = standard_error(values, scatter(values, scenes[::-1], weight), tau, *law)
    np.testing.assert_allclose(turned, own, rtol=1e-9)


def test_one_observation_has_the_priors_sigma():
    values = np.array([[0.1, 0.4]])
    prior = ScatterPrior(np.array([[0.01, 0.2]]), np.array([1.5]), OF_MOSAIC, "mosaic")
    own = error_of(values, values[None], prior)
    np.testing.assert_allclose(own, FACTORS[0] * 1.5 * np.array([[0.03, 0.09]]))


def test_an_observation_farther_off_makes_a_value_less_sure():
    values = np.full((1, 1), 0.2)
    near, far = (np.array([[[0.2]], [[0.2 + d]]]) for d in (0.01, 0.1))
    assert error_of(values, far)[0, 0] > 2 * error_of(values, near)[0, 0]


def test_what_a_days_pixels_have_in_common_is_not_averaged_away():
    """A thousand pixels of noise .05: their mean is far surer than each, unless the days differ as a whole."""
    rng = np.random.default_rng(2)
    truth, count = np.full((1, 1000), 0.3), 30
    noise = rng.normal(0, 0.05, (count, 1, 1000))
    common = rng.normal(0, 0.05, (count, 1, 1))
    found = []
    for scenes in (truth + noise, truth + noise + common):
        sums = Common(1, 1)
        # In two parts, as an area that is read in blocks.
        for part in (slice(0, 300), slice(300, 1000)):
            pixels = len(range(*part.indices(1000)))
            whole = np.ones(pixels), np.zeros(pixels, np.int64)
            sums.add(truth[:, part], scenes[..., part], DAYS[:count], *whole)
        found.append(of_means(sums)[0, 0])
    own, shared = found
    assert own < 0.6 * COMMON[-1] * 0.02
    assert shared == pytest.approx(COMMON[-1] * 0.05, rel=0.25)


def test_days_far_from_the_one_that_is_shown_say_less():
    values = np.full((1, 1), 0.3)
    sums = [Common(1, 1) for _ in range(2)]
    for common, days in zip(sums, ((0, 1, 2), (0, 60, 61)), strict=True):
        scenes = np.array([0.3, 0.4, 0.4]).reshape(3, 1, 1)
        common.add(values, scenes, [DAYS[0] + timedelta(days=d) for d in days], np.ones(1), np.zeros(1, int))
    near, far = (of_means(c, DAYS[0])[0, 0] for c in sums)
    assert far < near
    assert of_means(sums[0])[0, 0] == of_means(sums[1])[0, 0]


def test_two_passes_of_a_day_are_one_days_offset():
    values, offsets = np.full((1, 4), 0.3), np.array([0.0, 0.1])
    once, twice = Common(1, 1), Common(1, 1)
    for common, passes in ((once, 1), (twice, 2)):
        scenes = np.repeat(0.3 + offsets, passes).reshape(-1, 1, 1) + np.zeros((1, 1, 4))
        common.add(values, scenes, np.repeat(DAYS[:2], passes).tolist(), np.ones(4), np.zeros(4, int))
    assert of_means(twice) == pytest.approx(of_means(once))


def test_every_band_has_a_prior():
    every = table(("B01", "B05", "B8A", "B12"))
    assert every.tolist() == [list(TABLE[b]) for b in ("B02", "B04", "B08", "B12")]


@pytest.mark.parametrize("method", ["feather", "median", "robust", "geomedian", "medoid", "kriging", "first"])
def test_a_sigma_stands_wherever_a_clear_scene_shows(world, method):
    engine, box = world
    target = target_of(engine, box)
    selection = engine.select(PixelRequest(FOUR, method=method, resampling="nearest"))
    image = engine.render(selection, target, count_to=ALL)
    own = sigma(engine, selection, target, image).values
    assert own.shape == image.values.shape
    clear = (image.provenance >= 0) & (image.quality & LAST_RESORT == 0)
    assert clear.any()
    assert (np.isfinite(own).all(axis=0) == clear).all()
    assert (own[:, clear] > 0).all()
    single = clear & (image.count == 1)
    prior = prior_of(engine.version, selection.request.period, FOUR)
    (a, b), g = prior.tau.T[:, :, None], prior.scale[:, None]
    rho = image.values[:, single] * 1e-4
    # With gains a single scene lies off its own observation too.
    assert (own[:, single] >= prior.law.factors[0] * g * (a + b * np.maximum(rho, 0)) * (1 - 1e-5)).all()


def test_parts_of_a_picture_have_the_sigma_of_the_whole(world):
    engine, box = world
    selection = engine.select(PixelRequest(FOUR))
    target = target_of(engine, box)
    whole = sigma(engine, selection, target, engine.render(selection, target)).values
    inner = PixelBox(box.row0 + 40, box.col0 + 60, box.row0 + 90, box.col0 + 130)
    part = target_of(engine, inner)
    own = sigma(engine, selection, part, engine.render(selection, part)).values
    np.testing.assert_array_equal(own, whole[:, 40:90, 60:130])


def test_passes_added_one_by_one_are_those_that_lie_stacked(world):
    engine, box = world
    selection, target = engine.select(PixelRequest(FOUR, method="kriging")), target_of(engine, box)
    image = engine.render(selection, target)
    values, scenes, days, _ = clear_observations(engine, selection, target, image, "test")
    prior = prior_of(engine.version, selection.request.period, FOUR)
    weight = weights(selection.request.target, days)[:, None, None, None]
    stacked = prior.of_pixels(values, scatter(values, scenes, weight))
    np.testing.assert_array_equal(sigma(engine, selection, target, image).values, stacked.astype(np.float32))


def test_more_scenes_than_are_compared_are_refused_before_one_is_rendered(world, monkeypatch):
    engine, box = world
    selection, target = engine.select(PixelRequest(FOUR)), target_of(engine, box)
    image = engine.render(selection, target)
    monkeypatch.setattr(stack, "MOST_SCENES", 3)
    with pytest.raises(TooLarge, match="sigma: 6 scenes lie here, at most 3"):
        sigma(engine, selection, target, image)


def test_the_layer_the_file_and_the_point_agree(world, tmp_path):
    engine, _ = world
    west, south, east, north = engine.version.bounds
    middle = [(west + east) / 2 - 0.02, (south + north) / 2 - 0.02, (west + east) / 2, (south + north) / 2]
    asked = {"bands": ["B04", "B08"], "bbox": middle, "resampling": "nearest", "extras": "sigma"}
    list(export(engine, parse_order(asked, engine.version), tmp_path / "a.tif"))
    with rasterio.open(tmp_path / "a_sigma.tif") as file, rasterio.open(tmp_path / "a.tif") as values:
        assert file.descriptions == ("sigma_B04", "sigma_B08")
        assert file.dtypes == ("float32", "float32")
        assert math.isnan(file.nodata)
        stored, shown = file.read(), values.read()
        row, col = np.argwhere(np.isfinite(stored).all(axis=0))[50]
        x, y = file.xy(row, col)
    assert not np.isfinite(stored[:, (shown == -32768).all(axis=0)]).any()
    selection = engine.select(PixelRequest(("B04", "B08"), resampling="nearest"))
    place = Points("EPSG:32633", np.array([x]), np.array([y]))
    image = engine.points(selection, place.crs, place.x, place.y)
    found = sigma_at(engine, selection, place, image, 32633)
    assert found.sigma == pytest.approx(stored[:, row, col].tolist(), abs=2e-5)
    assert all(0 < s <= own for s, own in zip(found.shared, found.sigma, strict=True))


def test_two_tiles_of_a_pass_are_one_observation(sample_store):
    engine = Engine(open_version(Store(sample_store), "mosaic"), Blocks())
    selection = engine.select(PixelRequest(FOUR, datetime="2023-08-13"))
    north, south = (e.scene.box for e in selection.entries)
    both = north.intersection(south)
    row, col = (both.row0 + both.row1) // 2 - 10, (both.col0 + both.col1) // 2 - 10
    target = target_of(engine, PixelBox(row, col, row + 20, col + 20))
    assert len(clear_scenes(engine, selection, target, "test").values) == 2
    assert len(clear_scenes(engine, selection, target, "test", passes=True).values) == 1
    own = sigma(engine, selection, target, engine.render(selection, target)).values
    assert np.isfinite(own).all()


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        (Measure(PixelRequest(FOUR, stage="corrected")), "stage=corrected"),
        (Measure(PixelRequest(FOUR, stage="mask")), "stage=mask"),
        (Measure(PixelRequest(FOUR, method="percentile:10")), "method=percentile:10"),
        (Measure(PixelRequest(FOUR), expression="B08-B04"), "expression"),
        (Measure(PixelRequest(FOUR), baseline="2023"), "baseline"),
    ],
)
def test_what_predicts_no_observation_is_refused(world, measure, reason):
    engine, _ = world
    with pytest.raises(InvalidRequest, match=reason):
        require_sigma(measure, engine.version)


def test_an_order_and_a_question_are_refused_before_anything_is_rendered(world):
    engine, _ = world
    order = {"bbox": list(engine.version.bounds), "extras": "sigma", "method": "percentile:90"}
    with pytest.raises(InvalidRequest, match="percentile:90"):
        parse_order(order, engine.version)
    with pytest.raises(InvalidRequest, match="expression"):
        parse_table({"expression": "B08-B04", "sigma": "on"}, engine.version)


def test_a_period_whose_dates_differ_more_is_less_sure(world):
    engine, box = world
    stored = prior_of(engine.version, "all", FOUR)
    assert (stored.law, stored.origin) == (OF_MOSAIC, "mosaic")
    assert stored.tau.tolist() == [list(engine.version.scatter["all"][b]) for b in FOUR]
    assert (stored.tau != table(FOUR)).all()
    doubled = open_version(engine.version.store, engine.version.mosaic_id)
    doubled.scatter = {"all": {b: (2 * a, 2 * s) for b, (a, s) in engine.version.scatter["all"].items()}}
    errors = []
    for version in (engine.version, doubled):
        own = Engine(version, Blocks())
        selection, target = own.select(PixelRequest(FOUR)), target_of(own, box)
        errors.append(sigma(own, selection, target, own.render(selection, target))[0])
    known = np.isfinite(errors[0])
    assert known.any()
    assert (known == np.isfinite(errors[1])).all()
    assert (errors[1][known] > errors[0][known]).all()


def test_a_version_without_stored_scatter_has_the_tables_sigma(world):
    engine, _ = world
    version = open_version(engine.version.store, engine.version.mosaic_id)
    version.scatter = {}
    prior = prior_of(version, "all", ("B04", "B8A"))
    assert (prior.law, prior.origin) == (OF_TABLE, "table")
    assert prior.tau.tolist() == [list(TABLE["B04"]), list(TABLE["B08"])]
    assert prior.scale.tolist() == [0.88, 1.01]
