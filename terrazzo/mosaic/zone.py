"""Merges the scenes of one zone on its grid: weights first, then only the scenes that show, then gains."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import NODATA, SCALE, MaskClass, stored_factor
from terrazzo.correction import counts, read_correction
from terrazzo.errors import NotFound, ReadFailure
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic.blocks import Handles
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.request import Resolved
from terrazzo.scene import CORRECTION, MASK
from terrazzo.version import Entry, Version

LAST = 1
"""Weight of a last resort: counts only where no scene has more."""


class ZonePixels(NamedTuple):
    """Merged pixels of a box of a zone grid.

    Attributes:
        values: (band, row, col) int16; provenance: (row, col) int16 index of the entry, −1 none.
        trust: (row, col) uint8 highest weight; quality: bits as of the engine.
    """

    values: NDArray[np.int16]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]
    quality: NDArray[np.uint8]
    trust: NDArray[np.uint8]


@dataclass(frozen=True)
class Merging:
    """How the scenes of a zone are read and merged at one overview level."""

    version: Version
    handles: Handles
    request: Resolved
    epsg: int
    level: int

    @property
    def grid(self) -> Grid:
        """The zone grid at full resolution."""
        return self.version.store.grid(self.epsg)

    def pixels(
        self, entries: list[tuple[int, Entry]], box: PixelBox, problems: list[str]
    ) -> ZonePixels | None:
        """Merges numbered entries, first wins, over a box of the level's grid; None without any data."""
        numbers, weights, kept = [], [], []
        for number, entry in entries:
            if entry.scene.box.coarser(2**self.level).intersection(box).empty:
                continue
            try:
                weight = self._weight(entry, box)
            except (ReadFailure, NotFound) as error:
                problems.append(f"{entry.scene.id}: {error}")
                continue
            if weight.any():
                numbers.append(number)
                weights.append(weight)
                kept.append(entry)
        if not kept:
            return None
        values, weight = self._read(kept, np.stack(weights), box, problems)
        merged = merge(values, weight, self.request.method)
        trust = weight.max(axis=0)
        quality = np.where((trust == LAST) & (merged.count > 0), 2, 0).astype(np.uint8)
        table = np.array([*numbers, -1], np.int16)
        return ZonePixels(merged.values, table[merged.provenance], merged.count, quality, trust)

    def _weight(self, entry: Entry, box: PixelBox) -> NDArray[np.uint8]:
        """(row, col) uint8 weight of a scene for this request."""
        if self.request.stage in ("raw", "mask", "corrected"):
            seen = self._coarse(entry, entry.scene.key(MASK), box, 0) != MaskClass.NODATA
            return np.where(seen, 255, 0).astype(np.uint8)
        weight = self._coarse(entry, entry.weight_key, box, 0, smooth=True).astype(np.uint8)
        if self.request.snow != "keep" and entry.scene.snow_share > 0:
            snow = self._coarse(entry, entry.scene.key(MASK), box, 0) == MaskClass.SNOW
            weight[snow] = np.minimum(weight[snow], LAST if self.request.snow == "avoid" else 0)
        if self.request.fill == "best":
            seen = self._coarse(entry, entry.scene.key(MASK), box, 0) != MaskClass.NODATA
            weight = np.where(seen & (weight == 0), LAST, weight).astype(np.uint8)
        elif self.request.fill == "none":
            weight[weight == LAST] = 0
        return weight

    def _read(
        self, entries: list[Entry], weight: NDArray[np.uint8], box: PixelBox, problems: list[str]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Band values and weights of the scenes that show somewhere."""
        weight[(weight == LAST) & (weight > LAST).any(axis=0)] = 0
        bands = 1 if self.request.stage == "mask" else len(self.request.bands)
        values = np.full((len(entries), bands, *box.shape), NODATA, np.int16)
        through = np.ones(box.shape, np.float32)
        for i, entry in enumerate(entries):
            shows = (weight[i] > 0) & (through >= 1 / 255)
            if not shows.any():
                weight[i] = 0
                continue
            try:
                values[i] = self._values(entry, box)
            except (ReadFailure, NotFound) as error:
                problems.append(f"{entry.scene.id}: {error}")
                weight[i] = 0
                continue
            if self.request.method in ("first", "feather"):
                there = (values[i] != NODATA).all(axis=0)
                x = np.where(there, weight[i], 0).astype(np.float32) / 255
                through *= (x == 0) if self.request.method == "first" else 1 - x * x * (3 - 2 * x)
        return values, weight

    def _values(self, entry: Entry, box: PixelBox) -> NDArray[np.int16]:
        """(band, row, col) int16 of a scene at the request's stage."""
        request, scene = self.request, entry.scene
        if request.stage == "mask":
            classes = self._coarse(entry, scene.key(MASK), box, 0).astype(np.int16)
            return np.where(classes == MaskClass.NODATA, NODATA, classes)[None].astype(np.int16)
        values = np.stack([self._band(entry, band, box) for band in request.bands])
        if request.stage == "raw":
            return self._counts(entry, values, box)
        found = self.version.corners(entry) if request.normalized else None
        if found is None:
            return values
        corners, windows = found
        gain, offset = gains.decode(corners[:, [self.version.bands.index(b) for b in request.bands]])
        side = self.grid.window >> self.level
        return gains.apply(
            values, gains.field(gain, windows, box, side), gains.field(offset, windows, box, side), SCALE
        )

    def _counts(self, entry: Entry, values: NDArray[np.int16], box: PixelBox) -> NDArray[np.int16]:
        """The product's own numbers; exact at full resolution, from averaged pixels at overviews."""
        scene = entry.scene
        correction = read_correction(self.version.store.read_bytes(scene.key(CORRECTION)))
        classes = self._coarse(entry, scene.key(MASK), box, 0).astype(np.uint8)
        factor = 2**self.level
        grid = Grid(self.epsg, self.grid.pixel * factor, self.grid.window // factor)
        fine = scene.box.coarser(self.version.store.mask_factor)
        rows = np.clip(self._mask_index(box.row0, box.row1) - fine.row0, 0, fine.height - 1)
        cols = np.clip(self._mask_index(box.col0, box.col1) - fine.col0, 0, fine.width - 1)
        detector = correction.detector[rows[:, None], cols]
        return np.stack(
            [
                counts(v, classes, detector, correction, band, grid, box)
                for v, band in zip(values, self.request.bands, strict=True)
            ]
        )

    def _mask_index(self, start: int, stop: int) -> NDArray[np.int64]:
        """Mask pixel under the middle of each pixel of the level."""
        centre = (np.arange(start, stop) + 0.5) * 2**self.level / self.version.store.mask_factor
        index: NDArray[np.int64] = np.floor(centre).astype(np.int64)
        return index

    def _band(self, entry: Entry, band: str, box: PixelBox) -> NDArray[np.int16]:
        """A band on the level's grid; a 20 m band at full resolution shows each of its pixels four times."""
        halvings = stored_factor(band).bit_length() - 1
        return self._raster(entry, entry.scene.band_key(band), box, halvings, NODATA).astype(np.int16)

    def _coarse(
        self, entry: Entry, key: str, box: PixelBox, fill: float, *, smooth: bool = False
    ) -> NDArray[np.generic]:
        """A raster of the mask grid on the level's grid; weights are interpolated where they are coarser."""
        halvings = self.version.store.mask_factor.bit_length() - 1
        if smooth and self.level < halvings:
            half = box.coarser(2).grown(1)
            weight = self._at(entry, key, half, halvings, 0, fill)
            return _doubled(weight.astype(np.float32), half, box)
        return self._raster(entry, key, box, halvings, fill)

    def _raster(
        self, entry: Entry, key: str, box: PixelBox, halvings: int, fill: float
    ) -> NDArray[np.generic]:
        """A raster stored `halvings` levels above the zone grid, on the level's grid."""
        if self.level >= halvings:
            return self._at(entry, key, box, halvings, self.level - halvings, fill)
        half = box.coarser(2)
        twice = self._at(entry, key, half, halvings, 0, fill).repeat(2, axis=0).repeat(2, axis=1)
        return twice[box.within(PixelBox(*(2 * v for v in half)))]

    def _at(
        self, entry: Entry, key: str, box: PixelBox, halvings: int, level: int, fill: float
    ) -> NDArray[np.generic]:
        covers = entry.scene.box.coarser(2 ** (halvings + level))
        return self.handles.read(self.version.store.raster_path(key), level, covers, box, fill)


def _doubled(weight: NDArray[np.float32], half: PixelBox, box: PixelBox) -> NDArray[np.uint8]:
    """Weights at twice the resolution, bilinear; 0 and 1 stay what they are."""
    padded = np.repeat(np.repeat(weight, 2, axis=0), 2, axis=1)
    centre = weight
    for axis in (0, 1):
        before, after = (np.take(centre, _shifted(centre.shape[axis], d), axis=axis) for d in (-1, 1))
        pair = np.stack([0.75 * centre + 0.25 * before, 0.75 * centre + 0.25 * after], axis=axis + 1)
        shape = list(centre.shape)
        shape[axis] *= 2
        centre = pair.reshape(shape)
    out = np.where(padded <= LAST, padded, np.maximum(np.rint(centre), LAST + 1))
    return out[box.within(PixelBox(*(2 * v for v in half)))].astype(np.uint8)


def _shifted(n: int, by: int) -> NDArray[np.int64]:
    return np.clip(np.arange(n) + by, 0, n - 1)
