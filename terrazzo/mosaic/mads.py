"""How far the clear scenes of a pixel lie from their geometric median: the three median absolute deviations that stand beside it.

Roberts, Dunn & Mueller 2018, "Open Data Cube Products Using High-Dimensional Statistics of Time Series", IGARSS, doi
10.1109/IGARSS.2018.8518312; Digital Earth Africa's and Australia's GeoMAD have the same three.
"""

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.mosaic import lanes
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.stack import PixelNumbers, clear_scenes
from terrazzo.mosaic.warp import Target

MADS = ("emad", "smad", "bcmad")
"""Names of the three, in the order of `deviations`."""
UNITS = (1e-4, 1e-5, 1e-4)
"""What one count of each is: reflectance, 1 less a cosine, a share. Angles between dates are small: 1e-4 would leave their cosines two digits."""
STEPS, LEFT, CLOSE = 20_000, 0.05, 0.01
"""Most further steps of the median, the counts that may be left of its way, and those below which two values are the same to it: where dates lie all
but on one line the mosaic's own stops some ten counts short of the best place, which is as good a composite and no centre for distances."""
KEPT = 8
"""Windows whose three are remembered: an export asks for one after the other, several windows at once."""


def mads(engine: Engine, selection: Selection, target: Target) -> PixelNumbers:
    """(3, row, col) int16 `deviations` of the clear scenes of a target, in `UNITS`, rounded half to even; no data where none is clear.

    Raises:
        TooLarge: too many scenes lie in the target, or they do not fit in memory.
    """
    try:
        return PixelNumbers(_kept(engine, selection, target))
    except _Lacking as lacking:
        return lacking.numbers


class _Lacking(Exception):
    """Carries numbers past the memory of `_kept`: what lacks a scene is computed again, for the scene may be back."""

    def __init__(self, numbers: PixelNumbers) -> None:
        super().__init__()
        self.numbers = numbers


@lru_cache(maxsize=KEPT)
def _kept(engine: Engine, selection: Selection, target: Target) -> NDArray[np.int16]:
    scenes, _, problems = clear_scenes(engine, selection, target, "deviations")
    if len(scenes):
        counted = deviations(scenes) / np.array(UNITS)[:, None, None]
        rounded = np.rint(np.minimum(counted, np.iinfo(np.int16).max))
        out = np.where(np.isfinite(rounded), rounded, NODATA).astype(np.int16)
    else:
        out = np.full((len(MADS), target.height, target.width), NODATA, np.int16)
    if problems:
        raise _Lacking(PixelNumbers(out, problems))
    return out


def deviations(scenes: NDArray[np.int16]) -> NDArray[np.float64]:
    """Medians over scenes of their distances to the geometric median m of all.

    EMAD: the Euclidean distance ‖x − m‖, reflectance; SMAD: the cosine distance 1 − x·m / (‖x‖ ‖m‖), 0 to 2; BCMAD: the Bray–Curtis
    distance Σ|x − m| / Σ|x + m|, over bands. A scene without any light has no angle and no share: it is left out of these two.

    Args:
        scenes: (scene, band, row, col) int16, scale 1e-4, nodata −32768; a scene counts where it has all bands.

    Returns:
        (3, row, col) float64, NaN where no scene counts; 0 for one scene, and for equal ones.
    """
    shape = scenes.shape[1:]
    middle, count = np.full(shape, np.nan), np.zeros(shape[1:], np.int64)
    weight = np.full((len(scenes), *shape[1:]), 255, np.uint8)
    place = np.full(shape[1:], -1, np.int16)
    lanes.geomedian(scenes, weight, NODATA, False, SCALE, middle, place, count)
    out = np.full((len(MADS), *shape[1:]), np.nan)
    _medians(scenes, middle, SCALE, out)
    return out


@njit(cache=True, nogil=True)
def _refined(points, middle):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Moves middle (band,) on to the geometric median of (scene, band) points, by Weiszfeld's steps."""
    count, bands = points.shape
    total, before = np.empty(bands), np.inf
    for _ in range(STEPS):
        total[:] = 0.0
        share, moved = 0.0, 0.0
        for s in range(count):
            far = CLOSE * CLOSE
            for b in range(bands):
                far += (points[s, b] - middle[b]) ** 2
            weight = 1 / np.sqrt(far)
            share += weight
            for b in range(bands):
                total[b] += weight * points[s, b]
        for b in range(bands):
            step = total[b] / share - middle[b]
            moved = max(moved, abs(step))
            middle[b] += 1.4 * step
        # Steps shrink by one share each: the sum of those to come.
        shrinks = min(moved / before, 0.9999)
        if moved == 0 or (before < np.inf and moved * shrinks < LEFT * (1 - shrinks)):
            break
        before = moved


@njit(cache=True, nogil=True)
def _medians(scenes, middles, unit, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    count, bands, rows, cols = scenes.shape
    far, points, middle = np.empty((3, count)), np.empty((count, bands)), np.empty(bands)
    for r in range(rows):
        for c in range(cols):
            n, lit = 0, 0
            for s in range(count):
                whole = True
                for b in range(bands):
                    points[n, b] = scenes[s, b, r, c]
                    whole &= scenes[s, b, r, c] != NODATA
                n += whole
            if n == 0:
                continue
            middle[:] = middles[:, r, c]
            _refined(points[:n], middle)
            for s in range(n):
                apart, absolute, together = 0.0, 0.0, 0.0
                product, own, other = 0.0, 0.0, 0.0
                for b in range(bands):
                    x, m = points[s, b], middle[b]
                    apart += (x - m) ** 2
                    absolute += abs(x - m)
                    together += abs(x + m)
                    product += x * m
                    own += x * x
                    other += m * m
                far[0, s] = unit * np.sqrt(apart)
                if own > 0 and other > 0 and together > 0:
                    far[1, lit] = max(0.0, 1 - product / np.sqrt(own * other))
                    far[2, lit] = absolute / together
                    lit += 1
            out[0, r, c] = _median(far[0, :n])
            if lit > 0:
                out[1, r, c], out[2, r, c] = _median(far[1, :lit]), _median(far[2, :lit])


@njit(cache=True, nogil=True)
def _median(values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The median of a few values, which are sorted in place."""
    n = len(values)
    for i in range(1, n):
        x, j = values[i], i
        while j > 0 and values[j - 1] > x:
            values[j] = values[j - 1]
            j -= 1
        values[j] = x
    return (values[(n - 1) // 2] + values[n // 2]) / 2
