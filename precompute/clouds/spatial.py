"""Evidence of a pixel's neighbourhood and the sun: objects too small to be clouds, shadows where clouds throw them."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

CLOUD_HEIGHTS = (200.0, 8000.0)
"""Range of cloud heights above ground that are searched for shadows, in metres."""
STEP = 1.5
"""Pixels between the places where a cloud's shadow is looked for."""
SQUARE = 4
"""Side, in pixels, of the squares on which the place of a cloud's shadow is computed."""


def gaussian(sigma: float) -> NDArray[np.float32]:
    """Weights of a Gaussian of `sigma` pixels, cut off at 3 of them; one weight below 0.3 pixels."""
    reach = int(3 * sigma + 0.5) if sigma >= 0.3 else 0
    at = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (at / max(sigma, 0.3)) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def smoothed(
    layers: NDArray[np.float32], kernel: NDArray[np.float32], rows: slice = slice(None)
) -> NDArray[np.float32]:
    """Some rows of (layer, row, col) averaged with the weights of `kernel` in both directions over what is known, NaN where nothing is
    known."""
    first, stop, _ = rows.indices(layers.shape[1])
    if len(kernel) == 1:
        return layers[:, first:stop]
    valid = np.isfinite(layers[0])
    whole = bool(valid.all())
    share = np.empty((stop - first, layers.shape[2]), np.float32)
    _blur(valid.astype(np.float32), kernel, first, share)
    out = np.empty((len(layers), *share.shape), np.float32)
    for layer, target in zip(layers, out, strict=True):
        _blur(layer if whole else np.where(valid, layer, np.float32(0)), kernel, first, target)
        _to_mean(target, share, valid[first:stop])
    return out


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _blur(layer, kernel, first, out):  # pragma: no cover
    """Sums of `layer` from row `first` on, weighted by `kernel` down and across; what lies outside counts as 0."""
    height, width = layer.shape
    reach = len(kernel) // 2
    line = np.zeros(width + 2 * reach, np.float32)
    middle = line[reach : reach + width]
    for r in range(len(out)):
        low, high = max(first + r - reach, 0), min(first + r + reach + 1, height)
        _weighted(layer[low:high], kernel[low - first - r + reach :], middle)
        _along(line, kernel, out[r])


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, inline="always")
def _weighted(rows, weights, out):  # pragma: no cover
    """Writes the sum of rows with their weights, four at a time."""
    out[:] = 0
    fours = len(rows) - len(rows) % 4
    for k in range(0, fours, 4):
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        a, b, c, d = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for p in range(len(out)):
            out[p] = out[p] + w0 * a[p] + w1 * b[p] + w2 * c[p] + w3 * d[p]
    for k in range(fours, len(rows)):
        w, a = weights[k], rows[k]
        for p in range(len(out)):
            out[p] += w * a[p]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, inline="always")
def _along(line, weights, out):  # pragma: no cover
    """Writes the sums of a row, which begins half the weights earlier than `out`, with the weights."""
    out[:] = 0
    width, fours = len(out), len(weights) - len(weights) % 4
    for k in range(0, fours, 4):
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        a, b, c, d = line[k : k + width], line[k + 1 : k + 1 + width], line[k + 2 : k + 2 + width], line[k + 3 : k + 3 + width]
        for p in range(width):
            out[p] = out[p] + w0 * a[p] + w1 * b[p] + w2 * c[p] + w3 * d[p]
    for k in range(fours, len(weights)):
        w, a = weights[k], line[k : k + width]
        for p in range(width):
            out[p] += w * a[p]


@njit(cache=True, nogil=True, error_model="numpy")
def _to_mean(total, share, valid):  # pragma: no cover
    """Divides sums by the weights that they are of, in place; NaN where a pixel is not valid."""
    for r in range(total.shape[0]):
        for c in range(total.shape[1]):
            mean = total[r, c] / share[r, c]
            total[r, c] = mean if valid[r, c] else np.float32(np.nan)


