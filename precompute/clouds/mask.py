"""The mask of a scene: model and archive fused pixel by pixel, then objects, shadows and rims."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from precompute.clouds.evidence import cloud_probability_likelihood, scl_likelihood
from precompute.clouds.model import CLASSES, class_probabilities
from precompute.clouds.spatial import dark_places, dilated, thrown_shadows, without_small_objects
from terrazzo.bands import MaskClass
from terrazzo.errors import InvalidRequest

Choice = Literal["fused", "scl", "model"]

SMALLEST_CLOUD = 25_000.0
"""Area in square metres below which a bright object is a roof, a quarry or a greenhouse."""
CLOUD_RIM, SHADOW_RIM = 120.0, 90.0
"""Metres by which clouds and shadows reach beyond where they are seen."""
DARK_IN_SHADOW = ("B08", "B8A", "B07", "B11", "B12")
SATURATED = 1.9
"""Reflectance no surface has."""


class Mask(NamedTuple):
    """Classes (row, col) uint8 and probabilities (class, row, col) float32 in the order of `model.CLASSES`."""

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


def mask_scene(
    reflectance: NDArray[np.float32],
    bands: tuple[str, ...],
    *,
    level: str,
    pixel: float,
    sun: tuple[float, float] | None,
    scl: NDArray[np.uint8] | None = None,
    cloud_probability: NDArray[np.uint8] | None = None,
    choice: Choice = "fused",
) -> Mask:
    """Classifies a scene.

    Args:
        reflectance: (band, row, col), NaN without data.
        level: `L1C` or `L2A`.
        pixel: metres.
        sun: zenith and azimuth in degrees, mean of the scene; without it shadows are told by their spectrum alone.
        scl: Sen2Cor's scene classification on the same pixels.
        cloud_probability: Sen2Cor's cloud probability in per cent.
        choice: `fused`, or one of the two sources alone.

    Raises:
        InvalidRequest: `scl` was chosen and the product has none.
        MissingBand: too few bands for the model.
    """
    if choice == "scl" and scl is None:
        raise InvalidRequest("--mask scl: the product has no scene classification; use --mask model")
    p = class_probabilities(reflectance, bands, level)
    valid = np.isfinite(p[0])
    if choice == "scl":
        p = np.where(valid, 1.0, np.nan).astype(np.float32) * np.ones_like(p)
    if scl is not None and choice != "model":
        p = p * scl_likelihood(scl)
        if cloud_probability is not None:
            p = p * cloud_probability_likelihood(cloud_probability)
    p = _smoothed(p / p.sum(axis=0), valid, 30.0 / pixel)
    # Shadows are darkest where the sky is: in the infrared.
    nir = next((reflectance[bands.index(b)] for b in DARK_IN_SHADOW if b in bands), None)
    return Mask(_classes(p, valid, reflectance, nir, pixel, sun), p)


def _smoothed(p: NDArray[np.float32], valid: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    if sigma < 0.3:
        return p
    inside = ndimage.gaussian_filter(valid.astype(np.float32), sigma)
    out = np.full_like(p, np.nan)
    for k, layer in enumerate(p):
        mean = ndimage.gaussian_filter(np.where(valid, layer, 0), sigma)
        out[k][valid] = mean[valid] / inside[valid]
    return out


def _classes(
    p: NDArray[np.float32],
    valid: NDArray[np.bool_],
    reflectance: NDArray[np.float32],
    nir: NDArray[np.float32] | None,
    pixel: float,
    sun: tuple[float, float] | None,
) -> NDArray[np.uint8]:
    index = {c: CLASSES.index(c) for c in CLASSES}
    thick, thin, shade = (p[index[c]] for c in (MaskClass.CLOUD, MaskClass.THIN_CLOUD, MaskClass.SHADOW))
    least = round(SMALLEST_CLOUD / pixel**2)
    cloudy = without_small_objects(valid & (thick + thin > 0.5), least)
    cloud = cloudy & (thick >= thin)

    reachable = np.ones(valid.shape, bool)
    if sun is not None:
        clouds = dilated(without_small_objects(cloudy & (thick > 0.2), least), pixel, pixel)
        reachable = thrown_shadows(clouds, sun_zenith=sun[0], sun_azimuth=sun[1], pixel=pixel)
    # A river's banks are as dark as a shadow: what lies beside water is water.
    water = dilated(valid & (p[index[MaskClass.WATER]] > 0.3), 1.5 * pixel, pixel)
    dark = (
        np.zeros(valid.shape, bool)
        if nir is None or sun is None
        else dark_places(nir, pixel) & (shade > 0.05)
    )
    seen = reachable & ~water & (dark | (shade > 0.5))
    shadow = without_small_objects(valid & seen & ~cloudy, least // 2)

    ground = p[[index[c] for c in (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW)]]
    ground = np.where(np.isfinite(ground), ground, -1)
    classes = np.array([MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW], np.uint8)[ground.argmax(axis=0)]
    classes[dilated(shadow, SHADOW_RIM, pixel)] = MaskClass.SHADOW
    classes[dilated(cloudy, CLOUD_RIM, pixel)] = MaskClass.THIN_CLOUD
    classes[dilated(cloud, CLOUD_RIM / 2, pixel)] = MaskClass.CLOUD
    saturated = np.where(np.isfinite(reflectance), reflectance, 0).max(axis=0) > SATURATED
    classes[saturated] = MaskClass.DEFECTIVE
    classes[~valid] = MaskClass.NODATA
    return classes
