"""Compiled passes over a mask's pixels give what plain arrays give, bit for bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from terrazzo.bands import MaskClass
from terrazzo.precompute.clouds.evidence import cloud_probability_likelihood, multiply, scl_likelihood
from terrazzo.precompute.clouds.model import CLASSES
from terrazzo.precompute.clouds.physics import share_out
from terrazzo.precompute.clouds.spatial import without_small_objects

SHAPE = (9, 13)
SEEDS = st.integers(0, 2**32 - 1)


def probabilities(rng: np.random.Generator) -> np.ndarray:
    """(class, row, col) as the model gives them, NaN without data, some of 0."""
    p = rng.dirichlet(np.full(len(CLASSES), 0.3), SHAPE).astype(np.float32).transpose(2, 0, 1).copy()
    p[:, rng.random(SHAPE) < 0.1] = np.nan
    p[CLASSES.index(MaskClass.SNOW), rng.random(SHAPE) < 0.2] = 1
    p[rng.random(p.shape) < 0.1] = 0
    return p


@given(seed=SEEDS)
def test_evidence_multiplies_as_likelihoods_of_each_pixel_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, SHAPE).astype(np.uint8)
    every = np.arange(256, dtype=np.uint8)
    for likelihood in (scl_likelihood, cloud_probability_likelihood):
        p = probabilities(rng)
        expected = p * likelihood(values)
        multiply(p, likelihood(every), values)
        np.testing.assert_array_equal(p, expected)


@given(seed=SEEDS)
def test_impossible_snow_is_shared_out_as_with_plain_arrays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, (never, white) = probabilities(rng), rng.random((2, *SHAPE)) < 0.5
    snow, cloud = CLASSES.index(MaskClass.SNOW), CLASSES.index(MaskClass.CLOUD)
    with np.errstate(invalid="ignore"):
        given_p = p / p.sum(axis=0)
    expected = given_p.copy()
    freed = np.where(never, given_p[snow], 0)
    expected[snow] -= freed
    expected[cloud] += np.where(white, freed, 0)
    rest = expected.sum(axis=0)
    expected *= np.divide(1, rest, out=np.zeros_like(rest), where=rest > 0) * given_p.sum(axis=0)
    share_out(p, never, white)
    np.testing.assert_array_equal(p, expected)


@given(seed=SEEDS, pixels=st.integers(0, 12), cored=st.booleans())
def test_objects_stay_by_their_size_and_core(seed: int, pixels: int, cored: bool) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((20, 24)) < rng.choice([0.1, 0.4])
    core = rng.random(mask.shape) < 0.3 if cored else None
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    expected = np.zeros_like(mask)
    for number in range(1, count + 1):
        of_object = labels == number
        large = of_object.sum() >= max(pixels, 1)
        if large and (core is None or (of_object & core).sum() >= max(max(pixels, 1) // 4, 1)):
            expected |= of_object
    np.testing.assert_array_equal(without_small_objects(mask, pixels, core), expected)
