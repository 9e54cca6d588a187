"""Window hashes change exactly where the content of a window changes."""

from hypothesis import given
from hypothesis import strategies as st

from terrazzo.cells import digest, from_table, to_table
from terrazzo.grid import PixelBox, Window

WINDOWS = st.builds(Window, st.integers(-50, 50), st.integers(-50, 50))
CELLS = st.dictionaries(WINDOWS, st.binary(min_size=1, max_size=4).map(digest), min_size=1, max_size=30)
BOXES = st.builds(
    lambda r, c, h, w: PixelBox(r, c, r + h, c + w),
    st.integers(-60, 60),
    st.integers(-60, 60),
    st.integers(1, 40),
    st.integers(1, 40),
)


def grid_of(cells):
    return from_table(to_table({("all", 32633): cells}))[("all", 32633)]


@given(CELLS, BOXES)
def test_a_box_without_scenes_has_no_hash(cells, box):
    inside = [w for w in cells if box.row0 <= w.wy < box.row1 and box.col0 <= w.wx < box.col1]
    assert bool(grid_of(cells).over(box)) == bool(inside)


@given(CELLS, BOXES, WINDOWS, st.binary(min_size=1, max_size=4).map(digest))
def test_a_changed_window_changes_the_boxes_that_hold_it_and_no_other(cells, box, window, value):
    changed = cells | {window: value}
    before, after = grid_of(cells).over(box), grid_of(changed).over(box)
    holds = box.row0 <= window.wy < box.row1 and box.col0 <= window.wx < box.col1
    assert (before != after) == (holds and cells.get(window) != value)


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_different_lists_have_different_digests(a, b):
    assert (digest(*a) == digest(*b)) == (a == b)
