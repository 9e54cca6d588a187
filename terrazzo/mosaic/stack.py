"""The clear scenes of a place, one by one."""

from dataclasses import replace
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.errors import TooLarge
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Points, Target
from terrazzo.version import Entry, places_of

MOST_VALUES = 300_000_000
"""Values of all scenes that are held at once."""


class ClearScenes(NamedTuple):
    """Layers of a place that show something there, a scene or a pass each.

    Attributes:
        values: (layer, band, row, col) int16, scale 1e-4, −32768 where it is not clear.
        days: (layer,) of each.
    """

    values: NDArray[np.int16]
    days: tuple[date, ...]


def clear_scenes(
    engine: Engine, selection: Selection, where: Target | Points, name: str, *, passes: bool = False
) -> ClearScenes:
    """The scenes of a selection one by one, where they are clear; no last resorts.

    Args:
        name: what asks, for the error.
        passes: instead of scenes whole passes, without gains: each is one observation, whatever tiles it was cut into.

    Raises:
        TooLarge: the scenes of the place do not fit in memory.
    """
    request = replace(selection.request, method="first", fill="none", target=None)
    if passes:
        request = replace(request, stage="merged")
    groups: dict[str, list[Entry]] = {}
    for entry in engine.planner.shown(selection, where):
        groups.setdefault(entry.scene.datatake if passes else entry.scene.id, []).append(entry)
    seen, days = list[NDArray[np.int16]](), list[date]()
    for group in groups.values():
        one = Selection(request, tuple(group), places_of(tuple(group)))
        image = (
            engine.render(one, where)
            if isinstance(where, Target)
            else engine.points(one, where.crs, where.x, where.y)
        )
        if (image.values != NODATA).any():
            seen.append(image.values)
            days.append(group[0].scene.datetime.date())
        if len(seen) * image.values.size > MOST_VALUES:
            raise TooLarge(
                f"{name}: too many scenes for an area of this size; ask for a smaller one, or fewer scenes"
            )
    empty = np.empty((0, len(request.bands), *where.shape), np.int16)
    return ClearScenes(np.stack(seen) if seen else empty, tuple(days))
