"""Merge kernels that take many pixels at a time: geometric median, medoid, percentile and kriging in time.

Each runs over `LANES` pixels of a row side by side, float32 and without branches, so that the compiler makes vector instructions
of them; `merge.py` states what they compute.
"""

import numpy as np
from numba import njit

LANES = 128
"""Pixels side by side: all that a step needs of them stays in the processor's first cache for a dozen scenes."""
CLOSE = np.float32(0.1)
"""Counts below which two values are the same to the geometric median: keeps its weights finite on a date's own value."""
BEYOND = np.float32(1.4)
"""Share of Weiszfeld's step that is gone: beyond 1 it converges in half as many."""
SPREAD, SPREAD_SHARE = 60.0, 0.1
"""Counts, and share of the value, by which clear dates of one day differ."""
SEASON = 25.0
"""Days apart at which dates may differ by twice that variance."""
ROUNDS = 120
"""Most steps of the geometric median: where many places are all but equally near to all dates, it ends at one of them."""
STILL = np.float32(0.005)
"""Counts by which a step moves no pixel any more when the geometric median ends."""


@njit(cache=True, nogil=True)
def load(values, weight, nodata, is_float, unit, r, start, width, v, w, count):  # pragma: no cover
    """Reads `width` pixels of a row, in counts: what is not usable has weight 0 and value 0.

    Args:
        v: (scene, band, LANES) float32, w: (scene, LANES) float32 0–255; both are filled, lanes beyond `width` with 0.
    """
    scenes, bands = values.shape[0], values.shape[1]
    scale = np.float32(unit / 1e-4)
    for s in range(scenes):
        for j in range(LANES):
            w[s, j] = weight[s, r, start + j] if j < width else 0.0
        for b in range(bands):
            for j in range(width):
                x = values[s, b, r, start + j]
                gone = np.isnan(x) if is_float else x == nodata
                v[s, b, j] = np.float32(0.0) if gone else np.float32(x) * scale
                w[s, j] = np.float32(0.0) if gone else w[s, j]
            for j in range(width, LANES):
                v[s, b, j] = 0.0
    for j in range(width):
        n = 0
        for s in range(scenes):
            if w[s, j] > 0.0:
                n += 1
        count[r, start + j] = n


