"""The two stages of spectralmatch 1.6 in numpy: both of its own draw on pixel functions of GDAL 3.11 and later.

Global: one gain and offset a scene and band, by least squares, so that means and standard deviations agree in overlaps and stay
near those of all scenes. Local: an exponent by block, log(mean of all scenes) / log(the scene's own mean), bilinear between the middles
of blocks, 100 blocks for each scene (its default for `number_of_blocks`, and its default method where no value is negative).
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCKS = 100


def global_stage(scenes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(scene, band, row, col) after one gain and offset each; NaN stays.

    Args:
        scenes: (scene, band, row, col) reflectance, NaN without data.
    """
    n = len(scenes)
    out = np.empty_like(scenes)
    for k in range(scenes.shape[1]):
        band = scenes[:, k]
        rows: list[NDArray[np.float64]] = []
        right: list[float] = []

        def add(left: dict[int, float], value: float, weight: float) -> None:
            row = np.zeros(2 * n)
            for i, v in left.items():
                row[i] = v * weight
            rows.append(row)  # noqa: B023
            right.append(value * weight)  # noqa: B023

        for i, j in combinations(range(n), 2):
            both = np.isfinite(band[i]) & np.isfinite(band[j])
            if both.sum() < 100:
                continue
            weight, (x, y) = float(both.mean()), (band[i][both], band[j][both])
            add({2 * i: x.mean(), 2 * i + 1: 1, 2 * j: -y.mean(), 2 * j + 1: -1}, 0.0, weight)
            add({2 * i: x.std(), 2 * j: -y.std()}, 0.0, weight)
        mean, spread = float(np.nanmean(band)), float(np.nanstd(band))
        for i in range(n):
            weight = float(np.isfinite(band[i]).mean()) / n
            add({2 * i: float(np.nanmean(band[i])), 2 * i + 1: 1}, mean, weight)
            add({2 * i: float(np.nanstd(band[i]))}, spread, weight)
        found = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0].reshape(n, 2)
        out[:, k] = band * found[:, 0, None, None] + found[:, 1, None, None]
    return out


def local_stage(scenes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(scene, band, row, col) after the exponents of blocks; NaN stays.

    Args:
        scenes: (scene, band, row, col) reflectance, NaN without data; what lies below 1e-4 counts as that.
    """
    n, bands, height, width = scenes.shape
    across = round(np.sqrt(BLOCKS * n * width / height))
    down = round(BLOCKS * n / across)
    scenes = np.maximum(scenes, np.float32(1e-4))
    label = (np.arange(height) * down // height)[:, None] * across + np.arange(width) * across // width
    at = np.meshgrid(
        (np.arange(height) + 0.5) * down / height - 0.5,
        (np.arange(width) + 0.5) * across / width - 0.5,
        indexing="ij",
    )
    means = np.stack([[_block_means(b, label, down, across) for b in s] for s in scenes])
    with np.errstate(invalid="ignore"):
        reference = np.nansum(means, axis=0) / np.isfinite(means).sum(axis=0)
        exponent = np.log(reference) / np.log(means)
    out = np.empty_like(scenes)
    for i in range(n):
        for k in range(bands):
            known = np.isfinite(exponent[i, k])
            total = ndimage.map_coordinates(np.where(known, exponent[i, k], 0), at, order=1, mode="nearest")
            share = ndimage.map_coordinates(known.astype(float), at, order=1, mode="nearest")
            out[i, k] = scenes[i, k] ** np.where(share > 1e-6, total / np.maximum(share, 1e-6), 1)
    return out


def _block_means(
    band: NDArray[np.float32], label: NDArray[np.integer], down: int, across: int
) -> NDArray[np.float64]:
    known = np.isfinite(band)
    count = np.bincount(label[known], minlength=down * across)
    total = np.bincount(label[known], band[known], down * across)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(down, across)
