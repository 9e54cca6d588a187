"""Labelled spectra by simulation: surfaces seen through clear air, haze, thin and thick clouds, and in shadow.

The air is the project's own table of 6SV runs: a sample's air is drawn with its sun, haze, vapour and height, and the ground in it is
lit by the direct beam and by the sky. In a shadow the beam is missing; the sky's share falls with wavelength, and clouds nearby add
to it. A cloud stands at a height of its own: above it less air, less vapour; through it the ground twice dimmed. Clouds
are white in the visible, darker in the short-wave infrared, ice more so. B10 hides the ground under its vapour, except where the air
is dry or the ground is high. What a product at the surface shows is the same, corrected with an air that is slightly wrong.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.precompute.clouds.model import BANDS
from terrazzo.precompute.correct.atmosphere import coefficients

Array = NDArray[np.float64]
WAVELENGTH = np.array(
    [0.4427, 0.4927, 0.5598, 0.6646, 0.7041, 0.7405, 0.7828, 0.8328, 0.8647, 0.9451, 1.3735, 1.6137, 2.2024]
)
"""Micrometres, in the order of `model.BANDS`."""
LAND, WATER, SNOW, CLOUD, THIN, SHADOW = range(6)
B08, B09, B10, B11, B12 = (BANDS.index(b) for b in ("B08", "B09", "B10", "B11", "B12"))
AIRS = 400
"""Drawn once, then shared by the samples."""
THINNEST, THICK = 0.35, 4.0
"""Optical depth from which a cloud is called thin, and thick."""
DRY = 0.7
"""Vapour in g/cm² over which airs get e times rarer above snow."""
VAPOUR_SCALE, AEROSOL_SCALE, AIR_SCALE = 2.2, 1.5, 8.0
"""Heights in km over which these fall to 1/e."""


class Samples(NamedTuple):
    """(sample, band) reflectance and the index of the class of each sample."""

    reflectance: Array
    label: NDArray[np.int64]


class AirLayer(NamedTuple):
    """Air above a level: path reflectance, transmittance and spherical albedo, (air, band) each."""

    path: Array
    through: Array
    albedo: Array

    def shown(self, rho: Array, at: NDArray[np.int64]) -> Array:
        """What a sensor sees of (sample, band) reflectance under the airs `at`."""
        return self.path[at] + self.through[at] * rho / (1 - self.albedo[at] * rho)

    def removed(self, toa: Array, at: NDArray[np.int64]) -> Array:
        """The reverse; NaN in bands through which nothing comes."""
        y = (toa - self.path[at]) / np.maximum(self.through[at], 1e-6)
        return np.where(self.through[at] > 0.02, y / (1 + self.albedo[at] * y), np.nan)


class Airs(NamedTuple):
    """Airs to draw from.

    Attributes:
        whole, above: over the ground, and over a cloud (its height in km differs from air to air).
        believed: what a correction takes the air over the ground for.
        sky: (air, band) share of the light on the ground that is diffuse.
        sun_zenith: (air,) degrees.
        vapour, haze: (air,) g/cm², and aerosol optical depth.
    """

    whole: AirLayer
    above: AirLayer
    believed: AirLayer
    sky: Array
    sun_zenith: Array
    height: Array
    vapour: Array
    haze: Array


def airs(rng: np.random.Generator, count: int = AIRS) -> Airs:
    """Random airs: sun 15–76° from the zenith, clear to very hazy, dry to tropical, sea level to 4.5 km."""
    sun = np.degrees(np.arccos(rng.uniform(np.cos(np.radians(76)), np.cos(np.radians(15)), count)))
    view, side = rng.uniform(1, 11, count), rng.uniform(0, 180, count)
    ground = np.where(rng.random(count) < 0.7, rng.exponential(0.25, count), rng.uniform(0, 4.5, count))
    ground = np.minimum(ground, 4.5)
    haze = np.minimum(rng.gamma(1.6, 0.12, count) + 0.01, 0.95) * np.exp(-ground / AEROSOL_SCALE / 2)
    vapour = np.clip(rng.gamma(2.5, 0.8, count) * np.exp(-ground / VAPOUR_SCALE), 0.03, 7)
    ice = rng.random(count) < 0.4
    height = np.where(ice, rng.uniform(6, 12, count), rng.uniform(0.3, 4, count))
    top = ground + height

    def layer(aot: Array, water: Array, km: Array) -> AirLayer:
        pressure = np.clip(1013.25 * np.exp(-km / AIR_SCALE), 501, 1050)
        slant = water * (1 / np.cos(np.radians(sun)) + 1)
        out = np.zeros((3, count, len(BANDS)))
        for k, band in enumerate(BANDS):
            if band == "B10":
                # Fitted to 6SV runs with 0.02 to 3 g/cm² of vapour; no path reflectance is left at this wavelength.
                out[0, :, k], out[1, :, k] = 0.0012, np.exp(-2.85 * slant**0.42)
                continue
            c = coefficients(
                satellite="S2A", band=band, aot=np.clip(aot, 0, 0.99), water_vapour=water, ozone=0.3,
                pressure=pressure, sun_zenith=sun, view_zenith=view, relative_azimuth=side,
            )  # fmt: skip
            out[:, :, k] = c.xb / c.xa, 1 / c.xa, c.xc
        return AirLayer(*out)

    whole = layer(haze, vapour, ground)
    above = layer(haze * np.exp(-height / AEROSOL_SCALE), vapour * np.exp(-height / VAPOUR_SCALE), top)
    wrong_haze = np.clip(haze * rng.uniform(0.6, 1.3, count) + rng.normal(0, 0.03, count), 0.01, 0.98)
    believed = layer(wrong_haze, np.clip(vapour * rng.uniform(0.8, 1.2, count), 0.02, 7.5), ground)
    rayleigh = 0.00857 * WAVELENGTH**-4.0 * np.exp(-ground / AIR_SCALE)[:, None]
    aerosol = haze[:, None] * (WAVELENGTH / 0.55) ** -1.2
    cosine = np.cos(np.radians(sun))[:, None]
    # Of what is scattered out of the beam half (air) and four fifths (aerosol) still come down.
    down = np.exp(-(0.5 * rayleigh + 0.2 * aerosol) / cosine)
    sky = 1 - np.exp(-(rayleigh + aerosol) / cosine) / down
    return Airs(whole, above, believed, np.clip(sky, 0.005, 0.9), sun, height, vapour, haze)


def seen(air: Airs, at: NDArray[np.int64], ground: Array, white: Array, beam: Array, extra: Array) -> Array:
    """(sample, band) reflectance at the top of the atmosphere.

    Args:
        at: which air each sample has.
        ground: (sample, band) reflectance of the surface.
        white: (sample, band) reflectance of the cloud over it, 0 where there is none.
        beam: (sample,) share of the direct beam that reaches the ground.
        extra: (sample,) light from clouds nearby, relative to all light without them, where the beam is missing.
    """
    sky = air.sky[at]
    lit = sky + (1 - sky) * beam[:, None] + (extra * (1 - beam))[:, None]
    below = air.whole.shown(ground * lit, at)
    path = air.above.path[at]
    passed = (1 - np.clip(white, 0, 1)) ** 2 / (1 - np.minimum(white * ground, 0.95))
    return np.asarray(air.above.shown(white, at) + passed * (below - path))


def corrected(air: Airs, at: NDArray[np.int64], toa: Array, rng: np.random.Generator) -> Array:
    """What a product at the surface shows; no B10, and no B09 where vapour hides the ground."""
    out = air.believed.removed(toa, at) + rng.normal(0, 0.002, toa.shape)
    out[:, B10] = np.nan
    return np.asarray(out)


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
        level: `L1C` or `L2A`.
    """
    air = airs(rng)
    half = n // 2
    land = np.concatenate([surfaces[rng.integers(len(surfaces), size=n - half)], vegetation(half, rng)])
    land = mixed(land, rng) * lit_slopes(n, rng)
    # Snow lies between trees and on slopes; where it lies the air is dry.
    dirty = snow[rng.integers(len(snow), size=n)] * rng.uniform(0.55, 1.0, (n, 1))
    covered = np.where(rng.random((n, 1)) < 0.5, 1, rng.uniform(0.35, 1, (n, 1)))
    dirty = (covered * dirty + (1 - covered) * 0.6 * vegetation(n, rng)) * lit_slopes(n, rng)
    ground = np.where(rng.random((n, 1)) < 0.12, water(n, rng), land)
    ground = np.where(rng.random((n, 1)) < 0.1, dirty, ground)
    none, lit = np.zeros((n, len(BANDS))), np.ones(n)
    skies = [rng.integers(AIRS, size=n) for _ in range(6)]
    dry = np.exp(-air.vapour / DRY)
    skies[SNOW] = rng.choice(AIRS, n, p=dry / dry.sum())
    thick = cloud(rng.gamma(3.0, 6.0, n) + THICK, air.height[skies[CLOUD]] > 5, rng)
    thin = cloud(rng.uniform(THINNEST, THICK, n), air.height[skies[THIN]] > 5, rng)
    dark = rng.uniform(0, 0.25, n)
    cases = [(land, none, lit), (water(n, rng), none, lit), (dirty, none, lit)]
    cases += [(ground, thick, lit), (ground, thin, lit), (land, none, dark)]
    samples = []
    for at, (g, white, beam) in zip(skies, cases, strict=True):
        toa = seen(air, at, g, white, beam, rng.uniform(0, 0.2, n))
        samples.append(corrected(air, at, toa, rng) if level == "L2A" else toa)
    return Samples(np.concatenate(samples), np.repeat(np.arange(6), n))


