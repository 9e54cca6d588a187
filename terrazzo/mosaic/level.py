"""The level of a day: what of the gains is season, given back to the methods that show one day.

Gains bring all scenes of a period to one level, which for a method that shows a day takes off the season along with the air. Each scene's
own level, what its gains took off, is followed in time by kriging, corner by corner of the windows; light that looks like haze is left off.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import BANDS
from terrazzo.grid import PixelBox
from terrazzo.mosaic.methods import through_time
from terrazzo.version import Entry, Version

STEADY = 10.0
"""Days in which the season moves a place's level as much as the air of one date: the nugget over the variance a day of the walk."""
GROUND = 0.04
"""Reflectance of the ground in B02 at which the light of haze is read from gain and offset."""
EXPONENT = 1.9
"""Power of the wavelength by which the light of haze falls, as of the gains' prior."""
LEAST = 1e-3
"""Clear share that a scene counts at least, so that every corner has a level."""

Array = NDArray[np.float64]


def day_level(
    version: Version, entries: Sequence[Entry], day: date, windows: PixelBox
) -> tuple[Array, Array]:
    """Gain and offset, each (band, ny + 1, nx + 1), that bring normalized reflectance to a day's level on the corners of windows.

    Args:
        entries: scenes of one zone whose windows touch the corners; others do no harm.
        windows: box of window indices.
    """
    bands, shape = len(version.bands), (windows.height + 1, windows.width + 1)
    weight = np.zeros((len(entries), *shape))
    gain, offset = np.ones((2, len(entries), bands, *shape))
    for i, entry in enumerate(entries):
        known = version.corners(entry)
        if known is None:
            continue
        scene, (corners, tile) = entry.scene, known
        # Of its own windows alone: those of its tile that it does not reach are not asked for everywhere.
        shared = _shared(windows, version.store.grid(scene.epsg).window_range(scene.box), tile)
        if shared is None:
            continue
        at, own = shared
        gain[i, :, *at], offset[i, :, *at] = _taken(corners[:, :, *own], version.bands)
        weight[i, *at] = max(entry.scene.clear_share, LEAST)
    days = np.array([(e.scene.datetime.date() - day).days for e in entries], float)
    part = parts(weight.reshape(len(entries), -1), days).reshape(weight.shape)[:, None]
    none = (part.sum(axis=0) == 0).astype(float)
    return (part * gain).sum(axis=0) + none, (part * offset).sum(axis=0)


def _shared(
    windows: PixelBox, own: PixelBox, tile: PixelBox
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The corners that some windows share with a scene's own, as slices of the windows' corners and of its tile's; None without any."""
    row0, row1 = max(windows.row0, own.row0, tile.row0), min(windows.row1, own.row1, tile.row1)
    col0, col1 = max(windows.col0, own.col0, tile.col0), min(windows.col1, own.col1, tile.col1)
    if row0 > row1 or col0 > col1:
        return None
    first, second = (
        (slice(row0 - b.row0, row1 - b.row0 + 1), slice(col0 - b.col0, col1 - b.col0 + 1))
        for b in (windows, tile)
    )
    return first, second


def _taken(corners: NDArray[np.int16], bands: Sequence[str]) -> tuple[Array, Array]:
    """Gain and offset, each (band, …), from the common level to a scene's own, without the light of its haze.

    Args:
        corners: (2, band, …) as of `gains.encode`.
    """
    gain, offset = gains.decode(corners)
    back, added = 1 / gain, -offset / gain
    blue = list(bands).index("B02")
    haze = np.maximum((back[blue] - 1) * GROUND + added[blue], 0)
    light = light_of_haze(bands)
    return back, added - np.multiply.outer(light, haze)


def light_of_haze(bands: Sequence[str]) -> Array:
    """(band,) light of haze over that in B02."""
    blue = BANDS["B02"].centre_nm[0]
    return np.array([min(1.0, (blue / BANDS[b].centre_nm[0]) ** EXPONENT) for b in bands])


def parts(weight: Array, days: Array) -> Array:
    """(scene, place) parts of scenes in the level at day 0; 0 where no scene counts.

    Places that the same scenes show alike are computed once, of these scenes alone: a place's parts do not depend on the others.

    Args:
        weight: (scene, place) what scenes count; days: (scene,) from the day that is shown.
    """
    kinds, kind = np.unique(weight, axis=1, return_inverse=True)
    out = np.zeros_like(kinds)
    for k in np.flatnonzero(kinds.any(axis=0)):
        out[:, k] = through_time(kinds[:, k], days, STEADY)
    return out[:, kind.ravel()]
