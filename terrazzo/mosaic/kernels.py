"""Merge kernels, pixel by pixel; `merge.py` states what they compute."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def usable_scenes(values, weight, nodata, is_float, r, c, found):  # pragma: no cover
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
            found[n] = s
            n += 1
    return n


@njit(cache=True, nogil=True)
def weighted_median(v, w, n, order):  # pragma: no cover
    for i in range(n):
        j = i
        while j > 0 and v[order[j - 1]] > v[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    total = 0.0
    for i in range(n):
        total += w[i]
    half = total / 2
    done = 0.0
    previous_middle, previous = 0.0, v[order[0]]
    for i in range(n):
        k = order[i]
        middle = done + w[k] / 2
        if middle >= half:
            if i == 0:
                return v[k]
            t = (half - previous_middle) / (middle - previous_middle)
            return previous + t * (v[k] - previous)
        done += w[k]
        previous_middle, previous = middle, v[k]
    return previous


@njit(cache=True, nogil=True)
def weighted_medians(values, weight, out):  # pragma: no cover
    layers, rows, cols = values.shape
    order = np.empty(layers, np.int64)
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
                out[r, c] = weighted_median(v, w, n, order)


@njit(cache=True, nogil=True)
def feather(values, weight, nodata, is_float, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    found = np.empty(scenes, np.int64)
    total = np.empty(bands, np.float64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, found)
            count[r, c] = n
            if n == 0:
                continue
            total[:] = 0.0
            through, shown, most = 1.0, 0.0, 0.0
            provenance[r, c] = found[0]
            for i in range(n):
                s = found[i]
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
    found = np.empty(scenes, np.int64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, found)
            count[r, c] = n
            if n:
                provenance[r, c] = found[0]
                for b in range(bands):
                    out[b, r, c] = values[found[0], b, r, c]


@njit(cache=True, nogil=True)
def mean(values, weight, nodata, is_float, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    found = np.empty(scenes, np.int64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, found)
            count[r, c] = n
            if n:
                provenance[r, c] = found[0]
                for b in range(bands):
                    total = 0.0
                    for i in range(n):
                        total += values[found[i], b, r, c]
                    out[b, r, c] = total / n


@njit(cache=True, nogil=True)
def median(values, weight, nodata, is_float, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    found = np.empty(scenes, np.int64)
    order = np.empty(scenes, np.int64)
    v = np.empty(scenes, np.float64)
    one = np.ones(scenes, np.float64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, found)
            count[r, c] = n
            if n == 0:
                continue
            for b in range(bands):
                for i in range(n):
                    v[i] = values[found[i], b, r, c]
                out[b, r, c] = weighted_median(v, one, n, order)
                if b == 0:
                    nearest = 0
                    for i in range(1, n):
                        if abs(v[i] - out[0, r, c]) < abs(v[nearest] - out[0, r, c]):
                            nearest = i
                    provenance[r, c] = found[nearest]


@njit(cache=True, nogil=True)
def robust(values, weight, nodata, is_float, unit, k, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    found = np.empty(scenes, np.int64)
    order = np.empty(scenes, np.int64)
    v = np.empty(scenes, np.float64)
    w = np.empty(scenes, np.float64)
    far = np.empty(scenes, np.float64)
    for r in range(rows):
        for c in range(cols):
            n = usable_scenes(values, weight, nodata, is_float, r, c, found)
            count[r, c] = n
            if n == 0:
                continue
            for i in range(n):
                w[i] = weight[found[i], r, c]
                far[i] = 0.0
            for b in range(bands):
                for i in range(n):
                    v[i] = values[found[i], b, r, c]
                md = weighted_median(v, w, n, order)
                spread = 0.006 / unit + 0.1 * max(md, 0.0)
                for i in range(n):
                    far[i] += ((v[i] - md) / spread) ** 2 / bands
            total, most = 0.0, -1.0
            for i in range(n):
                w[i] /= 1.0 + (far[i] / (k * k)) ** 2
                total += w[i]
                if w[i] > most:
                    most = w[i]
                    provenance[r, c] = found[i]
            for b in range(bands):
                sum_b = 0.0
                for i in range(n):
                    sum_b += w[i] * values[found[i], b, r, c]
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
