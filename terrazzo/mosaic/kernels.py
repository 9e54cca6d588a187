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
def gather_bilinear(values, rows, cols, nodata, out):  # pragma: no cover
    bands, height, width = values.shape
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = rows[i, j] - 0.5, cols[i, j] - 0.5
            if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
                continue
            r0, c0 = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - r0, x - c0
            # The nearest pixel decides whether there are data, so that a border neither grows nor shrinks.
            near_r = r0 + (1 if fy >= 0.5 else 0)
            near_c = c0 + (1 if fx >= 0.5 else 0)
            for b in range(bands):
                if values[b, near_r, near_c] == nodata:
                    continue
                total, share = 0.0, 0.0
                for dr in range(2):
                    for dc in range(2):
                        r, c = r0 + dr, c0 + dc
                        w = (fy if dr else 1.0 - fy) * (fx if dc else 1.0 - fx)
                        if w == 0.0 or r < 0 or c < 0 or r >= height or c >= width:
                            continue
                        v = values[b, r, c]
                        if v != nodata:
                            total += w * v
                            share += w
                out[b, i, j] = np.int16(np.rint(total / share))


@njit(cache=True, nogil=True)
def gather_nearest(values, rows, cols, out):  # pragma: no cover
    bands, height, width = values.shape
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = rows[i, j], cols[i, j]
            if 0.0 <= y < height and 0.0 <= x < width:
                r, c = int(y), int(x)
                for b in range(bands):
                    out[b, i, j] = values[b, r, c]


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
    for i in range(out.shape[0]):
        r = (row0 + i) // 2
        r2 = r + (1 if (row0 + i) % 2 else -1)
        for j in range(out.shape[1]):
            c = (col0 + j) // 2
            here = half[r, c]
            if here <= last:
                out[i, j] = here
                continue
            c2 = c + (1 if (col0 + j) % 2 else -1)
            # Exact in sixteenths, rounded half to even as the plain statement's `rint`.
            v = 9 * int(here) + 3 * (int(half[r2, c]) + int(half[r, c2])) + int(half[r2, c2])
            q, rest = v // 16, v % 16
            if rest > 8 or (rest == 8 and q % 2 == 1):
                q += 1
            out[i, j] = max(q, last + 1)


@njit(cache=True, nogil=True)
def wanted_box(weight, through, count, least, enough, count_to, row0, row1, col0, col1):  # pragma: no cover
    """Rows and columns (first, end) where a scene of weight `least` or more still shows, or is still to be counted.

    Args:
        row0, row1, col0, col1: the part that is looked at.
        through: share of light; a scene shows where it is at least `enough`.
        count: scenes so far; further ones are counted below `count_to`.
    """
    r0, r1, c0, c1 = row1, row0, col1, col0
    for r in range(row0, row1):
        for c in range(col0, col1):
            if weight[r, c] >= least and (through[r, c] >= enough or count[r, c] < count_to):
                r0, r1 = min(r0, r), r + 1
                c0, c1 = min(c0, c), max(c1, c + 1)
    return r0, r1, c0, c1


