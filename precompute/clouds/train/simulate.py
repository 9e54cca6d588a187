"""Labelled spectra by simulation: surfaces seen through clear air, haze, thin and thick clouds, and in shadow.

A pixel under a cloud shows the ground twice dimmed and the cloud's own reflectance; clouds are white in the visible, darker in
the short-wave infrared, water clouds less than ice. In shadow the direct beam is missing and the diffuse share, which
falls with wavelength, remains. Water vapour hides the ground in B10 and dims it in B09; what floats above the vapour
shows. Rayleigh reflectance stands for the air above a product at the top of the atmosphere.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from precompute.clouds.model import BANDS

Array = NDArray[np.float64]
WAVELENGTH = np.array(
    [0.4427, 0.4927, 0.5598, 0.6646, 0.7041, 0.7405, 0.7828, 0.8328, 0.8647, 0.9451, 1.3735, 1.6137, 2.2024]
)
"""Micrometres, in the order of `model.BANDS`."""
LAND, WATER, SNOW, CLOUD, THIN, SHADOW = range(6)
B08, B09, B10, B11, B12 = (BANDS.index(b) for b in ("B08", "B09", "B10", "B11", "B12"))


class Samples(NamedTuple):
    """(sample, band) reflectance and the index of the class of each sample."""

    reflectance: Array
    label: NDArray[np.int64]


def _through(points: list[tuple[float, Array]]) -> Array:
    """(sample, band) spectra, linear in wavelength between given reflectances (n,)."""
    at = np.array([w for w, _ in points])
    values = np.stack([v for _, v in points], axis=1)
    i = np.clip(np.searchsorted(at, WAVELENGTH) - 1, 0, len(at) - 2)
    t = np.clip((WAVELENGTH - at[i]) / (at[i + 1] - at[i]), 0, 1)
    return np.asarray(values[:, i] * (1 - t) + values[:, i + 1] * t)


def water(n: int, rng: np.random.Generator) -> Array:
    """Water from clear to turbid and green, with sun glint."""
    turbid = rng.gamma(1.2, 0.025, n)
    blue, green, red, nir = (
        base + turbid * rng.uniform(low, high, n)
        for base, low, high in ((0.03, 0.5, 1.2), (0.025, 0.8, 1.5), (0.012, 0.3, 1.2), (0.004, 0.02, 0.5))
    )
    swir = 0.001 + 0.15 * nir * rng.random(n)
    points = [(0.44, blue * rng.uniform(0.7, 1.1, n)), (0.4927, blue), (0.5598, green), (0.6646, red)]
    points += [(0.7041, 0.5 * (red + nir)), (0.8328, nir), (1.6, swir), (2.2, 0.6 * swir)]
    return _through(points) + rng.exponential(0.008, (n, 1))


def vegetation(n: int, rng: np.random.Generator) -> Array:
    """Dense to sparse canopies, which the library's leaves are too bright for."""
    red = rng.uniform(0.012, 0.07, n)
    nir = rng.uniform(0.15, 0.55, n)
    edge = red + (nir - red) * rng.uniform(0.1, 0.3, n)
    swir = nir * rng.uniform(0.3, 0.7, n)
    blue, green = red * rng.uniform(0.45, 0.95, n), red * rng.uniform(0.9, 1.9, n)
    points = [(0.44, blue * rng.uniform(0.6, 1.0, n)), (0.4927, blue), (0.5598, green), (0.6646, red)]
    points += [
        (0.7041, edge),
        (0.7405, nir * rng.uniform(0.7, 0.9, n)),
        (0.7828, nir * rng.uniform(0.9, 1, n)),
    ]
    points += [
        (0.8328, nir),
        (0.8647, nir * 1.03),
        (1.6137, swir),
        (2.2024, swir * rng.uniform(0.35, 0.7, n)),
    ]
    return _through(points)


