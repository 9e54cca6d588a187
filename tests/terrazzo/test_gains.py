"""Gain fields: the same at single places as over boxes, and constant beyond their corners."""

import numpy as np

from terrazzo import gains
from terrazzo.grid import PixelBox


def test_a_field_at_places_is_the_field_of_the_pixels_there():
    windows, box, window = PixelBox(-3, 5, 1, 8), PixelBox(-130, 190, 70, 300), 32
    corners = np.random.default_rng(1).uniform(0.8, 1.2, (2, 5, 4))
    rows, cols = np.mgrid[box.row0 : box.row1, box.col0 : box.col1] + 0.5
    at = gains.at(corners, windows, rows, cols, window)
    np.testing.assert_allclose(at, gains.field(corners, windows, box, window), rtol=1e-12)
    assert at[:, -1, -1].tolist() == corners[:, -1, -1].tolist()
