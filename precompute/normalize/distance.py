"""How far a pixel lies from what cannot be used, as a weight: scenes fade out towards clouds and their own edge."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

RAMP = 1500.0
"""Metres from the next unusable pixel at which a pixel weighs in full."""


def distance_weight(usable: NDArray[np.bool_], pixel: float) -> NDArray[np.float32]:
    """min(d / RAMP, 1), d the distance in metres to the nearest unusable pixel of (row, col).

    Exact, in two passes: down the columns, then along the rows the lower envelope of parabolas
    (Felzenszwalb and Huttenlocher 2012, doi 10.4086/toc.2012.v008a019); nothing beyond `RAMP` is looked at.
    """
    far = int(np.ceil(RAMP / pixel)) + 1
    rows, cols = usable.shape
    down = np.empty(usable.shape, np.uint16)
    out = np.empty(usable.shape, np.float32)
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        passes: tuple[tuple[Callable[..., None], int], ...] = (
            (partial(_down, usable, far, down), cols),
            (partial(_along, down, far, pixel / RAMP, out), rows),
        )
        for run, length in passes:
            edges = np.linspace(0, length, threads + 1).astype(int)
            for done in [pool.submit(run, a, b) for a, b in pairwise(edges)]:
                done.result()
    return out


@njit(cache=True, nogil=True)
def _down(usable, far, out, first, last):  # pragma: no cover
    """Pixels to the nearest unusable one of the same column, `far` at most, for some columns."""
    rows = usable.shape[0]
    for r in range(rows):
        for c in range(first, last):
            if not usable[r, c]:
                out[r, c] = 0
            elif r == 0:
                out[r, c] = far
            else:
                out[r, c] = min(out[r - 1, c] + 1, far)
    for r in range(rows - 2, -1, -1):
        for c in range(first, last):
            out[r, c] = min(out[r, c], out[r + 1, c] + 1)


@njit(cache=True, nogil=True)
def _along(down, far, factor, out, first, last):  # pragma: no cover
    """Weights of some rows from the distances along the columns."""
    cols = down.shape[1]
    at = np.empty(cols, np.int64)
    start = np.empty(cols + 1, np.float64)
    for r in range(first, last):
        n = 0
        for c in range(cols):
            if down[r, c] >= far:
                continue
            height = float(down[r, c]) ** 2
            begin = -np.inf
            while n:
                other = at[n - 1]
                begin = ((height + c * c) - (float(down[r, other]) ** 2 + other * other)) / (2 * (c - other))
                if begin > start[n - 1]:
                    break
                n -= 1
                begin = -np.inf
            at[n] = c
            start[n] = begin
            n += 1
        start[n] = np.inf
        k = 0
        for c in range(cols):
            if not n:
                out[r, c] = 1.0
                continue
            while start[k + 1] < c:
                k += 1
            d = np.sqrt(float(down[r, at[k]]) ** 2 + float((c - at[k]) ** 2))
            out[r, c] = min(d * factor, 1.0)
