"""Compiled kernels compute what plain array code does, bit for bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from terrazzo.bands import NODATA
from terrazzo.mosaic import gather_kernels, overlay_kernels
from terrazzo.mosaic.layers import GainField, Layers

SIDE = 12
WEIGHTS = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 255]))
COUNTS = st.one_of(st.integers(-32767, 32767), st.sampled_from([NODATA, NODATA, 0, 300, 3000]))


@given(
    arrays(np.uint8, (7, 8), elements=WEIGHTS),
    st.tuples(st.integers(2, 6), st.integers(2, 6), st.integers(1, 6), st.integers(1, 8)),
)
def test_weights_at_twice_the_resolution_are_bilinear_and_stay_on_their_side_of_a_last_resort(half, box):
    row0, col0, height, width = box
    out = np.empty((height, width), np.uint8)
    gather_kernels.double_weight(half, row0, col0, 1, out)
    here = half.astype(float)
    nearest = half[1:-1, 1:-1].repeat(2, axis=0).repeat(2, axis=1)
    sums = np.empty(nearest.shape)
    for down in (0, 1):
        for right in (0, 1):
            rows, cols = slice(2 * down, 2 * down + 5), slice(2 * right, 2 * right + 6)
            sums[down::2, right::2] = (
                9 * here[1:-1, 1:-1] + 3 * here[rows, 1:-1] + 3 * here[1:-1, cols] + here[rows, cols]
            )
    plain = np.where(nearest <= 1, nearest, np.maximum(np.rint(sums / 16), 2)).astype(np.uint8)
    assert (out == plain[row0 - 2 :, col0 - 2 :][:height, :width]).all()


@given(
    arrays(np.uint8, (5, 6), elements=WEIGHTS),
    arrays(np.float64, (5, 6), elements=st.sampled_from([0.0, 0.001, 1 / 255, 0.5, 1.0])),
    arrays(np.uint16, (5, 6), elements=st.integers(0, 3)),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 1, 2, 1 << 16]),
)
def test_the_box_of_what_is_wanted_holds_that_and_no_row_or_column_more(weight, through, count, least, to):
    wanted = (weight >= least) & ((through >= 1 / 255) | (count < to))
    r0, r1, c0, c1 = overlay_kernels.wanted_box(weight, through, count, least, to, 1, 5, 0, 5)
    rows, cols = np.nonzero(wanted[1:5, :5])
    if len(rows):
        assert (r0, r1, c0, c1) == (rows.min() + 1, rows.max() + 2, cols.min(), cols.max() + 1)
    else:
        assert r0 >= r1
    assert overlay_kernels.is_full(through, count, to) == bool(
        (through < 1 / 255).all() and (count >= to).all()
    )


def plain_gains(values, field):
    """(band, row, col) values times bilinear gains plus offsets, without data where there are none."""
    corners, _, _, side, row0, col0 = field

    def between(start, count, most):
        at = np.clip((start + np.arange(count) + 0.5) / side, 0, most)
        corner = np.minimum(at.astype(int), most - 1)
        return corner, at - corner

    y, fy = between(row0, values.shape[1], corners.shape[2] - 1)
    x, fx = between(col0, values.shape[2], corners.shape[3] - 1)
    fy = fy[:, None]
    upper, lower = corners[:, :, y], corners[:, :, y + 1]
    left, right = (upper[..., k] * (1 - fy) + lower[..., k] * fy for k in (x, x + 1))
    gain, offset = left * (1 - fx) + right * fx
    normalized = np.clip(np.rint(values * gain + offset), -32767, 32767)
    return np.where(values == NODATA, NODATA, normalized).astype(np.int16)


def plain_layers(scenes, method):
    """Values, provenance and count of (values, weights) laid over each other, first on top."""
    bands, *shape = scenes[0][0].shape
    out, total = np.full((bands, *shape), NODATA, np.int16), np.zeros((bands, *shape))
    through, shown, most = np.ones(shape), np.zeros(shape), np.zeros(shape)
    provenance, count = np.full(shape, -1, np.int16), np.zeros(shape, np.uint8)
    for number, (values, weight) in enumerate(scenes):
        good = (weight > 0) & (values != NODATA).all(axis=0) & (through >= 1 / 255)
        x = weight / 255.0
        alpha = np.ones(shape) if method == "first" else x * x * (3.0 - 2.0 * x)
        alone = good & (through == 1) & (alpha == 1)
        part = np.where(good, through * alpha, 0)
        provenance[good & (provenance < 0)] = number
        provenance[part > most] = number
        most = np.maximum(most, part)
        count += good
        out[:, alone] = values[:, alone]
        total += np.where(alone, 0, part) * values
        shown += np.where(alone, 0, part)
        through = np.where(good, through * (1 - alpha), through)
    mixed = shown > 0
    out[:, mixed] = np.rint(total[:, mixed] / shown[mixed])
    return out, provenance, count


@given(st.data(), st.sampled_from(["first", "feather"]), st.integers(1, 3), st.booleans())
def test_scenes_laid_over_each_other_with_their_gains_are_the_plain_sums(data, method, bands, whole):
    layers, plain = Layers(method, bands, (SIDE, SIDE)), []
    for number in range(data.draw(st.integers(1, 4))):
        values = data.draw(arrays(np.int16, (bands, SIDE, SIDE), elements=COUNTS, fill=st.just(700)))
        # Rows of one scene alone take another way through the kernel than those of several.
        weight = data.draw(
            arrays(np.uint8, (SIDE, SIDE), elements=WEIGHTS, fill=st.just(255) if whole else None)
        )
        corners = data.draw(arrays(np.float64, (2, bands, 4, 5), elements=st.floats(-1.0, 2.0, width=16)))
        row0, col0 = (data.draw(st.integers(-4, 9)) for _ in range(2))
        for rows, cols in layers.wanted(weight, 1, 0):
            field = GainField(corners, 0, 0, 5, row0 + rows.start, col0 + cols.start)
            layers.add(values[:, rows, cols].copy(), weight, (rows, cols), 1, number, 0, field)
        plain.append((plain_gains(values, GainField(corners, 0, 0, 5, row0, col0)), weight))
    for of_kernel, of_plain in zip(layers.merged(), plain_layers(plain, method), strict=True):
        assert of_kernel.dtype == of_plain.dtype
        assert (of_kernel == of_plain).all()


PLACES = arrays(np.float64, (3, 4), elements=st.one_of(st.floats(6.0, 16.0), st.just(np.nan)))


@given(arrays(np.int16, (2, 5, 6)), PLACES, PLACES)
def test_nearest_pixels_are_those_in_which_places_lie_and_none_is_taken_for_places_beside_them(v, rows, cols):
    inside = (rows >= 8) & (rows < 13) & (cols >= 7) & (cols < 13)
    at = np.where(inside, rows - 8, 0).astype(int), np.where(inside, cols - 7, 0).astype(int)
    out = np.full((2, 3, 4), NODATA, np.int16)
    gather_kernels.gather_nearest(v, rows, cols, 8.0, 7.0, out)
    assert (out == np.where(inside, v[:, *at], NODATA)).all()
    layers = v[0], v[0].astype(np.uint8), v[1].astype(np.uint16)
    new = np.full((3, 4), -1, np.int16), np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.uint16)
    gather_kernels.gather_layers(*layers, rows, cols, 8.0, 7.0, *new)
    for layer, gathered, otherwise in zip(layers, new, (-1, 0, 0), strict=True):
        assert (gathered == np.where(inside, layer[at], otherwise)).all()
