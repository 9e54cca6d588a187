"""c-factors of a scene on coarse nodes, per band and detector, and the detector of each pixel."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from precompute.acquire.angles import Angles
from precompute.correct.brdf import COEFFICIENTS, nbar_factor
from terrazzo.correction import Factors


def coarse_factors(angles: Angles, band: str) -> Factors | None:
    """The c-factors of a band at the nodes of the angle grids; None for bands without coefficients."""
    view = angles.view.get(band)
    if band not in COEFFICIENTS or not view:
        return None
    detectors = sorted(view)
    values = []
    for d in detectors:
        east, north = view[d]
        zenith = np.minimum(np.degrees(np.arctan(np.hypot(east, north))), 45.0)
        azimuth = np.degrees(np.arctan2(east, north))
        values.append(nbar_factor(band, angles.sun_zenith, zenith, angles.sun_azimuth - azimuth))
    return Factors(
        angles.left,
        angles.top,
        angles.step,
        np.array(detectors, np.uint8),
        np.array(values, np.float32),
    )


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
