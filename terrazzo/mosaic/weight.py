"""How much the scene that shows at a pixel weighs, and how likely it is clear there."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCORE_NODATA
from terrazzo.errors import ReadFailure, TooLarge
from terrazzo.grid import PixelBox
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.plan import MOST_SCENES
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target, box_around, gather, locate
from terrazzo.mosaic.zone import Merging
from terrazzo.version import Entry, places_of

Read = Callable[[Entry, int, PixelBox], NDArray[np.int16] | None]
"""What a scene has in a box of its zone's grid at an overview level, (row, col), `NODATA` without data."""


def weight(engine: Engine, selection: Selection, target: Target, image: Image) -> NDArray[np.int16]:
    """(row, col) int16 weight 1–255 of the scene that shows, nearest pixel, no data where none does.

    Args:
        image: what the engine gave for the target.

    Raises:
        TooLarge: too many scenes show.
    """

    def read(entry: Entry, level: int, box: PixelBox) -> NDArray[np.int16] | None:
        one = Selection(selection.request, (entry,), places_of((entry,)))
        pixels = engine.zone(one, entry.scene.epsg, level, box).pixels
        return None if pixels is None else pixels.trust.astype(np.int16)

    return _of_scenes("weight", read, engine, target, image)


def clear_scores(engine: Engine, selection: Selection, target: Target, image: Image) -> NDArray[np.int16]:
    """(row, col) int16 clear score 0–100 of the scene that shows, nearest pixel; no data where none does or has no score.

    The arguments and errors are those of `weight`.
    """

    def read(entry: Entry, level: int, box: PixelBox) -> NDArray[np.int16] | None:
        merging = Merging(engine.version, engine.blocks, selection.request, entry.scene.epsg, level)
        try:
            score = merging.score(entry, box)
        except ReadFailure:
            return None
        return np.where(score == SCORE_NODATA, np.int16(NODATA), score.astype(np.int16))

    return _of_scenes("score", read, engine, target, image)


def _of_scenes(name: str, read: Read, engine: Engine, target: Target, image: Image) -> NDArray[np.int16]:
    """(row, col) what is read of the scene that shows, nearest pixel."""
    out = np.full(image.provenance.shape, NODATA, np.int16)
    numbers = np.unique(image.provenance[image.provenance >= 0])
    if len(numbers) > MOST_SCENES:
        raise TooLarge(f"{name}: {len(numbers)} scenes show, at most {MOST_SCENES}; ask for a smaller area")
    for number in numbers:
        entry, here = image.entries[int(number)], image.provenance == number
        level = engine.planner.level(target, entry.scene.epsg)
        grid = engine.version.store.grid(entry.scene.epsg)
        rows, cols = locate(target, grid, level, engine.planner.area)
        rows, cols = np.where(here, rows, np.nan), np.where(here, cols, np.nan)
        box = box_around(rows, cols)
        values = None if box is None else read(entry, level, box)
        if box is not None and values is not None:
            own = gather(values[None], box, rows, cols, NODATA, "nearest")[0]
            out[here] = own[here]
    return out
