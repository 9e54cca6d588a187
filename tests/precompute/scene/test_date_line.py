"""A scene over the 180° line has a footprint in two parts, and bounds that hold it."""

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from terrazzo.grid import Grid
from terrazzo.precompute.scene.item import footprint

PIXEL = 120.0


@pytest.mark.parametrize(("epsg", "left", "top"), [(32701, 178_200, 8_142_040), (32760, 817_860, 8_142_040), (32660, 600_000, 5_000_000)])  # fmt: skip
def test_a_footprint_is_cut_at_the_180_line_and_holds_every_pixel(epsg, left, top):
    grid = Grid(epsg, PIXEL, 8)
    box = grid.box_from_bounds(left, top - 64 * PIXEL, left + 64 * PIXEL, top)
    shape = footprint(np.ones(box.shape, np.uint8), grid, box)
    west, _, east, _ = shape.bounds
    over = epsg != 32660
    assert (west == -180 and east == 180) is over
    assert len(shapely.get_parts(shape)) == (2 if over else 1)
    assert all(p.bounds[2] - p.bounds[0] < 1 for p in shapely.get_parts(shape))
    b = grid.bounds(box)
    x, y = np.meshgrid(
        np.linspace(b.left + 600, b.right - 600, 9), np.linspace(b.bottom + 600, b.top - 600, 9)
    )
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    assert shapely.intersects_xy(shape, lon.ravel(), lat.ravel()).all()


def test_a_footprint_in_several_parts_keeps_them():
    grid = Grid(32633, PIXEL, 8)
    box = grid.box_from_bounds(560_040, 5_080_080 - 64 * PIXEL, 560_040 + 64 * PIXEL, 5_080_080)
    classes = np.ones(box.shape, np.uint8)
    classes[:, 20:30] = 0
    assert len(shapely.get_parts(footprint(classes, grid, box))) == 2
