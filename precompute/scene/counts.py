"""Reads the counts of a product's bands on the mask grid, from which offset, mask and air follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.bands import FOUR
from terrazzo.errors import ProductError
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.products.numbers import Numbers
from terrazzo.precompute.products.offset import ADDED, Offset, decide_offset, read_xml_offset
from terrazzo.precompute.products.product import SWIR, Product
from terrazzo.precompute.products.raster import Images, Placed
from terrazzo.store import Store

L1C_BANDS = ("B8A", "B09", "B10")
"""The bands of an L1C product for water vapour, and its cirrus band for the offset."""
STRIP = 512
"""Rows that are looked at at a time."""
RIM = 500.0
"""Metres at the edge of a swath where not all bands have begun."""
REMAINS = 10
"""Highest count, in all of the four bands, of what a lossy codec leaves of no data beyond the swath."""
REACH = 16
"""Pixels from the swath within which a lossy codec leaves something."""
LEAST_CLIPPED = 100
"""Pixels with a count of 1 in all bands that are no data where 1000 were taken out of the numbers too; fewer are a lossy codec's."""
SINCE_0400 = datetime(2022, 1, 25, tzinfo=UTC)
"""When ESA began to make baseline 04.00: for products without a known baseline."""


@dataclass(frozen=True)
class Counts:
    """What reading the bands gave.

    Attributes:
        numbers: on the mask grid; of a band that lacks a pixel which others have, the numbers of `_fill_single`.
        delivered: how B02 came onto the grid.
        saturated: (row, col) on the mask grid: pixels beside or with one that was too bright to measure.
        remains: no data that the bands have a number for.
    """

    numbers: Numbers
    offset: Offset
    delivered: str
    saturated: NDArray[np.bool_]
    remains: "Remains"


class _NumberReader:
    """Reads bands, keeps those of the store, and collects what is saturated in any."""

    def __init__(self, product: Product, store: Store, images: Images, mask_box: PixelBox) -> None:
        self._product, self._store, self._images = product, store, images
        self.saturated = np.zeros(mask_box.shape, bool)

    def __call__(self, band: str, on: Grid, where: PixelBox) -> Placed:
        path, store = self._product.asset(band), self._store
        if band in store.config.bands and on == store.band_grid(self._product.epsg, band):
            placed = self._images.first(path, on, where)
        else:
            placed = self._images.read(path, on, where, "reflectance")
        if placed.saturated is not None:
            rows, cols = self.saturated.shape
            times = placed.saturated.shape[0] // rows
            self.saturated |= placed.saturated.reshape(rows, times, cols, times).any(axis=(1, 3))
        return placed


def read_counts(product: Product, store: Store, images: Images, box: PixelBox, inside: PixelBox) -> Counts:
    """Reads the bands for a product's offset, mask and air.

    Args:
        images: keeps those of the store's bands, which are needed again; pixels with a count of 1 in all bands are
            no data of it from then on, where clipping made them of no data.
        box: the scene's pixels.
        inside: the product's own pixels of the mask grid.

    Raises:
        ProductError: no pixel has data, or nothing settles the offset.
    """
    pixels, offset = _decided(product, store, images, box, clips=_may_be_added(product))
    if 0 < pixels.clipped < LEAST_CLIPPED and offset.value != ADDED:
        images.keep_clipped()
        pixels, offset = _decided(product, store, images, box, clips=False)
    added = offset.value - images.lift
    remains = codec_remains(pixels.darkest, pixels.highest, anywhere=offset.value == ADDED)
    remains.clear(pixels.means, store.mask_factor)
    if product.baseline < "0400" or offset.value == ADDED or not images.plain:
        # In copies with 1000 taken out 0 is no data, dark ground, or what a lossy codec made of either.
        dark = max(1, -added) if product.baseline < "0400" and images.plain else None
        own = inside.within(box.coarser(store.mask_factor))
        _fill_single(pixels.means[: len(FOUR)], own, store.mask_grid(product.epsg).pixel, dark)
    numbers = Numbers((*FOUR, *pixels.others), pixels.means, added)
    return Counts(numbers, offset, pixels.delivered, pixels.saturated, remains)


