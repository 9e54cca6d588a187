"""The detector of a pixel that the product's footprint does not name."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from terrazzo.precompute.correct.factors import nearest_detectors, nearest_values
from terrazzo.precompute.products.angles import Angles, constant_angles

FOOTPRINTS = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24).flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 4))
)


@given(values=FOOTPRINTS, seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.1, 0.5, 0.9]))
def test_the_nearest_known_pixel_is_that_of_scipy_also_among_equally_near_ones(
    values: np.ndarray, seed: int, share: float
) -> None:
    known = np.random.default_rng(seed).random(values.shape) < share
    known[0, 0] |= not known.any()
    rows, cols = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    np.testing.assert_array_equal(nearest_values(values, known), values[rows, cols])


@given(footprint=FOOTPRINTS, blocks=st.integers(1, 4))
def test_detectors_are_those_of_the_plain_filters(footprint: np.ndarray, blocks: int) -> None:
    footprint = footprint.repeat(blocks, 0).repeat(blocks, 1)
    angles = seen_by(2, 3)
    known = np.isin(footprint, (2, 3))
    known &= ndimage.minimum_filter(footprint, 3) == ndimage.maximum_filter(footprint, 3)
    expected = np.zeros_like(footprint)
    if known.any():
        rows, cols = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        expected = footprint[rows, cols]
    np.testing.assert_array_equal(nearest_detectors(footprint, angles, footprint.shape), expected)


def seen_by(*detectors: int) -> Angles:
    """Angles of a product that some detectors saw."""
    angles = constant_angles(0.0, 0.0, 5000.0, (40.0, 150.0))
    view = {"B02": {d: np.zeros((2, *angles.sun_zenith.shape)) for d in detectors}}
    return Angles(**{**vars(angles), "view": view})
