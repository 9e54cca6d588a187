"""How far the clear scenes of a place disagree."""

import numpy as np

from terrazzo.bands import NODATA
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.stack import PixelNumbers, clear_scenes
from terrazzo.mosaic.warp import Target


def spread(engine: Engine, selection: Selection, target: Target) -> PixelNumbers:
    """(band, row, col) int16 median absolute deviation of the clear scenes, scale 1e-4; no data for fewer than two.

    Raises:
        TooLarge: too many scenes lie in the target, or they do not fit in memory.
    """
    scenes, _, problems = clear_scenes(engine, selection, target, "spread")
    if len(scenes) < 2:
        return PixelNumbers(np.full(scenes.shape[1:], NODATA, np.int16), problems)
    everywhere = np.full((len(scenes), *scenes.shape[2:]), 255, np.uint8)
    middle = merge(scenes, everywhere, "median")
    away = np.where(scenes == NODATA, NODATA, np.abs(scenes.astype(np.int32) - middle.values))
    deviation = merge(np.minimum(away, np.iinfo(np.int16).max).astype(np.int16), everywhere, "median").values
    return PixelNumbers(np.where(middle.count >= 2, deviation, NODATA).astype(np.int16), problems)