def mixed(spectra: Array, rng: np.random.Generator) -> Array:
    """Spectra, three in ten of which are mixed with another's."""
    share = np.where(rng.random((len(spectra), 1)) < 0.3, rng.uniform(0, 0.5, (len(spectra), 1)), 0)
    return np.asarray((1 - share) * spectra + share * rng.permutation(spectra))


def lit_slopes(n: int, rng: np.random.Generator) -> Array:
    """(n, 1) how much brighter ground is that leans to the sun or away from it; half of it lies flat, and differs a little by itself."""
    slope = np.clip(np.exp(rng.normal(0, 0.35, (n, 1))), 0.4, 1.8)
    return np.asarray(np.where(rng.random((n, 1)) < 0.5, rng.uniform(0.75, 1.2, (n, 1)), slope))


def cloud(depth: Array, ice: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """(sample, band) reflectance of clouds of an optical depth, two-stream g·τ / (1 + g·τ)."""
    n = len(depth)
    g = 0.075 * depth[:, None]
    slope = 1 + rng.normal(0, 0.05, (n, 1)) * np.clip((WAVELENGTH - 0.65) / 0.2, -1.2, 1.2)
    dim = np.ones((n, len(BANDS)))
    dim[:, B11] = np.where(ice, rng.uniform(0.35, 0.75, n), rng.uniform(0.7, 1.0, n))
    dim[:, B12] = np.where(ice, rng.uniform(0.2, 0.6, n), rng.uniform(0.45, 0.9, n))
    return np.asarray(np.minimum(g / (1 + g) * slope * dim * rng.uniform(0.85, 1.15, (n, 1)), 1.1))
