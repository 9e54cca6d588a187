"""Labelled spectra by simulation: surfaces seen through clear air, haze, thin and thick clouds, and in shadow.

A pixel under a cloud of transmittance t shows t²·surface + cloud reflectance; clouds are white with a slight
slope. In shadow the direct beam is missing and the diffuse share, which falls with wavelength, remains.
Rayleigh reflectance stands for the air above a product at the top of the atmosphere.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WAVELENGTH = np.array([0.4927, 0.5598, 0.6646, 0.8328])
LAND, WATER, SNOW, CLOUD, THIN, SHADOW = range(6)


class Samples(NamedTuple):
    """(sample, band) reflectance and the index of the class of each sample."""

    reflectance: NDArray[np.float64]
    label: NDArray[np.int64]


def water(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Water from clear to turbid and green, with sun glint."""
    turbid = rng.gamma(1.2, 0.025, (n, 1))
    colour = np.stack(
        [
            rng.uniform(0.5, 1.2, n),
            rng.uniform(0.8, 1.5, n),
            rng.uniform(0.3, 1.2, n),
            rng.uniform(0.02, 0.5, n),
        ],
        axis=1,
    )
    base = np.array([0.03, 0.025, 0.012, 0.004])
    return base + turbid * colour + rng.exponential(0.008, (n, 1))


def vegetation(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Dense to sparse canopies, which the library's leaves are too bright for."""
    red = rng.uniform(0.012, 0.07, n)
    return np.stack(
        [red * rng.uniform(0.45, 0.95, n), red * rng.uniform(0.9, 1.9, n), red, rng.uniform(0.15, 0.55, n)],
        axis=1,
    )


def simulate(
    surfaces: NDArray[np.float64], snow: NDArray[np.float64], level: str, n: int, rng: np.random.Generator
) -> Samples:
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
    sea = water(n, rng)
    ground = np.where(rng.random((n, 1)) < 0.12, water(n, rng), land)
    thick = _cloud(ground, rng.gamma(3.0, 6.0, n) + 4, rng)
    thin = _cloud(ground, rng.uniform(0.35, 4.0, n), rng)
    diffuse = rng.uniform(0.12, 0.4, (n, 1)) * (WAVELENGTH / 0.49) ** -rng.uniform(0.5, 2.2, (n, 1))
    shadow = land * (diffuse + rng.uniform(0, 0.25, (n, 1)))
    classes = [_air(x, level, rng) for x in (land, sea, dirty, thick, thin, shadow)]
    return Samples(np.concatenate(classes), np.repeat(np.arange(6), n))


def _cloud(
    ground: NDArray[np.float64], depth: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Two-stream cloud over a ground: reflectance g·τ / (1 + g·τ) of the cloud, the rest passes twice."""
    g = 0.075 * depth[:, None]
    white = g / (1 + g)
    slope = 1 + rng.normal(0, 0.05, (len(depth), 1)) * (WAVELENGTH - 0.65) / 0.2
    passed = (1 - white) ** 2
    return white * slope * rng.uniform(0.85, 1.15, (len(depth), 1)) + passed * ground / (1 - white * ground)


def _air(rho: NDArray[np.float64], level: str, rng: np.random.Generator) -> NDArray[np.float64]:
    n = len(rho)
    aerosol = (WAVELENGTH / 0.55) ** -rng.uniform(0.8, 1.6, (n, 1))
    if level == "L1C":
        rayleigh = 0.066 * (WAVELENGTH / 0.4927) ** -4.08 * rng.uniform(0.75, 1.35, (n, 1))
        path = rayleigh + rng.gamma(2.0, 0.008, (n, 1)) * aerosol
        return path + rho * (1 - 1.4 * path) * rng.uniform(0.9, 1.0, (n, 1))
    residual = rng.normal(0.002, 0.008, (n, 1)) * aerosol
    return rho * rng.uniform(0.93, 1.07, (n, 1)) + residual + rng.normal(0, 0.003, rho.shape)
