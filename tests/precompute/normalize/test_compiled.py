"""Compiled passes of the comparison give what plain arrays give, bit for bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from terrazzo.precompute.normalize.composite import by_date, smoothed
from terrazzo.thinning import thinned

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 24)


def with_gaps(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Reflectance, NaN in some places."""
    values = rng.normal(0.1, 0.1, shape).astype(np.float32)
    values[rng.random(shape) < rng.choice([0.0, 0.1, 0.9])] = np.nan
    return values


@given(seed=SEEDS, rows=SIDES, cols=SIDES)
def test_smoothing_is_scipys_filter_over_valid_pixels(seed: int, rows: int, cols: int) -> None:
    values = with_gaps(np.random.default_rng(seed), (rows, cols))
    valid = np.isfinite(values)
    inside = ndimage.gaussian_filter(valid.astype(np.float32), 1.0)
    total = ndimage.gaussian_filter(np.where(valid, values, 0), 1.0)
    plain = np.where(valid, total / np.maximum(inside, 1e-6), np.nan).astype(np.float32)
    # Scipy's compiler may join a product and a sum on some processors.
    np.testing.assert_array_max_ulp(smoothed(values)[valid], plain[valid], 2)
    assert (np.isfinite(smoothed(values)) == valid).all()


@given(seed=SEEDS, scenes=st.integers(1, 5), rows=SIDES, cols=SIDES)
def test_a_date_is_the_weighted_mean_of_its_scenes(seed: int, scenes: int, rows: int, cols: int) -> None:
    rng = np.random.default_rng(seed)
    values, date = with_gaps(rng, (scenes, rows, cols)), rng.integers(0, 3, scenes)
    weight = np.where(rng.random(values.shape) < 0.3, 0, rng.random(values.shape)).astype(np.float32)
    expected = []
    for d in np.unique(date):
        w = np.where(np.isfinite(values[date == d]), weight[date == d], 0)
        total = w.sum(axis=0)
        mean = (np.where(w > 0, values[date == d], 0) * w).sum(axis=0) / np.where(total > 0, total, 1)
        expected.append(np.where(total > 0, mean, np.nan))
    np.testing.assert_array_equal(by_date(values, weight, date), np.stack(expected))


@given(seed=SEEDS, factor=st.integers(1, 3))
def test_thinned_pixels_are_means_where_all_below_have_data(seed: int, factor: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 4 if seed % 2 else 30_000, (6, 12)).astype(np.int16)
    squares = values.reshape(6 // factor, factor, 12 // factor, factor).swapaxes(1, 2)
    mean = squares.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)
    plain = np.where((squares == -1).any(axis=(2, 3)), np.float32(np.nan), mean)
    np.testing.assert_array_max_ulp(thinned(values, factor, -1), plain, 0)
