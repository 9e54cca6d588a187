"""What a mosaic remembers of places: ground that masks take for cloud or shadow on most dates, and its colour.

Salt, sand, roofs and lagoons look the same whenever they show; clouds do not. What the dates of a period agree on lies beside the period's
reference, square by square of a zone's grid.
"""

from typing import NamedTuple

import numpy as np

from terrazzo.bands import NODATA, SCALE
from terrazzo.errors import NotFound
from terrazzo.grid import PixelBox
from terrazzo.store import Store

SQUARE = 1024
"""Side in pixels of a square of the reference; bounds the memory."""
PLACES = "places.npz.zst"
"""File of a square: int16 `level` (blue reflectance, scale 1e-4, nodata where masks are believed), uint16 `alike`, `flagged` and `seen`, all
(row, col) on mask pixels; `box` of them, row0, col0, row1, col1. A square without such ground has no file."""

REMEMBERED_SCORE = 90
"""Clear score, in per cent, that a pixel has at least where its place is remembered."""


class RememberedPlace(NamedTuple):
    """Ground that masks take for cloud or shadow.

    Attributes:
        level: blue reflectance.
        alike, flagged, seen: dates that agree with the level, those of them that the masks flag, all dates with data.
    """

    level: float
    alike: int
    flagged: int
    seen: int


def windows_of_square(window: int) -> int:
    """Windows to a side of a square."""
    return max(1, SQUARE // window)


def square_prefix(folder: str, epsg: int, cy: int, cx: int) -> str:
    """Where the square of a zone lies whose number is `cy` down and `cx` across, in the folder of a reference."""
    return f"{folder}/{epsg}/{cy}_{cx}"


def reference_folder(weight_key: str) -> str:
    """The folder of the reference that a scene's weight was made with."""
    folder, _, ref_id = weight_key.rpartition("/")[0].rpartition("/weights/")
    return f"{folder}/references/{ref_id}"


def place_at(store: Store, folder: str, epsg: int, row: int, col: int) -> RememberedPlace | None:
    """What is remembered of a pixel of a zone's grid; None where masks are believed.

    Args:
        folder: of the reference.
    """
    side = windows_of_square(store.config.window) * store.config.window
    try:
        arrays = store.read_arrays(f"{square_prefix(folder, epsg, row // side, col // side)}/{PLACES}")
    except NotFound:
        return None
    box, f = PixelBox(*map(int, arrays["box"])), store.mask_factor
    at = row // f - box.row0, col // f - box.col0
    if not (0 <= at[0] < box.height and 0 <= at[1] < box.width) or arrays["level"][at] == NODATA:
        return None
    alike, flagged, seen = (int(arrays[name][at]) for name in ("alike", "flagged", "seen"))
    return RememberedPlace(float(arrays["level"][at] * np.float64(SCALE)), alike, flagged, seen)
