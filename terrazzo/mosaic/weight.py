"""How much the scene that shows at a pixel weighs."""

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.errors import TooLarge
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.plan import MOST_SCENES
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target, box_around, gather, locate
from terrazzo.version import places_of


def weight(engine: Engine, selection: Selection, target: Target, image: Image) -> NDArray[np.int16]:
    """(row, col) int16 weight 1–255 of the scene that shows, nearest pixel, no data where none does.

    Args:
        image: what the engine gave for the target.

    Raises:
        TooLarge: too many scenes show.
    """
    out = np.full(image.provenance.shape, NODATA, np.int16)
    numbers = np.unique(image.provenance[image.provenance >= 0])
    if len(numbers) > MOST_SCENES:
        raise TooLarge(f"weight: {len(numbers)} scenes show, at most {MOST_SCENES}; ask for a smaller area")
    for number in numbers:
        entry, here = image.entries[int(number)], image.provenance == number
        epsg = entry.scene.epsg
        level = engine.planner.level(target, epsg)
        rows, cols = locate(target, engine.version.store.grid(epsg), level, engine.planner.area)
        rows, cols = np.where(here, rows, np.nan), np.where(here, cols, np.nan)
        box = box_around(rows, cols)
        one = Selection(selection.request, (entry,), places_of((entry,)))
        pixels = None if box is None else engine.zone(one, epsg, level, box).pixels
        if box is not None and pixels is not None:
            own = gather(pixels.trust[None].astype(np.int16), box, rows, cols, NODATA, "nearest")[0]
            out[here] = own[here]
    return out
