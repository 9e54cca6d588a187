"""Coefficients of a scene on coarse nodes, per band and detector, and the detector of each pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
        found = coefficients(
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
            values[PLANES.index(plane)] = getattr(found, plane)
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
    known = np.isin(footprint, sorted({d for view in angles.view.values() for d in view}))
    # Specks of other numbers come from a lossy codec; an opening takes those of a known number away too.
    known &= ndimage.minimum_filter(footprint, 3) == ndimage.maximum_filter(footprint, 3)
    if not known.any():
        return np.zeros(shape, np.uint8)
    rows, cols = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    nearest: NDArray[np.uint8] = footprint[rows, cols]
    return nearest
