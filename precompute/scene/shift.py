"""How far a scene's ground lies off the reference."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shift:
    """Where a scene lies, against the reference.

    Attributes:
        east, north: pixels that the scene's ground lies too far east and north.
        spread: standard error of both, pixels.
        squares: number of squares used.
    """

    east: float
    north: float
    spread: float
    squares: int

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.east, self.north))

    def rounded(self) -> "Shift":
        """To a twentieth of a pixel, finer than it is known."""
        east, north = (round(v * 20) / 20 for v in (self.east, self.north))
        return Shift(east, north, round(self.spread, 2), self.squares)
