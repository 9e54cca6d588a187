"""View-angle normalization: the c-factor of the Ross-Thick Li-Sparse model.

Kernels: Lucht, Schaaf and Strahler 2000 (doi 10.1109/36.841980), eqs. 38-44, h/b = 2, b/r = 1. Coefficients:
Roy et al. 2016 (doi 10.1016/j.rse.2016.01.023), table 5; red edge: Roy et al. 2017
(doi 10.1016/j.rse.2017.06.019), table 2.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Brdf = Literal["off", "nadir", "nadir+sun"]

COEFFICIENTS = {
    "B02": (0.0774, 0.0079, 0.0372),
    "B03": (0.1306, 0.0178, 0.0580),
    "B04": (0.1690, 0.0227, 0.0574),
    "B05": (0.2085, 0.0256, 0.0845),
    "B06": (0.2316, 0.0273, 0.1003),
    "B07": (0.2599, 0.0294, 0.1197),
    "B08": (0.3093, 0.0330, 0.1535),
    "B8A": (0.3093, 0.0330, 0.1535),
    "B11": (0.3430, 0.0453, 0.1154),
    "B12": (0.2658, 0.0387, 0.0639),
}
"""Isotropic, geometric (Li) and volumetric (Ross) coefficient."""


def ross_thick(
    sun_zenith: ArrayLike, view_zenith: ArrayLike, relative_azimuth: ArrayLike
) -> NDArray[np.float64]:
    """The volumetric kernel; angles in degrees, relative azimuth 0 = sensor on the sun's side."""
    ts, tv, phi = np.radians(sun_zenith), np.radians(view_zenith), np.radians(relative_azimuth)
    cos_xi = np.cos(ts) * np.cos(tv) + np.sin(ts) * np.sin(tv) * np.cos(phi)
    xi = np.arccos(np.clip(cos_xi, -1, 1))
    value = ((np.pi / 2 - xi) * np.cos(xi) + np.sin(xi)) / (np.cos(ts) + np.cos(tv)) - np.pi / 4
    return np.asarray(value, np.float64)


def li_sparse(
    sun_zenith: ArrayLike, view_zenith: ArrayLike, relative_azimuth: ArrayLike
) -> NDArray[np.float64]:
    """The geometric kernel, reciprocal form; angles in degrees."""
    ts, tv, phi = np.radians(sun_zenith), np.radians(view_zenith), np.radians(relative_azimuth)
    tan_s, tan_v = np.tan(ts), np.tan(tv)
    sec = 1 / np.cos(ts) + 1 / np.cos(tv)
    distance2 = tan_s**2 + tan_v**2 - 2 * tan_s * tan_v * np.cos(phi)
    cos_t = 2 * np.sqrt(distance2 + (tan_s * tan_v * np.sin(phi)) ** 2) / sec
    t = np.arccos(np.clip(cos_t, -1, 1))
    overlap = (t - np.sin(t) * np.cos(t)) * sec / np.pi
    cos_xi = np.cos(ts) * np.cos(tv) + np.sin(ts) * np.sin(tv) * np.cos(phi)
    value = overlap - sec + (1 + cos_xi) / (2 * np.cos(ts) * np.cos(tv))
    return np.asarray(value, np.float64)


LOWEST_SUN = 72.0
"""Degrees of sun zenith from which on the factor is held: the kernels were fitted to higher suns, and towards the horizon
the factor grows without bound and changes its sign."""
SUN = 45.0
"""Zenith angle in degrees to which the sun is taken where that is asked for."""


def nbar_factor(
    band: str,
    sun_zenith: ArrayLike,
    view_zenith: ArrayLike,
    relative_azimuth: ArrayLike,
    to_sun_zenith: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Factor that takes a land reflectance from its view angle to nadir, the sun unchanged or to another height.

    Args:
        band: a band with coefficients, B02 to B12 without B09 and B10.
        sun_zenith, view_zenith: degrees in [0, 90).
        relative_azimuth: degrees, 0 = sensor on the sun's side (backscatter).
        to_sun_zenith: degrees in [0, 90); None leaves the sun where it is.

    Returns:
        float64 of the broadcast shape; NaN where an angle is NaN.

    Raises:
        ValueError: the band has no coefficients, or a zenith is out of range.
    """
    if band not in COEFFICIENTS:
        raise ValueError(f"no BRDF coefficients for {band}; there are for {', '.join(COEFFICIENTS)}")
    target = sun_zenith if to_sun_zenith is None else to_sun_zenith
    for name, value in (("sun_zenith", sun_zenith), ("view_zenith", view_zenith), ("to_sun_zenith", target)):
        angle = np.asarray(value, np.float64)
        if np.any((angle < 0) | (angle >= 90)):
            raise ValueError(f"{name} must lie in [0, 90) degrees")
    iso, geo, vol = COEFFICIENTS[band]

    def reflectance(sun: ArrayLike, view: ArrayLike) -> NDArray[np.float64]:
        k_vol = ross_thick(sun, view, relative_azimuth)
        k_geo = li_sparse(sun, view, relative_azimuth)
        return iso + vol * k_vol + geo * k_geo

    nadir = np.zeros_like(np.asarray(view_zenith, np.float64))
    return reflectance(target, nadir) / reflectance(sun_zenith, view_zenith)
