"""What is amiss with the scene that shows at a pixel, as bits."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import MaskClass
from terrazzo.errors import NotFound, TooLarge
from terrazzo.mosaic import gather_kernels
from terrazzo.mosaic.engine import FILLED, Engine, Image
from terrazzo.mosaic.plan import MOST_SCENES
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Points, Target, locate
from terrazzo.mosaic.zone import DAMAGED, LAST_RESORT
from terrazzo.version import Entry, places_of

HAZE, SNOW, TERRAIN_SHADOW, EXTRAPOLATED, CLAMPED, SINGLE, MISREGISTERED = (2**k for k in range(2, 9))


SEVERAL = 2
"""Usable scenes from which more make no difference to any bit."""


class Flag(NamedTuple):
    """A bit: what it means, and its name and colour in a legend."""

    text: str
    label: str
    colour: tuple[int, int, int]


FLAGS = {
    SINGLE: Flag("only one usable scene", "one scene", (190, 200, 120)),
    EXTRAPOLATED: Flag(
        "gain extrapolated: nothing to compare near here", "gain extrapolated", (160, 150, 200)
    ),
    CLAMPED: Flag("gain clamped to its limits", "gain clamped", (120, 60, 160)),
    MISREGISTERED: Flag(
        "the scene lies half a pixel or more off the others", "misregistered", (230, 130, 200)
    ),
    TERRAIN_SHADOW: Flag("shadow of the terrain", "terrain shadow", (90, 90, 90)),
    SNOW: Flag("snow or ice", "snow", (120, 220, 240)),
    HAZE: Flag("haze or thin cloud", "haze", (250, 190, 90)),
    FILLED: Flag("filled from another period", "another period", (60, 110, 200)),
    PREDICTED: Flag("predicted from other dates: hidden on the day", "predicted", (200, 60, 220)),
    LAST_RESORT: Flag("last resort: no scene is clear here", "not clear", (210, 90, 60)),
    DAMAGED: Flag("a scene that would show cannot be read", "scene damaged", (200, 0, 80)),
}
"""All bits, the gravest last: its colour hides those before."""
HAZY = 0.5
"""Mean haze weight of a scene below which its pixels are called hazy."""
CLASSES = {MaskClass.THIN_CLOUD: HAZE, MaskClass.SNOW: SNOW, MaskClass.TERRAIN_SHADOW: TERRAIN_SHADOW}


def quality(engine: Engine, selection: Selection, where: Target | Points, image: Image) -> NDArray[np.uint16]:
    """(row, col) bits of `FLAGS` of an image whose `count` is exact up to `SEVERAL`.

    Args:
        where, image: what was asked for and what the engine gave.

    Raises:
        TooLarge: too many scenes show.
    """
    out = image.quality.copy()
    # A value that is predicted is of no one scene: what is amiss with one says nothing of it.
    shown = (image.provenance >= 0) & (image.quality & PREDICTED == 0)
    out[shown & (image.count == 1)] |= SINGLE
    numbers = np.unique(image.provenance[shown])
    if len(numbers) > MOST_SCENES:
        raise TooLarge(f"quality: {len(numbers)} scenes show, at most {MOST_SCENES}; ask for a smaller area")
    for number in numbers:
        entry, here = image.entries[int(number)], shown & (image.provenance == number)
        classes = _classes(engine, selection, where, entry)
        for kind, bit in CLASSES.items():
            out[here & (classes == kind)] |= bit
        if entry.haze < HAZY:
            out[here] |= HAZE
        if _far_off(engine, entry):
            out[here] |= MISREGISTERED
        if selection.request.normalized:
            out[here] |= _gain_bits(engine, selection, where, entry)[here]
    return out


def _classes(engine: Engine, selection: Selection, where: Target | Points, entry: Entry) -> NDArray[np.int16]:
    """(row, col) mask classes of one scene, no data outside it."""
    request = replace(
        selection.request,
        stage="mask",
        method="first",
        fill="none",
        resampling="nearest",
        period=entry.period,
    )
    one = Selection(request, (entry,), places_of((entry,)))
    image = (
        engine.render(one, where)
        if isinstance(where, Target)
        else engine.points(one, where.crs, where.x, where.y)
    )
    return np.asarray(image.values[0])


def _far_off(engine: Engine, entry: Entry) -> bool:
    try:
        note = engine.version.store.read_json(entry.weight_key.removesuffix(".tif") + ".json")
    except NotFound:
        return False
    return bool(note.get("far_off", False))


def _gain_bits(
    engine: Engine, selection: Selection, where: Target | Points, entry: Entry
) -> NDArray[np.uint16]:
    """(row, col) EXTRAPOLATED and CLAMPED of one scene's gains."""
    version = engine.version
    grid = version.store.grid(entry.scene.epsg)
    rows, cols = locate(where, grid, 0, engine.planner.area)
    of_tile = version.gains(entry)
    if of_tile is None:
        return np.zeros(rows.shape, np.uint16)
    corners, windows = of_tile.corners[entry.ordinal], of_tile.windows
    of_bands = corners[:, [version.bands.index(b) for b in selection.request.bands]]
    gain, offset = gains.decode(of_bands)
    low, high = gains.GAIN_LIMITS
    at: NDArray[np.bool_] = np.any(
        (gain <= low + gains.GAIN_UNIT)
        | (gain >= high - gains.GAIN_UNIT)
        | (np.abs(offset) >= gains.OFFSET_LIMITS[1] - gains.OFFSET_UNIT),
        axis=0,
    )
    bits = np.where(at[:-1, :-1] | at[:-1, 1:] | at[1:, :-1] | at[1:, 1:], CLAMPED, 0).astype(np.uint16)
    if entry.scene.id in of_tile.measured:
        packed = np.frombuffer(of_tile.measured[entry.scene.id], np.uint8)
        known = np.unpackbits(packed, count=bits.size).astype(bool).reshape(bits.shape)
        bits[~known] |= EXTRAPOLATED
    out = np.empty(rows.shape, np.uint16)
    gather_kernels.at_windows(bits, rows, cols, grid.window, windows.row0, windows.col0, out)
    return out
