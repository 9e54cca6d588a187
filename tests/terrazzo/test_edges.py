"""Medians of the strips at windows' edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.bands import NODATA, SCALE
from terrazzo.edges import clear_medians, strip_medians

WINDOW, DEPTH = 16, 4


@pytest.mark.parametrize("larger", [2, 1, 0.5])
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.0, 0.1, 0.6, 1.0]))
def test_medians_of_clear_pixels_are_those_of_an_array_without_the_others(
    larger: float, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-500, 9000, (2 * WINDOW, 3 * WINDOW)).astype(np.int16)
    values[rng.random(values.shape) < 0.2] = NODATA
    clear = rng.random(tuple(int(n / larger) for n in values.shape)) < share
    on_values = (
        clear.repeat(2, 0).repeat(2, 1) if larger == 2 else clear[:: int(1 / larger), :: int(1 / larger)]
    )
    plain = np.where(on_values & (values != NODATA), values * np.float32(SCALE), np.float32(np.nan))
    for found, expected in zip(
        clear_medians(values, clear, WINDOW, DEPTH), strip_medians(plain, WINDOW, DEPTH), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
