"""The correction of a scene as it is stored, and the way back from reflectance to the product's numbers."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, MaskClass
from terrazzo.grid import Grid, PixelBox


@dataclass(frozen=True)
class Factors:
    """Coarse view-angle factors of one band.

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


@dataclass(frozen=True)
class Correction:
    """What was done to a scene's numbers: reflectance = (count + offset) · 1e-4, over land · factor.

    Attributes:
        detector: (row, col) uint8 detector on the mask grid.
        factors: by band; bands without are not corrected.
    """

    offset: int
    detector: NDArray[np.uint8]
    factors: Mapping[str, Factors]


def read_correction(data: bytes) -> Correction:
    """The correction stored in a correction.npz."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        bands = [n.removesuffix("_factor") for n in arrays.files if n.endswith("_factor")]
        left, top, step = arrays["nodes"] if bands else (0.0, 0.0, 1.0)
        factors = {
            b: Factors(float(left), float(top), float(step), arrays[f"{b}_detectors"], arrays[f"{b}_factor"])
            for b in bands
        }
        return Correction(int(arrays["offset"]), arrays["detector"], factors)


def pixel_factors(
    factors: Factors, detector: NDArray[np.uint8], grid: Grid, box: PixelBox
) -> NDArray[np.float32]:
    """(row, col) float32 factor of each pixel of a box, bilinear between the nodes of its detector.

    Pixels of a detector without nodes get the mean of all detectors.
    """
    left, _, _, top = grid.bounds(box)
    row = (factors.top - (top - (np.arange(box.height) + 0.5) * grid.pixel)) / factors.step
    col = (left + (np.arange(box.width) + 0.5) * grid.pixel - factors.left) / factors.step
    by_row, by_col = _hats(row, factors.values.shape[1]), _hats(col, factors.values.shape[2])
    out: NDArray[np.float32] = (by_row @ factors.values.mean(axis=0) @ by_col.T).astype(np.float32)
    for number, values in zip(factors.detectors, factors.values, strict=True):
        here = detector == number
        if here.any():
            rows = np.flatnonzero(here.any(axis=1))
            part = slice(rows[0], rows[-1] + 1)
            field = (by_row[part] @ values @ by_col.T).astype(np.float32)
            out[part][here[part]] = field[here[part]]
    return out


def counts(
    values: NDArray[np.int16],
    classes: NDArray[np.uint8],
    detector: NDArray[np.uint8],
    correction: Correction,
    band: str,
    grid: Grid,
    box: PixelBox,
) -> NDArray[np.int16]:
    """The product's numbers of a box, exact to ±1 on the scene's own grid; `NODATA` stays.

    Args:
        values: (row, col) int16 corrected reflectance.
        classes, detector: (row, col) on the same pixels.
    """
    rho = values.astype(np.float32)
    if band in correction.factors:
        field = pixel_factors(correction.factors[band], detector, grid, box)
        land = classes == MaskClass.LAND
        rho[land] /= field[land]
    back = np.clip(np.rint(rho - correction.offset), -32767, 32767)
    return np.where(values == NODATA, NODATA, back).astype(np.int16)


def _hats(position: NDArray[np.floating], nodes: int) -> NDArray[np.float32]:
    """(position, node) weights of linear interpolation, constant beyond the ends."""
    distance = np.abs(np.clip(position, 0, nodes - 1)[:, None] - np.arange(nodes))
    weights: NDArray[np.float32] = np.maximum(1 - distance, 0).astype(np.float32)
    return weights
