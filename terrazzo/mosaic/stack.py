"""The clear scenes of a place, one by one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.errors import TooLarge
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.plan import MOST_SCENES
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Points, Target
from terrazzo.version import Entry, places_of

MOST_VALUES = 300_000_000
"""Values of all scenes that are held at once."""


class PixelNumbers(NamedTuple):
    """Numbers of pixels, and why scenes are missing from them.

    Attributes:
        values: (row, col) or (band, row, col).
        problems: scenes that were left out, and why.
    """

    values: NDArray[Any]
    problems: tuple[str, ...] = ()


class ClearScene(NamedTuple):
    """A scene or a pass over a place.

    Attributes:
        values: (band, row, col) int16, scale 1e-4, −32768 where it is not clear.
        problems: scenes that were left out, and why.
    """

    values: NDArray[np.int16]
    day: date
    problems: tuple[str, ...]


class ClearScenes(NamedTuple):
    """Layers of a place that show something there, a scene or a pass each.

    Attributes:
        values: (layer, band, row, col) int16, scale 1e-4, −32768 where it is not clear.
        days: (layer,) of each.
        problems: scenes that were left out, and why.
    """

    values: NDArray[np.int16]
    days: tuple[date, ...]
    problems: tuple[str, ...]


def each_clear(
    engine: Engine, selection: Selection, where: Target | Points, name: str, *, passes: bool = False
) -> Iterator[ClearScene]:
    """The scenes of a selection where they are clear, one after the other; no last resorts.

    Args:
        name: what asks, for the error.
        passes: instead of scenes whole passes, without gains: each is one observation, whatever tiles it was cut into.

    Raises:
        TooLarge: more than `MOST_SCENES` scenes lie there.
    """
    request = replace(selection.request, method="first", fill="none", target=None)
    if passes:
        request = replace(request, stage="merged")
    entries = engine.planner.shown(selection, where)
    if len(entries) > MOST_SCENES:
        raise TooLarge(
            f"{name}: {len(entries)} scenes lie here, at most {MOST_SCENES} are compared; zoom in, or choose fewer by datetime,"
            " max_cloud, orbit or ids"
        )
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.scene.datatake if passes else entry.scene.id, []).append(entry)
    for group in groups.values():
        one = Selection(request, tuple(group), places_of(tuple(group)))
        image = (
            engine.render(one, where)
            if isinstance(where, Target)
            else engine.points(one, where.crs, where.x, where.y)
        )
        yield ClearScene(image.values, group[0].scene.datetime.date(), image.problems)


def clear_scenes(
    engine: Engine, selection: Selection, where: Target | Points, name: str, *, passes: bool = False
) -> ClearScenes:
    """The scenes of `each_clear` that show something, all at once.

    Raises:
        TooLarge: as `each_clear`, or they do not fit in memory.
    """
    seen, days, problems = list[NDArray[np.int16]](), list[date](), dict[str, None]()
    for one in each_clear(engine, selection, where, name, passes=passes):
        problems |= dict.fromkeys(one.problems)
        if (one.values != NODATA).any():
            seen.append(one.values)
            days.append(one.day)
        if len(seen) * one.values.size > MOST_VALUES:
            raise TooLarge(
                f"{name}: too many scenes for an area of this size; ask for a smaller one, or fewer scenes"
            )
    empty = np.empty((0, len(selection.request.bands), *where.shape), np.int16)
    return ClearScenes(np.stack(seen) if seen else empty, tuple(days), tuple(problems))
