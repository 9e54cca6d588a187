"""The reference that scenes are compared with, and what the comparison shows to be cloud or shadow.

Haze is read from HOT, B02 − 0.5 B04, along which clear land varies little: the haze optimized transformation of Zhang, Guindon and Cihlar 2002
(doi 10.1016/S0034-4257(02)00034-2), with a fixed slope. One slope does not fit all land: where fields grow or are harvested, red changes by one to
three times as much as blue. So haze is what raises blue itself and blue less several shares of red alike, which no such change does.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.bands import NODATA
from terrazzo.mosaic import kernels

HAZE_SCALE = 0.012
"""Excess of HOT in reflectance at which a pixel counts half."""
SLOPES = (0.5, 0.0, 0.7)
"""Shares of red that are taken from blue: of HOT, none, and of land whose red changes little more than its blue."""
CLOUD_SLOPES = 2
"""How many of them detect cloud, whose light is as red as blue."""
RED_HAZE = 0.56
"""Light of haze in red over that in blue: the wavelengths' ratio to the power of `HAZE_EXPONENT` of the solve."""
LEAST_WEIGHT = 0.02
"""Haze weight of the haziest pixel: it still counts where nothing else is."""
HOT_SMOOTH, HOT_PIXEL = 0.010, 0.020
"""Excess of HOT over the reference, smoothed by one pixel and of a single pixel, that is cloud."""
HAZE_MOST = 0.03
"""Excess of smoothed HOT up to which it is haze that gains can take off, not cloud."""
SHADOW_RATIO, SHADOW_LEAST = 0.78, 0.10
"""A pixel with less than this share of the reference's near infrared, where that is at least the second."""
CLOUD_OVER = 0.04
"""HOT by which the middle of the dates lies over one of them when the difference comes from clouds, not from shadows."""
SAME_BLUE, SAME_SHARE = 0.02, 0.08
"""Blue reflectance, or share of it, within which dates show the same surface."""
ALIKE, LONG, CERTAIN, CLEAR_AROUND = 3, 8, 6, 0.3
"""Dates that have to agree, a half of all at least; dates above which a quarter is enough, where clouds cover most of them; dates from which
their agreement is no chance; and below that, share of the surroundings that has to be clear."""


NEW_SHARE, NEW_LEAST = 0.22, 0.03
"""Near infrared by which new land cover differs from the reference, of that, and in reflectance."""
LASTING_BLUE, LASTING_SHARE = 0.015, 0.15
"""Blue reflectance, and share of the near infrared, within which two dates see the same land cover."""


class Stack(NamedTuple):
    """What a place's scenes show.

    Attributes:
        blue, red, nir: (scene, row, col) float32 reflectance, NaN without data.
        clear: (scene, row, col) whether the mask calls the pixel clear.
        weight: (scene, row, col) float32 distance weight, 0–1.
        date: (scene,) index of the scene's datatake.
    """

    blue: NDArray[np.float32]
    red: NDArray[np.float32]
    nir: NDArray[np.float32]
    clear: NDArray[np.bool_]
    weight: NDArray[np.float32]
    date: NDArray[np.int64]


def hot(blue: NDArray[np.float32], red: NDArray[np.float32]) -> NDArray[np.float32]:
    """Haze-optimized transform B02 − 0.5·B04 (after Zhang et al. 2002)."""
    return np.asarray(blue - np.float32(0.5) * red, np.float32)


def indices(blue: NDArray[np.float32], red: NDArray[np.float32]) -> NDArray[np.float32]:
    """(index, …) blue less each of `SLOPES` of red, in units of HOT: haze raises all by the same."""
    unit = 1 - SLOPES[0] * RED_HAZE
    return np.stack([(blue - np.float32(s) * red) * np.float32(unit / (1 - s * RED_HAZE)) for s in SLOPES])


