"""How sure means over areas are: what a day's pixels have in common is not averaged away."""

import numpy as np
from numpy.typing import NDArray

from terrazzo.bulk.windows import window_side, windows
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Chosen
from terrazzo.mosaic.sigma import Common, area_sums, observed, prior_of, scatter, weights
from terrazzo.mosaic.warp import Target
from terrazzo.statistics.zonal import Cover

NAMES = ("sigma", "sigma_pixel")
"""Standard error of the mean over an area, and the root mean square of its pixels' own."""
LEAST_CLEAR = 0.5
"""Share of an area that has to be clear: both are of the clear part, which says little of a mean that is mostly of other pixels."""


class AreaSigma:
    """Standard errors of areas, summed over the parts that they are read in."""

    def __init__(self, engine: Engine, chosen: Chosen, areas: int) -> None:
        self._engine, self._selection = engine, chosen.selection
        self._bands = chosen.selection.request.bands
        self._prior = prior_of(engine.version, self._selection.request.period, self._bands)
        self._common = Common(len(self._bands), areas)
        self._squares = np.zeros((2, len(self._bands), areas))
        self._whole = np.zeros(areas)
        self.problems = dict[str, None]()

    def add(self, target: Target, covered: Cover) -> None:
        """Reads the pixels of a target, in windows, and adds those that areas cover.

        Raises:
            TooLarge: the scenes of a window do not fit in memory.
        """
        number = np.repeat(np.arange(len(covered.starts) - 1), np.diff(covered.starts))
        rows, cols = np.divmod(covered.cells, target.width)
        side = window_side(self._engine.planner.holding(self._selection), 1, compares=True)
        for window, part in windows(target, side):
            row, col = rows - window.row_off, cols - window.col_off
            inside = (row >= 0) & (row < part.height) & (col >= 0) & (col < part.width)
            if not inside.any():
                continue
            image = self._engine.render(self._selection, part)
            values, scenes, days, problems = observed(self._engine, self._selection, part, image, "sigma")
            self.problems |= dict.fromkeys((*image.problems, *problems))
            at = (..., row[inside], col[inside])
            shares, areas = covered.shares[inside], number[inside]
            values, scenes = values[at], scenes[at]
            self._whole += np.bincount(areas, shares, len(self._whole))
            self._common.add(values, scenes, days, shares, areas)
            weight = weights(self._selection.request.target, days)[:, None, None]
            squares = self._prior.of_pixels(values, scatter(values, scenes, weight)) ** 2
            self._squares += area_sums(squares, shares, areas, len(self._whole))

    def columns(self) -> NDArray[np.float64]:
        """(area, band, 2) `NAMES` in reflectance; NaN where less than `LEAST_CLEAR` of an area is clear."""
        with np.errstate(invalid="ignore", divide="ignore"):
            pixel = np.sqrt(self._squares[0] / self._squares[1])
        mean = self._prior.of_means(*self._common.scatter(self._selection.request.target))
        out = np.stack([np.fmin(mean, pixel), pixel], axis=-1)
        out[self._squares[1] < LEAST_CLEAR * self._whole] = np.nan
        return out.swapaxes(0, 1)
