"""A number's way: from the product to the pixel and back, and from pixels to the place asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from terrazzo import gains
from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.correction import coefficients_at, corrected, counts, read_correction
from terrazzo.grid import PixelBox
from terrazzo.mosaic.engine import Image
from terrazzo.mosaic.explain.place import At, plain, replaced
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.selection import Selection
from terrazzo.scene import CORRECTION


@dataclass(frozen=True)
class Step:
    """One band of the chosen scene, from the product's number to the served one and back.

    toa (or surface, of an L2A product) = (count + offset) · 1e-4;  y = xa·toa − xb;  surface = y / (1 + xc·y);
    corrected = surface · factor;  normalized = gain · corrected + gain_offset.

    Attributes:
        count: the product's number, recomputed from the stored value.
        stored: int16 in the scene's file, scale 1e-4.
        forward: `count` after the correction; equals `stored` up to the rounding of a count.
        normalized: int16; equals the candidate's value.
        undone: stored value recomputed from `normalized`; `count_undone` the product's number from that.
        merged: int16 of all scenes at this pixel; served: int16 at the place asked for.
    """

    band: str
    count: int
    input_reflectance: float
    xa: float
    xb: float
    xc: float
    surface: float
    factor: float
    stored: int
    forward: int
    gain: float
    gain_offset: float
    normalized: int
    undone: int
    count_undone: int
    merged: int
    served: int


@dataclass(frozen=True)
class Neighbour:
    """One of the pixels that the served value is interpolated from: its share and its merged (band,) values."""

    row: int
    col: int
    share: float
    values: tuple[int | None, ...]


def path(at: At, image: Image, selection: Selection) -> Iterator[Step]:
    """The chosen scene's numbers at the pixel, a step a band."""
    version, scene = at.engine.version, at.chosen.scene
    grid, box = version.store.grid(at.epsg), at.box
    key = scene.key(CORRECTION)
    correction = read_correction(version.store.read_bytes(key), key)
    fine = scene.box.coarser(version.store.mask_factor)
    detector = correction.detector[
        (at.row // version.store.mask_factor) - fine.row0, (at.col // version.store.mask_factor) - fine.col0
    ]
    mask = at.mask(at.chosen)
    shown_detector, land = np.full((1, 1), detector, np.uint8), np.full((1, 1), mask == MaskClass.LAND)
    classes = np.full((1, 1), mask, np.uint8)
    stored = at.merging_of(replaced(at.request, stage="corrected")).values(at.chosen, box)
    corners = at.merging.corner_gains(at.chosen, box)
    normalized = at.merging.values(at.chosen, box) if at.request.normalized else stored
    reads = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == at.epsg]
    merged = at.merging.pixels(reads, box, count_to=ALL, trusted=False).pixels
    for i, band in enumerate(at.request.bands):
        xa, xb, xc, factor = coefficients_at(correction, band, int(detector), grid, at.row, at.col)
        place = (correction, band, grid, box)
        count = counts(stored[i], classes, shown_detector, *place)
        gain, offset = 1.0, 0.0
        if corners is not None:
            gain, offset = (float(gains.field(f[i], corners[2], box, grid.window)[0, 0]) for f in corners[:2])
        undone = ((normalized[i] - offset / SCALE) / gain).astype(np.float32)
        undone[normalized[i] == NODATA] = NODATA
        back = counts(undone, classes, shown_detector, *place)
        # Rounding twice leaves neighbours of the number too: the one that leads here again is it.
        for number in (back, back - 1, back + 1):
            there = corrected(number.astype(np.int16), land, shown_detector, *place)
            if np.rint(gain * there + offset / SCALE) == normalized[i]:
                back = number
                break
        toa = (int(count[0, 0]) + correction.offset) * SCALE
        y = xa * toa - xb
        yield Step(
            band=band,
            count=int(count[0, 0]),
            input_reflectance=toa,
            xa=xa,
            xb=xb,
            xc=xc,
            surface=y / (1 + xc * y),
            factor=factor if mask == MaskClass.LAND else 1.0,
            stored=int(stored[i, 0, 0]),
            forward=int(corrected(count, land, shown_detector, *place)[0, 0]),
            gain=gain,
            gain_offset=offset,
            normalized=int(normalized[i, 0, 0]),
            undone=round(float(undone[0, 0])),
            count_undone=int(back[0, 0]),
            merged=int(merged.values[i, 0, 0]) if merged else NODATA,
            served=int(image.values[i, 0, 0]),
        )


def neighbours(at: At, selection: Selection) -> Iterator[Neighbour]:
    """The pixels around a place, merged, with the shares that interpolation gives those with data."""
    if at.request.resampling == "nearest":
        near = [(at.row, at.col, 1.0)]
    else:
        y, x = at.y - 0.5, at.x - 0.5
        r, c = int(np.floor(y)), int(np.floor(x))
        fy, fx = y - r, x - c
        near = [(r + i, c + j, (fy if i else 1 - fy) * (fx if j else 1 - fx)) for i in (0, 1) for j in (0, 1)]
    entries = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == at.epsg]
    places: list[tuple[int, int, float, tuple[int | None, ...]]] = []
    for r, c, share in near:
        box = PixelBox(r, c, r + 1, c + 1)
        pixels = at.merging.pixels(entries, box, count_to=ALL, trusted=False).pixels
        values = None if pixels is None else pixels.values[:, 0, 0]
        has_data = values is not None and bool((values != NODATA).all())
        places.append((r, c, share if has_data else 0.0, () if values is None else plain(values)))
    total = sum(f[2] for f in places) or 1.0
    for r, c, share, own in places:
        yield Neighbour(r, c, round(share / total, 6), own)
