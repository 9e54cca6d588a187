"""Brings pixels of a fine grid to a coarser one that it nests in."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def thinned(values: NDArray[np.number], factor: int, nodata: float) -> NDArray[np.float32]:
    """(row / factor, col / factor) float32 means of factor × factor pixels; NaN where one of them is `nodata`."""
    out = np.empty((values.shape[0] // factor, values.shape[1] // factor), np.float32)
    _thin(values, factor, nodata, out)
    return out


@njit(cache=True, nogil=True)
def _thin(values, factor, nodata, out):  # pragma: no cover
    if factor == 2:
        # By far the commonest, four times as fast without the inner loops.
        for r in range(out.shape[0]):
            for c in range(out.shape[1]):
                a, b = values[2 * r, 2 * c], values[2 * r, 2 * c + 1]
                d, e = values[2 * r + 1, 2 * c], values[2 * r + 1, 2 * c + 1]
                whole = (a != nodata) & (b != nodata) & (d != nodata) & (e != nodata)
                total = 0.0 + a + b + d + e
                out[r, c] = total / 4 if whole else np.nan
        return
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            total, whole = 0.0, True
            for i in range(r * factor, (r + 1) * factor):
                for j in range(c * factor, (c + 1) * factor):
                    whole = whole and values[i, j] != nodata
                    total += values[i, j]
            out[r, c] = total / (factor * factor) if whole else np.nan
