"""Where hills stand between the sun and the ground: terrain shadow from an elevation model."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

NOISE = 2.0
"""Metres by which the ray to the sun has to pass below a hill's top: elevation models are no better."""


def terrain_shadow(
    elevation: NDArray[np.floating], pixel: float, sun_zenith: float, sun_azimuth: float
) -> NDArray[np.bool_]:
    """(row, col) ground that the sun does not reach: it leans away from it, or something higher stands before it.

    The ray to the sun is followed from each pixel until it passes something higher or is above all there is.

    Args:
        elevation: (row, col) metres, rows grow south.
        pixel: metres.
        sun_zenith, sun_azimuth: degrees; azimuth clockwise from north.
    """
    height = np.asarray(elevation, np.float32)
    azimuth, zenith = np.radians(sun_azimuth), np.radians(sun_zenith)
    down, right = -np.cos(azimuth), np.sin(azimuth)
    south, east = np.gradient(height, pixel) if min(height.shape) > 1 else (np.zeros_like(height),) * 2
    away = np.cos(zenith) <= np.sin(zenith) * (east * right + south * down)
    behind = np.zeros(height.shape, np.bool_)
    if zenith > 0:
        _follow(height, down, right, pixel / np.tan(zenith), height.max() - NOISE, behind)
    return np.asarray(away | behind)


@njit(cache=True, nogil=True)
def _follow(height, down, right, rise, top, out):  # pragma: no cover
    """Sets `out` where the ray in direction (down, right), which rises by `rise` a pixel, meets something higher."""
    rows, cols = height.shape
    for r in range(rows):
        for c in range(cols):
            ray, y, x = height[r, c], float(r), float(c)
            while True:
                ray += rise
                y += down
                x += right
                i, j = int(np.floor(y)), int(np.floor(x))
                if ray > top or i < 0 or j < 0 or i + 1 >= rows or j + 1 >= cols:
                    break
                v, u = y - i, x - j
                upper = height[i, j] * (1 - u) + height[i, j + 1] * u
                lower = height[i + 1, j] * (1 - u) + height[i + 1, j + 1] * u
                if upper * (1 - v) + lower * v > ray + NOISE:
                    out[r, c] = True
                    break
