"""Deviations from the geometric median, against plain statements of their equations."""

import numpy as np
import pytest
import rasterio

from terrazzo.bands import NODATA
from terrazzo.errors import InvalidRequest
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.mads import MADS, UNITS, deviations, mads
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.stack import clear_scenes
from terrazzo.mosaic.warp import Target
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.terrazzo.test_composites import weiszfeld
from tests.world.worlds import FOUR, Weather, make_world


def plain(points):
    """The three of (n, band) reflectances: Roberts, Dunn & Mueller 2018, doi 10.1109/IGARSS.2018.8518312, equations 4 to 6."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return np.full(3, np.nan)
    middle, _ = weiszfeld(points)
    lit = points[(points != 0).any(axis=1)]
    cosine = lit @ middle / np.linalg.norm(lit, axis=1) / np.linalg.norm(middle)
    share = np.abs(lit - middle).sum(axis=1) / np.abs(lit + middle).sum(axis=1)
    return np.median(np.linalg.norm(points - middle, axis=1)), np.median(1 - cosine), np.median(share)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    base = tmp_path_factory.mktemp("mads")
    weather = Weather(gain=0.04, haze=0.02, cloud=0.3, missed=0.02, swath=0.5)
    make_world(base / "p", seed=4, pixel=60.0, size=(128, 128), dates=5, weather=weather, phenology=0.3)
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    return Engine(done.version, Blocks())


def test_the_three_are_those_of_the_equations():
    rng = np.random.default_rng(2)
    ground, noise = rng.gamma(2, 500, (1, 4, 9, 20)), rng.normal(0, 80, (8, 4, 9, 20))
    scenes = np.rint(ground + noise + (rng.random((8, 1, 9, 20)) < 0.2) * 2500).astype(np.int16)
    scenes[5] = scenes[1]
    scenes[3, 2][rng.random((9, 20)) < 0.3] = NODATA
    got = deviations(scenes)
    for r, c in np.ndindex(9, 20):
        points = np.where(scenes[:, :, r, c] == NODATA, np.nan, scenes[:, :, r, c] * 1e-4)
        assert got[:, r, c] == pytest.approx(plain(points), abs=1e-4)


@pytest.mark.parametrize("dates", [1, 2, 5])
def test_equal_dates_and_one_alone_lie_at_their_median(dates):
    values = np.array([812, 1907, 2417, 3333], np.int16)
    scenes = np.repeat(values[None, :, None, None], dates, axis=0)
    assert deviations(scenes)[:, 0, 0] == pytest.approx([0, 0, 0], abs=1e-7)


def test_what_four_of_five_dates_show_is_their_median_and_no_count_off():
    scenes = np.repeat(np.array([2000, 2100, 2200], np.int16)[None, :, None, None], 5, axis=0)
    scenes[4] -= 500
    assert np.rint(deviations(scenes)[:, 0, 0] / UNITS).tolist() == [0, 0, 0]


def test_no_date_has_no_deviation_and_one_without_light_no_angle():
    none = np.full((3, 2, 1, 1), NODATA, np.int16)
    assert np.isnan(deviations(none)).all()
    dark = np.zeros((1, 2, 1, 1), np.int16)
    assert deviations(dark)[0, 0, 0] == 0
    assert np.isnan(deviations(dark)[1:]).all()


def test_layers_hold_the_rounded_deviations_of_the_clear_scenes(engine, tmp_path):
    bounds = engine.version.store.grid(32633).bounds(engine.version.entries("all")[0].scene.box)
    asked = {"bbox": tuple(bounds), "bbox_crs": "EPSG:32633", "crs": "EPSG:32633", "resampling": "nearest"}
    order = parse_order({**asked, "method": "geomedian", "extras": ",".join(MADS)}, engine.version)
    list(export(engine, order, tmp_path / "a.tif"))
    selection = engine.select(order.pixels)
    with rasterio.open(tmp_path / "a.tif") as file:
        target = Target("EPSG:32633", type(bounds)(*file.bounds), file.height, file.width)
    wanted = deviations(clear_scenes(engine, selection, target, "deviations").values)
    for name, unit, own in zip(MADS, UNITS, wanted, strict=True):
        with rasterio.open(tmp_path / f"a_{name}.tif") as file:
            stored = file.read(1, masked=True)
        assert stored.count() > 0.3 * stored.size
        far = np.abs(stored.compressed() - own[~np.ma.getmaskarray(stored)] / unit)
        assert far.max() <= 0.5
        assert np.median(own[np.isfinite(own)]) > 0


def test_another_method_has_no_such_deviations(engine):
    box = tuple(engine.version.bounds)
    with pytest.raises(InvalidRequest, match="add method=geomedian"):
        parse_order({"bbox": box, "extras": "smad", "method": "median"}, engine.version)
    with pytest.raises(InvalidRequest, match="add method=geomedian"):
        parse_order({"bbox": box, "extras": "emad"}, engine.version)
    with pytest.raises(InvalidRequest, match="method=first"):
        parse_order({"bbox": box, "extras": "emad", "method": "geomedian", "stage": "raw"}, engine.version)


def test_where_no_scene_is_clear_there_is_none(engine):
    entry = engine.version.entries("all")[0]
    bounds = engine.version.store.grid(32633).bounds(entry.scene.box.grown(5))
    target = Target("EPSG:32633", bounds, *entry.scene.box.grown(5).shape)
    selection = engine.select(PixelRequest(FOUR, method="geomedian", resampling="nearest"))
    three = mads(engine, selection, target).values
    assert (three[:, 0] == NODATA).all()
