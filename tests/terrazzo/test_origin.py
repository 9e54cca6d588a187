"""Layers beside the bands: they tell where a mosaic is less sure, and why."""

import numpy as np
import pytest
import rasterio

from terrazzo.bands import NODATA
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.quality import CLAMPED, EXTRAPOLATED, FLAGS, SEVERAL, SINGLE, SNOW, quality
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.spread import spread
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.weight import weight
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.world.worlds import FOUR, Weather, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Six dates under haze and clouds, every second pass a narrow swath."""
    base = tmp_path_factory.mktemp("origin")
    weather = Weather(gain=0.04, haze=0.02, cloud=0.3, missed=0.02, swath=0.5)
    made = make_world(
        base / "p", seed=4, pixel=60.0, size=(192, 240), dates=6, weather=weather, phenology=0.3
    )
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    return made, Engine(done.version, Blocks())


def target_of(engine, box):
    return Target("EPSG:32633", engine.version.store.grid(32633).bounds(box), *box.shape)


def test_spread_is_the_median_absolute_deviation_of_the_clear_scenes(world):
    made, engine = world
    (land,) = made.land.values()
    target = target_of(engine, land.place.box)
    selection = engine.select(PixelRequest(FOUR, resampling="nearest"))
    told = spread(engine, selection, target).values
    alone = []
    for entry in selection.entries:
        one = engine.select(PixelRequest(FOUR, ids=(entry.scene.id,), fill="none", resampling="nearest"))
        values = engine.render(one, target).values
        alone.append(np.where(values == NODATA, np.nan, values))
    rows, cols = np.random.default_rng(0).integers(0, 190, (2, 50))
    for r, c in zip(rows, cols, strict=True):
        seen = np.array([a[:, r, c] for a in alone])
        seen = seen[np.isfinite(seen).all(axis=1)]
        if len(seen) < 2:
            assert (told[:, r, c] == NODATA).all()
        else:
            middle = np.rint(np.median(seen, axis=0))
            assert np.abs(told[:, r, c] - np.median(np.abs(seen - middle), axis=0)).max() <= 0.5


def test_quality_marks_single_scenes_and_gains_without_measurements(world):
    made, engine = world
    (land,) = made.land.values()
    target = target_of(engine, land.place.box)
    selection = engine.select(PixelRequest(FOUR, resampling="nearest"))
    image = engine.render(selection, target, count_to=ALL)
    bits = quality(engine, selection, target, image)
    fewer = engine.render(selection, target, count_to=SEVERAL)
    np.testing.assert_array_equal(np.minimum(fewer.count, SEVERAL), np.minimum(image.count, SEVERAL))
    np.testing.assert_array_equal(quality(engine, selection, target, fewer), bits)
    shown = image.provenance >= 0
    assert ((bits & SINGLE > 0) == (shown & (image.count == 1))).all()
    assert (bits & (CLAMPED | SNOW) == 0).all()
    assert (bits & EXTRAPOLATED > 0).mean() < 0.2
    assert sum(FLAGS) == 2047


@pytest.mark.parametrize("method", ["first", "median"])
def test_weight_is_that_of_the_scene_that_shows(world, method):
    made, engine = world
    (land,) = made.land.values()
    box = land.place.box
    selection = engine.select(PixelRequest(FOUR, method=method, resampling="nearest"))
    target = target_of(engine, box)
    image = engine.render(selection, target)
    told = weight(engine, selection, target, image)
    assert ((told == NODATA) == (image.provenance < 0)).all()
    for number in np.unique(image.provenance[image.provenance >= 0]):
        entry, here = image.entries[number], image.provenance == number
        with rasterio.open(engine.version.store.raster_path(entry.weight_key)) as file:
            stored = file.read(1).repeat(2, axis=0).repeat(2, axis=1)
        rows, cols = np.nonzero(here)
        own = entry.scene.box
        expected = stored[rows + box.row0 - own.row0, cols + box.col0 - own.col0]
        # At pixels finer than the stored ones weights are interpolated.
        assert np.corrcoef(told[here], expected)[0, 1] > 0.98 or told[here].std() == 0
        assert ((told[here] > 0) & (told[here] <= 255)).all()
