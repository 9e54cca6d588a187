"""What a pixel's neighbourhood says of it: darker or brighter than what lies around, rough or smooth, near something bright.

A shadow is dark for its surroundings, not dark as such; a roof is smaller than a cloud; a forest's edge is rough.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CELL = 100.0
"""Metres over which surroundings are averaged before they are looked at."""
NEAR, FAR = 500.0, 2500.0
"""Side of the squares that are called near and far, in metres."""
LOOKED_AT = {"blue": ("B02", "B03", "B04"), "infrared": ("B08", "B8A", "B07"), "shortwave": ("B11", "B12")}
"""Bands of which the first that is there is looked at."""
CONTEXT = (
    "blue-near", "blue-far", "blue-darkest", "blue-brightest", "blue-rough",
    "infrared-near", "infrared-far", "infrared-level", "infrared-rough",
    "shortwave-far", "shortwave-level",
)  # fmt: skip
"""Features: the logarithm of a band less that of its surroundings' mean, of their darkest and brightest cell, of the level that
dips narrower than the far square lie in, and of the roughness within a cell."""

HAZY = ("B02", "B04")
"""Bands of which the air's share is looked for."""


Rows = Callable[[int, int], NDArray[np.float32]]
"""(band, row, col) reflectance of the rows from the first up to the second number, NaN without data."""


class Surroundings(NamedTuple):
    """What pixels are compared with: for each feature of `CONTEXT` a coarse (row, col) array of cells, of `cell` pixels each, or None.

    Attributes:
        air: (band of `HAZY`, row, col) reflectance of the darkest cell of the far square: about what the air reflects. None if a band is missing.
    """

    coarse: dict[str, NDArray[np.float32]]
    bands: dict[str, int]
    cell: int
    shape: tuple[int, int]
    air: NDArray[np.float32] | None = None

    def above_air(self, start: int, reflectance: NDArray[np.floating]) -> NDArray[np.float32]:
        """(band, row, col) reflectance of `HAZY`, whose first row is the scene's row `start`, less that of the darkest ground around.

        Raises:
            ValueError: `air` is None.
        """
        if self.air is None:
            raise ValueError("surroundings without air")
        shape = reflectance.shape[1:]
        out = np.empty((len(HAZY), *shape), np.float32)
        for row, band, dark in zip(out, reflectance, self.air, strict=True):
            np.subtract(band, _on_pixels(dark, self.cell, start, shape), out=row)
        return out

    def features(self, start: int, reflectance: NDArray[np.floating]) -> NDArray[np.float32]:
        """(feature, row, col) of (band, row, col) reflectance, whose first row is the scene's row `start`.

        NaN without data and where a feature's band is missing.
        """
        shape = reflectance.shape[1:]
        out = np.full((len(CONTEXT), *shape), np.nan, np.float32)
        logs = {prefix: _log(reflectance[k]) for prefix, k in self.bands.items()}
        for k, name in enumerate(CONTEXT):
            if name not in self.coarse:
                continue
            prefix, what = name.split("-")
            fine = _on_pixels(self.coarse[name], self.cell, start, shape)
            if what == "rough":
                out[k] = np.where(np.isfinite(logs[prefix]), fine, np.nan)
            else:
                np.subtract(logs[prefix], fine, out=out[k])
        out[np.isinf(out)] = np.nan
        return out


NOTHING = Surroundings({}, {}, 1, (0, 0))
"""Of pixels that are judged by their spectrum alone."""


