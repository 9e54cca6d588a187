"""Geometric median, medoid, percentiles and kriging in time, against plain statements of them and known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from terrazzo.mosaic.merge import merge

NODATA = -32768


def weiszfeld(points, steps=20_000):
    """The point with the least sum of distances to (n, band) points, the plain way, from the best of them and their mean."""

    def total(y):
        return np.sqrt(((points - y) ** 2).sum(axis=1)).sum()

    middle = points.mean(axis=0)
    for _ in range(steps):
        far = np.maximum(np.sqrt(((points - middle) ** 2).sum(axis=1)), 1e-9)
        new = (points / far[:, None]).sum(axis=0) / (1 / far).sum()
        if np.abs(new - middle).max() < 1e-9:
            break
        middle = new
    return min([middle, *points], key=total), total


def full(values):
    """(scene, row, col) weights that let all of (scene, band, row, col) values count."""
    return np.full((values.shape[0], *values.shape[2:]), 255, np.uint8)


def test_the_geometric_median_is_that_of_the_plain_iteration():
    rng = np.random.default_rng(1)
    ground = rng.gamma(2, 400, (1, 4, 12, 150))
    noise, clouds = rng.normal(0, 60, (9, 4, 12, 150)), rng.random((9, 1, 12, 150)) < 0.2
    values = np.rint(ground + noise + clouds * rng.normal(3000, 800, (9, 1, 12, 150))).astype(np.int16)
    # Equal dates, as products that were delivered twice.
    values[7] = values[2]
    merged = merge(values, full(values), "geomedian")
    for r, c in zip(*(v.tolist() for v in np.unravel_index(rng.choice(1800, 60), (12, 150))), strict=True):
        wanted, _ = weiszfeld(values[:, :, r, c].astype(float))
        assert np.abs(merged.values[:, r, c] - wanted).max() <= 1


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 10_000)] * 3), min_size=1, max_size=9))
def test_no_point_is_nearer_to_all_dates_than_the_geometric_median(points):
    values = np.array(points, np.int16)
    got = merge(values[:, :, None, None], np.full((len(values), 1, 1), 9, np.uint8), "geomedian")
    best, total = weiszfeld(values.astype(float), steps=400)
    # A count of rounding a band and date.
    assert total(got.values[:, 0, 0].astype(float)) <= total(best) + len(values) * np.sqrt(3)


@pytest.mark.parametrize("method", ["geomedian", "medoid", "median", "kriging", "percentile:25"])
def test_no_date_gives_no_data_and_one_date_itself(method):
    values = np.array([[[[812, 900]], [[2417, 7]]], [[[100, NODATA]], [[20, 30]]]], np.int16)
    weight = np.array([[[200, 0]], [[0, 200]]], np.uint8)
    merged = merge(values, weight, method)
    assert merged.values[:, 0].T.tolist() == [[812, 2417], [NODATA, NODATA]]
    assert merged.count.tolist() == [[1, 0]]
    assert merged.provenance.tolist() == [[0, -1]]


def test_the_geometric_median_is_rounded_and_not_cut_off():
    values = np.array([1000, 1001, 1003, 1004], np.int16)[:, None, None, None].repeat(2, axis=1)
    plain = merge(values, full(values), "geomedian").values
    exact = merge(values.astype(np.float32) * np.float32(1e-4), full(values), "geomedian").values
    assert (plain == np.rint(exact * 1e4)).all()
    below = np.array([1000, 1000, 999], np.int16)[:, None, None, None]
    assert merge(below, full(below), "geomedian").values.item() == 1000


def test_the_medoid_is_a_date_and_the_one_with_the_least_sum_of_distances():
    rng = np.random.default_rng(3)
    values = rng.integers(0, 9000, (7, 3, 5, 140)).astype(np.int16)
    merged = merge(values, full(values), "medoid")
    v = values.astype(float)
    sums = np.sqrt(((v[:, None] - v[None]) ** 2).sum(axis=2)).sum(axis=1)
    assert (merged.provenance == sums.argmin(axis=0)).mean() > 0.999
    assert (np.take_along_axis(values, merged.provenance[None, None], 0)[0] == merged.values).all()


@pytest.mark.parametrize("percent", [10, 25, 50, 75, 90])
def test_a_percentile_is_numpys(percent):
    rng = np.random.default_rng(percent)
    values = rng.integers(0, 9000, (8, 2, 3, 131)).astype(np.int16)
    method = "median" if percent == 50 else f"percentile:{percent}"
    merged = merge(values, full(values), method)
    assert np.abs(merged.values - np.percentile(values, percent, axis=0)).max() <= 0.5


def test_kriging_is_the_line_between_two_dates_that_have_no_noise():
    """With noise it leans to the mean: twice the noise's days more on both sides."""
    values = np.array([1000, 1400], np.int16)[:, None, None, None]
    days = np.array([-30, 10], np.float32)
    got = merge(values, full(values), "kriging", days).values.item()
    assert got == pytest.approx(1000 + 400 * (30 + 2) / (40 + 2 * 2), abs=1)


def test_kriging_follows_the_season_and_leaves_out_a_cloud_on_the_day_itself():
    days = np.arange(-50, 51, 10).astype(np.float32)
    season = 900 + 6 * days
    values = np.rint(season).astype(np.int16)[:, None, None, None].repeat(3, axis=1)
    assert abs(int(merge(values, full(values), "kriging", days).values[0, 0, 0]) - 900) <= 3
    values[days == 0] = 5000
    assert np.abs(merge(values, full(values), "kriging", days).values.astype(int) - 900).max() <= 12


def test_kriging_shows_the_asked_day_and_not_the_other_crop():
    """A field is harvested between two of the dates: before it shows the crop, after it the stubble."""
    days = np.array([-40, -25, -10, 10, 25, 40], np.float32)
    values = np.where(days < 0, 3500, 1800).astype(np.int16)[:, None, None, None]
    before = merge(values, full(values), "kriging", days + 20).values.item()
    after = merge(values, full(values), "kriging", days - 20).values.item()
    assert abs(before - 3500) < 60
    assert abs(after - 1800) < 60


@given(share=st.floats(0, 1))
def test_a_border_fades_into_kriging(share):
    """Where a scene's weight falls to nothing, so does what it adds: no step is a tenth of what the scenes differ by."""
    ramp = np.arange(1, 129, dtype=np.uint8)[None]
    weight = np.concatenate([np.full((2, 1, 128), 255, np.uint8), ramp[None]])
    values = np.array([1000, 1010, 1300], np.int16)[:, None, None, None].repeat(128, axis=3)
    days = np.array([-20, 15, 40 * share - 20], np.float32)
    line = merge(values, weight, "kriging", days).values[0, 0].astype(int)
    assert np.abs(np.diff(line)).max() <= 29


def test_a_reference_implementation_agrees_that_the_plain_iteration_has_the_least():
    points = np.random.default_rng(8).normal(0, 100, (7, 3))
    wanted, total = weiszfeld(points)
    free = optimize.minimize(
        total, points.mean(axis=0), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}
    )
    assert np.abs(free.x - wanted).max() < 1e-2
