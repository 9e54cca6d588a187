"""Measures of how well scenes agree and whether borders show. Use several together: a single one can be fooled."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCK = 8
"""Side of the blocks whose means are compared: pixels are biased by sub-pixel shifts, blocks hardly."""


def block_means(
    rho: NDArray[np.float32], usable: NDArray[np.bool_], least: float = 0.75
) -> NDArray[np.float32]:
    """(row / 8, col / 8) means of usable pixels; NaN where fewer than `least` of a block are.

    Args:
        rho: (row, col) reflectance, sides multiples of 8.
    """
    h, w = rho.shape
    cut = (h // BLOCK, BLOCK, w // BLOCK, BLOCK)
    inside = usable & np.isfinite(rho)
    count = inside.reshape(cut).sum(axis=(1, 3))
    total = np.where(inside, rho, 0).reshape(cut).sum(axis=(1, 3))
    return np.where(count >= least * BLOCK**2, total / np.maximum(count, 1), np.nan).astype(np.float32)


class Agreement(NamedTuple):
    """How two pictures of the same ground agree.

    Attributes:
        median: median over blocks of their ratio.
        within: share of the blocks whose ratio lies within 5 % of 1.
        blocks: number of blocks compared.
    """

    median: float
    within: float
    blocks: int


def agreement(a: NDArray[np.float32], b: NDArray[np.float32]) -> Agreement:
    """Compares two arrays of block means."""
    both = np.isfinite(a) & np.isfinite(b) & (b > 0.005)
    if not both.any():
        return Agreement(float("nan"), float("nan"), 0)
    ratio = a[both] / b[both]
    return Agreement(float(np.median(ratio)), float((np.abs(ratio - 1) <= 0.05).mean()), int(both.sum()))


def residual_cloud_share(
    blue: NDArray[np.float32], red: NDArray[np.float32], clearest: NDArray[np.float32]
) -> float:
    """Share of pixels whose HOT lies more than 0.02 above that of the darkest clear date.

    Args:
        clearest: (row, col) lowest HOT over the dates on which the pixel is clear, NaN where none is.
    """
    excess = blue - 0.5 * red - clearest
    known = np.isfinite(excess)
    return float((excess[known] > 0.02).mean()) if known.any() else float("nan")


def error_step(
    composite: NDArray[np.float32], land: NDArray[np.float32], border: NDArray[np.int64], reach: int = 4
) -> float:
    """Mean step of a composite's difference to the land across a border, in reflectance.

    The land's own step is taken off pixel by pixel, so that a field's edge on the border does not count.

    Args:
        composite, land: (row, col) reflectance, NaN without data.
        border: (row, col) label of the side a pixel lies on (0 = elsewhere); 1 and 2 meet at the border.
        reach: pixels on each side that are averaged.
    """
    error = composite - land
    known = np.isfinite(error)
    sides = []
    for side, other in ((1, 2), (2, 1)):
        near = ndimage.distance_transform_cdt(border != other) <= reach
        here = near & (border == side) & known
        total = ndimage.uniform_filter(np.where(here, error, 0).astype(np.float64), 2 * reach + 1)
        count = ndimage.uniform_filter(here.astype(np.float64), 2 * reach + 1)
        sides.append((total, count))
    (t1, c1), (t2, c2) = sides
    enough = (c1 > 0.2) & (c2 > 0.2)
    if not enough.any():
        return float("nan")
    return float(np.abs(t1[enough] / c1[enough] - t2[enough] / c2[enough]).mean())
