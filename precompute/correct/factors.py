"""Coefficients of a scene on coarse nodes, per band and detector, and the detector of each pixel."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from terrazzo.correction import PLANES, Coefficients
from terrazzo.precompute.correct.atmosphere import coefficients
from terrazzo.precompute.correct.brdf import COEFFICIENTS, LOWEST_SUN, SUN, Brdf, nbar_factor
from terrazzo.precompute.correct.table import RANGES
from terrazzo.precompute.products.angles import BAND_IDS, Angles


@dataclass(frozen=True)
class AirGrid:
    """The state of the air on the nodes of the angle grids, (row, col) each; units as in `surface_reflectance`."""

    aot: NDArray[np.float64]
    water_vapour: NDArray[np.float64]
    ozone: NDArray[np.float64]
    pressure: NDArray[np.float64]


def coarse_coefficients(
    angles: Angles, band: str, *, satellite: str, brdf: Brdf, air: AirGrid | None
) -> Coefficients | None:
    """The coefficients of a band at the nodes of the angle grids; None where they would change nothing.

    Args:
        brdf: as in `Recipe`, where the band has BRDF coefficients and the product angles.
        air: None for products that are corrected for the atmosphere already.
    """
    seen = view_of(angles, band)
    directional = brdf != "off" and band in COEFFICIENTS and seen is not None
    if air is None and not directional:
        return None
    zero = np.zeros((2, *angles.sun_zenith.shape))
    view = angles.view[seen] if seen else {0: zero}
    detectors = sorted(view)
    east, north = (np.stack([view[d][axis] for d in detectors]) for axis in (0, 1))
    zenith = np.degrees(np.arctan(np.hypot(east, north)))
    relative = angles.sun_azimuth - np.degrees(np.arctan2(east, north))
    values = np.zeros((len(PLANES), *zenith.shape), np.float32)
    values[[PLANES.index("xa"), PLANES.index("factor")]] = 1
    if air is not None:
        optical = coefficients(
            satellite=satellite,
            band=band,
            aot=air.aot,
            water_vapour=air.water_vapour,
            ozone=air.ozone,
            pressure=air.pressure,
            sun_zenith=angles.sun_zenith,
            # Planes fitted to a detector go on beyond where it looks; nothing is seen there.
            view_zenith=np.minimum(zenith, RANGES["view_zenith"][1]),
            relative_azimuth=relative,
        )
        for plane in ("xa", "xb", "xc"):
            values[PLANES.index(plane)] = getattr(optical, plane)
    if directional:
        to_sun = SUN if brdf == "nadir+sun" else None
        factor = nbar_factor(
            band, np.minimum(angles.sun_zenith, LOWEST_SUN), np.minimum(zenith, 45.0), relative, to_sun
        )
        values[PLANES.index("factor")] = factor
    return Coefficients(angles.left, angles.top, angles.step, np.array(detectors, np.uint8), values)


def view_of(angles: Angles, band: str) -> str | None:
    """The band whose view a band is corrected by: itself, or where the metadata lack it the nearest that is there.

    The bands of a detector look within half a degree of each other.
    """
    if angles.view.get(band):
        return band
    order = [b for b in BAND_IDS if angles.view.get(b)]
    return min(order, key=lambda b: abs(BAND_IDS.index(b) - BAND_IDS.index(band)), default=None)


def nearest_detectors(
    footprint: NDArray[np.uint8] | None, angles: Angles, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """(row, col) detector of each pixel: the footprint, and where it names none that has angles, the nearest.

    Without a footprint all pixels get 0, which stands for the mean of all detectors.
    """
    if footprint is None:
        return np.zeros(shape, np.uint8)
    numbers = np.zeros(256, np.bool_)
    numbers[[d for view in angles.view.values() for d in view]] = True
    known = np.empty(shape, np.bool_)
    # Specks of other numbers come from a lossy codec; an opening takes those of a known number away too.
    _surrounded_alike(footprint, numbers, known)
    if not known.any():
        return np.zeros(shape, np.uint8)
    return nearest_values(footprint, known)


def nearest_values(values: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(row, col) the value of the nearest known pixel, of which there must be one.

    Of equally near ones that which `scipy.ndimage.distance_transform_edt` takes, whose way this is, in whole numbers: nearest rows
    down the columns, then along the rows what is left of the pixels' Voronoi cells (Maurer et al. 2003, doi
    10.1109/TPAMI.2003.1177156).
    """
    rows = np.empty(values.shape, np.int32)
    _nearest_rows(known, rows)
    out = np.empty_like(values)
    _nearest_along(values, rows, out)
    return out


@njit(cache=True, nogil=True)
def _surrounded_alike(values, numbers, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sets `out` where a pixel has one of some numbers, and so have those around it."""
    height, width = values.shape
    for r in range(height):
        up, down = max(r - 1, 0), min(r + 1, height - 1)
        for c in range(width):
            left, right = max(c - 1, 0), min(c + 1, width - 1)
            v = values[r, c]
            out[r, c] = numbers[v] and (
                (values[up, left] == v) & (values[up, c] == v) & (values[up, right] == v)
                & (values[r, left] == v) & (values[r, right] == v)
                & (values[down, left] == v) & (values[down, c] == v) & (values[down, right] == v)
            )  # fmt: skip


@njit(cache=True, nogil=True)
def _nearest_rows(known, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Row of the nearest known pixel of the same column, the upper of two; −1 without any."""
    height, width = known.shape
    for r in range(height):
        for c in range(width):
            out[r, c] = r if known[r, c] else (out[r - 1, c] if r else -1)
    for r in range(height - 2, -1, -1):
        for c in range(width):
            lower = out[r + 1, c]
            if lower > r and (out[r, c] < 0 or lower - r < r - out[r, c]):
                out[r, c] = lower


@njit(cache=True, nogil=True)
def _nearest_along(values, rows, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The nearest known pixel's value from the nearest ones of each column."""
    height, width = rows.shape
    at = np.empty(width, np.int64)
    square = np.empty(width, np.int64)
    for r in range(height):
        n = 0
        for c in range(width):
            if rows[r, c] < 0:
                continue
            down = np.int64(rows[r, c] - r)
            high = down * down
            while n >= 2:
                a, b = at[n - 1] - at[n - 2], c - at[n - 1]
                if (a + b) * square[n - 1] - b * square[n - 2] - a * high - a * b * (a + b) <= 0:
                    break
                n -= 1
            at[n], square[n] = c, high
            n += 1
        k = 0
        for c in range(width):
            nearest = square[k] + (at[k] - c) ** 2
            while k + 1 < n:
                following = square[k + 1] + (at[k + 1] - c) ** 2
                if nearest <= following:
                    break
                nearest = following
                k += 1
            out[r, c] = values[rows[r, at[k]], at[k]]
