"""Compiled parts of the classifier compute what plain numpy does."""

from itertools import pairwise

import numpy as np
import pytest

from terrazzo.precompute.clouds import kernels
from terrazzo.precompute.clouds.spatial import gaussian, smoothed

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("pixels", [1, kernels.TILE, kernels.TILE + 13])
@pytest.mark.parametrize("sizes", [(4, 2), (11, 7, 6), (12, 64, 32, 6)])
def test_a_perceptron_gives_its_layers_sums(sizes: tuple[int, ...], pixels: int) -> None:
    weights = tuple(RNG.standard_normal(s).astype(np.float32) for s in pairwise(sizes))
    biases = tuple(RNG.standard_normal(n).astype(np.float32) for n in sizes[1:])
    x = RNG.standard_normal((sizes[0], pixels)).astype(np.float32)
    plain = x.astype(np.float64)
    for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
        plain = w.T.astype(np.float64) @ (np.maximum(plain, 0) if number else plain) + b[:, None]
    np.testing.assert_allclose(kernels.outputs(x, weights, biases), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.5, 1.5, 3.0])
def test_rows_are_smoothed_as_the_whole_is(sigma: float) -> None:
    layers = RNG.random((2, 40, 31), np.float32)
    layers[:, 12:15, 5:20] = np.nan
    whole = smoothed(layers, gaussian(sigma))
    np.testing.assert_array_equal(smoothed(layers, gaussian(sigma), slice(9, 33)), whole[:, 9:33])
    weights = gaussian(sigma)[:, None] * gaussian(sigma)
    reach, at = len(weights) // 2, (20, 15)
    around = layers[0, at[0] - reach : at[0] + reach + 1, at[1] - reach : at[1] + reach + 1]
    known = np.isfinite(around)
    mean = (weights * np.where(known, around, 0)).sum() / (weights * known).sum()
    assert whole[0, *at] == pytest.approx(mean, rel=1e-5)
    assert np.isnan(whole[:, 12:15, 5:20]).all()
