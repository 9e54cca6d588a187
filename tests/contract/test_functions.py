"""The functions others may rely on, called from outside with literal numbers."""

import csv

import numpy as np
import pytest

from terrazzo.mosaic.merge import merge
from terrazzo.precompute.correct import nbar_factor

NODATA = -32768


def test_nbar_factors_equal_the_published_models(data):
    with (data / "radiative_transfer/nbar_cfactor.csv").open() as file:
        rows = list(csv.DictReader(file))
    sun, view, azimuth = (np.array([float(r[k]) for r in rows]) for k in ("sza", "vza", "raa"))
    bands = [k[2:] for k in rows[0] if k.startswith("c_")]
    assert len(rows) > 100
    assert len(bands) == 10
    for band in bands:
        expected = np.array([float(r[f"c_{band}"]) for r in rows])
        assert nbar_factor(band, sun, view, azimuth) == pytest.approx(expected, abs=1e-8)


def test_nbar_factor_has_a_value_at_one_geometry():
    assert float(nbar_factor("B04", 30.0, 0.0, 90.0)) == 1.0
    assert nbar_factor("B04", [30.0, np.nan], 8.0, 0.0).shape == (2,)
    assert np.isnan(nbar_factor("B04", np.nan, 8.0, 0.0))
    assert nbar_factor("B08", 40.0, 9.0, 0.0) < 1 < nbar_factor("B08", 40.0, 9.0, 180.0)


@pytest.mark.parametrize("arguments", [("B09", 30, 5, 0), ("B04", -1, 5, 0), ("B04", 30, 90, 0)])
def test_nbar_factor_refuses_what_it_does_not_know(arguments):
    with pytest.raises(ValueError, match=r"coefficients|zenith"):
        nbar_factor(*arguments)


def stack(*values, dtype=np.int16):
    """(scene, 1, 1, pixel)."""
    return np.array(values, dtype)[:, None, None, :]


WEIGHTS = np.array([[[255, 128, 0, 0]], [[255, 255, 255, 0]]], np.uint8)


@pytest.mark.parametrize(
    ("method", "expected", "provenance"),
    [
        ("first", [1000, 1000, 2000, NODATA], [0, 0, 1, -1]),
        ("mean", [1500, 1500, 2000, NODATA], [0, 0, 1, -1]),
        ("median", [1500, 1500, 2000, NODATA], [0, 0, 1, -1]),
        # 128/255: alpha = 0.502941…, then the second scene fills what is left.
        ("feather", [1000, 1497, 2000, NODATA], [0, 0, 1, -1]),
    ],
)
def test_two_scenes_become_one_value(method, expected, provenance):
    merged = merge(stack([1000] * 4, [2000] * 4), WEIGHTS, method)
    assert merged.values.dtype == np.int16
    assert merged.values.tolist() == [[expected]]
    assert merged.provenance.tolist() == [provenance]
    assert merged.provenance.dtype == np.int16
    assert merged.count.tolist() == [[2, 2, 1, 0]]


def test_feather_is_the_default():
    assert merge(stack([1000] * 4, [2000] * 4), WEIGHTS).values.tolist() == [[[1000, 1497, 2000, NODATA]]]


def test_floats_stay_floats_and_nan_is_no_data():
    merged = merge(
        stack([0.1, np.nan], [0.3, np.nan], dtype=np.float32), np.full((2, 1, 2), 255, np.uint8), "mean"
    )
    assert merged.values.dtype == np.float32
    assert merged.values[0, 0, 0] == pytest.approx(0.2)
    assert np.isnan(merged.values[0, 0, 1])
    assert merged.provenance.tolist() == [[0, -1]]


def test_robust_leaves_a_cloud_out():
    merged = merge(stack([500], [510], [490], [4000]), np.full((4, 1, 1), 255, np.uint8), "robust")
    # The interpolated median of four is 505, the spread 0.006 + 0.1 · 0.0505: the cloud keeps 1 part in 1e7.
    assert merged.values.tolist() == [[[500]]]
    assert merged.count.tolist() == [[4]]


def test_halves_are_rounded_to_even():
    merged = merge(stack([1, 2], [2, 3]), np.full((2, 1, 2), 255, np.uint8), "mean")
    assert merged.values.tolist() == [[[2, 2]]]
