"""Merge kernels, pixel by pixel; `merge.py` states what they compute."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def usable_scenes(values, weight, nodata, is_float, r, c, usable):  # pragma: no cover
    n = 0
    scenes, bands = values.shape[0], values.shape[1]
    for s in range(scenes):
        if weight[s, r, c] == 0:
            continue
        good = True
        for b in range(bands):
            v = values[s, b, r, c]
            if (is_float and np.isnan(v)) or ((not is_float) and v == nodata):
                good = False
                break
        if good:
            usable[n] = s
            n += 1
    return n


@njit(cache=True, nogil=True)
def weighted_median(v, w, n, ordered):  # pragma: no cover
    """The weighted, interpolated median of the first n values.

    Args:
        ordered: (2, ≥ n) float64 room for values and weights in order.
    """
    total = 0.0
    for i in range(n):
        x, y, j = v[i], w[i], i
        while j > 0 and ordered[0, j - 1] > x:
            ordered[0, j], ordered[1, j] = ordered[0, j - 1], ordered[1, j - 1]
            j -= 1
        ordered[0, j], ordered[1, j] = x, y
        total += y
    # Each value stands at the middle of its share of the weight, and between two middles it is linear: the median moves
    # continuously with the weights, where a median that picks a value would jump and show an edge.
    half = total / 2
    done = 0.0
    previous_middle, previous = 0.0, ordered[0, 0]
    for i in range(n):
        x, y = ordered[0, i], ordered[1, i]
        middle = done + y / 2
        if middle >= half:
            if i == 0:
                return x
            t = (half - previous_middle) / (middle - previous_middle)
            return previous + t * (x - previous)
        done += y
        previous_middle, previous = middle, x
    return previous


@njit(cache=True, nogil=True)
def weighted_medians(values, weight, out):  # pragma: no cover
    layers, rows, cols = values.shape
    ordered = np.empty((2, layers), np.float64)
    v = np.empty(layers, np.float64)
    w = np.empty(layers, np.float64)
    for r in range(rows):
        for c in range(cols):
            n = 0
            for i in range(layers):
                if weight[i, r, c] > 0 and np.isfinite(values[i, r, c]):
                    v[n], w[n] = values[i, r, c], weight[i, r, c]
                    n += 1
            if n:
                out[r, c] = weighted_median(v, w, n, ordered)


@njit(cache=True, nogil=True)
def feather(values, weight, nodata, is_float, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    usable = np.empty(scenes, np.int64)
    total = np.empty(bands, np.float64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, usable)
            count[r, c] = n
            if n == 0:
                continue
            total[:] = 0.0
            through, shown, most = 1.0, 0.0, 0.0
            provenance[r, c] = usable[0]
            for i in range(n):
                s = usable[i]
                # Smoothstep has no slope at either end, so that neither rim of a feather shows.
                x = weight[s, r, c] / 255.0
                alpha = x * x * (3.0 - 2.0 * x)
                part = through * alpha
                if part > most:
                    most = part
                    provenance[r, c] = s
                shown += part
                for b in range(bands):
                    total[b] += part * values[s, b, r, c]
                through *= 1.0 - alpha
                if through < 1.0 / 255.0:
                    break
            for b in range(bands):
                out[b, r, c] = total[b] / shown


@njit(cache=True, nogil=True)
def first(values, weight, nodata, is_float, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    usable = np.empty(scenes, np.int64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, usable)
            count[r, c] = n
            if n:
                provenance[r, c] = usable[0]
                for b in range(bands):
                    out[b, r, c] = values[usable[0], b, r, c]


@njit(cache=True, nogil=True)
def mean(values, weight, nodata, is_float, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    usable = np.empty(scenes, np.int64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, usable)
            count[r, c] = n
            if n:
                provenance[r, c] = usable[0]
                for b in range(bands):
                    total = 0.0
                    for i in range(n):
                        total += values[usable[i], b, r, c]
                    out[b, r, c] = total / n


AT_ONCE = 128
"""Pixels of a row that are brought together before they are merged: read one by one, all scenes' rows would be
in use at the same time, more than a processor foresees."""


@njit(cache=True, nogil=True)
def robust(values, weight, nodata, is_float, unit, k, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    near = np.empty((AT_ONCE, scenes, bands), values.dtype)
    near_weight = np.empty((AT_ONCE, scenes), weight.dtype)
    usable = np.empty(scenes, np.int64)
    ordered = np.empty((2, scenes), np.float64)
    v = np.empty((bands, scenes), np.float64)
    w = np.empty(scenes, np.float64)
    far = np.empty(scenes, np.float64)
    for r in range(rows):
        for start in range(0, cols, AT_ONCE):
            width = min(AT_ONCE, cols - start)
            for s in range(scenes):
                for j in range(width):
                    near_weight[j, s] = weight[s, r, start + j]
                for b in range(bands):
                    for j in range(width):
                        near[j, s, b] = values[s, b, r, start + j]
            for j in range(width):
                c = start + j
                n = 0
                for s in range(scenes):
                    if near_weight[j, s] == 0:
                        continue
                    good = True
                    for b in range(bands):
                        x = near[j, s, b]
                        if (is_float and np.isnan(x)) or ((not is_float) and x == nodata):
                            good = False
                            break
                        v[b, n] = x
                    if good:
                        usable[n], w[n], far[n] = s, near_weight[j, s], 0.0
                        n += 1
                count[r, c] = n
                if n == 0:
                    continue
                for b in range(bands):
                    # What clear dates differ by grows with reflectance: noise and registration over dark ground, a tenth over bright.
                    md = weighted_median(v[b], w, n, ordered)
                    spread = 0.006 / unit + 0.1 * max(md, 0.0)
                    for i in range(n):
                        far[i] += ((v[b, i] - md) / spread) ** 2 / bands
                total, most = 0.0, -1.0
                for i in range(n):
                    # Falls with the fourth power of the distance: an outlier pulls nearly nothing, and none is cut off abruptly.
                    w[i] /= 1.0 + (far[i] / (k * k)) ** 2
                    total += w[i]
                    if w[i] > most:
                        most = w[i]
                        provenance[r, c] = usable[i]
                for b in range(bands):
                    sum_b = 0.0
                    for i in range(n):
                        sum_b += w[i] * v[b, i]
                    out[b, r, c] = sum_b / total


@njit(cache=True, nogil=True)
def gather_bilinear(values, rows, cols, row0, col0, nodata, out):  # pragma: no cover
    bands, height, width = values.shape
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = (rows[i, j] - row0) - 0.5, (cols[i, j] - col0) - 0.5
            if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
                continue
            r, c = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - r, x - c
            if r < 0 or c < 0 or r + 1 >= height or c + 1 >= width:
                for b in range(bands):
                    out[b, i, j] = between_four(values[b], r, c, fy, fx, nodata)
                continue
            w0, w1, w2, w3 = (1.0 - fy) * (1.0 - fx), (1.0 - fy) * fx, fy * (1.0 - fx), fy * fx
            share = w0 + w1 + w2 + w3
            for b in range(bands):
                v0, v1 = values[b, r, c], values[b, r, c + 1]
                v2, v3 = values[b, r + 1, c], values[b, r + 1, c + 1]
                if v0 == nodata or v1 == nodata or v2 == nodata or v3 == nodata:
                    out[b, i, j] = between_four(values[b], r, c, fy, fx, nodata)
                else:
                    out[b, i, j] = np.int16(np.rint((w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3) / share))


@njit(cache=True, nogil=True)
def between_four(values, r0, c0, fy, fx, nodata):  # pragma: no cover
    """The value at a share fy, fx of the way from pixel r0, c0 to the next ones, at a rim or beside pixels without data."""
    height, width = values.shape
    # The nearest pixel decides whether there are data, so that a border neither grows nor shrinks.
    if values[r0 + (1 if fy >= 0.5 else 0), c0 + (1 if fx >= 0.5 else 0)] == nodata:
        return np.int16(nodata)
    total, share = 0.0, 0.0
    for dr in range(2):
        for dc in range(2):
            r, c = r0 + dr, c0 + dc
            w = (fy if dr else 1.0 - fy) * (fx if dc else 1.0 - fx)
            if w == 0.0 or r < 0 or c < 0 or r >= height or c >= width:
                continue
            v = values[r, c]
            if v != nodata:
                total += w * v
                share += w
    return np.int16(np.rint(total / share))


@njit(cache=True, nogil=True)
def gather_nearest(values, rows, cols, row0, col0, out):  # pragma: no cover
    r, c = np.empty(rows.shape[1], np.int32), np.empty(rows.shape[1], np.int32)
    for i in range(rows.shape[0]):
        inside = pixels_of_row(rows[i], cols[i], row0, col0, values.shape[1:], r, c)
        for b in range(len(values)):
            take_row(values[b], r, c, inside, out[b, i])


@njit(cache=True, nogil=True)
def pixels_of_row(rows, cols, row0, col0, shape, r, c):  # pragma: no cover
    """Fills r and c (col,) with the pixels in which places lie, −1 outside; whether all lie inside."""
    height, width, inside = float(shape[0]), float(shape[1]), True
    for j in range(len(rows)):
        y, x = rows[j] - row0, cols[j] - col0
        here = (y >= 0.0) & (y < height) & (x >= 0.0) & (x < width)
        r[j], c[j] = np.int32(y) if here else -1, np.int32(x) if here else -1
        inside &= here
    return inside


@njit(cache=True, nogil=True)
def take_row(values, r, c, inside, out):  # pragma: no cover
    """Fills out (col,) with the pixels r, c of (row, col) values; what lies outside stays."""
    for j in range(len(r)):
        # Without a sign, so that no index counts from the end.
        if inside or r[j] >= 0:
            out[j] = values[np.uint32(r[j]), np.uint32(c[j])]


@njit(cache=True, nogil=True)
def undo_difference(values, out):  # pragma: no cover
    """Running sums along rows, wrapping around as TIFF's predictor 2 does."""
    rows, cols = values.shape
    for r in range(rows):
        total = values[r, 0]
        out[r, 0] = total
        for c in range(1, cols):
            total = values.dtype.type(total + values[r, c])
            out[r, c] = total


