"""Each merge kernel against a plain statement of its formula, pixel by pixel in Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from terrazzo.mosaic.merge import merge

pytestmark = pytest.mark.pythons

NODATA = -32768
METHODS = ("feather", "first", "mean", "median", "robust")


def weighted_median(values, weights):
    """Each value at the middle of its weight on the cumulative axis, read at one half by linear interpolation."""
    order = np.argsort(values, kind="stable")
    v, w = np.asarray(values, float)[order], np.asarray(weights, float)[order]
    return np.interp(w.sum() / 2, np.cumsum(w) - w / 2, v)


def one_pixel(rho, weight, method, scale):
    """(band,) value and index of the scene that dominates, for usable scenes (scene, band) and their weights."""
    rho, weight = np.asarray(rho, float), np.asarray(weight, float)
    if method == "first":
        return rho[0], {0}
    if method == "mean":
        return rho.mean(axis=0), {0}
    if method == "median":
        median = np.median(rho, axis=0)
        away = np.abs(rho[:, 0] - median[0])
        return median, set(np.flatnonzero(np.isclose(away, away.min(), rtol=1e-6, atol=1e-9)))
    if method == "feather":
        x = weight / 255
        alpha = 3 * x**2 - 2 * x**3
        through = np.concatenate([[1], np.cumprod(1 - alpha)])
        part = through[:-1] * alpha * (through[:-1] >= 1 / 255)
        return part @ rho / part.sum(), near_top(part)
    md = np.array([weighted_median(band, weight) for band in rho.T])
    spread = 0.006 / scale + 0.1 * np.maximum(md, 0)
    far = (((rho - md) / spread) ** 2).mean(axis=1)
    w = weight / (1 + (far / 2**2) ** 2)
    return w @ rho / w.sum(), near_top(w)


def near_top(weights):
    """Scenes that may be called the dominating one: those that share the highest weight up to rounding."""
    return set(np.flatnonzero(weights >= weights.max() * (1 - 1e-9)))


def check(reflectance, weight, method):
    is_float = reflectance.dtype == np.float32
    missing = np.isnan(reflectance) if is_float else reflectance == NODATA
    merged = merge(reflectance, weight, method)
    assert merged.values.dtype == reflectance.dtype
    for r, c in np.ndindex(*weight.shape[1:]):
        usable = np.flatnonzero((weight[:, r, c] > 0) & ~missing[:, :, r, c].any(axis=1))
        assert merged.count[r, c] == min(len(usable), 255)
        got = merged.values[:, r, c]
        if not len(usable):
            assert (np.isnan(got) if is_float else got == NODATA).all()
            assert merged.provenance[r, c] == -1
            continue
        scale = 1.0 if is_float else 1e-4
        value, rulers = one_pixel(reflectance[usable, :, r, c], weight[usable, r, c], method, scale)
        if is_float:
            assert got == pytest.approx(value, rel=1e-5, abs=1e-6)
        else:
            # Equal to the last digit, but for halves that rounding errors put on either side.
            assert (np.abs(got - value) <= 0.5 + 1e-6).all()
        assert merged.provenance[r, c] in {usable[i] for i in rulers}


COUNTS = st.one_of(st.integers(-300, 12_000), st.just(NODATA), st.sampled_from([0, 1, 32767]))
WEIGHTS = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 255]))
FLOATS = st.one_of(st.floats(-0.03125, 1.25, width=32), st.just(float("nan")))
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 4))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(data=st.data(), shape=SHAPES)
def test_counts_are_merged_as_the_formula_says(method, data, shape):
    scenes, bands = shape
    check(
        data.draw(arrays(np.int16, (scenes, bands, 2, 3), elements=COUNTS)),
        data.draw(arrays(np.uint8, (scenes, 2, 3), elements=WEIGHTS)),
        method,
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(data=st.data(), shape=SHAPES)
def test_reflectances_are_merged_as_the_formula_says(method, data, shape):
    scenes, bands = shape
    check(
        data.draw(arrays(np.float32, (scenes, bands, 2, 3), elements=FLOATS)),
        data.draw(arrays(np.uint8, (scenes, 2, 3), elements=WEIGHTS)),
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_many_scenes_are_merged_as_the_formula_says(method):
    rng = np.random.default_rng(5)
    reflectance = rng.integers(-50, 3000, (300, 3, 3, 4)).astype(np.int16)
    reflectance[rng.random((300, 3, 3, 4)) < 0.02] = NODATA
    check(reflectance, rng.integers(0, 256, (300, 3, 4)).astype(np.uint8), method)


@pytest.mark.parametrize("method", METHODS)
def test_one_scene_is_itself(method):
    values = np.arange(-6, 6, dtype=np.int16).reshape(1, 1, 3, 4)
    merged = merge(values, np.full((1, 3, 4), 7, np.uint8), method)
    assert (merged.values == values[0]).all()
    assert (merged.provenance == 0).all()


@pytest.mark.parametrize("method", METHODS)
@given(
    values=arrays(np.int16, (1, 2, 2, 2), elements=st.integers(-300, 12_000)),
    weight=arrays(np.uint8, (4, 2, 2), elements=st.integers(1, 255)),
)
def test_equal_scenes_give_themselves_whatever_they_weigh(method, values, weight):
    merged = merge(np.repeat(values, 4, axis=0), weight, method)
    assert (merged.values == values[0]).all()


@pytest.mark.parametrize("method", ["feather", "robust"])
def test_a_scene_enters_without_a_jump(method):
    """Where a scene's weight rises from 0, as at the edge of a tile, the value starts from what it was."""
    weight = np.stack([np.full((1, 200), 128), np.full((1, 200), 90), np.arange(200)[None]]).astype(np.uint8)
    values = np.array([500, 560, 800], np.int16)[:, None, None, None] * np.ones((1, 1, 1, 200), np.int16)
    steps = np.abs(np.diff(merge(values, weight, method).values[0, 0].astype(int)))
    assert steps.max() <= 4
    assert merge(values, weight, method).values[0, 0].astype(int)[-1] > 540


@pytest.mark.parametrize(
    ("reflectance", "weight", "method", "told"),
    [
        (np.zeros((1, 1, 2, 2), np.int16), np.ones((1, 2, 2), np.uint8), "magic", "feather, first"),
        (np.zeros((1, 1, 2, 2), np.float64), np.ones((1, 2, 2), np.uint8), "mean", "int16 or float32"),
        (np.zeros((1, 1, 2, 2), np.int16), np.ones((2, 2, 2), np.uint8), "mean", "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(reflectance, weight, method, told):
    with pytest.raises(ValueError, match=told):
        merge(reflectance, weight, method)
