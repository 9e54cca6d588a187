"""The zone grid nests every Sentinel-2 product, and boxes, windows and bounds agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.errors import WrongGrid
from terrazzo.grid import Grid, PixelBox, Window, mgrs_epsg, pixel_ratio, zone_epsg, zone_name

INDEX = st.integers(-1_200_000, 1_200_000)
SIZE = st.integers(1, 3000)
GRIDS = st.builds(
    Grid,
    st.one_of(st.integers(32601, 32660), st.integers(32701, 32760)),
    st.sampled_from([10.0, 20.0, 60.0, 0.5]),
    st.sampled_from([16, 64, 512]),
)
BOXES = st.builds(lambda r, c, h, w: PixelBox(r, c, r + h, c + w), INDEX, INDEX, SIZE, SIZE)


def test_a_northern_product_lies_where_its_corner_says():
    box = Grid(32633, 10, 512).box_from_bounds(499980, 4990200, 609780, 5100000)
    assert box == PixelBox(-510000, 49998, -499020, 60978)
    assert box.shape == (10980, 10980)


def test_a_southern_product_nests_60_m_pixels_from_the_false_northing():
    left, top = 300000, 6_100_000
    assert top % 60 == 40
    box = Grid(32719, 60, 64).box_from_bounds(left, top - 109800, left + 109800, top)
    assert box.shape == (1830, 1830)
    assert Grid(32719, 60, 64).bounds(box) == (left, top - 109800, left + 109800, top)


@given(GRIDS, BOXES)
def test_bounds_and_box_are_inverse(grid, box):
    assert grid.box_from_bounds(*grid.bounds(box)) == box


@given(GRIDS, BOXES)
def test_padding_reaches_the_next_window_border_and_no_further(grid, box):
    padded, n = grid.pad(box), grid.window
    assert padded.intersection(box) == box
    assert all(v % n == 0 for v in padded)
    assert all(abs(a - b) < n for a, b in zip(padded, box, strict=True))


@given(GRIDS, BOXES)
def test_windows_of_a_box_tile_its_padding_without_overlap(grid, box):
    box = PixelBox(box.row0, box.col0, min(box.row1, box.row0 + 300), min(box.col1, box.col0 + 300))
    boxes = [grid.window_box(w) for w in grid.windows(box)]
    padded = grid.pad(box)
    assert sum(b.height * b.width for b in boxes) == padded.height * padded.width
    assert len(set(boxes)) == len(boxes)
    assert all(not b.intersection(box).empty for b in boxes)


@given(GRIDS, INDEX, INDEX)
def test_a_pixel_lies_in_its_window(grid, row, col):
    (window,) = grid.windows(PixelBox(row, col, row + 1, col + 1))
    box = grid.window_box(window)
    assert box.row0 <= row < box.row1
    assert box.col0 <= col < box.col1


@given(GRIDS, BOXES, st.sampled_from([2, 4, 8, 16]))
def test_a_coarser_grid_keeps_windows_on_the_same_ground(grid, box, factor):
    coarse = grid.scaled(factor)
    w = next(iter(grid.windows(box)))
    assert coarse.bounds(coarse.window_box(w)) == pytest.approx(grid.bounds(grid.window_box(w)))


def test_windows_have_signed_indices():
    assert list(Grid(32633, 10, 512).windows(PixelBox(-1, 0, 0, 1))) == [Window(-1, 0)]


@pytest.mark.parametrize(
    ("tile", "epsg"), [("33TWL", 32633), ("01KAB", 32701), ("19UDP", 32619), ("60CWT", 32760)]
)
def test_a_tile_name_has_its_zone(tile, epsg):
    assert mgrs_epsg(tile) == epsg
    assert zone_epsg(zone_name(epsg)) == epsg


@pytest.mark.parametrize("tile", ["", "T33TWL", "33IWL", "99TWL", "abc"])
def test_a_name_that_is_no_tile_is_refused(tile):
    with pytest.raises(WrongGrid, match="MGRS"):
        mgrs_epsg(tile)


@pytest.mark.parametrize("epsg", [4326, 3857, 32600, 32661, 32761])
def test_only_utm_zones_have_a_grid(epsg):
    with pytest.raises(WrongGrid, match="UTM"):
        Grid(epsg, 10, 512)


@pytest.mark.parametrize(
    ("rows", "others", "ratio"), [(512, 256, (2, 1)), (256, 256, (1, 1)), (128, 256, (1, 2))]
)
def test_of_two_arrays_of_an_area_one_has_so_many_pixels_in_one_of_the_other(rows, others, ratio):
    assert pixel_ratio(rows, others) == ratio
