"""One table of merge methods: its shares say what its kernels compute."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.bands import NODATA
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.methods import METHODS, shares

TOLERANCE = {"kriging": 0.6}
"""Counts, of what is computed in float32; others are rounded only."""


@pytest.mark.parametrize("method", METHODS)
@given(
    pixels=st.lists(
        st.tuples(
            st.lists(st.integers(1, 12_000), min_size=2, max_size=2),
            st.integers(0, 255),
            st.integers(-60, 60),
        ),
        min_size=1,
        max_size=7,
    )
)
def test_the_shares_of_a_method_sum_up_to_what_it_merges(method, pixels):
    values = np.array([v for v, _, _ in pixels], np.int16)
    weight = np.array([w for _, w, _ in pixels], np.uint8)
    days = np.array([d for _, _, d in pixels], np.float32)
    merged = merge(values[:, :, None, None], weight[:, None, None], method, days).values[:, 0, 0]
    parts = shares(values, weight, method, days)
    if (weight == 0).all():
        assert (merged == NODATA).all()
        assert not parts.any()
    else:
        assert np.allclose(parts.sum(axis=0), 1)
        off = np.abs((parts * values).sum(axis=0) - merged).max()
        # The steps of the geometric median end before its place is known where many are all but equally good.
        still = 0.005 * np.ptp(values[weight > 0], axis=0).max() if method == "geomedian" else 0
        assert off <= TOLERANCE.get(method, 0.5 + 1e-6) + still


def test_every_method_says_what_it_does_in_one_line():
    for method in METHODS.values():
        assert method.meaning
        assert "\n" not in method.meaning