def simulate(surfaces: Array, snow: Array, level: str, n: int, rng: np.random.Generator) -> Samples:
    """n samples of each class.

    Args:
        surfaces: (spectrum, band) land reflectance.
        snow: (spectrum, band) snow reflectance.
        level: `L2A` leaves the error of an atmospheric correction, `L1C` the whole air.
    """
    half = n // 2
    land = np.concatenate([surfaces[rng.integers(len(surfaces), size=n - half)], vegetation(half, rng)])
    land *= rng.uniform(0.75, 1.2, (n, 1))
    dirty = snow[rng.integers(len(snow), size=n)] * rng.uniform(0.55, 1.0, (n, 1))
    ground = np.where(rng.random((n, 1)) < 0.12, water(n, rng), land)
    ground = np.where(rng.random((n, 1)) < 0.06, dirty, ground)
    diffuse = rng.uniform(0.12, 0.4, (n, 1)) * (WAVELENGTH / 0.49) ** -rng.uniform(0.5, 2.2, (n, 1))
    shadow = land * (diffuse + rng.uniform(0, 0.25, (n, 1)))
    none = np.zeros((n, len(BANDS)))
    thick = _cloud(rng.gamma(3.0, 6.0, n) + 4, 0.15, rng)
    thin = _cloud(rng.uniform(0.35, 4.0, n), 0.5, rng)
    seen = [(land, none, none), (water(n, rng), none, none), (dirty, none, none)]
    seen += [(ground, *thick), (ground, *thin), (shadow, none, none)]
    made = [_air(g, white, white * above, level, rng) for g, white, above in seen]
    return Samples(np.concatenate(made), np.repeat(np.arange(6), n))


def _cloud(depth: Array, ice_share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """(sample, band) reflectance of clouds, two-stream g·τ / (1 + g·τ), and how much of it B09 and B10 let through."""
    n = len(depth)
    g = 0.075 * depth[:, None]
    ice = rng.random(n) < ice_share
    slope = 1 + rng.normal(0, 0.05, (n, 1)) * np.clip((WAVELENGTH - 0.65) / 0.2, -1.2, 1.2)
    dim = np.ones((n, len(BANDS)))
    dim[:, B11] = np.where(ice, rng.uniform(0.35, 0.75, n), rng.uniform(0.7, 1.0, n))
    dim[:, B12] = np.where(ice, rng.uniform(0.2, 0.6, n), rng.uniform(0.45, 0.9, n))
    white = g / (1 + g) * slope * dim * rng.uniform(0.85, 1.15, (n, 1))
    above = np.ones((n, len(BANDS)))
    above[:, B09] = np.where(ice, rng.uniform(0.85, 1.0, n), rng.uniform(0.5, 0.95, n))
    above[:, B10] = np.where(ice, rng.uniform(0.25, 0.95, n), rng.uniform(0, 1, n) ** 4 * 0.2)
    return np.minimum(white, 1.1), above


def _air(ground: Array, white: Array, shown: Array, level: str, rng: np.random.Generator) -> Array:
    """What a sensor, or a product at the surface, shows of ground under a cloud.

    Args:
        white: reflectance of the cloud; shown: what is left of it above the water vapour.
    """
    n = len(ground)
    passed = np.clip(1 - white, 0, 1) ** 2 * ground / (1 - np.minimum(white, 0.95) * ground)
    vapour = np.ones((n, len(BANDS)))
    if level == "L1C":
        vapour[:, B09] = rng.uniform(0.2, 0.65, n)
        vapour[:, B10] = rng.exponential(0.004, n)
    rho = passed * vapour + (shown if level == "L1C" else white)
    aerosol = (WAVELENGTH / 0.55) ** -rng.uniform(0.8, 1.6, (n, 1))
    if level == "L1C":
        rayleigh = 0.066 * (WAVELENGTH / 0.4927) ** -4.08 * rng.uniform(0.75, 1.35, (n, 1))
        path = rayleigh + rng.gamma(2.0, 0.008, (n, 1)) * aerosol
        path[:, B10] = 0
        out = path + rho * (1 - 1.4 * path) * rng.uniform(0.9, 1.0, (n, 1))
        out[:, B10] += rng.normal(0.0012, 0.0006, n)
        return np.asarray(out)
    residual = rng.normal(0.002, 0.008, (n, 1)) * aerosol
    return np.asarray(rho * rng.uniform(0.93, 1.07, (n, 1)) + residual + rng.normal(0, 0.003, rho.shape))