def surroundings(
    rows: Rows, shape: tuple[int, int], bands: Sequence[str], pixel: float, strip: int = 256
) -> Surroundings:
    """Looks at a scene's surroundings, some `strip` rows at a time; none in a scene smaller than `NEAR`.

    Args:
        pixel: metres.
    """
    cell = max(1, round(CELL / pixel))
    kernels_of = {
        prefix: next((list(bands).index(b) for b in choice if b in bands), None)
        for prefix, choice in LOOKED_AT.items()
    }
    usable = {prefix: k for prefix, k in kernels_of.items() if k is not None}
    if min(shape) * pixel < NEAR:
        return Surroundings({}, usable, cell, shape)
    step = max(strip // cell, 1) * cell
    hazy = [list(bands).index(b) for b in HAZY] if set(HAZY) <= set(bands) else []
    dark: list[list[NDArray[np.float32]]] = [[] for _ in hazy]
    parts: dict[str, list[tuple[NDArray[np.float32], ...]]] = {prefix: [] for prefix in usable}
    for start in range(0, shape[0], step):
        reflectance = rows(start, min(start + step, shape[0]))
        for prefix, k in usable.items():
            parts[prefix].append(_cells(_log(reflectance[k]), cell))
        for k, cells_of in zip(hazy, dark, strict=True):
            cells_of.append(_cells(reflectance[k], cell)[0])
    near, far = (max(3, round(side / (cell * pixel)) | 1) for side in (NEAR, FAR))
    coarse = {}
    for prefix, cells in parts.items():
        mean, deviation = (np.concatenate(column) for column in zip(*cells, strict=True))
        wide, known = _mean(mean, far), np.isfinite(mean)
        looked: dict[str, Callable[[], NDArray[np.float32]]] = {
            "near": partial(_mean, mean, near),
            "far": partial(np.asarray, wide),
            "darkest": partial(ndimage.minimum_filter, np.where(known, mean, np.inf), far),
            "brightest": partial(ndimage.maximum_filter, np.where(known, mean, -np.inf), far),
            "level": partial(ndimage.grey_closing, np.where(known, mean, wide), (far, far)),
            "rough": partial(_rough, deviation),
        }
        for what, look in looked.items():
            if f"{prefix}-{what}" in CONTEXT:
                coarse[f"{prefix}-{what}"] = _filled(look())
    air = np.stack([_darkest(np.concatenate(cells_of), far) for cells_of in dark]) if hazy else None
    return Surroundings(coarse, usable, cell, shape, air)


def context_features(
    reflectance: NDArray[np.floating], bands: Sequence[str], pixel: float
) -> NDArray[np.float32]:
    """(feature, row, col) of a whole (band, row, col) scene."""
    whole = np.asarray(reflectance, np.float32)
    around = surroundings(lambda start, stop: whole[:, start:stop], whole.shape[1:], bands, pixel)
    return around.features(0, whole)


def _darkest(cells: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The darkest of the known cells of squares."""
    least = ndimage.minimum_filter(np.where(np.isfinite(cells), cells, np.inf), side)
    return _filled(np.where(np.isfinite(least), least, np.nan))


def _rough(deviation: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.log(_mean(deviation, 3) + np.float32(0.01)), np.float32)


def _log(rho: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(np.log(np.clip(rho, np.float32(-0.04), np.float32(1.3)) + np.float32(0.05)), np.float32)


def _cells(log: NDArray[np.float32], cell: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the known pixels of each cell; NaN where there are none."""
    rows, cols = (-(-n // cell) for n in log.shape)
    padded = np.full((rows * cell, cols * cell), np.nan, np.float32)
    padded[: log.shape[0], : log.shape[1]] = log
    blocks = padded.reshape(rows, cell, cols, cell)
    known = np.isfinite(blocks)
    count = known.sum((1, 3), dtype=np.float32)
    values = np.where(known, blocks, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum((1, 3)) / count
        square = (values * values).sum((1, 3)) / count
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


def _mean(coarse: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Mean over squares of what is known."""
    known = np.isfinite(coarse)
    share = ndimage.uniform_filter(known.astype(np.float32), side, mode="nearest")
    total = ndimage.uniform_filter(np.where(known, coarse, 0), side, mode="nearest")
    return np.where(share > 1e-4, total / np.maximum(share, 1e-4), np.nan).astype(np.float32)


def _filled(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cells that are unknown take the nearest known one's value."""
    out = np.asarray(coarse, np.float32)
    unknown = ~np.isfinite(out)
    if not unknown.any() or unknown.all():
        return out
    at = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return np.asarray(out[tuple(at)])


def _on_pixels(
    coarse: NDArray[np.float32], cell: int, start: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Cells as pixels from row `start` on, linear between the cells' middles."""
    out = coarse
    for axis, first in ((0, start), (1, 0)):
        place = (np.arange(first, first + shape[axis], dtype=np.float32) + 0.5) / cell - 0.5
        place = np.clip(place, 0, coarse.shape[axis] - 1)
        low = place.astype(int)
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        t = (place - low).astype(np.float32)
        t = t[:, None] if axis == 0 else t
        before = out.take(low, axis)
        out = before + (out.take(high, axis) - before) * t
    return out
