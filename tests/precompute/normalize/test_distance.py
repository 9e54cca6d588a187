"""The distance to the next cloud, as a weight."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.precompute.normalize.distance import RAMP, distance_weight


@given(
    usable=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=60)),
    pixel=st.sampled_from([20.0, 60.0, 120.0, 700.0]),
)
def test_the_weight_is_the_exact_distance(usable: NDArray[np.bool_], pixel: float) -> None:
    if usable.all():
        expected = np.ones(usable.shape)
    else:
        expected = np.minimum(ndimage.distance_transform_edt(usable) * (pixel / RAMP), 1)
    assert np.array_equal(distance_weight(usable, pixel), expected.astype(np.float32))
