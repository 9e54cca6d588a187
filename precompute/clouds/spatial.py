"""What a pixel's neighbourhood and the sun tell: objects too small to be clouds, shadows where clouds throw them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CLOUD_HEIGHTS = (200.0, 8000.0)
"""Range of cloud heights above ground that are searched for shadows, in metres."""


def without_small_objects(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask without connected objects (8 neighbours) of fewer pixels."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    size = np.bincount(labels.ravel())
    size[0] = 0
    return np.asarray(size[labels] >= max(pixels, 1))


def dilated(mask: NDArray[np.bool_], distance: float, pixel: float) -> NDArray[np.bool_]:
    """The mask with a rim of `distance` metres."""
    if distance < pixel / 2 or not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) * pixel <= distance)


def dark_places(nir: NDArray[np.float32], pixel: float) -> NDArray[np.bool_]:
    """Where the near infrared lies in a dip that is narrower than 2.5 km and at least a fifth deep.

    Args:
        nir: (row, col) reflectance, NaN without data.
    """
    filled = np.where(np.isfinite(nir), nir, 1.0)
    side = max(3, round(2500 / pixel) | 1)
    surrounding = ndimage.grey_closing(ndimage.median_filter(filled, 3), size=(side, side))
    return np.asarray((surrounding - nir > 0.03) & (nir < 0.8 * surrounding))


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
