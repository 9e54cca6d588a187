"""`fill=predict`: what a day's clouds hide is predicted from the day's own pixels and the other dates."""

import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.bands import NODATA
from terrazzo.bulk.windows import PREDICTED_WINDOW, window_side
from terrazzo.config import MosaicConfig
from terrazzo.errors import InvalidRequest, StoreError, TooLarge
from terrazzo.export.estimate import estimate
from terrazzo.export.order import parse_order
from terrazzo.export.run import Exported, export
from terrazzo.grid import PixelBox
from terrazzo.mosaic import predict
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.explain import explain
from terrazzo.mosaic.explain.candidates import left_out
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.origin import ORIGINS, PREDICTED_DAY, Rendering
from terrazzo.mosaic.predict import PREDICTED, KeptSums, Sums
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.server.statistics import with_statistics
from tests.chain import precompute
from tests.world.worlds import FOUR, Weather, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Six dates of growing fields under clouds."""
    base = tmp_path_factory.mktemp("predict")
    made = make_world(
        base / "p", seed=5, pixel=60.0, size=(192, 240), dates=6, weather=Weather(cloud=0.35), phenology=0.5
    )
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    return made, Engine(done.version, Blocks())


@pytest.fixture(scope="module")
def day(world):
    """The scene of the middle days that hides nearest to a third of its pixels."""
    _, engine = world
    days = sorted(engine.version.entries("all"), key=lambda e: e.scene.datetime)[1:-1]
    return min(days, key=lambda e: abs(e.scene.cloud_share - 0.33)).scene


@pytest.fixture(scope="module")
def box(world):
    (land,) = world[0].land.values()
    return land.place.box


def drawn(engine, box, **asked):
    request = PixelRequest(FOUR, **{"resampling": "nearest", "fill": "predict", "normalize": False, **asked})
    target = Target("EPSG:32633", engine.version.store.grid(32633).bounds(box), *box.shape)
    selection = engine.select(request)
    return Rendering(engine, selection, target, engine.render(selection, target))


def test_what_the_day_shows_stays_and_what_it_hides_is_flagged(world, day, box):
    _, engine = world
    text = str(day.datetime.date())
    own = drawn(engine, box, datetime=text, fill="none").image
    whole = drawn(engine, box, datetime=text)
    seen = (own.values != NODATA).all(axis=0)
    assert 0.1 < seen.mean() < 0.9
    assert (whole.image.values[:, seen] == own.values[:, seen]).all()
    filled = (whole.image.values != NODATA).all(axis=0)
    assert filled.mean() > 0.95
    bits = quality(engine, whole.selection, whole.target, whole.image)
    assert (bits[filled & ~seen] == PREDICTED).all()
    assert (bits[seen] & PREDICTED == 0).all()
    dates = ORIGINS["date"].values(whole)
    assert (dates[filled & ~seen] == PREDICTED_DAY).all()
    assert (dates[seen] > 0).all()
    ages = ORIGINS["age"].values(whole)
    assert (ages[filled & ~seen] == NODATA).all()
    assert (ages[seen] == 0).all()


def test_it_predicts_better_than_the_other_dates_alone(world, day, box):
    made, engine = world
    text = str(day.datetime.date())
    own = drawn(engine, box, datetime=text, fill="none").image.values
    truth = next(s for n, s in made.seen.items() if n == day.id).land.rho
    others = tuple(e.scene.id for e in engine.version.entries("all") if e.scene.id != day.id)
    predicted = drawn(engine, box, datetime=text).image.values
    ways = {
        m: drawn(engine, box, method=m, fill="none", ids=others, **more).image.values
        for m, more in (("kriging", {"target": text}), ("median", {}), ("geomedian", {}))
    }
    hidden = (own == NODATA).all(axis=0) & np.all([(v != NODATA).all(axis=0) for v in ways.values()], axis=0)
    error = {
        n: np.sqrt(np.mean((v[:, hidden] * 1e-4 - truth[:, hidden]) ** 2))
        for n, v in {**ways, "predict": predicted}.items()
    }
    assert error["predict"] < 0.9 * min(v for n, v in error.items() if n != "predict"), error


def test_two_tiles_have_the_same_pixels_as_both_at_once(world, day, box):
    _, engine = world
    text = str(day.datetime.date())
    middle = box.col0 + 101
    # Each has an engine of its own: none has sums that another one kept.
    whole, left, right = (
        drawn(Engine(engine.version, Blocks()), part, datetime=text).image.values
        for part in (
            box,
            PixelBox(box.row0, box.col0, box.row1, middle),
            PixelBox(box.row0, middle, box.row1, box.col1),
        )
    )
    assert np.abs(np.concatenate([left, right], axis=2).astype(int) - whole).max() <= 1


def test_a_day_without_a_pass_is_the_trend_of_the_others(world, day, box):
    _, engine = world
    between = str(day.datetime.date() + timedelta(days=2))
    predicted = drawn(engine, box, datetime=between)
    trend = drawn(engine, box, method="kriging", target=between, fill="none").image.values
    there = (trend != NODATA).all(axis=0)
    assert np.abs(predicted.image.values[:, there].astype(int) - trend[:, there]).max() <= 1
    assert (predicted.image.quality[there] == PREDICTED).all()
    assert (ORIGINS["age"].values(predicted) == NODATA).all()


def test_an_account_names_the_dates_it_is_predicted_from(world, day, box):
    _, engine = world
    whole = drawn(engine, box, datetime=str(day.datetime.date()))
    row, col = np.argwhere(whole.image.quality == PREDICTED)[500]
    bounds = whole.target.bounds
    x, y = bounds.left + (col + 0.5) * 60, bounds.top - (row + 0.5) * 60
    account = explain(engine, whole.selection, *transformer("EPSG:32633", "EPSG:4326").transform(x, y))
    assert account.quality == PREDICTED
    assert account.values == tuple(whole.image.values[:, row, col].tolist())
    named = {c.scene for c in account.candidates if any(c.share)}
    assert named
    assert day.id not in named
    (own,) = (c for c in account.candidates if c.scene == day.id)
    assert own.verdict.startswith("left out: ")
    assert own.verdict.endswith("on the asked day; the value is predicted from the other dates")


def test_an_account_says_which_dates_are_too_far_to_predict_from(world, box, monkeypatch):
    """The dates lie five days apart."""
    for module in (predict, sys.modules[left_out.__module__]):
        monkeypatch.setattr(module, "REACH", 8)
    _, engine = world
    days = sorted({e.scene.datetime.date() for e in engine.version.entries("all")})
    asked = days[2] + timedelta(days=1)
    whole = drawn(engine, box, datetime=str(asked))
    row, col = np.argwhere(whole.image.quality == PREDICTED)[500]
    bounds = whole.target.bounds
    x, y = bounds.left + (col + 0.5) * 60, bounds.top - (row + 0.5) * 60
    account = explain(engine, whole.selection, *transformer("EPSG:32633", "EPSG:4326").transform(x, y))
    far = f"not asked for: more than 8 days away from {asked}"
    for scene in account.candidates:
        apart = abs((date.fromisoformat(scene.datetime[:10]) - asked).days)
        assert (scene.verdict == far) == (apart > 8)
    assert any(c.verdict == far for c in account.candidates)


def test_a_statistic_counts_no_age_where_no_scene_shows(world, day, box):
    _, engine = world
    bounds = engine.version.store.grid(32633).bounds(box)
    ring = [
        (bounds.left, bounds.top),
        (bounds.right, bounds.top),
        (bounds.right, bounds.bottom),
        (bounds.left, bounds.bottom),
    ]
    lons, lats = transformer("EPSG:32633", "EPSG:4326").transform(*zip(*ring, ring[0], strict=True))
    area = {"type": "Polygon", "coordinates": [list(zip(lons, lats, strict=True))]}
    feature = {"type": "Feature", "properties": {}, "geometry": area}
    for asked, age in ((day.datetime.date(), 0), (day.datetime.date() + timedelta(days=2), None)):
        pixels = PixelRequest(FOUR, datetime=str(asked), fill="predict", normalize=False)
        (told,) = with_statistics(engine, Measure(pixels), [feature], "EPSG:4326")
        assert told["properties"]["filled_share"] > 0.1
        assert told["properties"]["age_days"] == age


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "name that day"),
        ({"datetime": "2024"}, "one day"),
        ({"stage": "mask"}, "stage=mask"),
        ({"ids": ("a",)}, "ids"),
    ],
)
def test_it_is_refused_where_no_one_day_is_asked_for(world, day, box, asked, told):
    _, engine = world
    given = {
        "datetime": str(day.datetime.date()) if {"stage", "ids"} & set(asked) else None,
        "normalize": None,
        **asked,
    }
    if asked.get("datetime"):
        given["datetime"] = str(day.datetime.year)
    with pytest.raises(InvalidRequest, match=told):
        drawn(engine, box, **given)


def test_it_is_no_default_of_a_mosaic(world):
    _, engine = world
    with pytest.raises(StoreError, match="cannot be a default"):
        replace(engine.version.config, fill="predict")
    assert MosaicConfig("a").fill != "predict"


def test_a_scene_that_cannot_be_read_is_told_and_leaves_no_trace(world, day, box):
    version = world[1].version
    text, lone = str(day.datetime.date()), PixelBox(box.row0, box.col0, box.row0 + 24, box.col0 + 240)
    whole = drawn(Engine(version, Blocks()), lone, datetime=text).image
    other = min(
        (e.scene for e in version.entries("all") if e.scene.id != day.id),
        key=lambda s: abs(s.datetime - day.datetime),
    )
    engine = Engine(version, Blocks())
    path = Path(version.store.raster_path(other.band_key(FOUR[0])))
    away = path.rename(path.with_suffix(".away"))
    try:
        damaged = drawn(engine, lone, datetime=text).image
    finally:
        away.rename(path)
    assert any(other.id in p for p in damaged.problems)
    assert (damaged.values != whole.values).any()
    # As of a store that is back, once the blocks' time to forget is over.
    engine.blocks._broken.clear()
    again = drawn(engine, lone, datetime=text).image
    assert not again.problems
    assert (again.values == whole.values).all()


def test_kept_sums_are_bounded_in_bytes():
    kept = KeptSums(most=3 * 2 * 8)
    one = Sums(np.ones(1), np.ones(1), ())
    for key in range(5):
        kept.keep(key, one)
        kept.get(0)
    assert [key for key in range(5) if kept.get(key)] == [0, 3, 4]
    kept.keep("missing", one._replace(problems=("scene: unreadable",)))
    assert kept.get("missing") is None


def ordered(engine, day, **asked):
    box = ",".join(map(str, engine.version.bounds))
    given = {"bbox": box, "bands": "B04", "datetime": str(day.datetime.date()), "fill": "predict", **asked}
    return parse_order(given, engine.version)


@pytest.mark.parametrize(("resolution", "least", "most"), [("480", 0.7, 1), ("1920", 0.1, 0.3)])
def test_an_export_predicts_at_any_resolution(world, day, tmp_path, resolution, least, most):
    """At 1920 m few places are wholly clear on any date: of the rest there is nothing to learn from."""
    _, engine = world
    order = ordered(engine, day, resolution=resolution, crs="EPSG:32633")
    *_, done = export(engine, order, tmp_path / "a.tif")
    assert isinstance(done, Exported)
    assert least < done.share <= most
    plain = ordered(engine, day, resolution=resolution, crs="EPSG:32633", fill="none")
    *_, _ = export(engine, plain, tmp_path / "b.tif")

    def read(name):
        with rasterio.open(tmp_path / name) as file:
            return file.read(1)

    values, seen, predicted = read("a.tif"), read("b.tif"), read("a_quality.tif") & PREDICTED > 0
    assert predicted.any()
    assert (seen != NODATA).any()
    assert (values[seen != NODATA] == seen[seen != NODATA]).all()
    assert ((values != NODATA) == (predicted | (seen != NODATA))).all()


def test_the_cost_of_a_day_without_a_pass_counts_the_dates_behind_it(world, day):
    _, engine = world
    between = str(day.datetime.date() + timedelta(days=1))
    cost = estimate(engine, ordered(engine, day, datetime=between), 1)
    assert len(cost.scenes) == len(engine.version.entries("all"))
    assert cost.bytes > 0


def test_an_export_that_is_refused_leaves_nothing(world, day, tmp_path, monkeypatch):
    _, engine = world
    monkeypatch.setattr(predict, "MOST_WINDOWS", 0)
    with pytest.raises(TooLarge, match="fill=predict"):
        list(export(engine, ordered(engine, day), tmp_path / "a.tif"))
    assert not list(tmp_path.iterdir())


def test_windows_of_exports_bound_the_memory_of_all_dates(world, day):
    _, engine = world
    request = PixelRequest(FOUR, datetime=str(day.datetime.date()), fill="predict")
    held = engine.planner.holding(engine.select(request))
    assert window_side(held, 64) < window_side(held, 1) <= PREDICTED_WINDOW
    alone = engine.select(replace(request, fill="none", method="kriging"))
    assert window_side(held, 64) < window_side(alone, 64)


def test_the_other_dates_are_of_the_asked_orbit(world, day):
    _, engine = world
    request = PixelRequest(FOUR, datetime=str(day.datetime.date()), fill="predict")
    held = engine.planner.holding(engine.select(replace(request, orbit=day.relative_orbit)))
    everything = {e.scene.id for e in engine.version.entries("all")}
    same = {e.scene.id for e in engine.version.entries("all") if e.scene.relative_orbit == day.relative_orbit}
    assert {e.scene.id for e in held.entries} == same < everything
