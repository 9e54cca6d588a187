"""A pixel of a zone grid, and how scenes are read there: by the functions that render tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCORE_NODATA, MaskClass
from terrazzo.errors import NotFound, ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import CLASSES_BAND, Resolved
from terrazzo.mosaic.zone import Merging
from terrazzo.scene import read_item
from terrazzo.version import Entry


@dataclass(frozen=True)
class At:
    """A place on a zone grid, and how scenes are read there; `y`, `x` in pixels from the grid's origin."""

    engine: Engine
    request: Resolved
    chosen: Entry
    epsg: int
    y: float
    x: float

    @property
    def row(self) -> int:
        """Row of the pixel under the place."""
        return int(np.floor(self.y))

    @property
    def col(self) -> int:
        """Column of the pixel under the place."""
        return int(np.floor(self.x))

    @property
    def box(self) -> PixelBox:
        """That pixel."""
        return PixelBox(self.row, self.col, self.row + 1, self.col + 1)

    @property
    def merging(self) -> Merging:
        """How the request reads and merges scenes."""
        return self.merging_of(self.request)

    def merging_of(self, request: Resolved) -> Merging:
        """How another request does."""
        return Merging(self.engine.version, self.engine.blocks, request, self.epsg, 0)

    def covers(self, entry: Entry) -> bool:
        """Whether a scene's box holds the pixel."""
        return entry.scene.epsg == self.epsg and not entry.scene.box.intersection(self.box).empty

    def mask(self, entry: Entry) -> MaskClass:
        """The class that a scene's mask gives the pixel."""
        as_mask = replaced(self.request, stage="mask", bands=(CLASSES_BAND,))
        value = int(self.merging_of(as_mask).values(entry, self.box)[0, 0, 0])
        return MaskClass.NODATA if value == NODATA else MaskClass(value)

    def score(self, entry: Entry) -> int | None:
        """The clear score of the pixel in a scene; None where there is none."""
        try:
            value = int(self.merging.score(entry, self.box)[0, 0])
        except ReadFailure:
            return None
        return None if value == SCORE_NODATA else value


def replaced(request: Resolved, **changes: Any) -> Resolved:
    """A request with some of its fields changed."""
    return Resolved(**{**request.__dict__, **changes})


def plain(values: Sequence[Any] | NDArray[Any]) -> tuple[int | None, ...]:
    """Values as numbers, None for nodata."""
    return tuple(None if int(v) == NODATA else int(v) for v in values)


def properties(at: At, entry: Entry) -> Mapping[str, Any]:
    """What a scene's Item says; empty when the scene is gone or its Item damaged."""
    try:
        properties: Mapping[str, Any] = read_item(at.engine.version.store, entry.scene)["properties"]
    except (NotFound, ReadFailure):
        return {}
    return properties
