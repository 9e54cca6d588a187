"""How far the clear scenes of a place disagree."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.errors import TooLarge
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target
from terrazzo.version import places_of

MOST_VALUES = 300_000_000
"""Values of all scenes that are held at once."""


def spread(engine: Engine, selection: Selection, target: Target) -> NDArray[np.int16]:
    """(band, row, col) int16 median absolute deviation of the clear scenes, scale 1e-4; no data for fewer than two.

    Raises:
        TooLarge: the scenes of the target do not fit in memory.
    """
    scenes = clear_scenes(engine, selection, target)
    shape = (len(selection.request.bands), target.height, target.width)
    if len(scenes) < 2:
        return np.full(shape, NODATA, np.int16)
    everywhere = np.full((len(scenes), *shape[1:]), 255, np.uint8)
    middle = merge(scenes, everywhere, "median")
    away = np.where(scenes == NODATA, NODATA, np.abs(scenes.astype(np.int32) - middle.values))
    deviation = merge(np.minimum(away, np.iinfo(np.int16).max).astype(np.int16), everywhere, "median").values
    return np.where(middle.count >= 2, deviation, NODATA).astype(np.int16)


def clear_scenes(engine: Engine, selection: Selection, target: Target) -> NDArray[np.int16]:
    """(scene, band, row, col) int16 of each scene of a selection that is clear somewhere in a target, no data where it is not.

    Raises:
        TooLarge: they do not fit in memory.
    """
    clear = replace(selection.request, method="first", fill="none")
    shape = (len(clear.bands), target.height, target.width)
    seen: list[NDArray[np.int16]] = []
    for entry in engine.planner.shown(selection, target):
        values = engine.render(Selection(clear, (entry,), places_of((entry,))), target).values
        if (values != NODATA).any():
            seen.append(values)
        if len(seen) * values.size > MOST_VALUES:
            raise TooLarge(
                "too many scenes are compared for an area of this size; ask for a smaller one, or fewer scenes"
            )
    return np.stack(seen) if seen else np.empty((0, *shape), np.int16)
