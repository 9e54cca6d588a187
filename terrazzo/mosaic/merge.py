"""Merges overlapping scenes into one value a pixel."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Method
from terrazzo.mosaic.methods import METHODS


class Merged(NamedTuple):
    """One picture made of many.

    Attributes:
        values: (band, row, col), dtype of the scenes; no data where no scene is usable.
        provenance: (row, col) int16 index of the scene that dominates, −1 where none is usable.
        count: (row, col) uint8 usable scenes, at most 255.
    """

    values: NDArray[Any]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]


def merge(
    reflectance: NDArray[Any],
    weight: NDArray[np.uint8],
    method: Method = "feather",
    days: NDArray[np.float32] | None = None,
) -> Merged:
    """Merges scenes; a scene is usable at a pixel where its weight is not 0 and no band is without data.

    - `feather`: alpha-over in order with alpha = smoothstep(weight / 255), until less than 1/255 shines
      through, divided by the summed alpha.
    - `robust`: per band the weighted, interpolated median md; D = mean over bands of
      ((x − md) / (0.006 + 0.1·md))²; the mean with weights w / (1 + (D/k²)²), k = 2.
    - `first`: the first usable scene; `median` (mean of the middle two) and `mean`: of all usable scenes;
      `percentile:P`: linear between the two values around P per cent of the way from the least to the greatest.
    - `geomedian`: the point with the least sum of Euclidean distances to all usable scenes, over the request's
      bands (Weiszfeld 1937); `medoid`: the usable scene with the least sum of distances to the others.
    - `kriging`: the value at day 0 of a random walk that scenes show with noise (ordinary kriging in time with a
      linear variogram): `RANGE` days change a pixel as much as one date's noise. Before, each scene weighs u / (1 + (D s / k²)²): u = (weight / 255)², D
      as of `robust` from the value itself, s = 1 / (1 + |days| / 25). The first value takes D from the scene that the others, weighed
      so and by nearness in time, agree with best.

    Args:
        reflectance: (scene, band, row, col) int16 with scale 1e-4 and nodata −32768, or float32
            reflectance with NaN; the first axis is the order, first wins.
        weight: (scene, row, col) uint8.
        days: (scene,) from the day that is shown, for `kriging`; without it, all are of one day.

    Returns:
        values in the dtype of `reflectance`, int16 rounded half to even.

    Raises:
        ValueError: shapes do not fit, or the dtype or method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r}: use one of {', '.join(METHODS)}")
    if reflectance.dtype not in (np.int16, np.float32):
        raise ValueError(f"reflectance is {reflectance.dtype}: int16 or float32 wanted")
    if days is not None and days.shape != weight.shape[:1]:
        raise ValueError(f"days {days.shape} and weight {weight.shape} do not fit")
    if reflectance.ndim != 4 or weight.shape != (reflectance.shape[0], *reflectance.shape[2:]):
        raise ValueError(f"reflectance {reflectance.shape} and weight {weight.shape} do not fit")
    is_float = reflectance.dtype == np.float32
    shape = reflectance.shape[1:]
    out = np.full(shape, np.nan if is_float else NODATA, np.float64)
    provenance = np.full(shape[1:], -1, np.int16)
    count = np.zeros(shape[1:], np.int64)
    unit = 1.0 if is_float else SCALE
    when = np.zeros(len(weight), np.float32) if days is None else days.astype(np.float32)
    METHODS[method].kernel(reflectance, weight, NODATA, is_float, unit, when, out, provenance, count)
    values = out.astype(np.float32) if is_float else np.rint(out).astype(np.int16)
    return Merged(values, provenance, np.minimum(count, 255).astype(np.uint8))
