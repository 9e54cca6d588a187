"""Lays the scenes of a zone over each other, first on top, and stops when nothing shines through."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.mosaic import overlay_kernels
from terrazzo.mosaic.merge import Merged

ENOUGH = 1 / 255
"""Share of light below which a pixel is full."""
_SHARE = np.arange(256) / 255
OPACITY: dict[Literal["first", "feather"], NDArray[np.float64]] = {
    "first": np.where(_SHARE > 0, 1.0, 0.0),
    "feather": _SHARE**2 * (3 - 2 * _SHARE),
}
"""(256,) share of the light from below that a scene holds back, by its weight."""
ALL = 1 << 16
"""More scenes than any pixel has: who counts up to here counts all."""


SIDE = 512
"""Pixels to a side of the parts of a box that are looked at by themselves, about: a hole here asks for no pixels there."""
Cut = tuple[slice, slice]
"""Rows and columns of a box."""


def visible(
    weights: Iterable[NDArray[np.uint8]], opacity: NDArray[np.float64], count_to: int = 0
) -> Iterator[list[Cut]]:
    """The parts in which each scene shows or is counted, the first on top, as far as weights alone say.

    Where a scene has weight but no values, more shows of those below it.

    Args:
        count_to: scenes of a pixel that are counted although they may not show.
    """
    layers: tuple[NDArray[np.float64], NDArray[np.uint16]] | None = None
    for weight in weights:
        layers = layers or (np.ones(weight.shape), np.zeros(weight.shape, np.uint16))
        through, count = layers
        yield _wanted(weight, through, count, 1, count_to)
        through *= 1 - opacity[weight]
        count += weight > 0


def _wanted(
    weight: NDArray[np.uint8],
    through: NDArray[np.float64],
    count: NDArray[np.uint16],
    least: int,
    count_to: int,
) -> list[Cut]:
    """The parts of a box, of about `SIDE` pixels, where a scene still shows or is still to be counted; cut to what is wanted."""
    rows, cols = ([n * k // m for k in range(m + 1)] for n in weight.shape for m in [max(1, round(n / SIDE))])
    boxes = (
        overlay_kernels.wanted_box(weight, through, count, least, count_to, *down, *across)
        for down in pairwise(rows)
        for across in pairwise(cols)
    )
    return [(slice(r0, r1), slice(c0, c1)) for r0, r1, c0, c1 in boxes if r0 < r1]


class GainField(NamedTuple):
    """Gains of a scene, and where the values lie that they are applied to.

    Attributes:
        corners: (2, band, ny + 1, nx + 1) float64 gain, and offset in counts, on window corners.
        windows_row0, windows_col0: of the first window; side: pixels of the level to a window.
        row0, col0: place of the first value on the level's grid.
    """

    corners: NDArray[np.float64]
    windows_row0: int
    windows_col0: int
    side: int
    row0: int
    col0: int


NO_GAINS = GainField(np.empty((2, 0, 2, 2)), 0, 0, 1, 0, 0)


class Layers:
    """The state of `first` or `feather` over a box while scenes are added in order.

    Fed with all scenes it equals `terrazzo.mosaic.merge.merge`; it differs in needing them one at a time.
    """

    def __init__(self, method: Literal["first", "feather"], bands: int, shape: tuple[int, int]) -> None:
        self._feather, self._summed = method == "feather", False
        self._values = np.full((bands, *shape), NODATA, np.int16)
        self._through = np.ones(shape)
        summed = shape if self._feather else (shape[0], 0)
        self._total = np.zeros((bands, *summed))
        self._shown, self._most = np.zeros(summed), np.zeros(summed)
        self._provenance = np.full(shape, -1, np.int16)
        self._count = np.zeros(shape, np.uint16)

    def wanted(self, weight: NDArray[np.uint8], least: int, count_to: int) -> list[Cut]:
        """The parts of the box in which a scene would add something.

        Args:
            least: smallest weight that counts, at least 1.
            count_to: also where fewer scenes are counted yet, though the pixel is full.
        """
        return _wanted(weight, self._through, self._count, least, count_to)

    def add(
        self,
        values: NDArray[np.int16],
        weight: NDArray[np.uint8],
        part: Cut,
        least: int,
        number: int,
        count_to: int,
        field: GainField | None = None,
    ) -> None:
        """Adds the next scene: (band, row, col) values of a part of the box, (row, col) weights of all of it.

        Args:
            field: gains that are applied to the values where they show.
        """
        state = (self._values, self._through, self._provenance, self._count)
        self._summed |= overlay_kernels.lay_over(
            *(values, weight, part[0].start, part[1].start, least, number, NODATA, count_to),
            *(not self._feather, tuple(field or NO_GAINS)),
            (*state, self._total, self._shown, self._most),
        )

    @property
    def open(self) -> NDArray[np.bool_]:
        """(row, col) where a further scene can show."""
        return np.asarray(self._through >= ENOUGH)

    def full(self, count_to: int) -> bool:
        """Whether no further scene can show anywhere, nor is to be counted up to a number."""
        return bool(overlay_kernels.is_full(self._through, self._count, count_to))

    def merged(self) -> Merged:
        """The picture so far."""
        if self._summed:
            overlay_kernels.settle(self._total, self._shown, self._values)
        return Merged(self._values, self._provenance, np.minimum(self._count, 255).astype(np.uint8))
