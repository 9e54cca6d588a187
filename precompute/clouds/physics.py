"""What the light by itself proves: snow that cannot be, and pixels so bright and grey that they are no ground."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from terrazzo.bands import MaskClass
from terrazzo.precompute.clouds.model import CLASSES

VEILED = 0.2
"""Reflectance in B02 at the surface that veils over fields do not reach."""
LIGHTEST = 0.35
"""Reflectance in B02 that sand and soil do not reach; brighter pixels may look red because a sensor's blue is saturated."""
VISIBLE = ("B02", "B03", "B04")
SHORTWAVE = ("B11", "B12")
SNOW_SHORTWAVE, SNOW_BRIGHTEST = 0.15, 1.1
"""Reflectance in the short-wave infrared, and in any band, above which nothing is snow: grains of ice absorb at 1.6 and 2.2 µm, the drops and
small crystals of clouds hardly, and no ground reflects more than falls on it."""
BRIGHT = 0.25
"""Reflectance of the darkest visible band above which a pixel is bright: snow, cloud, sand, salt, or a roof."""
REDDEST, SANDIEST, REDDISH = 1.15, 1.3, 1.1
"""B04 and B11 over B02 up to which a bright pixel may be cloud, and B04 over B02 from which a pixel has the ground's colour: of sand and bare
fields they were 1.1 to 1.3 and 1.2 to 1.9, of real clouds 0.8 to 1.1 and 0.4 to 1.2."""

REDDEST_CLOUD, SEEN_THROUGH, HIGH = 1.4, 0.02, 0.008
"""B04 over B02, both less the darkest ground around, from which a pixel has the ground's colour; least B04 of such; and B10 from which a high cloud
lies over it. Haze lies over all ground, so what is brighter than the darkest shows its own colour: the median of 22 clouds labelled by hand is 1.2,
of ground beside them that had been taken for cloud 1.4."""


def no_snow(reflectance: NDArray[np.floating], bands: Sequence[str]) -> NDArray[np.bool_]:
    """(row, col) pixels of (band, row, col) reflectance that cannot be snow, or, without a short-wave infrared band, be distinguished from cloud."""
    shortwave = next((list(bands).index(band) for band in SHORTWAVE if band in bands), None)
    if shortwave is None:
        return np.ones(reflectance.shape[1:], np.bool_)
    never = (reflectance > SNOW_BRIGHTEST).any(axis=0)
    never |= reflectance[shortwave] > SNOW_SHORTWAVE
    return np.asarray(never)


def bright(reflectance: NDArray[np.floating], bands: Sequence[str]) -> NDArray[np.bool_]:
    """(row, col) pixels of (band, row, col) reflectance that are bright in every visible band there is; none without one."""
    visible = [k for k, band in enumerate(bands) if band in VISIBLE]
    if not visible:
        return np.zeros(reflectance.shape[1:], np.bool_)
    white = reflectance[visible[0]] > BRIGHT
    for k in visible[1:]:
        white &= reflectance[k] > BRIGHT
    return np.asarray(white)


def cloud_like(reflectance: NDArray[np.floating], bands: Sequence[str]) -> NDArray[np.bool_]:
    """(row, col) pixels that are bright, grey as clouds are and no snow: neither ground nor snow looks so but roofs and salt."""
    band = {name: reflectance[k] for k, name in enumerate(bands)}
    out = bright(reflectance, bands) & no_snow(reflectance, bands)
    for other, most in (("B04", REDDEST), ("B11", SANDIEST)):
        if other in band and "B02" in band:
            out &= ~(band[other] > most * band["B02"])
    return np.asarray(out)


def earth_coloured(reflectance: NDArray[np.floating], bands: Sequence[str], level: str) -> NDArray[np.bool_]:
    """(row, col) pixels that are redder than clouds are and, where B11 is there, brighter in it: soil, sand, dry grass, tiles.

    At the surface, `L2A`, only pixels of `VEILED` or more: a veil over fields, whose blue light the correction took away, looks so, too.
    """
    band = {name: reflectance[k] for k, name in enumerate(bands)}
    if not {"B02", "B04"} <= band.keys():
        return np.zeros(reflectance.shape[1:], np.bool_)
    out = (band["B04"] > REDDISH * band["B02"]) & (band["B02"] < LIGHTEST)
    if "B11" in band:
        out &= band["B11"] > SANDIEST * band["B02"]
    if level == "L2A":
        out &= band["B02"] > VEILED
    return np.asarray(out)


def earth_through_haze(
    reflectance: NDArray[np.floating], bands: Sequence[str], above_air: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(row, col) pixels of (band, row, col) reflectance that are redder than clouds are once the air's share is taken off: soil under haze.

    Args:
        above_air: (2, row, col) B02 and B04 less the darkest ground around, see `context.HAZY`.
    """
    blue, red = above_air
    out = (red > REDDEST_CLOUD * np.maximum(blue, 0)) & (red > SEEN_THROUGH)
    out &= reflectance[list(bands).index("B02")] < LIGHTEST
    if "B10" in bands:
        out &= reflectance[list(bands).index("B10")] < HIGH
    return np.asarray(out)


def share_out(p: NDArray[np.float32], never: NDArray[np.bool_], white: NDArray[np.bool_]) -> None:
    """Brings (class, row, col) products of `CLASSES` to a sum of 1, and takes away snow that cannot be, in place.

    What was taken for snow is cloud where it is bright; elsewhere the other classes share what snow had.

    Args:
        never, white: (row, col), see `no_snow` and `bright`.
    """
    _share_out(p, never, white, CLASSES.index(MaskClass.SNOW), CLASSES.index(MaskClass.CLOUD))


@njit(cache=True, nogil=True, error_model="numpy")
def _share_out(p, never, white, snow, cloud):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes, rows, cols = p.shape
    total, rest, before = (np.empty(cols, np.float32), np.empty(cols, np.float32), np.empty(cols, np.float32))
    for r in range(rows):
        _sum(p, r, total)
        for k in range(classes):
            for c in range(cols):
                p[k, r, c] /= total[c]
        _sum(p, r, before)
        for c in range(cols):
            freed = p[snow, r, c] if never[r, c] else np.float32(0)
            p[snow, r, c] -= freed
            p[cloud, r, c] += freed if white[r, c] else np.float32(0)
        _sum(p, r, rest)
        for c in range(cols):
            rest[c] = (np.float32(1) / rest[c] if rest[c] > 0 else np.float32(0)) * before[c]
        for k in range(classes):
            for c in range(cols):
                p[k, r, c] *= rest[c]


@njit(cache=True, nogil=True, inline="always")
def _sum(p, r, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sums of a row over the classes, in their order."""
    out[:] = p[0, r]
    for k in range(1, p.shape[0]):
        for c in range(len(out)):
            out[c] += p[k, r, c]