class Remains(NamedTuple):
    """Pixels of the store's grid that a lossy codec gave a number beyond the swath: they are no data in all bands."""

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]

    def clear(self, counts: NDArray[np.generic], factor: int) -> None:
        """Takes them out (in place) of (…, row, col) counts whose pixels are `factor` times as large."""
        counts[..., self.rows // factor, self.cols // factor] = 0


def codec_remains(darkest: NDArray[np.uint16], highest: NDArray[np.uint8], *, anywhere: bool) -> Remains:
    """Pixels that are no data and that a lossy codec gave a number.

    Args:
        darkest, highest: as in `_NumberPixels`.
        anywhere: whether no ground has such counts, because 1000 were added to all. Else only what lies within `REACH` pixels of no data in a band, and is
            thinner than that, is taken for remains: a correction may leave so little of dark water.
    """
    rows, cols = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for top in range(0, len(highest), STRIP):
        start = max(0, top - 2 * REACH)
        strip = slice(start, top + STRIP + 2 * REACH)
        here = (highest[strip] > 0) & (highest[strip] <= REMAINS)
        if not here.any():
            continue
        if not anywhere:
            lacking = darkest[strip] == 0
            wide = ndimage.grey_opening((here & ~lacking).view(np.uint8), (REACH, REACH)) > 0
            here &= ~wide & (ndimage.maximum_filter(lacking.view(np.uint8), 2 * REACH + 1) > 0)
        row, col = np.nonzero(here[top - start : top - start + STRIP])
        rows.append(row + top)
        cols.append(col)
    return Remains(np.concatenate(rows), np.concatenate(cols))


@dataclass(frozen=True)
class _NumberPixels:
    """The bands as they are read.

    Attributes:
        means: (band, row, col) counts on the mask grid, of the four bands and the others.
        darkest: (row, col) lowest count over the bands on the store's grid, 0 without data.
        highest: (row, col) highest count over the four bands on that grid, 255 where it is more.
        clipped: pixels of the product that were taken for no data.
    """

    means: NDArray[np.uint16]
    others: tuple[str, ...]
    darkest: NDArray[np.uint16]
    highest: NDArray[np.uint8]
    delivered: str
    saturated: NDArray[np.bool_]
    clipped: int


def _decided(
    product: Product, store: Store, images: Images, box: PixelBox, *, clips: bool
) -> tuple[_NumberPixels, Offset]:
    """The bands as they are read, and their offset.

    Raises:
        ProductError: no pixel of a band has data, or nothing settles the offset.
    """
    if images.mixed and _may_be_added(product):
        raise ProductError(
            f"{product.id}: some of its images have numbers below zero and others cannot, so that 1000 may have been taken out of"
            " some alone; fetch it again"
        )
    pixels = _read(product, store, images, box, clips=clips)
    lacking = [b for b, counts in zip(FOUR, pixels.means, strict=False) if not counts.any()]
    if len(lacking) == len(FOUR):
        raise ProductError(
            f"{product.id} has not one pixel with data: the swath does not reach here, or it was fetched in part; leave it out"
        )
    if lacking:
        raise ProductError(
            f"{product.id} has not one pixel with data in {', '.join(lacking)}; fetch it again"
        )
    darkest = lowered(pixels.darkest, images.lift) if images.lift else pixels.darkest
    return pixels, offset_of(product, darkest, pixels.means[len(FOUR) :], pixels.others)


def _read(product: Product, store: Store, images: Images, box: PixelBox, *, clips: bool) -> _NumberPixels:
    """Reads the bands.

    Args:
        clips: whether a count of 1 in all bands is no data.
    """
    grid, mask_grid, factor = store.grid(product.epsg), store.mask_grid(product.epsg), store.mask_factor
    mask_box = box.coarser(factor)
    read = _NumberReader(product, store, images, mask_box)
    more = tuple(b for b in SWIR + (L1C_BANDS if product.level == "L1C" else ()) if b in product.assets)
    means = np.empty((len(FOUR) + len(more), *mask_box.shape), np.uint16)
    first, clipped = read(FOUR[0], grid, box), 0
    if clips and first.lowest:
        clipped = images.find_clipped([product.asset(b) for b in FOUR], product.epsg)
        first = read(FOUR[0], grid, box) if clipped else first
    delivered, darkest = first.lineage, _whole(first.array)
    highest = np.zeros(darkest.shape, np.uint8)
    del first
    for layer, band in enumerate(FOUR):
        counts = darkest if layer == 0 else _whole(read(band, grid, box).array)
        mean_counts(counts, factor, means[layer], darkest, highest)
        del counts
    for layer, band in enumerate(more, len(FOUR)):
        means[layer] = _whole(read(band, mask_grid, mask_box).array)
        if band in SWIR:
            squares = darkest.reshape(mask_box.height, factor, mask_box.width, factor)
            np.minimum(squares, means[layer][:, None, :, None], out=squares)
    return _NumberPixels(means, more, darkest, highest, delivered, read.saturated, clipped)


@njit(cache=True, nogil=True)
def mean_counts(counts, factor, means, darkest, highest):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Means of factor × factor counts, rounded half to even, 0 where one of them is 0.

    Lowers `darkest` to the counts, and raises `highest`, uint8, to them or to 255.
    """
    width, most = counts.shape[1], np.uint16(255)
    pixels = factor * factor
    total, least = np.empty(width, np.uint32), np.empty(width, np.uint16)
    for r in range(means.shape[0]):
        total[:] = 0
        least[:] = 65535
        for i in range(r * factor, (r + 1) * factor):
            # Rows by themselves, whose types are known, are computed many pixels at a time.
            row, dark, high = counts[i], darkest[i], highest[i]
            for j in range(width):
                count = row[j]
                dark[j] = min(dark[j], count)
                high[j] = max(high[j], np.uint8(min(count, most)))
                total[j] += count
                least[j] = min(least[j], count)
        for c in range(means.shape[1]):
            part, whole = np.uint32(0), True
            for j in range(c * factor, (c + 1) * factor):
                part += total[j]
                whole = whole and least[j] > 0
            means[r, c] = np.rint(part / pixels) if whole else 0


def _may_be_added(product: Product) -> bool:
    """Whether ESA may have added 1000, since baseline 04.00: no ground has a count of 1 in all bands then; before, dark water may."""
    return product.baseline >= "0400" if product.baseline else product.generated >= SINCE_0400


def _fill_single(
    means: NDArray[np.uint16], inside: tuple[slice, slice], pixel: float, dark: int | None
) -> None:
    """Gives bands a number (in place) where they lack a pixel which others have, so that the mask lets these be shown.

    At the rim of the swath, where bands begin one after the other, the pixel stays without data.

    Args:
        dark: the number where 0 means dark: before baseline 04.00 water that came out below zero is 0. None takes the
            lowest of the other bands.
    """
    gone = means == 0
    some = gone.any(axis=0)
    every = gone.all(axis=0)
    if not (some & ~every).any():
        return
    swath = np.zeros_like(every)
    swath[inside] = every[inside]
    alone = some & ~every
    if swath.any():
        alone &= ndimage.distance_transform_edt(~swath) * pixel > RIM
    rows, cols = np.nonzero(alone)
    known = np.where(means[:, rows, cols] == 0, 65535, means[:, rows, cols])
    fill = known.min(axis=0) if dark is None else np.full(rows.shape, dark, np.uint16)
    means[:, rows, cols] = np.where(means[:, rows, cols] == 0, fill, means[:, rows, cols])


def offset_of(
    product: Product, darkest: NDArray[np.uint16], others: NDArray[np.uint16], bands: Sequence[str]
) -> Offset:
    """The offset of a product's numbers.

    Args:
        others: (band, row, col) counts of the bands beside the four.

    Raises:
        ProductError: nothing settles it.
    """
    xml = product.assets.get("product_metadata")
    try:
        return decide_offset(
            darkest,
            xml_offset=read_xml_offset(xml) if xml else None,
            claims=product.claims,
            baseline=product.baseline,
            cirrus=others[list(bands).index("B10")] if "B10" in bands else None,
            # A part of ESA's own file bears its name and another ending.
            untouched=".jp2" in Path(product.asset("B02")).suffixes,
            swir=any(band in bands for band in SWIR),
        )
    except ProductError as error:
        raise type(error)(f"{product.id}: {error}") from None


def lowered(counts: NDArray[np.uint16], lift: int) -> NDArray[np.uint16]:
    """Counts without what was added to them in reading, 1 where that is below."""
    return np.where(counts > 0, np.maximum(counts.astype(np.int32) - lift, 1), 0).astype(np.uint16)


def _whole(counts: NDArray[np.generic]) -> NDArray[np.uint16]:
    """Counts as whole numbers: those of a resampled band are not."""
    if counts.dtype == np.uint16:
        return counts  # type: ignore[return-value]
    return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16)
