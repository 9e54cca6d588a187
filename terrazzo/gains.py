"""Gain fields: normalized = gain · reflectance + offset, both bilinear between window corners."""

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.grid import PixelBox

GAIN_UNIT = 2.0**-14
OFFSET_UNIT = 1e-5
GAIN_LIMITS = (0.5, 1.99)
OFFSET_LIMITS = (-0.3, 0.3)


def encode(gain: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.int16]:
    """(2, …) int16 of gains and offsets, clamped to what int16 and reason allow."""
    g = np.clip(gain, *GAIN_LIMITS) / GAIN_UNIT
    o = np.clip(offset, *OFFSET_LIMITS) / OFFSET_UNIT
    return np.rint(np.stack([g, o])).astype(np.int16)


def decode(corners: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and offset of encoded corners (2, …)."""
    return corners[0] * GAIN_UNIT, corners[1] * OFFSET_UNIT


def field(
    corners: NDArray[np.floating], windows: PixelBox, box: PixelBox, window: int
) -> NDArray[np.float64]:
    """(…, row, col) float64 values at the pixel centres of a box, bilinear between corners.

    A pixel's value depends on its place alone, not on the box: each sum has at most two terms that are
    not zero. Beyond the corners the outermost values go on.

    Args:
        corners: (…, ny + 1, nx + 1) values on the corners of `windows`.
        windows: box of window indices.
        box: pixels of the grid on which a window has `window` pixels a side.
    """
    by_row = hats(box.row0, box.row1, windows.row0, windows.height, window)
    by_col = hats(box.col0, box.col1, windows.col0, windows.width, window)
    out: NDArray[np.float64] = by_row @ corners @ by_col.T
    return out


def at(
    corners: NDArray[np.floating],
    windows: PixelBox,
    rows: NDArray[np.floating],
    cols: NDArray[np.floating],
    window: int,
) -> NDArray[np.float64]:
    """(…, *places) values of a field at single places; `field` says the same at pixel centres.

    Args:
        corners, windows, window: as of `field`.
        rows, cols: places in pixels from the grid's origin, of one shape.
    """
    y = np.clip(rows / window - windows.row0, 0, windows.height)
    x = np.clip(cols / window - windows.col0, 0, windows.width)
    r, c = (np.minimum(v, n - 1).astype(int) for v, n in ((y, windows.height), (x, windows.width)))
    fy, fx = y - r, x - c
    above = corners[..., r, c] * (1 - fx) + corners[..., r, c + 1] * fx
    below = corners[..., r + 1, c] * (1 - fx) + corners[..., r + 1, c + 1] * fx
    out: NDArray[np.float64] = above * (1 - fy) + below * fy
    return out


def hats(start: int, stop: int, first: int, count: int, window: int) -> NDArray[np.float64]:
    """(pixel, corner) linear weights of the corners of `count` windows from window `first`."""
    centre = (np.arange(start, stop) + 0.5) / window - first
    centre = np.clip(centre, 0, count)
    out: NDArray[np.float64] = np.maximum(1 - np.abs(centre[:, None] - np.arange(count + 1)), 0)
    return out


def apply(
    values: NDArray[np.int16], gain: NDArray[np.floating], offset: NDArray[np.floating], scale: float
) -> NDArray[np.int16]:
    """Normalized int16 reflectance, rounded half to even; no data stays no data.

    Args:
        values: (…, row, col) int16 with `NODATA`.
        gain, offset: of the same shape; offset in reflectance.
        scale: reflectance of one count.
    """
    normalized = np.rint(values * gain + offset / scale)
    return np.where(values == NODATA, NODATA, np.clip(normalized, -32767, 32767)).astype(np.int16)