@njit(cache=True, nogil=True)
def geomedian(values, weight, nodata, is_float, unit, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    v = np.empty((scenes, bands, LANES), np.float32)
    w = np.empty((scenes, LANES), np.float32)
    middle = np.empty((bands, LANES), np.float32)
    total = np.empty((bands, LANES), np.float32)
    share, moved, far = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    place = np.empty(LANES, np.int64)
    for r in range(rows):
        for start in range(0, cols, LANES):
            width = min(LANES, cols - start)
            load(values, weight, nodata, is_float, unit, r, start, width, v, w, count)
            for j in range(width):
                place[j] = start + j
                moved[j] = STILL if count[r, start + j] > 0 else np.float32(0.0)
            n = closed_up(v, w, middle, moved, place, width)
            mean(v, w, middle, n)
            for step in range(1, ROUNDS + 1):
                total[:] = 0.0
                share[:] = 0.0
                for s in range(scenes):
                    far[:] = CLOSE * CLOSE
                    for b in range(bands):
                        for j in range(n):
                            d = v[s, b, j] - middle[b, j]
                            far[j] += d * d
                    for j in range(n):
                        far[j] = w[s, j] / np.sqrt(far[j])
                        share[j] += far[j]
                    for b in range(bands):
                        for j in range(n):
                            total[b, j] += far[j] * v[s, b, j]
                moved[:] = 0.0
                for b in range(bands):
                    for j in range(n):
                        d = total[b, j] / share[j] - middle[b, j]
                        moved[j] = max(moved[j], abs(d))
                        middle[b, j] += BEYOND * d
                if step % 4 == 0 or step == ROUNDS:
                    # Most pixels are done in a dozen steps: only the others go on.
                    for j in range(n):
                        if moved[j] < STILL or step == ROUNDS:
                            settle(v, w, middle, unit, j, r, place[j], out, provenance)
                    if step < ROUNDS:
                        n = closed_up(v, w, middle, moved, place, n)
                    if n == 0:
                        break


@njit(cache=True, nogil=True)
def mean(v, w, middle, n):  # pragma: no cover
    """The mean of the usable scenes of the first `n` lanes; their weights become 1."""
    for j in range(n):
        total = 0
        for s in range(v.shape[0]):
            if w[s, j] > 0:
                w[s, j] = 1.0
                total += 1
        for b in range(v.shape[1]):
            x = np.float32(0.0)
            for s in range(v.shape[0]):
                x += w[s, j] * v[s, b, j]
            middle[b, j] = x / total


@njit(cache=True, nogil=True)
def closed_up(v, w, middle, moved, place, n):  # pragma: no cover
    """Moves the lanes that are not still to the front; returns how many those are."""
    kept = 0
    for j in range(n):
        if moved[j] >= STILL:
            if kept < j:
                for s in range(v.shape[0]):
                    w[s, kept] = w[s, j]
                    for b in range(v.shape[1]):
                        v[s, b, kept] = v[s, b, j]
                for b in range(v.shape[1]):
                    middle[b, kept] = middle[b, j]
                place[kept] = place[j]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def settle(v, w, middle, unit, j, r, c, out, provenance):  # pragma: no cover
    """Writes a lane's value; the usable scene nearest to it stands for the pixel."""
    least = np.inf
    for s in range(v.shape[0]):
        if w[s, j] > 0:
            d = 0.0
            for b in range(v.shape[1]):
                d += (v[s, b, j] - middle[b, j]) ** 2
            if d < least:
                least = d
                provenance[r, c] = s
    for b in range(v.shape[1]):
        out[b, r, c] = middle[b, j] * (1e-4 / unit)


@njit(cache=True, nogil=True)
def medoid(values, weight, nodata, is_float, unit, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    v = np.empty((scenes, bands, LANES), np.float32)
    w = np.empty((scenes, LANES), np.float32)
    sums = np.empty((scenes, LANES), np.float32)
    far = np.empty(LANES, np.float32)
    for r in range(rows):
        for start in range(0, cols, LANES):
            width = min(LANES, cols - start)
            load(values, weight, nodata, is_float, unit, r, start, width, v, w, count)
            sums[:] = 0.0
            for s in range(scenes):
                for t in range(s):
                    far[:] = 0.0
                    for b in range(bands):
                        for j in range(LANES):
                            d = v[s, b, j] - v[t, b, j]
                            far[j] += d * d
                    for j in range(LANES):
                        d = np.sqrt(far[j])
                        sums[s, j] += d if w[t, j] > 0 else np.float32(0.0)
                        sums[t, j] += d if w[s, j] > 0 else np.float32(0.0)
            for j in range(width):
                best = -1
                for s in range(scenes):
                    if w[s, j] > 0 and (best < 0 or sums[s, j] < sums[best, j]):
                        best = s
                if best >= 0:
                    provenance[r, start + j] = best
                    for b in range(bands):
                        out[b, r, start + j] = values[best, b, r, start + j]


@njit(cache=True, nogil=True)
def percentile(values, weight, nodata, is_float, unit, share, out, provenance, count):  # pragma: no cover
    scenes, bands, rows, cols = values.shape
    v = np.empty((scenes, bands, LANES), np.float32)
    w = np.empty((scenes, LANES), np.float32)
    ordered = np.empty((scenes, LANES), np.float32)
    for r in range(rows):
        for start in range(0, cols, LANES):
            width = min(LANES, cols - start)
            load(values, weight, nodata, is_float, unit, r, start, width, v, w, count)
            for b in range(bands):
                for s in range(scenes):
                    for j in range(LANES):
                        ordered[s, j] = v[s, b, j] if w[s, j] > 0 else np.float32(np.inf)
                sort(ordered)
                for j in range(width):
                    n = count[r, start + j]
                    if n == 0:
                        continue
                    at = share * (n - 1)
                    low = min(int(at), n - 1)
                    x = ordered[low, j]
                    if low + 1 < n:
                        x += (at - low) * (ordered[low + 1, j] - x)
                    out[b, r, start + j] = x * (1e-4 / unit)
                    # A percentile of several bands is of no single scene: the first band says which one stands for the pixel.
                    if b == 0:
                        least = np.inf
                        for s in range(scenes):
                            if w[s, j] > 0 and abs(v[s, 0, j] - x) < least:
                                least = abs(v[s, 0, j] - x)
                                provenance[r, start + j] = s


@njit(cache=True, nogil=True)
def sort(v):  # pragma: no cover
    """Sorts (n, LANES) along the first axis in place, by exchanges of neighbours that are the same for all lanes."""
    n = v.shape[0]
    for turn in range(n):
        for i in range(turn % 2, n - 1, 2):
            for j in range(LANES):
                a, b = v[i, j], v[i + 1, j]
                v[i, j], v[i + 1, j] = min(a, b), max(a, b)


@njit(cache=True, nogil=True)
def kriging(
    values, weight, nodata, is_float, unit, days, steady, k, out, provenance, count
):  # pragma: no cover
    """See `merge`.

    Args:
        days: (scene,) float32 from the day that is shown; steady: noise over the variance of the walk a day, days.
    """
    scenes, bands, rows, cols = values.shape
    v = np.empty((scenes, bands, LANES), np.float32)
    w, kept = np.empty((scenes, LANES), np.float32), np.empty((scenes, LANES), np.float32)
    score, less = np.empty((scenes, LANES), np.float32), np.empty((scenes, LANES), np.float32)
    spread, middle = np.empty((bands, LANES), np.float32), np.empty((bands, LANES), np.float32)
    far, total, factor = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    best = np.empty(LANES, np.int32)
    order = np.argsort(days)
    near = np.empty(scenes, np.float32)
    season = np.empty((scenes, scenes), np.float32)
    for s in range(scenes):
        near[s] = 1.0 / (1.0 + abs(days[s]) / SEASON)
        for t in range(scenes):
            season[s, t] = 1.0 / (1.0 + abs(days[s] - days[t]) / SEASON)
    one, limit = np.float32(1.0), np.float32(1.0 / (k * k))
    for r in range(rows):
        for start in range(0, cols, LANES):
            width = min(LANES, cols - start)
            load(values, weight, nodata, is_float, unit, r, start, width, v, w, count)
            for s in range(scenes):
                for j in range(LANES):
                    x = w[s, j] * np.float32(1.0 / 255)
                    w[s, j] = x * x
            agreement(v, w, season, near, limit, spread, score, far)
            largest(score, best, factor)
            for b in range(bands):
                for j in range(LANES):
                    middle[b, j] = v[best[j], b, j]
            for s in range(scenes):
                distance(v[s], middle, spread, far)
                for j in range(LANES):
                    factor[j] = season[s, best[j]]
                for j in range(LANES):
                    d = far[j] * factor[j]
                    kept[s, j] = w[s, j] / (one + d * d)
            through_time(kept, order, days, steady, less, total, factor)
            mixed(v, kept, middle)
            for b in range(bands):
                for j in range(LANES):
                    x = np.float32(SPREAD) + np.float32(SPREAD_SHARE) * max(middle[b, j], np.float32(0.0))
                    spread[b, j] = limit / (x * x * np.float32(bands))
            for s in range(scenes):
                distance(v[s], middle, spread, far)
                for j in range(LANES):
                    d = far[j] * near[s]
                    kept[s, j] = w[s, j] / (one + d * d)
                    score[s, j] = kept[s, j] * near[s]
            largest(score, best, factor)
            for j in range(width):
                if count[r, start + j] > 0:
                    provenance[r, start + j] = best[j]
            through_time(kept, order, days, steady, less, total, factor)
            mixed(v, kept, middle)
            for b in range(bands):
                for j in range(width):
                    if count[r, start + j] > 0:
                        out[b, r, start + j] = middle[b, j] * (1e-4 / unit)


@njit(cache=True, nogil=True)
def largest(score, best, most):  # pragma: no cover
    """Fills best (LANES,) with the first scene of the largest (scene, LANES) score, and most (LANES,) with that score."""
    best[:] = 0
    most[:] = score[0]
    for s in range(1, score.shape[0]):
        for j in range(LANES):
            best[j] = np.int32(s) if score[s, j] > most[j] else best[j]
            most[j] = max(most[j], score[s, j])


@njit(cache=True, nogil=True)
def distance(one, other, spread, far):  # pragma: no cover
    """Fills far (LANES,) with the sum over bands of squared differences of (band, LANES) values, each times `spread`."""
    far[:] = 0.0
    for b in range(one.shape[0]):
        for j in range(LANES):
            d = one[b, j] - other[b, j]
            far[j] += d * d * spread[b, j]


@njit(cache=True, nogil=True)
def mixed(v, part, middle):  # pragma: no cover
    """Fills middle (band, LANES) with the sum over scenes of `part` of each."""
    middle[:] = 0.0
    for s in range(v.shape[0]):
        for b in range(v.shape[1]):
            for j in range(LANES):
                middle[b, j] += part[s, j] * v[s, b, j]


@njit(cache=True, nogil=True)
def agreement(v, w, season, near, limit, spread, score, far):  # pragma: no cover
    """With how many of the others each scene agrees, those near in time first.

    Args:
        spread: (band, LANES) is filled with what squared differences count; score: (scene, LANES) is filled, below 0 where a scene is not
            usable.
    """
    scenes, bands, one = v.shape[0], v.shape[1], np.float32(1.0)
    for b in range(bands):
        # Clouds and haze add light: the darkest date determines by how much clear dates may differ.
        spread[b] = 1e6
        for s in range(scenes):
            for j in range(LANES):
                spread[b, j] = min(spread[b, j], v[s, b, j] if w[s, j] > 0 else np.float32(1e6))
        for j in range(LANES):
            x = np.float32(SPREAD) + np.float32(SPREAD_SHARE) * max(spread[b, j], np.float32(0.0))
            spread[b, j] = limit / (x * x * np.float32(bands))
    for s in range(scenes):
        for j in range(LANES):
            score[s, j] = w[s, j] * near[s] if w[s, j] > 0 else np.float32(-1e6)
    for s in range(scenes):
        for t in range(s):
            distance(v[s], v[t], spread, far)
            for j in range(LANES):
                d = far[j] * season[s, t]
                x = one / (one + d * d)
                score[s, j] += x * w[t, j] * near[t]
                score[t, j] += x * w[s, j] * near[s]


@njit(cache=True, nogil=True)
def through_time(kept, order, days, steady, less, total, factor):  # pragma: no cover
    """Turns weights into the parts of scenes in the value at day 0 of a random walk that they show with noise.

    Information filters from both ends meet there; all bands have the same parts.

    Args:
        kept: (scene, LANES) weight of each scene, 1 / its part of the nugget, in; its part, out. less: (scene, LANES), total, factor: (LANES,) room.
    """
    scenes, one, slope = kept.shape[0], np.float32(1.0), np.float32(1.0 / steady)
    total[:] = 0.0
    for side in range(2):
        # Of the information until a scene, this share is left by the walk since the scene before; without any it is 0.
        before, last = np.float32(0.0), 0
        factor[:] = 0.0
        for i in range(scenes):
            s = order[i] if side == 0 else order[scenes - 1 - i]
            if (days[s] > 0) == (side == 0):
                break
            last = i + 1
            walked = slope * abs(days[s] - before)
            for j in range(LANES):
                less[s, j] = one / (one + factor[j] * walked)
                factor[j] = factor[j] * less[s, j] + kept[s, j]
            before = days[s]
        walked = slope * abs(before)
        for j in range(LANES):
            left = one / (one + factor[j] * walked)
            total[j] += factor[j] * left
            factor[j] = left
        for i in range(last - 1, -1, -1):
            s = order[i] if side == 0 else order[scenes - 1 - i]
            for j in range(LANES):
                kept[s, j] *= factor[j]
                factor[j] *= less[s, j]
    for j in range(LANES):
        total[j] = one / max(total[j], np.float32(1e-20))
    for s in range(scenes):
        for j in range(LANES):
            kept[s, j] *= total[j]
