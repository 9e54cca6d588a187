"""Aerosol and water vapour from the image itself, cell by cell.

Aerosol: dark dense vegetation, whose red and blue reflectance follow from the short-wave infrared, which sees through
the aerosol (Kaufman et al. 1997, doi 10.1109/36.628795). Water vapour: the depth of its band at 945 nm (B09) against
the window beside it (B8A).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo.precompute.correct.atmosphere import surface_reflectance, toa_reflectance
from terrazzo.precompute.correct.table import RANGES

Array = NDArray[np.float64]

RETRIEVAL = 2
"""Goes up where the same image and models come to another state of the air: scenes of L1C products are then made again."""
RED_OF_SWIR = 0.5
"""Surface reflectance of dense vegetation: B04 over B12 (Kaufman et al. 1997)."""
BLUE_OF_RED = (0.49, 0.005)
"""B02 = slope · B04 + intercept over dense vegetation (Levy et al. 2007, doi 10.1029/2006JD007811)."""
RED_SPREAD, BLUE_SPREAD = (0.010, 0.15), (0.006, 0.15)
"""How far these hold: an absolute part, and a part of the reflectance predicted."""
LOW_SUN, WIDER = 70.0, 2.0
"""Degrees of sun zenith past which these hold less, and degrees in which they hold e times less: most of what looks like dark
vegetation under a low sun stands in shade, lit by the blue sky.
"""
KEPT = (0.2, 0.5)
"""Shares of the pixels, ordered by the red, that are asked (Levy et al. 2007)."""
AOT_STEPS = np.linspace(0, 1, 41) ** 1.5
WATER_STEPS = np.linspace(0, 1, 33) ** 1.5 * RANGES["water_vapour"][1]
LEAST_NDVI, DARK_SWIR = 0.45, (0.01, 0.12)
"""Top-of-atmosphere vegetation index and B12 of what counts as dark dense vegetation."""
BRIGHT = 0.1
"""B8A above which water vapour is retrieved from a cell."""


@dataclass(frozen=True)
class Cells:
    """Geometry of n cells, (n,) each: degrees, cm-atm, hPa."""

    sun_zenith: Array
    view_zenith: Array
    relative_azimuth: Array
    ozone: Array
    pressure: Array

    def columns(self) -> dict[str, Array]:
        """As (n, 1), to broadcast against candidates."""
        return {name: value[:, None] for name, value in vars(self).items()}


def dark_vegetation(
    b04: NDArray[np.floating], b08: NDArray[np.floating], b12: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Where top-of-atmosphere reflectance shows dark dense vegetation."""
    ndvi = (b08 - b04) / np.maximum(b08 + b04, 1e-4)
    dark: NDArray[np.bool_] = (ndvi > LEAST_NDVI) & (b12 > DARK_SWIR[0]) & (b12 < DARK_SWIR[1])
    return dark


def purest(b04: NDArray[np.floating], dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of dark vegetation, what lies between the shares `KEPT` in the red: not in shade, and with little soil below."""
    if not dark.any():
        return dark
    low, high = np.quantile(b04[dark], KEPT)
    return np.asarray(dark & (b04 >= low) & (b04 <= high))


def retrieve_aot(
    toa: dict[str, Array],
    cells: Cells,
    water_vapour: Array,
    prior: Array,
    prior_spread: Array,
    *,
    satellite: str,
) -> tuple[Array, Array]:
    """Mean and spread of the aerosol optical thickness of cells, given their dark vegetation and a prior.

    Args:
        toa: medians over a cell's dark vegetation of B02, B04 and B12, (n,) each; NaN where it has none, which
            leaves the prior.
        prior, prior_spread: (n,) what is known without the image.
    """
    where = cells.columns() | {"water_vapour": water_vapour[:, None], "aot": AOT_STEPS}
    rho = {b: surface_reflectance(v[:, None], satellite=satellite, band=b, **where) for b, v in toa.items()}
    red = RED_OF_SWIR * rho["B12"]
    blue = BLUE_OF_RED[0] * red + BLUE_OF_RED[1]
    cost = ((rho["B04"] - red) / np.hypot(RED_SPREAD[0], RED_SPREAD[1] * red)) ** 2
    cost += ((rho["B02"] - blue) / np.hypot(BLUE_SPREAD[0], BLUE_SPREAD[1] * blue)) ** 2
    cost *= np.exp(-2 * np.maximum(cells.sun_zenith - LOW_SUN, 0) / WIDER)[:, None]
    cost = np.where(np.isfinite(cost), cost, 0)
    cost += ((AOT_STEPS - prior[:, None]) / prior_spread[:, None]) ** 2
    likelihood = np.exp(-0.5 * (cost - cost.min(axis=1, keepdims=True))) * np.gradient(AOT_STEPS)
    likelihood /= likelihood.sum(axis=1, keepdims=True)
    mean = likelihood @ AOT_STEPS
    spread = np.sqrt(np.maximum(likelihood @ AOT_STEPS**2 - mean**2, 1e-6))
    return mean, spread


def retrieve_water_vapour(b8a: Array, b09: Array, cells: Cells, aot: Array, *, satellite: str) -> Array:
    """(n,) column of water vapour in g/cm²; NaN where the ground is too dark.

    The ground is taken to reflect as much at 945 nm as at 865 nm.

    Args:
        b8a, b09: (n,) top-of-atmosphere reflectance.
    """
    where = cells.columns() | {"aot": aot[:, None], "water_vapour": WATER_STEPS}
    ground = surface_reflectance(b8a[:, None], satellite=satellite, band="B8A", **where)
    predicted = toa_reflectance(ground, satellite=satellite, band="B09", **where)
    out = np.full(len(b8a), np.nan)
    for i in np.flatnonzero(np.isfinite(b8a) & np.isfinite(b09) & (b8a > BRIGHT)):
        # Falls with the column; interp wants it rising.
        out[i] = np.interp(-b09[i], -predicted[i], WATER_STEPS)
    return out


def spread_between_cells(values: Array, spread: Array, reach: float) -> tuple[Array, Array]:
    """Values of a (row, col) grid of cells averaged with their neighbours, by certainty and nearness.

    Args:
        values: NaN where a cell knows nothing.
        spread: standard deviation of each value.
        reach: standard deviation of the nearness, in cells.
    """
    from scipy.ndimage import gaussian_filter

    known = np.isfinite(values)
    certainty = np.where(known, 1 / np.maximum(spread, 1e-3) ** 2, 0)
    total = gaussian_filter(certainty, reach, mode="constant")
    mean = gaussian_filter(certainty * np.where(known, values, 0), reach, mode="constant")
    near = total > 1e-9 * max(float(certainty.max(initial=0)), 1e-30)
    out = np.where(near, mean / np.where(near, total, 1), np.nan)
    return out, np.where(near, 1 / np.sqrt(np.maximum(total, 1e-12)), np.nan)
