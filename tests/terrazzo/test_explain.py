"""The account of a pixel: it says what points and tiles show, its shares add up, and its way back ends at the product."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.bands import NODATA, SCALE
from terrazzo.errors import OutsideCoverage
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.explain import explain
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.methods import shares
from terrazzo.mosaic.request import PixelRequest
from terrazzo.scene import CORRECTION, ITEM, MASK
from terrazzo.store import Store
from terrazzo.version import open_version

METHODS = st.sampled_from(["feather", "first", "mean", "median", "robust"])


def test_an_account_calls_no_scene_the_largest_part_that_is_not(engine):
    """Of two dates a day off the asked one the walk in time gives that more that stands alone on its side."""
    selection = engine.select(PixelRequest(("B04",), method="kriging", target="2023-08-14"))
    account = explain(engine, selection, 15.97, 45.81)
    (chosen,) = (c for c in account.candidates if c.chosen)
    assert "largest" not in chosen.verdict
    assert f"contributes {100 * chosen.share[0]:.1f} %" in chosen.verdict


@settings(max_examples=200)
@given(method=METHODS, seed=st.integers(0, 2**32 - 1), scenes=st.integers(1, 7))
def test_shares_times_values_are_the_merged_value(method, seed, scenes):
    random = np.random.default_rng(seed)
    values = random.integers(-300, 9000, (scenes, 3)).astype(np.int16)
    values[random.random((scenes, 3)) < 0.1] = NODATA
    weight = random.choice([0, 1, 20, 128, 240, 255], scenes).astype(np.uint8)
    merged = merge(values[:, :, None, None], weight[:, None, None], method).values[:, 0, 0]
    part = shares(values, weight, method)
    if (merged == NODATA).all():
        assert not part.any()
        return
    assert part.sum(axis=0) == pytest.approx(1)
    assert np.abs((part * values).sum(axis=0) - merged).max() <= 0.5 + 1e-6


@pytest.mark.slow
@settings(max_examples=200)
@given(
    method=st.one_of(METHODS, st.just("kriging")),
    stage=st.sampled_from(["normalized", "merged", "corrected", "raw"]),
    resampling=st.sampled_from(["bilinear", "nearest"]),
    snow=st.sampled_from(["avoid", "keep", "drop"]),
    fill=st.sampled_from(["adjacent", "none", "best"]),
    east=st.floats(0, 1),
    north=st.floats(0, 1),
)
def test_the_account_of_a_place_is_what_the_engine_shows_there(
    engine, method, stage, resampling, snow, fill, east, north
):
    b = engine.version.bounds
    lon, lat = b.left + east * (b.right - b.left), b.bottom + north * (b.top - b.bottom)
    bands = ("B04", "B08")
    request = PixelRequest(bands, method=method, stage=stage, resampling=resampling, snow=snow, fill=fill)
    selection = engine.select(request)
    point = engine.points(selection, "EPSG:4326", np.array([lon]), np.array([lat]))
    if point.provenance[0, 0] < 0:
        with pytest.raises(OutsideCoverage):
            explain(engine, selection, lon, lat)
        return
    told = explain(engine, selection, lon, lat)
    assert told.values == tuple(point.values[:, 0, 0])
    assert told.chosen == point.entries[point.provenance[0, 0]]
    assert [c.scene for c in told.candidates if c.chosen] == [told.chosen.scene.id]
    # What shines through less than one part in 255 is counted here by the same rule as there.
    usable = [c for c in told.candidates if any(c.share)]
    merged = [sum(c.share[i] * c.values[i] for c in usable) for i in range(2)]
    assert np.abs(np.array(merged) - list(_nearest(told))).max() <= 0.51
    served = [sum(n.share * n.values[i] for n in told.neighbours if n.share) for i in range(2)]
    assert np.abs(np.array(served) - told.values).max() <= 0.52
    raw = PixelRequest(bands, stage="raw", resampling="nearest", ids=(told.chosen.scene.id,))
    product = engine.points(engine.select(raw), "EPSG:4326", np.array([lon]), np.array([lat]))
    for step, count in zip(told.path, product.values[:, 0, 0], strict=True):
        assert step.count == count
        assert abs(step.forward - step.stored) <= 1
        assert step.surface * step.factor / SCALE == pytest.approx(step.stored, abs=1.1)
        assert step.gain * step.stored + step.gain_offset / SCALE == pytest.approx(step.normalized, abs=0.501)
        assert abs(step.undone - step.stored) <= 0.5 / step.gain + 0.5
        assert abs(step.count_undone - step.count) <= 1 + 1 / (step.gain * step.factor)


def _nearest(told):
    """Merged values of the pixel under the place."""
    return next(n.values for n in told.neighbours if (n.row, n.col) == (told.row, told.col))


def test_every_scene_over_a_place_is_listed_with_its_reason(engine):
    selection = engine.select(PixelRequest(("B04",), orbit=122, max_cloud=30))
    told = explain(engine, selection, 15.7, 46.0)
    over = [c for c in told.candidates if c.verdict.startswith("not asked for: orbit 79")]
    assert len(told.candidates) == 10
    assert len(over) == 6
    assert all(c.relative_orbit == 122 for c in told.candidates if any(c.share))
    order = [c.order for c in told.candidates if not c.verdict.startswith("not asked for")]
    assert order == sorted(order)
    # The sample's blue band came at twice the pixel size: the account says so.
    assert "resampled once" in told.source["lineage"]
    assert told.source["offset"]["decided_by"] == "pixels"


@pytest.mark.parametrize("file", [ITEM, MASK, CORRECTION])
def test_an_account_goes_on_without_what_the_picture_does_not_need(sample_store, tmp_path, file):
    store = Store(shutil.copytree(sample_store, tmp_path / "store"))
    engine = Engine(open_version(store, "mosaic"), Blocks())
    selection = engine.select(PixelRequest(("B04",)))
    whole = explain(engine, selection, 15.7, 46.0)
    key = whole.chosen.scene.key(file)
    (store.delete if file == MASK else lambda k: store.write_bytes(k, store.read_bytes(k)[:-20]))(key)
    engine = Engine(open_version(store, "mosaic"), Blocks())
    account = explain(engine, selection, 15.7, 46.0)
    assert account.values == whole.values
    assert [c.chosen for c in account.candidates] == [c.chosen for c in whole.candidates]
    if file == ITEM:
        assert account.path == whole.path
    else:
        (problem,) = account.problems
        assert file in problem
        assert account.path == ()
