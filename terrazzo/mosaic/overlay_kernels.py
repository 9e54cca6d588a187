"""Kernels that lay scenes over each other one by one, and apply gains on the way; `layers.py` keeps their state."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def wanted_box(weight, through, count, least, count_to, row0, row1, col0, col1):  # pragma: no cover
    """Rows and columns (first, end) where a scene of weight `least` or more still shows, or is still to be counted.

    Args:
        row0, row1, col0, col1: the part that is looked at.
        through: share of light; a scene shows where it is at least 1/255.
        count: scenes so far; further ones are counted below `count_to`.
    """
    r0, r1, c0, c1 = row1, row0, col1, col0
    for r in range(row0, row1):
        j0, j1 = wanted_columns(
            weight[r, col0:col1], through[r, col0:col1], count[r, col0:col1], least, count_to
        )
        if j0 < j1:
            r0, r1 = min(r0, r), r + 1
            c0, c1 = min(c0, col0 + j0), max(c1, col0 + j1)
    return r0, r1, c0, c1


@njit(cache=True, nogil=True)
def wanted_columns(weight, through, count, least, count_to):  # pragma: no cover
    """First and end column of a row where a scene shows or is still to be counted; the same where nowhere."""
    first, end = 0, len(weight)
    while first < end and not (
        weight[first] >= least and (through[first] >= 1.0 / 255.0 or count[first] < count_to)
    ):
        first += 1
    while first < end and not (
        weight[end - 1] >= least and (through[end - 1] >= 1.0 / 255.0 or count[end - 1] < count_to)
    ):
        end -= 1
    return first, end


@njit(cache=True, nogil=True)
def lay_alone(weight, good, through, provenance, count, least, number, opaque):  # pragma: no cover
    """Adds a row of a scene as `lay_row` does if it has data and holds back all light in all of it; whether it did."""
    enough = np.uint8(least if opaque else 255)
    alone = True
    for j in range(len(weight)):
        alone &= good[j] & (through[j] == 1.0) & (weight[j] >= enough)
    if alone:
        for j in range(len(weight)):
            through[j] = 0.0
            count[j] += 1
            provenance[j] = number if provenance[j] < 0 else provenance[j]
    return alone


@njit(cache=True, nogil=True)
def lay_row(
    weight, good, through, provenance, count, shown, most, least, number, count_to, opaque, part
):  # pragma: no cover
    """Adds a row of a scene to the state but for its values, and fills part (col,) with the share of each; 1: it shows alone.

    Args:
        weight, good: (col,) of the scene, and whether it has data; the others as of `lay_over`.

    Returns:
        Whether any pixel is blended.
    """
    blended = False
    for j in range(len(weight)):
        part[j] = 0.0
        light = through[j]
        full = light < 1.0 / 255.0
        if weight[j] < least or not good[j] or (full and count[j] >= count_to):
            continue
        count[j] += 1
        if provenance[j] < 0:
            provenance[j] = number
        if full:
            continue
        if light == 1.0 and (opaque or weight[j] == 255):
            part[j], through[j] = 1.0, 0.0
            continue
        x = weight[j] / 255.0
        alpha = x * x * (3.0 - 2.0 * x)
        part[j] = light * alpha
        if part[j] > most[j]:
            most[j] = part[j]
            provenance[j] = number
        shown[j] += part[j]
        through[j] = light * (1.0 - alpha)
        blended = True
    return blended


@njit(cache=True, nogil=True)
def lay_over(
    values, weight, row0, col0, least, number, nodata, count_to, opaque, field, state
):  # pragma: no cover
    """Adds one scene, the next in order, to `feather` or `first`; the same sums as the kernels of those names.

    Most pixels show one scene: its values go to the picture at once, and of the sums not even the memory is touched. Gains are
    applied where the scene shows.

    Args:
        values: (band, row, col) int16 of a part of the box that begins at row0, col0.
        weight: (row, col) of the box; below `least` it counts as 0.
        count_to: where nothing shines through, further scenes are counted up to here.
        opaque: whether any weight holds back all light, as in `first`; nothing is summed then.
        field: as of `apply_gain`; with corners of no band values stay.
        state: (band, row, col) picture; through, provenance, count; (band, row, col) total; shown and most of the box; changed in place.

    Returns:
        Whether anything was summed.
    """
    bands, rows, cols = values.shape
    summed = False
    gained = field[0].shape[1] > 0
    pieces, share = between_corners(field, cols)
    good, part, normalized = np.empty(cols, np.bool_), np.empty(cols), np.empty(cols, values.dtype)
    empty = values.dtype.type(nodata)
    picture, through, provenance, count, total, shown, most = state
    for i in range(rows):
        r, end = row0 + i, col0 + cols
        j0, j1 = wanted_columns(
            weight[r, col0:end], through[r, col0:end], count[r, col0:end], least, count_to
        )
        if j0 >= j1:
            continue
        c0, c1 = col0 + j0, col0 + j1
        has, p = good[: j1 - j0], part[: j1 - j0]
        has[:] = True
        for b in range(bands):
            v = values[b, i, j0:j1]
            for j in range(len(v)):
                has[j] &= v[j] != empty
        of_scene = (weight[r, c0:c1], has, through[r, c0:c1], provenance[r, c0:c1], count[r, c0:c1])
        alone = lay_alone(*of_scene, least, number, opaque)
        blended = not alone and lay_row(
            *of_scene, shown[r, c0:c1], most[r, c0:c1], least, number, count_to, opaque, p
        )
        for b in range(bands):
            v, to = values[b, i, j0:j1], picture[b, r, c0:c1]
            if gained:
                v = to if alone else normalized[: j1 - j0]
                normalize_row(values[b, i, j0:j1], field, b, i, j0, pieces, share, nodata, v)
            elif alone:
                to[:] = v
            if alone:
                continue
            for j in range(len(v)):
                to[j] = v[j] if p[j] == 1.0 else to[j]
            if blended:
                summed = True
                sums = total[b, r, c0:c1]
                for j in range(len(v)):
                    if 0.0 < p[j] < 1.0:
                        sums[j] += p[j] * v[j]
    return summed


@njit(cache=True, nogil=True)
def is_full(through, count, count_to):  # pragma: no cover
    """Whether nothing shines through any pixel, and `count_to` scenes are counted in each."""
    for r in range(through.shape[0]):
        for c in range(through.shape[1]):
            if through[r, c] >= 1.0 / 255.0 or count[r, c] < count_to:
                return False
    return True


@njit(cache=True, nogil=True)
def settle(total, shown, out):  # pragma: no cover
    """(band, row, col) int16 of the summed state, rounded half to even; untouched where nothing was summed."""
    bands, rows, cols = total.shape
    for r in range(rows):
        for c in range(cols):
            if shown[r, c] > 0.0:
                for b in range(bands):
                    out[b, r, c] = np.int16(np.rint(total[b, r, c] / shown[r, c]))


@njit(cache=True, nogil=True)
def apply_gain(values, field, nodata):  # pragma: no cover
    """normalized = gain · value + offset in place, both bilinear between window corners, rounded half to even.

    Args:
        values: (band, row, col) int16.
        field: see `GainField` of `terrazzo.mosaic.layers`.
    """
    bands, rows, cols = values.shape
    pieces, share = between_corners(field, cols)
    for i in range(rows):
        for b in range(bands):
            normalize_row(values[b, i], field, b, i, 0, pieces, share, nodata, values[b, i])


@njit(cache=True, nogil=True)
def between_corners(field, cols):  # pragma: no cover
    """Pieces of a row that lie between the same two window corners; the outermost ones go on beyond.

    Returns:
        (piece, 3) first and end column, and the corner before; (col,) share of the way from there to the next corner.
    """
    corners, _, windows_col0, side, _, col0 = field
    nx = corners.shape[3] - 1
    pieces, share, n = np.empty((cols, 3), np.int64), np.empty(cols), 0
    for j in range(cols):
        x = min(max((col0 + j + 0.5) / side - windows_col0, 0.0), float(nx))
        corner = min(int(x), nx - 1)
        share[j] = x - corner
        if n == 0 or corner != pieces[n - 1, 2]:
            pieces[n, 0], pieces[n, 2] = j, corner
            n += 1
        pieces[n - 1, 1] = j + 1
    return pieces[:n], share


@njit(cache=True, nogil=True)
def normalize_row(values, field, b, row, col0, pieces, share, nodata, out):  # pragma: no cover
    """Fills out (col,) with a row of a band from column col0 on, normalized as `apply_gain` says; pieces, share: of `between_corners`."""
    corners, windows_row0, _, side, row0, _ = field
    ny = corners.shape[2] - 1
    y = min(max((row0 + row + 0.5) / side - windows_row0, 0.0), float(ny))
    y0 = min(int(y), ny - 1)
    fy = y - y0
    empty = values.dtype.type(nodata)
    for k in range(len(pieces)):
        # Between two corners the loop has no branch: the compiler makes vector instructions of it.
        start, stop = max(pieces[k, 0] - col0, 0), min(pieces[k, 1] - col0, len(values))
        if start >= stop:
            continue
        x0 = pieces[k, 2]
        g0 = corners[0, b, y0, x0] * (1.0 - fy) + corners[0, b, y0 + 1, x0] * fy
        g1 = corners[0, b, y0, x0 + 1] * (1.0 - fy) + corners[0, b, y0 + 1, x0 + 1] * fy
        o0 = corners[1, b, y0, x0] * (1.0 - fy) + corners[1, b, y0 + 1, x0] * fy
        o1 = corners[1, b, y0, x0 + 1] * (1.0 - fy) + corners[1, b, y0 + 1, x0 + 1] * fy
        some, to, between = values[start:stop], out[start:stop], share[col0 + start : col0 + stop]
        for j in range(len(some)):
            v, fx = some[j], between[j]
            gain, offset = g0 * (1.0 - fx) + g1 * fx, o0 * (1.0 - fx) + o1 * fx
            normalized = min(max(np.rint(v * gain + offset), -32767.0), 32767.0)
            to[j] = v if v == empty else np.int16(np.int32(normalized))


@njit(cache=True, nogil=True)
def blend_zone(new, trust, mixes, nodata, layers, total):  # pragma: no cover
    """Adds a zone's picture to one of other zones, in place: pixels that both have are weighted by their trust.

    Args:
        new, layers: (band, row, col) int16 values, and (row, col) provenance, count and quality, of the zone and of the picture.
        trust: (row, col) int16 of the zone; below 0.001 it weighs 0.001. total: (row, col) float64 the weights before, 0 without data.
        mixes: whether values may be mixed; without, the earlier zone's stay.
    """
    values, provenance, count, quality = layers
    bands, rows, cols = values.shape
    for i in range(rows):
        for j in range(cols):
            here = False
            for b in range(bands):
                here |= new[0][b, i, j] != nodata
            if not here:
                continue
            weight, before = max(float(trust[i, j]), 1e-3), total[i, j]
            share = weight / (weight + before)
            for b in range(bands):
                v, old = new[0][b, i, j], values[b, i, j]
                if before == 0.0:
                    values[b, i, j] = v
                elif not mixes or v == nodata:
                    continue
                # A band that one zone lacks is the other's.
                elif old == nodata:
                    values[b, i, j] = v
                else:
                    values[b, i, j] = np.int16(np.rint(old * (1.0 - share) + v * share))
            if weight > before:
                provenance[i, j], count[i, j] = new[1][i, j], new[2][i, j]
                quality[i, j] = new[3][i, j]
            total[i, j] = before + weight
