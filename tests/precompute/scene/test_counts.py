"""Counts of a product on the mask grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo.precompute.scene.counts import mean_counts
from terrazzo.thinning import thinned

SHAPE = (12, 16)
COUNTS = hnp.arrays(np.uint16, SHAPE, elements=st.integers(0, 3) | st.integers(0, 65535))


@pytest.mark.parametrize("factor", [1, 2])
@given(counts=COUNTS, before=COUNTS)
def test_means_are_rounded_and_the_darkest_band_is_kept(
    factor: int, counts: np.ndarray, before: np.ndarray
) -> None:
    plain = np.rint(np.nan_to_num(thinned(counts, factor, 0))).astype(np.uint16)
    means, darkest, highest = np.empty(plain.shape, np.uint16), before.copy(), (before % 256).astype(np.uint8)
    bright = np.maximum(highest, np.minimum(counts, 255))
    mean_counts(counts, factor, means, darkest, highest)
    np.testing.assert_array_equal(highest, bright)
    np.testing.assert_array_equal(means, plain)
    np.testing.assert_array_equal(darkest, np.minimum(before, counts))
