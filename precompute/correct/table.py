"""The look-up table of the atmosphere, and the coefficients of a band at any geometry and state of the air.

The table emulates 6SV 1.1 wavelength by wavelength (2.5 nm) and integrates over a satellite's band last, so one
set of runs serves S2A, S2B and S2C, and the correlation of gas and scattering within a band is kept. Gas is
separable: at one wavelength the transmittance of water vapour depends on its slant column, that of ozone too,
that of the well-mixed gases on air mass and pressure. Scattering is interpolated linearly in products of

- cubic splines in 1/cos(sun zenith), of the path reflectance times cos(sun zenith),
- a cubic spline in AOT and polynomials in pressure, the part without aerosol having nodes of its own,
- cos(m · relative azimuth) · sin(sun zenith)^m · sin(view zenith)^m with m = 0, 1, 2 and powers of sin²,

and between 6S' own wavelengths log-log, which is how 6S does it.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

Array = NDArray[np.float64]
FILE = "atmosphere.npz"
CHUNK = 4096
"""Points evaluated at a time: bounds memory to about 20 MB."""

RANGES = {
    "aot": (0.0, 1.0),
    "water_vapour": (0.0, 8.0),
    "ozone": (0.0, 0.7),
    "pressure": (500.0, 1060.0),
    "sun_zenith": (0.0, 78.0),
    "view_zenith": (0.0, 15.0),
}
"""What the table covers; beyond it a question is refused."""


@dataclass(frozen=True)
class AirCoefficients:
    """`y = xa·toa − xb; rho = y / (1 + xc·y)`, float64 arrays of one shape."""

    xa: Array
    xb: Array
    xc: Array


@dataclass(frozen=True)
class Air:
    """Geometry and state of the air at points: (n,) float64 each, units as in `surface_reflectance`."""

    aot: Array
    water_vapour: Array
    ozone: Array
    pressure: Array
    sun_zenith: Array
    view_zenith: Array
    relative_azimuth: Array

    def part(self, which: slice) -> "Air":
        """The points of a slice."""
        return Air(**{name: value[which] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Scattering:
    """Reflectance and transmittances without gas at 6S' wavelengths, (n, node) each."""

    path: Array
    path_rayleigh: Array
    down: Array
    up: Array
    albedo: Array