def without_small_objects(
    mask: NDArray[np.bool_], pixels: int, core: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """The mask without connected objects (8 neighbours) of fewer pixels, or with less than a quarter as many in `core`."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    least = max(pixels, 1)
    size, within = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    _count(labels, mask if core is None else core, size, within)
    large = size >= least
    if core is not None:
        large &= within >= max(least // 4, 1)
    large[0] = False
    return np.asarray(large[labels])


@njit(cache=True, nogil=True)
def _count(labels, core, size, within):  # pragma: no cover
    """Adds each object's pixels, and those of them in `core`."""
    for r in range(labels.shape[0]):
        for c in range(labels.shape[1]):
            at = labels[r, c]
            if at:
                size[at] += 1
                within[at] += core[r, c]


def dilated(mask: NDArray[np.bool_], distance: float, pixel: float) -> NDArray[np.bool_]:
    """The mask with a rim of `distance` metres."""
    if distance < pixel / 2 or not mask.any():
        return mask
    out = np.empty_like(mask)
    reach2, reach = (distance / pixel) ** 2 + 1e-9, int(distance / pixel)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [
            pool.submit(_dilate, mask, reach2, reach, start, min(start + 512, len(mask)), out)
            for start in range(0, len(mask), 512)
        ]:
            done.result()
    return out


@njit(cache=True, nogil=True)
def _dilate(mask, reach2, reach, start, stop, out):  # pragma: no cover
    """Sets rows of `out` where a pixel of `mask` lies within the root of `reach2` pixels; `reach` is the whole part of that."""
    height, width = mask.shape
    near = np.empty(width + 2 * reach, np.int32)
    far = np.int32(reach + 1)
    for r in range(start, stop):
        near[:] = far
        for k in range(reach + 1):
            for q in (r - k, r + k):
                if 0 <= q < height:
                    for c in range(width):
                        if mask[q, c] and near[c + reach] > k:
                            near[c + reach] = k
        for c in range(width):
            inside = False
            for d in range(2 * reach + 1):
                up = near[c + d]
                if up < far and up * up + (d - reach) * (d - reach) <= reach2:
                    inside = True
                    break
            out[r, c] = inside


def possible_shadows(
    clouds: NDArray[np.bool_], *, sun_zenith: float, sun_azimuth: float, pixel: float
) -> NDArray[np.uint8]:
    """How far a pixel can be in shadow: 0 no cloud stands on its ray to the sun, 1 the ray leaves the scene below the highest clouds, 2 a
    cloud does.

    Args:
        clouds: (row, col), rows grow south.
        sun_zenith, sun_azimuth: degrees; azimuth clockwise from north.
        pixel: metres.
    """
    reach = np.tan(np.radians(min(sun_zenith, 80.0)))
    away = np.radians(sun_azimuth + 180)
    low, high = (h * reach / pixel for h in CLOUD_HEIGHTS)
    lengths = np.arange(low, high + STEP, STEP)
    return _possible(clouds, np.stack([-np.cos(away) * lengths, np.sin(away) * lengths], axis=1))


def more_dark_than_clouds(
    clouds: NDArray[np.bool_], dark: NDArray[np.bool_], likely: NDArray[np.uint8], side: int
) -> NDArray[np.float32]:
    """(row, col) mean of `likely` over the ground around, where more of it is dark than clouds cover; 0 elsewhere.

    Args:
        clouds, dark: (row, col) pixels.
        likely: (row, col) 0–250 how shadow-like a pixel is, more where nothing is known.
        side: pixels of the square that is looked at, odd.
    """
    ground = ~clouds & (likely <= 250)
    share, covered, shaded, total = (
        ndimage.uniform_filter(a.astype(np.float32), side)
        for a in (ground, clouds, dark & ground, np.where(ground, likely, 0))
    )
    return np.where(shaded > covered, total / np.maximum(share, 1e-3), 0).astype(np.float32)


def _possible(clouds: NDArray[np.bool_], steps: NDArray[np.float64]) -> NDArray[np.uint8]:
    """How far a pixel can be in shadow, computed on squares of `SQUARE` pixels."""
    rows, cols = (-(-n // SQUARE) for n in clouds.shape)
    padded = np.zeros((rows * SQUARE, cols * SQUARE), np.bool_)
    padded[: clouds.shape[0], : clouds.shape[1]] = clouds
    squares = padded.reshape(rows, SQUARE, cols, SQUARE).any(axis=(1, 3))
    out = np.zeros(squares.shape, np.uint8)
    _reach(squares, steps[:: max(int(SQUARE / STEP), 1)] / SQUARE, out)
    return out.repeat(SQUARE, axis=0).repeat(SQUARE, axis=1)[: clouds.shape[0], : clouds.shape[1]]


@njit(cache=True, nogil=True)
def _reach(clouds, steps, possible):  # pragma: no cover
    """Sets `possible` where a cloud stands on a pixel's ray (2), or the ray leaves the scene first (1)."""
    height, width = clouds.shape
    for r in range(height):
        for c in range(width):
            for k in range(len(steps)):
                q, d = r - round(steps[k, 0]), c - round(steps[k, 1])
                if q < 0 or d < 0 or q >= height or d >= width:
                    possible[r, c] = 1
                    break
                if clouds[q, d]:
                    possible[r, c] = 2
                    break
