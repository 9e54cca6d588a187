"""Kernels that fetch pixels from where they are stored: places, nearest and bilinear values, doubled weights, predictor 2."""

import numpy as np
from numba import njit


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
def gather_nearest(values, rows, cols, row0, col0, out):  # pragma: no cover
    r, c = np.empty(rows.shape[1], np.int32), np.empty(rows.shape[1], np.int32)
    for i in range(rows.shape[0]):
        inside = pixels_of_row(rows[i], cols[i], row0, col0, values.shape[1:], r, c)
        for b in range(len(values)):
            take_row(values[b], r, c, inside, out[b, i])


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
def undo_difference(values, out):  # pragma: no cover
    """Running sums along rows, wrapping around as TIFF's predictor 2 does."""
    rows, cols = values.shape
    for r in range(rows):
        total = values[r, 0]
        out[r, 0] = total
        for c in range(1, cols):
            total = values.dtype.type(total + values[r, c])
            out[r, c] = total
