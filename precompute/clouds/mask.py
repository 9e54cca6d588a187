"""The mask of a scene: model and archive fused pixel by pixel, then objects, shadows and rims."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from terrazzo.bands import MaskClass
from terrazzo.errors import InvalidRequest
from terrazzo.precompute.clouds.context import HAZY, NOTHING, Rows, Surroundings, surroundings
from terrazzo.precompute.clouds.evidence import (
    classi_likelihood,
    cloud_probability_likelihood,
    multiply,
    scl_likelihood,
)
from terrazzo.precompute.clouds.model import CLASSES, Model, class_probabilities, load_model
from terrazzo.precompute.clouds.physics import (
    bright,
    cloud_like,
    earth_coloured,
    earth_through_haze,
    no_snow,
    share_out,
)
from terrazzo.precompute.clouds.spatial import (
    dilated,
    gaussian,
    more_dark_than_clouds,
    possible_shadows,
    smoothed,
    without_small_objects,
)

Choice = Literal["fused", "scl", "model"]

SMALLEST_CLOUD = 25_000.0
"""Area in square metres below which an object is a roof, a quarry or a greenhouse, unless its pixels prove a cloud."""
CLOUD_RIM, SHADOW_RIM = 30.0, 20.0
"""Metres by which clouds and shadows reach beyond where they are seen; clouds by a pixel at least. Weights fall towards them in any case."""
CORE = 0.75
"""Probability that a quarter of the smallest cloud has to reach somewhere in an object that is not bright: bright fields are taken for cloud
half-heartedly."""
KEPT = 0.6
"""Probability from which a bright pixel is cloud, however small its object."""
HALO, IN_HALO = 300.0, 0.65
"""Metres around thick clouds within which their light brightens the ground, and the probability that thin cloud needs there. Where B10 or
Sen2Cor speaks for a cloud one half is enough, as it is farther away: there a veil covers all."""
OVER_EARTH = 0.85
"""Probability that a pixel needs whose colour is that of bare ground: four fifths of the false alarms over clear fields, cities and beaches had
less, and of real clouds next to none."""
SCL_CLOUDS = (8, 9, 10)
"""Values of Sen2Cor's scene classification that are clouds."""
LIKELY, DOUBTED, SURE = 0.35, 0.6, 0.7
"""Probability of shadow that is believed where a cloud stands on the ray to the sun; where that ray leaves the scene below the highest
clouds, and where the sun is not known; and the same two without a cloud in the scene."""
AROUND, STANDS_OUT, CERTAIN = 5000.0, 1.3, 0.9
"""Metres of the square in which dark ground is compared with the clouds; by how much a shadow is likelier than ground that is dark all over;
and the probability that is enough there."""
SHADOW_PIXEL = 40.0
"""Metres to which clouds and dark places are coarsened before shadows are looked for."""
SATURATED = 1.9
"""Reflectance no surface has."""
COARSEST = 30.0
"""Metres of the largest pixels whose surroundings are looked at, as they were in training. At the surface they are not: on clear days of
real L2A scenes they made a sixth of the fields thin cloud."""
STRIP = 128
"""Rows whose spectra are held at a time."""
FULL, UNKNOWN = 250, 255
"""Stored probability of 1, and of no data."""


class Mask(NamedTuple):
    """Classes (row, col) uint8 and probabilities (class, row, col) uint8 in the order of `model.CLASSES`: 0–`FULL`
    for 0–1, `UNKNOWN` without data."""

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.uint8]


class _Pixels(NamedTuple):
    """Measures of single pixels, (row, col) each: probabilities as in `Mask`; whether some band is saturated, whether the pixel
    is bright and grey as clouds are, and whether it has the ground's colour."""

    p: NDArray[np.uint8]
    saturated: NDArray[np.bool_]
    white: NDArray[np.bool_]
    earth: NDArray[np.bool_]


