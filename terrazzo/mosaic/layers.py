"""Lays the scenes of a zone over each other, first on top, and stops when nothing shines through."""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.mosaic import kernels
from terrazzo.mosaic.merge import Merged

ENOUGH = 1 / 255
"""Share of light below which a pixel is full."""
_SHARE = np.arange(256) / 255
OPACITY: dict[Literal["first", "feather"], NDArray[np.float64]] = {
    "first": np.where(_SHARE > 0, 1.0, 0.0),
    "feather": _SHARE**2 * (3 - 2 * _SHARE),
}
"""(256,) share of the light from below that a scene holds back, by its weight."""
GLASS = np.zeros(256)
"""The same of scenes that hide none below them."""


def visible(
    weights: Iterable[NDArray[np.uint8]], opacity: NDArray[np.float64]
) -> Iterator[tuple[slice, slice] | None]:
    """The rows and columns in which each scene shows, the first on top, as far as weights alone say; None: nowhere.

    Where a scene has weight but no values, more shows of those below it.
    """
    through: NDArray[np.float64] | None = None
    for weight in weights:
        through = np.ones(weight.shape) if through is None else through
        r0, r1, c0, c1 = kernels.shown_box(weight, through, 1, ENOUGH)
        yield None if r1 <= r0 else (slice(r0, r1), slice(c0, c1))
        through *= 1 - opacity[weight]


class Layers:
    """The state of `first` or `feather` over a box while scenes are added in order.

    Fed with all scenes it equals `terrazzo.mosaic.merge.merge`; it differs in needing them one at a time.
    """

    def __init__(self, method: Literal["first", "feather"], bands: int, shape: tuple[int, int]) -> None:
        self._feather = method == "feather"
        self._values = np.full((bands, *shape), NODATA, np.int16)
        self._through = np.ones(shape)
        if self._feather:
            self._total = np.zeros((bands, *shape))
            self._shown, self._most = np.zeros(shape), np.zeros(shape)
        self._provenance = np.full(shape, -1, np.int16)
        self._count = np.zeros(shape, np.uint16)

    def wanted(self, weight: NDArray[np.uint8], least: int, *, counted: bool) -> tuple[slice, slice] | None:
        """Rows and columns of the box in which a scene would add something; None where it would not.

        Args:
            least: smallest weight that counts, at least 1.
            counted: also where the box is full, to count the scene.
        """
        r0, r1, c0, c1 = kernels.shown_box(weight, self._through, least, 0.0 if counted else ENOUGH)
        return None if r1 <= r0 else (slice(r0, r1), slice(c0, c1))

    def add(
        self,
        values: NDArray[np.int16],
        weight: NDArray[np.uint8],
        part: tuple[slice, slice],
        least: int,
        number: int,
    ) -> None:
        """Adds the next scene: (band, row, col) values of a part of the box, (row, col) weights of all of it."""
        common = (values, weight, part[0].start, part[1].start, least, number, NODATA)
        if not self._feather:
            kernels.lay_first(*common, self._values, self._through, self._provenance, self._count)
            return
        kernels.lay_over(
            *common, self._total, self._shown, self._through, self._most, self._provenance, self._count
        )

    @property
    def open(self) -> NDArray[np.bool_]:
        """(row, col) where a further scene can show."""
        return np.asarray(self._through >= ENOUGH)

    @property
    def full(self) -> bool:
        """Whether no further scene can show anywhere."""
        return bool(self._through.max() < ENOUGH)

    def merged(self) -> Merged:
        """The picture so far."""
        if self._feather:
            kernels.settle(self._total, self._shown, self._count, self._values)
        return Merged(self._values, self._provenance, np.minimum(self._count, 255).astype(np.uint8))
