"""Finds periods whose dates show different land: no gain brings a green field and a harvested one together.

Two dates of a tile are compared over the land that both show clear. One line for each band takes off what air and gains explain; land whose
red or near infrared still differs has changed. The figure looks at overviews of a few tiles, and changes no pixel.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.config import Period
from terrazzo.errors import NotFound, ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.scene import MASK, Scene
from terrazzo.seasons import Apart
from terrazzo.store import Store

BANDS = ("B04", "B08")
"""Red and near infrared show what grows."""
MOST_GAIN = 1.25
"""Gain, either way, up to which a difference between two dates may be air's."""
MOST_OFFSET = (0.03, 0.02)
"""Reflectance of `BANDS` that haze may add."""
NEW, DARK = 0.3, 0.05
"""Share of the reflectance, and reflectance added to it, by which changed land differs."""
MOST_CHANGED = 0.5
"""Share of the land that may change within a period: what most dates agree on is still the land of each."""
TILES, SIDE, PLACES = 4, 512, 2000
"""Tiles of a period, pixels of a tile's side, and of those the places that are compared, at most."""
LEAST = 200
"""Places that two dates of a tile have in common at least."""

Array = NDArray[np.float32]
T = TypeVar("T")


def apart(store: Store, period: Period, scenes: Sequence[Scene]) -> Apart | None:
    """The two dates of a period that differ most, with the split that would do; None where its dates agree.

    A parent, whose parts the operator chose, is not looked at.
    """
    if period.members:
        return None
    days = sorted({s.datetime.date() for s in scenes})
    new, seen = np.zeros((2, len(days), len(days)))
    blocks = Blocks()
    try:
        for tile in _tiles(scenes):
            shown = _shown(store, blocks, tile)
            if not shown:
                continue
            at = np.array([days.index(d) for d in shown])
            counts = pairs(np.stack(list(shown.values())))
            new[np.ix_(at, at)] += counts[0]
            seen[np.ix_(at, at)] += counts[1]
    finally:
        blocks.close()
    share = new / np.maximum(seen, 1)
    if share.max(initial=0) <= MOST_CHANGED:
        return None
    i, j = sorted(map(int, np.unravel_index(share.argmax(), share.shape)))
    return Apart((days[i], days[j]), round(float(share[i, j]), 3), split(period, days, share))


def _tiles(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Scenes of some tiles, spread evenly over their names."""
    tiles: dict[str, list[Scene]] = defaultdict(list)
    for s in scenes:
        tiles[s.mgrs].append(s)
    return [tiles[name] for name in spread_over(sorted(tiles), TILES)]


def spread_over(items: Sequence[T], most: int) -> list[T]:
    """At most so many of some items, spread evenly from the first to the last."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[i] for i in chosen]


def _shown(store: Store, blocks: Blocks, scenes: Sequence[Scene]) -> dict[date, Array]:
    """(band, place) reflectance of clear land of a tile by date, NaN elsewhere; a scene that cannot be read shows nothing."""
    box = scenes[0].box
    for s in scenes[1:]:
        box = box.union(s.box)
    level = _level(store, box)
    wide = box.coarser(2**level)
    step = max(1, int(np.sqrt(wide.height * wide.width / PLACES)))
    out: dict[date, Array] = {}
    for s in scenes:
        try:
            values = _land(store, blocks, s, level, wide)[:, ::step, ::step].reshape(len(BANDS), -1)
        except (ReadFailure, NotFound):
            continue
        before = out.get(s.datetime.date(), values)
        out[s.datetime.date()] = np.where(np.isfinite(before), before, values)
    return out


def _level(store: Store, box: PixelBox) -> int:
    """The first overview of at most `SIDE` pixels that masks have too."""
    needed = int(np.ceil(np.log2(max(*box.shape) / SIDE)))
    coarsest = store.config.window.bit_length() - 1
    return min(max(needed, store.mask_factor.bit_length() - 1), coarsest)


def _land(store: Store, blocks: Blocks, scene: Scene, level: int, box: PixelBox) -> Array:
    """(band, row, col) reflectance of a scene's clear land on a box of an overview."""
    covers = scene.box.coarser(2**level)
    halvings = store.mask_factor.bit_length() - 1
    classes = blocks.read(store, scene.key(MASK), level - halvings, covers, box, MaskClass.NODATA)
    stored = np.stack([blocks.read(store, scene.band_key(b), level, covers, box, NODATA) for b in BANDS])
    land = (classes == MaskClass.LAND) & (stored != NODATA).all(axis=0)
    return np.where(land, stored * np.float32(SCALE), np.float32(np.nan))


def pairs(shown: Array) -> NDArray[np.float64]:
    """(2, date, date) places that changed between two dates, and places that both show; 0 where these are too few.

    Args:
        shown: (date, band, place) reflectance of `BANDS`, NaN where not clear.
    """
    out = np.zeros((2, len(shown), len(shown)))
    clear = np.asarray(np.isfinite(shown).all(axis=1))
    for i in range(len(shown)):
        for j in range(i):
            both = clear[i] & clear[j]
            count = int(both.sum())
            if count >= LEAST:
                new = np.count_nonzero(changed(shown[i][:, both], shown[j][:, both]))
                out[:, i, j] = out[:, j, i] = new, count
    return out


def changed(a: Array, b: Array) -> NDArray[np.bool_]:
    """(place,) whether two dates differ by more than air and gains explain.

    Args:
        a, b: (band, place) reflectance of `BANDS`.
    """
    new = []
    for x, y, offset in zip(a, b, MOST_OFFSET, strict=True):
        (x1, x2, x3), (y1, y2, y3) = (np.quantile(v, (0.25, 0.5, 0.75)) for v in (x, y))
        gain = np.clip((y3 - y1) / max(x3 - x1, 1e-4), 1 / MOST_GAIN, MOST_GAIN)
        there = gain * x + np.clip(y2 - gain * x2, -offset, offset)
        level = (np.maximum(there, 0) + np.maximum(y, 0)) / 2
        new.append(np.abs(y - there) > NEW * (level + DARK))
    return np.asarray(np.any(new, axis=0))


def split(period: Period, days: Sequence[date], share: NDArray[np.float64]) -> tuple[tuple[date, date], ...]:
    """The fewest periods whose dates agree; of several such splits the one whose dates agree best.

    Args:
        days: of the scenes, in order; share: (day, day) of the land that changed, 0 where it is not known.
    """
    ends: list[tuple[int, float, int]] = [(0, 0.0, 0)]
    for stop in range(1, len(days) + 1):
        best: list[tuple[int, float, int]] = []
        for start in range(stop):
            inside = share[start:stop, start:stop]
            if inside.max() <= MOST_CHANGED:
                groups, cost, _ = ends[start]
                best.append((groups + 1, cost + float(inside.sum()), start))
        ends.append(min(best))
    cuts = [len(days)]
    while cuts[-1]:
        cuts.append(ends[cuts[-1]][2])
    firsts = cuts[-2:0:-1]
    # A border lies in the middle between the dates beside it.
    lasts = [days[i - 1] + (days[i] - days[i - 1]) // 2 for i in firsts]
    return tuple(zip([period.start, *(d + timedelta(1) for d in lasts)], [*lasts, period.end], strict=True))


def as_json(store: Store, periods: Sequence[tuple[Period, Sequence[Scene]]]) -> dict[str, Any]:
    """What the lock of a version says of periods whose dates are too far apart, by name."""
    looked = ((p.name, apart(store, p, scenes)) for p, scenes in periods)
    return {name: one.as_json() for name, one in looked if one is not None}