class Table:
    """The table in memory; `arrays` as `build_table` writes them."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self._a = {n: a.astype(np.float64) for n, a in arrays.items() if a.dtype.kind in "fiu"}
        self.hash: str = json.loads(str(arrays["provenance"]))["hash"]

    @cached_property
    def _sun(self) -> "CubicSpline":
        return _cardinal(1 / np.cos(np.radians(self._a["sun_zenith"])))

    def scattering(self, air: Air) -> Scattering:
        """Scattering at every node wavelength, without gas."""
        a = self._a
        ones = np.ones((len(air.aot), 1))
        sun = self._sun(1 / np.cos(np.radians(air.sun_zenith)))
        aot = _cardinal(np.r_[0.0, a["aot"]])(air.aot)[:, 1:]
        thin = _polynomial(a["rayleigh_pressure"], air.pressure)
        view = view_terms(air.sun_zenith, air.view_zenith, air.relative_azimuth)
        powers = np.concatenate([ones, np.sin(np.radians(air.view_zenith))[:, None] ** 2], axis=1)
        sea_level, raised = a["rayleigh_pressure"][0], a["raised_pressure"][0]
        height = ((sea_level - air.pressure) / (sea_level - raised))[:, None]

        raised_sun = 1 / np.cos(np.radians(a["raised_sun_zenith"]))
        low_sun = np.clip(1 / np.cos(np.radians(air.sun_zenith)), raised_sun[0], raised_sun[-1])
        by_sun = _cardinal(raised_sun)(low_sun)

        rayleigh = _contract(a["path_rayleigh"], thin, sun, view)
        aerosol = _contract(a["path_aerosol"], sun, aot, view[:, a["aerosol_terms"].astype(int)])
        aerosol += height * _contract(a["path_change"], by_sun, aot)
        down = _contract(a["down_rayleigh"], thin, sun) + _contract(a["down_aerosol"], sun, aot)
        down += height * _contract(a["down_change"], by_sun, aot)
        up = _contract(a["up_rayleigh"], thin, powers) + _contract(a["up_aerosol"], aot, powers)
        up += height * _contract(a["up_change"], aot)
        albedo = _contract(a["albedo_rayleigh"], thin) + _contract(a["albedo_aerosol"], aot)
        albedo += height * _contract(a["albedo_change"], aot)
        airmass = 1 / np.cos(np.radians(air.sun_zenith))[:, None]
        return Scattering(
            (rayleigh + aerosol) * airmass, rayleigh * airmass, np.exp(down), np.exp(up), albedo
        )

    def coefficients(self, satellite: str, band: str, air: Air) -> AirCoefficients:
        """The coefficients of a band at points that lie within `RANGES`."""
        parts = [
            self._coefficients(satellite, band, air.part(slice(start, start + CHUNK)))
            for start in range(0, max(1, len(air.aot)), CHUNK)
        ]
        return AirCoefficients(*(np.concatenate(p) for p in zip(*parts, strict=True)))

    def gas(self, satellite: str, band: str, air: Air) -> Array:
        """(n,) two-way transmittance of all gases in a band."""
        weight, where = self._response(satellite, band)
        mixed, ozone_and_water, _ = self._gas(where, air)
        return np.asarray((mixed * ozone_and_water) @ weight, np.float64)

    def _coefficients(self, satellite: str, band: str, air: Air) -> tuple[Array, Array, Array]:
        weight, where = self._response(satellite, band)
        nodes = np.log(self._a["nodes_um"])
        position = np.interp(np.log(self._a["wavelength_um"][where]), nodes, np.arange(len(nodes)))
        low = np.minimum(position.astype(int), len(nodes) - 2)
        share = position - low

        def at_wavelengths(values: Array) -> Array:
            log = np.log(np.maximum(values, 1e-7))
            return np.asarray(np.exp(log[:, low] * (1 - share) + log[:, low + 1] * share))

        s = self.scattering(air)
        mixed, water, half_water = self._gas(where, air)
        rayleigh, path = at_wavelengths(s.path_rayleigh), at_wavelengths(s.path)
        through = water * at_wavelengths(s.down) * at_wavelengths(s.up) * mixed
        total = through @ weight
        intrinsic = (mixed * (rayleigh + (path - rayleigh) * half_water)) @ weight
        albedo = (through * at_wavelengths(s.albedo)) @ weight / total
        return 1 / total, intrinsic / total, albedo

    def response(self, satellite: str, band: str) -> Array:
        """(781,) spectral response of a band every 2.5 nm from 0.4 µm."""
        values = self._a[f"{satellite}_{band}"]
        first = int(self._a[f"{satellite}_{band}_start"])
        whole = np.zeros(781)
        # 6S runs over every wavelength between a band's ends, those without response included.
        at = np.rint((self._a["wavelength_um"][first : first + len(values)] - 0.4) / 0.0025).astype(int)
        whole[at] = values
        return whole

    def _response(self, satellite: str, band: str) -> tuple[Array, slice]:
        """Weights of the wavelengths of a band (sum 1), and which wavelengths."""
        response = self._a[f"{satellite}_{band}"]
        start = int(self._a[f"{satellite}_{band}_start"])
        where = slice(start, start + len(response))
        weight = response * self._a["irradiance"][where]
        return weight / weight.sum(), where

    def _gas(self, where: slice, air: Air) -> tuple[Array, Array, Array]:
        """(n, wavelength) transmittance of ozone and the well-mixed gases, of the water vapour, and of half of it,
        which is what lies above the mean photon that the aerosol scatters back."""
        a = self._a
        mass = 1 / np.cos(np.radians(air.sun_zenith)) + 1 / np.cos(np.radians(air.view_zenith))
        pressure = _polynomial(a["gas_pressure"], air.pressure)
        by_mass = _cardinal(a["gas_mass"])(mass)
        mixed = _contract(a["mixed_depth"][..., where], pressure, by_mass)
        ozone = a["ozone_depth"][where] * (air.ozone * mass)[:, None]
        water = _cardinal(np.sqrt(np.r_[0.0, a["water_slant"]]))
        slant = air.water_vapour * mass
        depth, half = (water(np.sqrt(s))[:, 1:] @ a["water_depth"][:, where] for s in (slant, slant / 2))
        return (
            np.exp(-np.maximum(mixed + ozone, 0)),
            np.exp(-np.maximum(depth, 0)),
            np.exp(-np.maximum(half, 0)),
        )


def view_terms(sun_zenith: ArrayLike, view_zenith: ArrayLike, relative_azimuth: ArrayLike) -> Array:
    """(n, 7) terms of the path reflectance's dependence on where the sensor is.

    1, s², s⁴, then s·S·cos φ and s³·S·cos φ, then s²·S²·cos 2φ and s⁴·S²·cos 2φ, with s and S the sines of view and
    sun zenith: a smooth field over the hemisphere has no other terms of low order.
    """
    s = np.sin(np.radians(np.asarray(view_zenith, np.float64)))
    sun = np.sin(np.radians(np.asarray(sun_zenith, np.float64)))
    phi = np.radians(np.asarray(relative_azimuth, np.float64))
    first, second = s * sun * np.cos(phi), (s * sun) ** 2 * np.cos(2 * phi)
    return np.stack([np.ones_like(first), s**2, s**4, first, first * s**2, second, second * s**2], axis=-1)


@cache
def load_table() -> Table:
    """The table that comes with the package."""
    data = (files("terrazzo.precompute.correct") / FILE).read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Table({n: arrays[n] for n in arrays.files})


def content_hash(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Hash over the decoded numbers of a table, 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(n for n, a in arrays.items() if a.dtype.kind in "fiu"):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name], "<f8").tobytes())
    return digest.hexdigest()


def _cardinal(nodes: Array) -> "CubicSpline":
    """The spline that gives, at any x, the weight of each node's value."""
    # Only L1C needs it, and a first look should not wait for all of scipy's optimizers, which it imports.
    from scipy.interpolate import CubicSpline

    return CubicSpline(nodes, np.eye(len(nodes)))


def _polynomial(nodes: Array, x: Array) -> Array:
    """(n, node) weights of the polynomial through the nodes."""
    weights = [
        np.prod([(x - other) / (node - other) for j, other in enumerate(nodes) if j != i], axis=0)
        for i, node in enumerate(nodes)
    ]
    return np.stack([np.broadcast_to(w, x.shape) for w in weights], axis=-1)


def _contract(values: Array, *weights: Array) -> Array:
    """(n, last axis) of an array whose leading axes are summed with a weight (n, axis) each."""
    joint = weights[0]
    for w in weights[1:]:
        joint = (joint[:, :, None] * w[:, None, :]).reshape(len(joint), -1)
    return np.asarray(joint @ values.reshape(joint.shape[1], -1), np.float64)
