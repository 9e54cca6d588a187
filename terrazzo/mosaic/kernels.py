"""Kernels of merge methods that see all scenes of a pixel at once; `merge.py` states what they compute."""

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
