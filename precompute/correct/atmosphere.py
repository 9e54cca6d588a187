"""From top-of-atmosphere to surface reflectance and back, for one band of one satellite.

Lambertian ground, uniform surroundings, continental aerosol: `y = xa·toa − xb; rho = y / (1 + xc·y)` (Vermote et
al. 1997, doi 10.1109/36.581987), with coefficients from the look-up table.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrazzo.bands import BANDS
from terrazzo.precompute.correct.table import RANGES, Air, AirCoefficients, load_table

OZONE = 0.3
PRESSURE = 1013.25
SATELLITES = ("S2A", "S2B", "S2C")


def surface_reflectance(
    toa: ArrayLike,
    *,
    satellite: str,
    band: str,
    aot: ArrayLike,
    water_vapour: ArrayLike,
    ozone: ArrayLike = OZONE,
    pressure: ArrayLike = PRESSURE,
    sun_zenith: ArrayLike,
    view_zenith: ArrayLike,
    relative_azimuth: ArrayLike,
) -> NDArray[np.float64]:
    """Surface reflectance of a top-of-atmosphere reflectance (0–1; beyond it is worked out all the same).

    Args:
        satellite: `S2A`, `S2B` or `S2C`; their bands differ.
        band: any but B10, which sees no ground.
        aot: optical thickness of continental aerosol at 550 nm above the target, 0–1.
        water_vapour: column above the target, 0–8 g/cm².
        ozone: 0–0.7 cm-atm.
        pressure: at the target, 500–1060 hPa.
        sun_zenith, view_zenith: degrees, 0–78 and 0–15.
        relative_azimuth: degrees, 0 = sensor on the sun's side (backscatter).

    Returns:
        float64 of the broadcast shape; NaN where any input is NaN.

    Raises:
        ValueError: an unknown satellite or band, or a number out of range.
    """
    c = coefficients(
        satellite=satellite,
        band=band,
        aot=aot,
        water_vapour=water_vapour,
        ozone=ozone,
        pressure=pressure,
        sun_zenith=sun_zenith,
        view_zenith=view_zenith,
        relative_azimuth=relative_azimuth,
    )
    y = c.xa * np.asarray(toa, np.float64) - c.xb
    return np.asarray(y / (1 + c.xc * y), np.float64)


def toa_reflectance(
    rho: ArrayLike,
    *,
    satellite: str,
    band: str,
    aot: ArrayLike,
    water_vapour: ArrayLike,
    ozone: ArrayLike = OZONE,
    pressure: ArrayLike = PRESSURE,
    sun_zenith: ArrayLike,
    view_zenith: ArrayLike,
    relative_azimuth: ArrayLike,
) -> NDArray[np.float64]:
    """Top-of-atmosphere reflectance of a surface reflectance: the inverse of `surface_reflectance`.

    Arguments, result and errors are those of `surface_reflectance`.
    """
    c = coefficients(
        satellite=satellite,
        band=band,
        aot=aot,
        water_vapour=water_vapour,
        ozone=ozone,
        pressure=pressure,
        sun_zenith=sun_zenith,
        view_zenith=view_zenith,
        relative_azimuth=relative_azimuth,
    )
    surface = np.asarray(rho, np.float64)
    return np.asarray((surface / (1 - c.xc * surface) + c.xb) / c.xa, np.float64)


def coefficients(
    *,
    satellite: str,
    band: str,
    aot: ArrayLike,
    water_vapour: ArrayLike,
    ozone: ArrayLike = OZONE,
    pressure: ArrayLike = PRESSURE,
    sun_zenith: ArrayLike,
    view_zenith: ArrayLike,
    relative_azimuth: ArrayLike,
) -> AirCoefficients:
    """`xa`, `xb`, `xc` of the broadcast shape; arguments and errors are those of `surface_reflectance`."""
    if satellite not in SATELLITES:
        raise ValueError(f"satellite {satellite!r} is not one of {', '.join(SATELLITES)}")
    if band not in BANDS or band == "B10":
        raise ValueError(f"band {band!r} has no correction; there is one for every band but B10")
    given = {
        "aot": aot,
        "water_vapour": water_vapour,
        "ozone": ozone,
        "pressure": pressure,
        "sun_zenith": sun_zenith,
        "view_zenith": view_zenith,
        "relative_azimuth": relative_azimuth,
    }
    arrays = dict(
        zip(given, np.broadcast_arrays(*(np.asarray(v, np.float64) for v in given.values())), strict=True)
    )
    for name, (low, high) in RANGES.items():
        if np.any((arrays[name] < low) | (arrays[name] > high)):
            raise ValueError(f"{name} must lie in [{low:g}, {high:g}]")
    if np.any(np.isinf(arrays["relative_azimuth"])):
        raise ValueError("relative_azimuth must be finite")
    shape = arrays["aot"].shape
    known = np.all([np.isfinite(a) for a in arrays.values()], axis=0).ravel()
    air = Air(**{n: a.ravel()[known] for n, a in arrays.items()})
    computed = load_table().coefficients(satellite, band, air)
    out = []
    for values in (computed.xa, computed.xb, computed.xc):
        whole = np.full(known.shape, np.nan)
        whole[known] = values
        out.append(whole.reshape(shape))
    return AirCoefficients(*out)
