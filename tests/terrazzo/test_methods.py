"""One table of merge methods: its shares say what its kernels compute."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.bands import NODATA
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.methods import METHODS, shares


@pytest.mark.parametrize("method", METHODS)
@given(
    pixels=st.lists(
        st.tuples(st.lists(st.integers(1, 12_000), min_size=2, max_size=2), st.integers(0, 255)),
        min_size=1,
        max_size=7,
    )
)
def test_the_shares_of_a_method_sum_up_to_what_it_merges(method, pixels):
    values = np.array([v for v, _ in pixels], np.int16)
    weight = np.array([w for _, w in pixels], np.uint8)
    merged = merge(values[:, :, None, None], weight[:, None, None], method).values[:, 0, 0]
    told = shares(values, weight, method)
    if (weight == 0).all():
        assert (merged == NODATA).all()
        assert not told.any()
    else:
        assert np.allclose(told.sum(axis=0), 1)
        assert np.abs((told * values).sum(axis=0) - merged).max() <= 0.5 + 1e-6


def test_every_method_says_what_it_does_in_one_line():
    for method in METHODS.values():
        assert method.meaning
        assert "\n" not in method.meaning