@njit(cache=True, nogil=True)
def double_weight(half, row0, col0, last, out):  # pragma: no cover
    """Weights at twice the resolution, bilinear; those up to `last` stay, others stay above it.

    Args:
        half: (row, col) uint8 with a rim of one pixel around what `out` needs.
        row0, col0: place of `out`'s first pixel in the doubled `half`.
    """
    # Each loop is one of those of which the compiler makes vector instructions.
    inner = half.shape[1] - 2
    fourths = np.empty(inner + 2, np.int16)
    left, right = np.empty(inner, np.uint8), np.empty(inner, np.uint8)
    doubled = np.empty((inner, 2), np.uint8)
    for i in range(out.shape[0]):
        r = (row0 + i) // 2
        here, beside = half[r], half[r + (1 if (row0 + i) % 2 else -1)]
        for c in range(len(fourths)):
            fourths[c] = 3 * here[c] + beside[c]
        between_weights(here[1:-1], fourths[1:-1], fourths[:-2], last, left)
        between_weights(here[1:-1], fourths[1:-1], fourths[2:], last, right)
        for c in range(inner):
            doubled[c, 0], doubled[c, 1] = left[c], right[c]
        row, source = out[i], doubled.reshape(2 * inner)[col0 - 2 :]
        for j in range(len(row)):
            row[j] = source[j]


