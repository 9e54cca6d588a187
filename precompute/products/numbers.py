"""A product's numbers on the mask grid, kept as the product has them: half the memory of reflectance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import SCALE

Block = tuple[slice, slice]


@dataclass(frozen=True)
class Numbers:
    """Means of a product's numbers over the mask's pixels.

    Attributes:
        bands: names of the layers.
        counts: (band, row, col) uint16, 0 without data.
        offset: what has to be added to them.
    """

    bands: tuple[str, ...]
    counts: NDArray[np.uint16]
    offset: int

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """(band, row, col) reflectance of some rows, NaN without data."""
        return self._reflectance(self.counts[:, start:stop])

    def block(self, band: str, block: Block) -> NDArray[np.float32]:
        """(row, col) reflectance of a band in a block, NaN without data."""
        return self._reflectance(self.counts[self.bands.index(band)][block])

    def _reflectance(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        rho = (counts.astype(np.float32) + np.float32(self.offset)) * np.float32(SCALE)
        rho[counts == 0] = np.nan
        return np.asarray(rho)
