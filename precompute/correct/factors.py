"""c-factors of a scene on coarse nodes, per band and detector, and their use on pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from precompute.acquire.angles import Angles
from precompute.correct.brdf import COEFFICIENTS, nbar_factor
from terrazzo.grid import Grid, PixelBox


@dataclass(frozen=True)
class Factors:
    """Coarse c-factors of one band.

    Attributes:
        left, top, step: map coordinates of node (0, 0) and the spacing, metres.
        detectors: (d,) uint8 numbers of the detectors.
        values: (d, row, col) float32 factors at the nodes.
    """

    left: float
    top: float
    step: float
    detectors: NDArray[np.uint8]
    values: NDArray[np.float32]


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


def pixel_factors(
    factors: Factors, detector: NDArray[np.uint8], grid: Grid, box: PixelBox
) -> NDArray[np.float32]:
    """(row, col) float32 c-factor of each pixel of a box, bilinear between the nodes of its detector."""
    left, _, _, top = grid.bounds(box)
    row = (factors.top - (top - (np.arange(box.height) + 0.5) * grid.pixel)) / factors.step
    col = (left + (np.arange(box.width) + 0.5) * grid.pixel - factors.left) / factors.step
    by_row, by_col = _hats(row, factors.values.shape[1]), _hats(col, factors.values.shape[2])
    out = (by_row @ factors.values.mean(axis=0) @ by_col.T).astype(np.float32)
    for number, values in zip(factors.detectors, factors.values, strict=True):
        here = detector == number
        if here.any():
            rows = np.flatnonzero(here.any(axis=1))
            part = slice(rows[0], rows[-1] + 1)
            field = (by_row[part] @ values @ by_col.T).astype(np.float32)
            out[part][here[part]] = field[here[part]]
    return out


def _hats(position: NDArray[np.float64], nodes: int) -> NDArray[np.float32]:
    """(position, node) weights of linear interpolation, constant beyond the ends."""
    distance = np.abs(np.clip(position, 0, nodes - 1)[:, None] - np.arange(nodes))
    return np.maximum(1 - distance, 0).astype(np.float32)
