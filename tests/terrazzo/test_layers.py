"""Which parts of scenes are read: what lies under full pixels is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from terrazzo.mosaic.layers import ALL, OPACITY, Layers, visible

SHAPE = (4, 5)


def halves():
    """Weights of a scene that is clear in the left half, and of one that is clear everywhere."""
    left = np.zeros(SHAPE, np.uint8)
    left[:, :3] = 255
    return left, np.full(SHAPE, 255, np.uint8)


@pytest.mark.parametrize("method", ["first", "feather"])
def test_a_scene_below_shows_only_where_those_above_are_not_clear(method):
    left, whole = halves()
    assert list(visible([left, whole, whole], OPACITY[method])) == [
        [(slice(0, 4), slice(0, 3))],
        [(slice(0, 4), slice(3, 5))],
        [],
    ]


def test_scenes_are_read_until_each_pixel_has_as_many_as_are_counted():
    left, whole = halves()
    all_of_it, in_part = [(slice(0, 4), slice(0, 5))], [(slice(0, 4), slice(0, 3))]
    assert list(visible([whole, left, left], OPACITY["first"], 2)) == [all_of_it, in_part, []]
    assert list(visible([whole, left, left], OPACITY["first"], ALL)) == [all_of_it, in_part, in_part]


def test_holes_that_lie_far_apart_ask_for_no_pixels_between_them():
    weight, layers = np.full((2000, 1100), 255, np.uint8), Layers("first", 1, (2000, 1100))
    all_of_it = layers.wanted(weight, 1, 0)
    assert sum((rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in all_of_it) == weight.size
    above = weight.copy()
    above[3, 5] = above[1990, 1000] = 0
    for part in layers.wanted(above, 1, 0):
        layers.add(np.ones((1, *above[part].shape), np.int16), above, part, 1, 0, 0)
    assert layers.wanted(weight, 1, 0) == [
        (slice(3, 4), slice(5, 6)),
        (slice(1990, 1991), slice(1000, 1001)),
    ]


@given(arrays(np.uint8, (5, *SHAPE)), st.sampled_from(["first", "feather"]), st.sampled_from([0, 1, 2, ALL]))
def test_what_is_visible_is_what_the_merge_wants_of_scenes_without_gaps(weights, method, count_to):
    layers = Layers(method, 1, SHAPE)
    parts = visible(weights, OPACITY[method], count_to)
    for number, (weight, of_scene) in enumerate(zip(weights, parts, strict=True)):
        assert layers.wanted(weight, 1, count_to) == of_scene
        for part in of_scene:
            values = np.ones((1, *weight[part].shape), np.int16)
            layers.add(values, weight, part, 1, number, count_to)
    usable = (weights > 0).sum(axis=0)
    assert (np.minimum(layers.merged().count.astype(int), count_to) == np.minimum(usable, count_to)).all()
