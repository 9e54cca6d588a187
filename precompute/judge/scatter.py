"""How much the dates of a period differ on ground that both show clear: the prior of sigma on a mosaic's own land.

Of a few tiles some patches are read at full resolution, and each pair of dates is compared there pixel by pixel. Places differ by a factor of about two in
how much their dates differ. This factor scales the table of all places. It changes no pixel of a mosaic.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE, stored_factor
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.sigma import table
from terrazzo.precompute.judge.seasons import spread_over
from terrazzo.scene import Scene
from terrazzo.store import Store

TILES, DATES = 4, 12
"""Tiles of a period, and dates of a tile, that are compared at most."""
PATCHES, SIDE = 2, 128
"""Patches along each side of a tile, and pixels of a patch's side."""
STEP = 16
"""Pixels of whose multiples patches begin: whole pixels of every band and mask."""
LEAST = 1000
"""Pixels that two dates of a tile have in common at least."""
STRENGTH = 0.25
"""Dates, in the logarithm of the scale, that the table is worth beside those of the mosaic less one."""

Array = NDArray[np.float32]


def period_scatter(
    store: Store, blocks: Blocks, scenes: Sequence[Scene], weights: Mapping[str, str]
) -> dict[str, tuple[float, float]] | None:
    """Intercept and slope of the prior scatter by band, in reflectance; None where no two dates show the same ground.

    Args:
        weights: key of the weight raster by scene.
    """
    bands, pairs, dates = store.config.bands, list[NDArray[np.float64]](), 0
    for passes in _tiles(scenes):
        shown = _shown(store, blocks, passes, weights)
        pairs += differences(shown.reshape(*shown.shape[:2], -1), bands)
        dates = max(dates, len(passes))
    if not pairs:
        return None
    scale = np.mean(pairs, axis=0) ** ((dates - 1) / (dates - 1 + STRENGTH))
    scaled = (scale[:, None] * table(bands)).round(5).tolist()
    return {band: (a, b) for band, (a, b) in zip(bands, scaled, strict=True)}


def as_json(store: Store, periods: Mapping[str, tuple[Sequence[Scene], Mapping[str, str]]]) -> dict[str, Any]:
    """What the lock of a version says of the scatter of its periods, by name.

    Args:
        periods: by name, scenes and the keys of their weight rasters.
    """
    # Periods that hold others share their patches.
    blocks = Blocks()
    try:
        read = {name: period_scatter(store, blocks, *about) for name, about in periods.items()}
    finally:
        blocks.close()
    return {name: one for name, one in read.items() if one is not None}


def _tiles(scenes: Sequence[Scene]) -> Iterator[list[list[Scene]]]:
    """Of some tiles, spread evenly over their names, some passes in time, each with its scenes."""
    tiles: dict[str, dict[str, list[Scene]]] = defaultdict(lambda: defaultdict(list))
    for s in sorted(scenes, key=lambda s: (s.datetime, s.id)):
        tiles[s.mgrs][s.datatake].append(s)
    several = {name: passes for name, passes in tiles.items() if len(passes) > 1}
    for name in spread_over(sorted(several), TILES):
        yield spread_over(list(several[name].values()), DATES)


def _shown(
    store: Store, blocks: Blocks, passes: Sequence[Sequence[Scene]], weights: Mapping[str, str]
) -> Array:
    """(pass, band, patch, row, col) reflectance of what a mosaic may show of a tile's patches, NaN elsewhere."""
    every = [s for scenes in passes for s in scenes]
    box = every[0].box
    for s in every[1:]:
        box = box.union(s.box)
    places = _patches(box)
    out = np.full((len(passes), len(store.config.bands), len(places), SIDE, SIDE), np.nan, np.float32)
    reads = [(n, p, scene) for n, scenes in enumerate(passes) for scene in scenes for p in range(len(places))]
    read = blocks.fetch(partial(_patch, store, blocks, s, weights[s.id], places[p]) for _, p, s in reads)
    for (n, p, _), values in zip(reads, read, strict=True):
        # Damage is reported where it is looked for, by `terrazzo store verify`.
        if values is not None:
            out[n, :, p] = np.where(np.isfinite(out[n, :, p]), out[n, :, p], values)
    return out


def _patches(box: PixelBox) -> list[PixelBox]:
    """Squares of `SIDE` pixels in the middles of a box's parts, on whole pixels of every band and mask."""
    out = []
    for y in range(PATCHES):
        for x in range(PATCHES):
            row = (box.row0 + box.height * (2 * y + 1) // (2 * PATCHES)) // STEP * STEP - SIDE // 2
            col = (box.col0 + box.width * (2 * x + 1) // (2 * PATCHES)) // STEP * STEP - SIDE // 2
            out.append(PixelBox(row, col, row + SIDE, col + SIDE))
    return out


def _patch(store: Store, blocks: Blocks, scene: Scene, weight_key: str, patch: PixelBox) -> Array:
    """(band, row, col) reflectance of a scene where it has a weight, NaN elsewhere."""

    def read(key: str, factor: int, fill: float) -> NDArray[Any]:
        covers, box = scene.box.coarser(factor), patch.coarser(factor)
        values = blocks.read(store, key, 0, covers, box, fill)
        return values.repeat(factor, axis=0).repeat(factor, axis=1)

    weight = read(weight_key, store.mask_factor, 0)
    # A last resort, whose weight is 1, is no clear observation.
    if not (weight >= 2).any():
        return np.full((len(store.config.bands), SIDE, SIDE), np.nan, np.float32)
    stored = np.stack([read(scene.band_key(b), stored_factor(b), NODATA) for b in store.config.bands])
    seen = (weight >= 2) & (stored != NODATA).all(axis=0)
    return np.where(seen, stored * np.float32(SCALE), np.float32(np.nan))


def differences(shown: Array, bands: Sequence[str]) -> list[NDArray[np.float64]]:
    """(band,) of each pair of dates, how many times as much as the table expects they differ; of pairs with too little in common none.

    Normal noise of standard deviation τ in each has the mean absolute difference 2 τ / √π.

    Args:
        shown: (date, band, place) reflectance, NaN where it does not count.
    """
    intercept, slope = table(bands).T[..., None]
    out = []
    for i in range(len(shown)):
        for j in range(i):
            both = np.isfinite(shown[i] + shown[j]).all(axis=0)
            if np.count_nonzero(both) >= LEAST:
                x, y = shown[i][:, both].astype(np.float64), shown[j][:, both].astype(np.float64)
                expected = intercept + slope * np.maximum((x + y) / 2, 0)
                out.append(np.sqrt(np.pi) / 2 * (np.abs(x - y) / expected).mean(axis=1))
    return out