@njit(cache=True, nogil=True)
def between_weights(here, fourths, beside, last, out):  # pragma: no cover
    """A fourth of the way from each pixel of a row to the one beside it; (col,) each, fourths and beside four times the weights."""
    for c in range(len(out)):
        # Exact in sixteenths, rounded half to even as the plain statement's `rint`.
        v = 3 * fourths[c] + beside[c]
        q = np.uint8((v + 7 + ((v >> 4) & 1)) >> 4)
        out[c] = here[c] if here[c] <= last else max(q, np.uint8(last + 1))


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
def between_nodes(x, y, node_x0, node_y0, step, node_rows, node_cols, rows, cols):  # pragma: no cover
    """Rows and columns of a rectangle's pixel centres, bilinear between the nodes of a lattice.

    Args:
        x, y: coordinates of the columns' and rows' centres.
        node_x0, node_y0: lattice numbers of the first node; node (k, l) lies at (l · step, k · step).
    """
    # One row of nodes is brought to the height of a pixel row first: two products a pixel instead of six.
    n = node_rows.shape[1]
    row, col = np.empty(n), np.empty(n)
    for i in range(len(y)):
        v = y[i] / step - node_y0
        k = int(v)
        fy = v - k
        for m in range(n):
            row[m] = (1.0 - fy) * node_rows[k, m] + fy * node_rows[k + 1, m]
            col[m] = (1.0 - fy) * node_cols[k, m] + fy * node_cols[k + 1, m]
        for j in range(len(x)):
            u = x[j] / step - node_x0
            m = int(u)
            fx = u - m
            rows[i, j] = (1.0 - fx) * row[m] + fx * row[m + 1]
            cols[i, j] = (1.0 - fx) * col[m] + fx * col[m + 1]


@njit(cache=True, nogil=True)
def gather_layers(
    provenance, count, quality, rows, cols, row0, col0, out_provenance, out_count, out_quality
):  # pragma: no cover
    """Nearest, of three layers at once; what lies outside stays."""
    r, c = np.empty(rows.shape[1], np.int32), np.empty(rows.shape[1], np.int32)
    for i in range(rows.shape[0]):
        inside = pixels_of_row(rows[i], cols[i], row0, col0, provenance.shape, r, c)
        take_row(provenance, r, c, inside, out_provenance[i])
        take_row(count, r, c, inside, out_count[i])
        take_row(quality, r, c, inside, out_quality[i])


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


@njit(cache=True, nogil=True)
def at_windows(bits, rows, cols, side, row0, col0, out):  # pragma: no cover
    """Bits of the windows in which places lie; of those outside, and of unknown places, the nearest window's, the first's.

    Args:
        bits: (window row, window col); row0, col0: number of its first window.
        rows, cols: (row, col) places in pixels; side: pixels of a window.
    """
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = rows[i, j], cols[i, j]
            y = np.floor((y if y == y else 0.0) / side) - row0
            x = np.floor((x if x == x else 0.0) / side) - col0
            out[i, j] = bits[
                int(min(max(y, 0.0), bits.shape[0] - 1.0)), int(min(max(x, 0.0), bits.shape[1] - 1.0))
            ]


@njit(cache=True, nogil=True)
def extremes(rows, cols):  # pragma: no cover
    """Least and greatest row and column; least above greatest where no place is known."""
    r0, r1, c0, c1 = np.inf, -np.inf, np.inf, -np.inf
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            r, c = rows[i, j], cols[i, j]
            if r == r:
                r0, r1 = min(r0, r), max(r1, r)
                c0, c1 = min(c0, c), max(c1, c)
    return r0, r1, c0, c1