def mask_scene(
    rows: Rows,
    shape: tuple[int, int],
    bands: tuple[str, ...],
    *,
    level: str,
    pixel: float,
    sun: tuple[float, float] | None,
    scl: NDArray[np.uint8] | None = None,
    cloud_probability: NDArray[np.uint8] | None = None,
    classi: NDArray[np.uint8] | None = None,
    choice: Choice = "fused",
    model: Model | None = None,
) -> Mask:
    """Classifies a scene; holds some bytes a pixel besides what `rows` returns for `STRIP` rows.

    Args:
        rows: gives the reflectance of `bands`.
        shape: rows and columns of the scene.
        level: `L1C` or `L2A`.
        pixel: metres.
        sun: zenith and azimuth in degrees, mean of the scene; without it shadows are detected by their spectrum alone.
        scl: Sen2Cor's scene classification on the same pixels.
        cloud_probability: Sen2Cor's cloud probability in per cent.
        classi: what an L1C product's own mask says, see `read_classification`.
        choice: `fused`, or one of the two sources alone.
        model: the classifier; the shipped one of the level without it.

    Raises:
        InvalidRequest: `scl` was chosen and the product has none.
        MissingBand: too few bands for the model.
    """
    if choice == "scl" and scl is None:
        raise InvalidRequest("--mask scl: the product has no scene classification; use --mask model")

    judge = model or load_model(level)
    around = surroundings(rows, shape, bands, pixel) if level == "L1C" and pixel <= COARSEST else NOTHING

    evidence = _evidence(choice, scl, cloud_probability, classi)

    def fused(start: int, stop: int, reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
        context = around.features(start, reflectance) if around.coarse else None
        p = class_probabilities(reflectance, bands, judge, context)
        if choice == "scl":
            p = np.where(np.isfinite(p), np.float32(1), p)
        for table, values in evidence:
            multiply(p, table, values[start:stop])
        share_out(p, no_snow(reflectance, bands), bright(reflectance, bands))
        return p

    pixels = _by_strips(rows, shape, bands, level, fused, around, sigma=30.0 / pixel)
    thin_is_sure = np.full((1, 1), "B10" in bands)
    if scl is not None and choice != "model":
        thin_is_sure = thin_is_sure | np.isin(scl, SCL_CLOUDS)
    return Mask(_classes(pixels, pixel, sun, thin_is_sure), pixels.p)


def _evidence(
    choice: Choice,
    scl: NDArray[np.uint8] | None,
    cloud_probability: NDArray[np.uint8] | None,
    classi: NDArray[np.uint8] | None,
) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Likelihoods (class, value) of what the archive says, and its rasters of values."""
    every = np.arange(256, dtype=np.uint8)
    out = []
    if scl is not None and choice != "model":
        out.append((scl_likelihood(every), scl))
        if cloud_probability is not None:
            out.append((cloud_probability_likelihood(every), cloud_probability))
    if classi is not None and choice == "fused":
        out.append((classi_likelihood(every), classi))
    return out


def _by_strips(
    rows: Rows,
    shape: tuple[int, int],
    bands: tuple[str, ...],
    level: str,
    probabilities: Callable[[int, int, NDArray[np.float32]], NDArray[np.float32]],
    around: Surroundings,
    sigma: float,
) -> _Pixels:
    """Measures of pixels, smoothed over `sigma` pixels, a strip of rows at a time."""
    p = np.empty((len(CLASSES), *shape), np.uint8)
    saturated, white, earth = (np.empty(shape, np.bool_) for _ in range(3))
    kernel = gaussian(sigma)
    rim = len(kernel) // 2

    def strip(start: int) -> None:
        stop = min(start + STRIP, shape[0])
        low, high = max(start - rim, 0), min(stop + rim, shape[0])
        reflectance = rows(low, high)
        inner = slice(start - low, stop - low)
        _store(smoothed(probabilities(low, high, reflectance), kernel, inner), p[:, start:stop])
        seen = reflectance[:, inner]
        saturated[start:stop] = (seen > SATURATED).any(axis=0)
        white[start:stop] = cloud_like(seen, bands)
        earth[start:stop] = earth_coloured(seen, bands, level)
        if around.air is not None:
            hazy = seen[[bands.index(b) for b in HAZY]]
            earth[start:stop] |= earth_through_haze(seen, bands, around.above_air(start, hazy))

    # Strips run beside each other, so the linear algebra within one need not.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(strip, start) for start in range(0, shape[0], STRIP)]:
            done.result()
    return _Pixels(p, saturated, white, earth)


@njit(cache=True, nogil=True, error_model="numpy")
def _store(smooth, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes (class, row, col) probabilities as they are stored."""
    for k in range(smooth.shape[0]):
        for r in range(smooth.shape[1]):
            for c in range(smooth.shape[2]):
                p = smooth[k, r, c]
                out[k, r, c] = np.uint8(np.rint(p * np.float32(FULL))) if p == p else np.uint8(UNKNOWN)


class _Sky(NamedTuple):
    """(row, col) pixels under any cloud, and under a thick one."""

    cloudy: NDArray[np.bool_]
    thick: NDArray[np.bool_]


def _classes(
    pixels: _Pixels, pixel: float, sun: tuple[float, float] | None, thin_is_sure: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    valid = pixels.p[0] != UNKNOWN
    sky = _clouds(pixels, pixel, thin_is_sure)
    shadow = _shadows(pixels.p, sky.cloudy, pixel, sun)
    classes = _ground(pixels.p[[CLASSES.index(c) for c in (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW)]])
    classes[dilated(shadow, SHADOW_RIM, pixel)] = MaskClass.SHADOW
    classes[dilated(sky.cloudy, max(CLOUD_RIM, pixel), pixel)] = MaskClass.THIN_CLOUD
    classes[dilated(sky.thick, CLOUD_RIM / 2, pixel)] = MaskClass.CLOUD
    classes[pixels.saturated] = MaskClass.DEFECTIVE
    classes[~valid] = MaskClass.NODATA
    return classes


def _clouds(pixels: _Pixels, pixel: float, thin_is_sure: NDArray[np.bool_]) -> _Sky:
    """Clouds as objects. What is bright and likely a cloud stays, however small."""
    thick, thin = (pixels.p[CLASSES.index(c)] for c in (MaskClass.CLOUD, MaskClass.THIN_CLOUD))
    valid = thick != UNKNOWN
    either = thick.astype(np.uint16) + thin
    halo = _near(valid & (thick > 0.5 * FULL), HALO, pixel) & (thick < thin) & ~thin_is_sure & ~pixels.white
    enough = np.where(halo, np.uint16(IN_HALO * FULL), np.uint16(0.5 * FULL))
    enough[pixels.earth] = round(OVER_EARTH * FULL)
    seen = valid & (either > enough)
    core = seen & ((either > CORE * FULL) | pixels.white)
    cloudy = without_small_objects(seen, round(SMALLEST_CLOUD / pixel**2), core)
    cloudy |= valid & pixels.white & (either > KEPT * FULL)
    return _Sky(cloudy, cloudy & (thick >= thin))


def _shadows(
    p: NDArray[np.uint8], cloudy: NDArray[np.bool_], pixel: float, sun: tuple[float, float] | None
) -> NDArray[np.bool_]:
    """Dark ground where a cloud may stand before the sun."""
    thick, shade, wet = (p[CLASSES.index(c)] for c in (MaskClass.CLOUD, MaskClass.SHADOW, MaskClass.WATER))
    least = round(SMALLEST_CLOUD / pixel**2)
    valid = thick != UNKNOWN
    if sun is None:
        seen = shade > (DOUBTED if cloudy.any() else SURE) * FULL
    else:
        clouds = without_small_objects(cloudy & (thick > 0.2 * FULL), least)
        f = max(1, round(SHADOW_PIXEL / pixel))
        needed = _needed(clouds[::f, ::f], shade[::f, ::f], f * pixel, sun, DOUBTED if cloudy.any() else SURE)
        seen = shade > needed.repeat(f, axis=0).repeat(f, axis=1)[: shade.shape[0], : shade.shape[1]]
    # A river's banks are as dark as a shadow: what lies beside water is water.
    water = dilated(valid & (wet > 0.3 * FULL), 1.5 * pixel, pixel)
    return without_small_objects(valid & seen & ~water & ~cloudy, least // 2)


def _needed(
    clouds: NDArray[np.bool_], shade: NDArray[np.uint8], pixel: float, sun: tuple[float, float], beyond: float
) -> NDArray[np.float32]:
    """(row, col) probability of shadow, 0–`FULL`, that is believed to be one.

    Clouds throw no more shadow than they cover: where more is dark around, the ground is, and a shadow has to stand out from it.
    """
    possible = possible_shadows(clouds, sun_zenith=sun[0], sun_azimuth=sun[1], pixel=pixel)
    needed = (np.array([2, beyond, LIKELY], np.float32) * FULL)[possible]
    ground = more_dark_than_clouds(clouds, shade > needed, shade, int(AROUND / pixel) | 1)
    stands_out = np.minimum(STANDS_OUT * ground, CERTAIN * FULL)
    return np.where(possible == 2, np.maximum(needed, stands_out), needed).astype(np.float32)


def _near(mask: NDArray[np.bool_], distance: float, pixel: float) -> NDArray[np.bool_]:
    """Pixels within about `distance` metres of a mask, computed on `SHADOW_PIXEL`."""
    f = max(1, round(SHADOW_PIXEL / pixel))
    rows, cols = (-(-n // f) for n in mask.shape)
    padded = np.zeros((rows * f, cols * f), np.bool_)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    coarse = np.asarray(padded.reshape(rows, f, cols, f).any(axis=(1, 3)), np.bool_)
    near = dilated(coarse, distance, f * pixel)
    return near.repeat(f, axis=0).repeat(f, axis=1)[: mask.shape[0], : mask.shape[1]]


def _ground(p: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The likeliest of land, water and snow, whose probabilities are given."""
    classes = np.full(p.shape[1:], MaskClass.LAND, np.uint8)
    classes[p[1] > p[0]] = MaskClass.WATER
    classes[p[2] > np.maximum(p[0], p[1])] = MaskClass.SNOW
    return classes