def haze_weight(excess: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weight 0–1 of a pixel whose `indices` all lie above the reference's by `excess` at least."""
    e = np.maximum(excess, 0) / HAZE_SCALE
    return np.asarray(np.maximum(1 / (1 + e**2), LEAST_WEIGHT), np.float32)


class GroundPlaces(NamedTuple):
    """Ground that masks take for cloud or shadow on most of the dates that show it.

    Attributes:
        shown: (scene, row, col) whether a scene shows that ground.
        level: (row, col) blue reflectance of the ground, NaN where masks are believed.
        alike, flagged, seen: (row, col) dates that agree with the level, those of them that masks flag, and all dates with data; 0
            where masks are believed.
    """

    shown: NDArray[np.bool_]
    level: NDArray[np.float32]
    alike: NDArray[np.uint16]
    flagged: NDArray[np.uint16]
    seen: NDArray[np.uint16]


def remembered(stack: Stack, around: NDArray[np.float32]) -> GroundPlaces:
    """What the dates remember of places: salt, sand, roofs and lagoons look the same whenever they show, clouds hardly ever.

    Enough dates have to agree in blue with the darkest of eight, and most of these be flagged. Few dates may agree under one haze: on
    fewer than `CERTAIN` clear ground has to lie around.

    Args:
        around: (scene, row, col) share of the surroundings that the masks call clear.
    """
    valid, number = np.isfinite(stack.blue), np.searchsorted(np.unique(stack.date), stack.date)
    blue = by_date(stack.blue, np.ones_like(stack.blue), stack.date)
    level = darkest(blue)
    with np.errstate(invalid="ignore"):
        agree = np.abs(blue - level) <= np.maximum(np.float32(SAME_BLUE), np.float32(SAME_SHARE) * level)
    doubted, clear = np.zeros(blue.shape, bool), np.zeros_like(blue)
    for scene, date in enumerate(number):
        doubted[date] |= valid[scene] & ~stack.clear[scene]
        np.maximum(clear[date], around[scene], out=clear[date])
    doubted &= agree
    seen, alike, flagged = (a.sum(axis=0, dtype=np.uint16) for a in (np.isfinite(blue), agree, doubted))
    enough = np.where(seen > LONG, np.maximum(ALIKE + 1, seen / 4), np.maximum(ALIKE, seen / 2))
    bounded = (clear * doubted).sum(axis=0) > CLEAR_AROUND * flagged
    ground = (alike >= enough) & (2 * flagged > alike) & (bounded | (alike >= CERTAIN))
    counts = (np.where(ground, n, 0).astype(np.uint16) for n in (alike, flagged, seen))
    level = np.where(ground, level, np.nan).astype(np.float32)
    return GroundPlaces(agree[number] & valid & ground, level, *counts)


def by_date(
    values: NDArray[np.float32], weight: NDArray[np.float32], date: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(date, row, col): one observation a datatake, its tiles feathered by weight; NaN where none counts."""
    out = np.empty((len(np.unique(date)), *values.shape[1:]), np.float32)
    for d, name in enumerate(np.unique(date)):
        _one_date(values, weight, np.flatnonzero(date == name), out[d])
    return out


@njit(cache=True, nogil=True)
def _one_date(values, weight, scenes, out):  # pragma: no cover
    one, nothing = np.float32(1), np.float32(0)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            total, share = nothing, nothing
            for s in scenes:
                v = values[s, r, c]
                w = weight[s, r, c] if np.isfinite(v) else nothing
                share += w
                total += v * w if w > 0 else nothing
            out[r, c] = total / (share if share > 0 else one) if share > 0 else np.nan


def weighted_median(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted median over the first axis, interpolated so that it moves continuously with the weights.

    Each value sits at the middle of its weight on the cumulative axis; the median is read at one half by
    linear interpolation. NaN values and zero weights do not count; NaN where nothing counts.
    """
    out = np.full(values.shape[1:], np.nan, np.float32)
    kernels.weighted_medians(values, weight, out)
    return out


def darkest(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smallest value over the first axis that is not NaN, of more than eight the one an eighth of them lies below."""
    ordered = np.sort(values, axis=0)
    at = (np.maximum(np.isfinite(ordered).sum(axis=0) - 1, 0) // 8)[None]
    return np.asarray(np.take_along_axis(ordered, at, 0)[0], np.float32)


def lower_quartile(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lower quartile over the first axis of what is not NaN, the nearest value; NaN where nothing is."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    at = (np.maximum(count - 1, 0) // 4)[None]
    return np.asarray(np.take_along_axis(ordered, at, 0)[0], np.float32)


def shaded(
    hot: NDArray[np.float32], blue: NDArray[np.float32], nir: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(date, row, col) dates much darker than the middle of at least three, though no haze lies over that.

    A missed shadow has the lowest HOT of all dates: taken for the clearest, it would make clouds of the others.
    """
    one = np.ones_like(hot)
    middle_hot, middle_blue, middle_nir = (weighted_median(v, one) for v in (hot, blue, nir))
    with np.errstate(invalid="ignore"):
        dark = (nir < SHADOW_RATIO * middle_nir) & (middle_nir > SHADOW_LEAST) & (blue <= middle_blue)
        return np.asarray(dark & (middle_hot - hot < CLOUD_OVER) & (np.isfinite(hot).sum(axis=0) >= 3))


def date_weights(stack: Stack) -> NDArray[np.float32]:
    """(date, row, col) haze weights of a stack's datatakes against the clearest quarter of them."""
    usable = np.where(stack.clear, np.maximum(stack.weight, 1e-3), 0).astype(np.float32)
    observed, blue, nir = (
        by_date(v, usable, stack.date) for v in (hot(stack.blue, stack.red), stack.blue, stack.nir)
    )
    dark = shaded(observed, blue, nir)
    red = by_date(stack.red, usable, stack.date)
    excess = np.full(observed.shape, np.inf, np.float32)
    for index in indices(blue, red):
        smooth = np.stack([smoothed(date) for date in index])
        excess = np.minimum(excess, smooth - lower_quartile(np.where(dark, np.nan, smooth)))
    weight = haze_weight(excess)
    weight = np.where(dark, LEAST_WEIGHT, weight)
    return np.where(np.isfinite(observed), weight, 0).astype(np.float32)


def smoothed(values: NDArray[np.float32], sigma: float = 1.0) -> NDArray[np.float32]:
    """Gaussian mean of the valid pixels; NaN where the pixel itself is."""
    values = np.ascontiguousarray(values, np.float32)
    half = np.exp(-0.5 * np.arange(-int(4 * sigma + 0.5), 1) ** 2 / sigma**2)
    half /= 2 * half[:-1].sum() + half[-1]
    out = np.empty_like(values)
    _smooth(values, half, out)
    return out


@njit(cache=True, nogil=True)
def _smooth(values, half, out):  # pragma: no cover
    """Sums and shares of the valid pixels weighted by `half` of a Gaussian, down and then across; edges are mirrored."""
    rows, cols = values.shape
    known, clean = np.empty(values.shape, np.float32), np.empty(values.shape, np.float32)
    for r in range(rows):
        for c in range(cols):
            valid = np.isfinite(values[r, c])
            known[r, c] = np.float32(valid)
            clean[r, c] = values[r, c] if valid else np.float32(0)
    inside, total = np.empty(cols, np.float32), np.empty(cols, np.float32)
    for r in range(rows):
        _smooth_row(known, r, half, inside)
        _smooth_row(clean, r, half, total)
        for c in range(cols):
            share = max(inside[c], np.float32(1e-6))
            out[r, c] = total[c] / share if known[r, c] > 0 else np.nan


@njit(cache=True, nogil=True)
def _smooth_row(values, r, half, out):  # pragma: no cover
    """A row of the sums, in the order of scipy's filter: float64 on float32 after each axis."""
    rows, cols = values.shape
    reach = len(half) - 1
    sums, line = np.empty(cols), np.empty(cols + 2 * reach, np.float32)
    for c in range(cols):
        sums[c] = values[r, c] * half[reach]
    for k in range(reach):
        up, down = values[_mirrored(r + k - reach, rows)], values[_mirrored(r - k + reach, rows)]
        for c in range(cols):
            sums[c] += (np.float64(up[c]) + np.float64(down[c])) * half[k]
    for c in range(cols):
        line[c + reach] = sums[c]
    for c in range(reach):
        line[c] = line[reach + _mirrored(c - reach, cols)]
        line[reach + cols + c] = line[reach + _mirrored(cols + c, cols)]
    for c in range(cols):
        sums[c] = line[c + reach] * half[reach]
    for k in range(reach):
        left, right = line[k : k + cols], line[2 * reach - k : 2 * reach - k + cols]
        for c in range(cols):
            sums[c] += (np.float64(left[c]) + np.float64(right[c])) * half[k]
    for c in range(cols):
        out[c] = sums[c]


@njit(cache=True, nogil=True)
def _mirrored(at, size):  # pragma: no cover
    """The place in an array that continues mirrored about its edges."""
    at %= 2 * size
    return at if at < size else 2 * size - 1 - at


def outliers(
    blue: NDArray[np.float32],
    red: NDArray[np.float32],
    nir: NDArray[np.float32],
    reference: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Pixels of a scene that its mask called clear and the reference shows to be cloud or shadow.

    Args:
        reference: (3, row, col) blue, red and nir of the reference, NaN where there is none.
    """
    r_blue, _, r_nir = reference
    excess = _over(blue, red, reference)
    with np.errstate(invalid="ignore"):
        cloud = (smoothed(excess) > HOT_SMOOTH) & (excess > HOT_SMOOTH / 2) | (excess > HOT_PIXEL)
        shadow = (nir < SHADOW_RATIO * r_nir) & (blue <= r_blue) & (r_nir > SHADOW_LEAST)
    opened = ndimage.binary_opening(cloud | shadow, np.ones((2, 2)))
    return np.asarray(ndimage.binary_dilation(opened, np.ones((3, 3))) & np.isfinite(blue))


def hazy(
    blue: NDArray[np.float32],
    red: NDArray[np.float32],
    nir: NDArray[np.float32],
    reference: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Pixels of a scene that show the ground through even haze: no more HOT than gains take off, and no shadow.

    Args:
        reference: (3, row, col) blue, red and nir of the reference, NaN where there is none.
    """
    with np.errstate(invalid="ignore"):
        thin = smoothed(_over(blue, red, reference)) < HAZE_MOST
        return np.asarray(thin & (nir > SHADOW_RATIO * reference[2]))


def _over(
    blue: NDArray[np.float32], red: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(row, col) light over the reference's that may be a cloud's, in units of HOT."""
    over = indices(blue, red)[:CLOUD_SLOPES] - indices(reference[0], reference[1])[:CLOUD_SLOPES]
    return np.asarray(over.min(axis=0))


def lasting(
    stack: Stack, reference: NDArray[np.float32], chronological: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(scene, row, col) clear pixels of new land cover: two clear dates, one after the other, agree in what the reference does not show.

    A harvested field, a flood and a burnt forest look like clouds or shadows to a reference from before; but they stay.

    Args:
        reference: (3, row, col) blue, red and nir.
        chronological: numbers of the dates in the order of time.
    """
    usable = np.where(stack.clear, np.maximum(stack.weight, 1e-3), 0).astype(np.float32)
    blue, nir = (by_date(v, usable, stack.date) for v in (stack.blue, stack.nir))
    stays = np.zeros(nir.shape, bool)
    height, width = nir.shape[1:]
    before = np.full((height, width), -1)
    rows, cols = np.ogrid[:height, :width]
    with np.errstate(invalid="ignore"):
        new = np.abs(nir - reference[2]) > np.maximum(NEW_SHARE * reference[2], NEW_LEAST)
        for d in chronological:
            earlier = blue[before, rows, cols], nir[before, rows, cols]
            same = np.abs(blue[d] - earlier[0]) < LASTING_BLUE
            same &= np.abs(nir[d] - earlier[1]) < LASTING_SHARE * np.maximum(nir[d], earlier[1])
            same &= (before >= 0) & new[d] & new[before, rows, cols]
            stays[d] |= same
            at = np.nonzero(same)
            stays[before[at], *at] = True
            before = np.where(np.isfinite(nir[d]), d, before)
    number = np.searchsorted(np.unique(stack.date), stack.date)
    return np.asarray(stays[number] & stack.clear)


def date_median(
    values: NDArray[np.int16],
    usable: NDArray[np.float32],
    weights: NDArray[np.float32],
    date: NDArray[np.int64],
) -> NDArray[np.int16]:
    """(row, col) weighted, interpolated median of a band over dates; a date's scenes are averaged by weight before.

    Args:
        values: (scene, row, col) stored reflectance on the band's grid.
        usable: (scene, …) weight of each scene within its date, on the mask grid; 0 does not count.
        weights: (date, …) weight of each date, on the mask grid.
        date: (scene,) number of each scene's date.
    """
    finer, coarser = values.shape[1] // usable.shape[1], usable.shape[1] // values.shape[1]
    out = np.full(values.shape[1:], NODATA, np.int16)
    _date_median(values, usable, weights, date, max(finer, 1), max(coarser, 1), out)
    return out


@njit(cache=True, nogil=True)
def _date_median(values, usable, weights, date, finer, coarser, out):  # pragma: no cover
    scenes, rows, cols = values.shape
    dates = weights.shape[0]
    total, share = np.empty(dates, np.float64), np.empty(dates, np.float64)
    v, w = np.empty(dates, np.float64), np.empty(dates, np.float64)
    ordered = np.empty((2, dates), np.float64)
    for r in range(rows):
        y = r * coarser // finer
        for c in range(cols):
            x = c * coarser // finer
            total[:] = 0.0
            share[:] = 0.0
            for s in range(scenes):
                u = usable[s, y, x]
                if u > 0 and values[s, r, c] != NODATA:
                    total[date[s]] += u * values[s, r, c]
                    share[date[s]] += u
            n = 0
            for d in range(dates):
                if share[d] > 0 and weights[d, y, x] > 0:
                    v[n], w[n] = total[d] / share[d], weights[d, y, x]
                    n += 1
            if n:
                out[r, c] = np.int16(np.rint(kernels.weighted_median(v, w, n, ordered)))