@njit(cache=True, nogil=True)
def lay_over(
    values,
    weight,
    row0,
    col0,
    least,
    number,
    nodata,
    count_to,
    out,
    through,
    provenance,
    count,
    total,
    shown,
    most,
):  # pragma: no cover
    """Adds one scene, the next in order, to `feather`; the same sums as the kernel of that name.

    Most pixels show one scene: its values go to `out` at once, and of the sums not even the memory is touched.

    Args:
        values: (band, row, col) int16 of a part of the box that begins at row0, col0.
        weight: (row, col) of the box; below `least` it counts as 0.
        count_to: where nothing shines through, further scenes are counted up to here.
        out, through, provenance, count, total, shown, most: the state of the box, changed in place.
    """
    bands, rows, cols = values.shape
    for i in range(rows):
        r = row0 + i
        for j in range(cols):
            c = col0 + j
            w, light = weight[r, c], through[r, c]
            if w < least or (light < 1.0 / 255.0 and count[r, c] >= count_to):
                continue
            good = True
            for b in range(bands):
                if values[b, i, j] == nodata:
                    good = False
            if not good:
                continue
            count[r, c] += 1
            if provenance[r, c] < 0:
                provenance[r, c] = number
            if light < 1.0 / 255.0:
                continue
            x = w / 255.0
            alpha = x * x * (3.0 - 2.0 * x)
            if light == 1.0 and alpha == 1.0:
                through[r, c] = 0.0
                for b in range(bands):
                    out[b, r, c] = values[b, i, j]
                continue
            part = light * alpha
            if part > most[r, c]:
                most[r, c] = part
                provenance[r, c] = number
            shown[r, c] += part
            for b in range(bands):
                total[b, r, c] += part * values[b, i, j]
            through[r, c] = light * (1.0 - alpha)


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
def apply_gain(values, corners, row0, col0, windows_row0, windows_col0, side, nodata):  # pragma: no cover
    """normalized = gain · value + offset in place, both bilinear between window corners, rounded half to even.

    Args:
        values: (band, row, col) int16 whose first pixel is row0, col0 of the level's grid.
        corners: (2, band, ny + 1, nx + 1) float64 gain, and offset in counts.
        side: pixels of the level to a window.
    """
    bands, rows, cols = values.shape
    ny, nx = corners.shape[2] - 1, corners.shape[3] - 1
    gain_row, offset_row = np.empty(nx + 1), np.empty(nx + 1)
    column, share = np.empty(cols, np.int64), np.empty(cols)
    for j in range(cols):
        x = min(max((col0 + j + 0.5) / side - windows_col0, 0.0), float(nx))
        column[j] = min(int(x), nx - 1)
        share[j] = x - column[j]
    for i in range(rows):
        y = min(max((row0 + i + 0.5) / side - windows_row0, 0.0), float(ny))
        y0 = min(int(y), ny - 1)
        fy = y - y0
        for b in range(bands):
            for k in range(nx + 1):
                gain_row[k] = corners[0, b, y0, k] * (1.0 - fy) + corners[0, b, y0 + 1, k] * fy
                offset_row[k] = corners[1, b, y0, k] * (1.0 - fy) + corners[1, b, y0 + 1, k] * fy
            for j in range(cols):
                v = values[b, i, j]
                if v == nodata:
                    continue
                x0, fx = column[j], share[j]
                gain = gain_row[x0] * (1.0 - fx) + gain_row[x0 + 1] * fx
                offset = offset_row[x0] * (1.0 - fx) + offset_row[x0 + 1] * fx
                values[b, i, j] = np.int16(min(max(np.rint(v * gain + offset), -32767.0), 32767.0))


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
    provenance, count, quality, rows, cols, out_provenance, out_count, out_quality
):  # pragma: no cover
    """Nearest, of three layers at once; what lies outside stays."""
    height, width = provenance.shape
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = rows[i, j], cols[i, j]
            if 0.0 <= y < height and 0.0 <= x < width:
                r, c = int(y), int(x)
                out_provenance[i, j] = provenance[r, c]
                out_count[i, j] = count[r, c]
                out_quality[i, j] = quality[r, c]


@njit(cache=True, nogil=True)
def lay_first(
    values, weight, row0, col0, least, number, nodata, count_to, out, through, provenance, count
):  # pragma: no cover
    """Adds one scene, the next in order, to `first`: as `lay_over`, without sums."""
    bands, rows, cols = values.shape
    for i in range(rows):
        r = row0 + i
        for j in range(cols):
            c = col0 + j
            if weight[r, c] < least or (through[r, c] == 0.0 and count[r, c] >= count_to):
                continue
            good = True
            for b in range(bands):
                if values[b, i, j] == nodata:
                    good = False
            if not good:
                continue
            count[r, c] += 1
            if through[r, c] > 0.0:
                provenance[r, c] = number
                through[r, c] = 0.0
                for b in range(bands):
                    out[b, r, c] = values[b, i, j]


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
