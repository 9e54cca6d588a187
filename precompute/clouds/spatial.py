"""What a pixel's neighbourhood and the sun tell: objects too small to be clouds, shadows where clouds throw them."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.bands import NODATA, SCALE

CLOUD_HEIGHTS = (200.0, 8000.0)
"""Range of cloud heights above ground that are searched for shadows, in metres."""


def without_small_objects(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask without connected objects (8 neighbours) of fewer pixels."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    size = np.zeros(count + 1, np.int64)
    for rows in range(0, len(labels), 512):
        size += np.bincount(labels[rows : rows + 512].ravel(), minlength=count + 1)
    large = size >= max(pixels, 1)
    large[0] = False
    return np.asarray(large[labels])


def dilated(mask: NDArray[np.bool_], distance: float, pixel: float) -> NDArray[np.bool_]:
    """The mask with a rim of `distance` metres."""
    if distance < pixel / 2 or not mask.any():
        return mask
    out = np.empty_like(mask)
    _dilate(mask, (distance / pixel) ** 2 + 1e-9, int(distance / pixel), out)
    return out


@njit(cache=True, nogil=True)
def _dilate(mask, reach2, reach, out):  # pragma: no cover
    """Sets `out` where a pixel of `mask` lies within the root of `reach2` pixels; `reach` is the whole part of that."""
    height, width = mask.shape
    near = np.empty(width + 2 * reach, np.int64)
    far = np.int64(reach + 1)
    for r in range(height):
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


def dark_places(infrared: NDArray[np.int16], pixel: float) -> NDArray[np.bool_]:
    """Where the infrared lies in a dip that is narrower than 2.5 km and at least a fifth deep.

    Args:
        infrared: (row, col) reflectance, scale 1e-4, `NODATA` without data.
    """
    filled = np.where(infrared == NODATA, np.int16(1 / SCALE), infrared)
    side = max(3, round(2500 / pixel) | 1)
    surrounding = ndimage.grey_closing(ndimage.median_filter(filled, 3), size=(side, side))
    return np.asarray((surrounding - filled > 0.03 / SCALE) & (filled < np.float32(0.8) * surrounding))


def thrown_shadows(
    clouds: NDArray[np.bool_], *, sun_zenith: float, sun_azimuth: float, pixel: float
) -> NDArray[np.bool_]:
    """Every place on which some cloud throws its shadow if it is `CLOUD_HEIGHTS` high.

    Args:
        clouds: (row, col), rows grow south.
        sun_zenith, sun_azimuth: degrees; azimuth clockwise from north.
        pixel: metres.
    """
    reach = np.tan(np.radians(min(sun_zenith, 80.0)))
    away = np.radians(sun_azimuth + 180)
    out = np.zeros_like(clouds)
    low, high = (h * reach / pixel for h in CLOUD_HEIGHTS)
    # A step of two pixels leaves no gap once clouds have their rim.
    for length in np.arange(low, high + 2, 2):
        d_row, d_col = round(-np.cos(away) * length), round(np.sin(away) * length)
        _or_shifted(out, clouds, d_row, d_col)
    return out & ~clouds


def _or_shifted(out: NDArray[np.bool_], mask: NDArray[np.bool_], d_row: int, d_col: int) -> None:
    h, w = mask.shape
    if abs(d_row) >= h or abs(d_col) >= w:
        return
    to = (slice(max(d_row, 0), h + min(d_row, 0)), slice(max(d_col, 0), w + min(d_col, 0)))
    source = (slice(max(-d_row, 0), h + min(-d_row, 0)), slice(max(-d_col, 0), w + min(-d_col, 0)))
    out[to] |= mask[source]
