"""What all bands of a scene share while it is made: offset, mask, angles, detectors, the air."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from terrazzo.bands import FOUR, MaskClass
from terrazzo.errors import ProductError, Uncorrectable, UnreadableAsset
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.terrain import terrain_shadow
from terrazzo.precompute.correct.air import SeenAir, see_air
from terrazzo.precompute.correct.factors import nearest_detectors
from terrazzo.precompute.correct.table import RANGES
from terrazzo.precompute.products.angles import Angles, constant_angles, read_angles
from terrazzo.precompute.products.auxiliary import read_auxiliary
from terrazzo.precompute.products.elevation import elevation_on, node_elevation
from terrazzo.precompute.products.numbers import Numbers
from terrazzo.precompute.products.offset import ADDED, Offset, decide_offset, read_xml_offset
from terrazzo.precompute.products.product import OWN, SWIR, Product
from terrazzo.precompute.products.quality import read_classification, read_defects, read_detectors
from terrazzo.precompute.products.raster import Images, Placed, asset_grid
from terrazzo.precompute.products.sun import checked_sun
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.store import Store
from terrazzo.thinning import thinned

L1C_BANDS = ("B8A", "B09", "B10")
"""What tells the water vapour over an L1C product, and its cirrus the offset."""
STRIP = 512
"""Rows that are averaged at a time."""
TERRAIN_PIXEL, TERRAIN_RIM = 30.0, 10_000.0
"""Metres of the pixels on which terrain shadow is told, and around a scene from where hills throw it."""
RIM = 500.0
"""Metres at the edge of a swath where not all bands have begun."""
DARKENED = (MaskClass.LAND, MaskClass.SNOW, MaskClass.SHADOW)
"""Classes that become terrain shadow where a hill stands before the sun."""
NO_TERRAIN = "terrain shadow not tested: no elevation model given"
AIR_LINE = "atmosphere taken out by the table of 6SV runs, continental aerosol"


@dataclass(frozen=True)
class Prepared:
    """What all bands of a scene share while it is made.

    Attributes:
        box: the scene's pixels, whole windows.
        added: what has to be added to the counts as they are read: the offset, less what was added in reading.
        detector, classes: (row, col) uint8 on the mask grid.
        missing: (row, col) on the store's grid: pixels whose count is 1 in all bands, which clipping left of no data;
            None without any.
        haze: mean of B02 − B04 / 2 over land, reflectance; NaN without land.
        lineage: what was done, a line each.
        air: None for products that are corrected for the atmosphere already.
        notes: what the user should know.
    """

    box: PixelBox
    offset: Offset
    added: int
    angles: Angles
    detector: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    haze: float
    lineage: tuple[str, ...]
    air: SeenAir | None
    missing: NDArray[np.bool_] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Read:
    """What reading the bands gave: see `Prepared`.

    Attributes:
        saturated: (row, col) on the mask grid: pixels beside or with one that was too bright to measure.
    """

    numbers: Numbers
    offset: Offset
    delivered: str
    saturated: NDArray[np.bool_]
    missing: NDArray[np.bool_] | None


def prepare(product: Product, store: Store, recipe: Recipe, images: Images) -> Prepared:
    """Reads what tells the offset, the mask and the air of a product.

    Args:
        images: keeps those of the store's bands, which are needed again.

    Raises:
        ProductError: the product cannot become a scene.
    """
    grid, mask_grid = store.grid(product.epsg), store.mask_grid(product.epsg)
    bounds, _ = asset_grid(product.asset("B02"), product.epsg, product.told.get("B02"))
    box = grid.pad(grid.box_from_bounds(*bounds))
    mask_box = box.coarser(store.mask_factor)
    inside = mask_grid.box_from_bounds(*bounds)
    read = _numbers(product, store, grid, box, inside, images)
    numbers = read.numbers
    angles, lines = scene_angles(product, grid, box), [f"B02 {read.delivered}"]
    notes = list(product.notes)
    if "granule_metadata" not in product.assets:
        notes += [note for note in (_sun(product, grid, box)[1],) if note]
        lines.append("no angle grids in the product: view angles not corrected, sun from the Item or 45°")
    if recipe.mask.startswith(OWN):
        classes = _own_mask(product, recipe.mask, numbers, mask_grid, mask_box, images)
    else:
        classes = _mask(product, recipe.mask, numbers, mask_grid, mask_box, images, angles.mean_sun)
        if recipe.dem is None:
            lines.append(NO_TERRAIN)
        else:
            dark = _terrain(recipe.dem, mask_grid, mask_box, angles.mean_sun)
            classes[dark & np.isin(classes, DARKENED)] = MaskClass.TERRAIN_SHADOW
    lost = read_defects(product.assets, mask_grid, mask_box, images.off)
    classes[(lost | read.saturated) & (classes != MaskClass.NODATA)] = MaskClass.DEFECTIVE
    land = classes == MaskClass.LAND
    air = None
    if product.level == "L1C":
        air = _air(product, numbers, land, mask_grid, mask_box, angles, recipe.dem)
        lines += [AIR_LINE, *air.warnings]
    detector = _detectors(product, angles, images, mask_grid, mask_box)
    return Prepared(
        box=box,
        offset=read.offset,
        added=numbers.offset,
        angles=angles,
        detector=detector,
        classes=classes,
        haze=_haze(numbers, land),
        lineage=tuple(lines),
        air=air,
        missing=read.missing,
        notes=tuple(notes),
    )


def _mask(
    product: Product,
    choice: str,
    numbers: Numbers,
    mask_grid: Grid,
    mask_box: PixelBox,
    images: Images,
    sun: tuple[float, float],
) -> NDArray[np.uint8]:
    """Classes that the numbers and the archive's masks tell."""
    extra: dict[str, Any] = {}
    for name, argument in (("SCL", "scl"), ("CLDPRB", "cloud_probability")):
        if name in product.assets:
            extra[argument] = images.read(product.asset(name), mask_grid, mask_box, "classes").array
    if "CLASSI" in product.assets:
        extra["classi"] = read_classification(product.asset("CLASSI"), mask_grid, mask_box, images.off)
    return mask_scene(
        numbers.rows,
        mask_box.shape,
        numbers.bands,
        level=product.level,
        pixel=mask_grid.pixel,
        sun=sun,
        choice=choice,  # type: ignore[arg-type]
        **extra,
    ).classes


def _terrain(dem: Path, grid: Grid, box: PixelBox, sun: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels in the shadow of hills, told on about `TERRAIN_PIXEL`, also of those around the scene."""
    f = max(1, round(TERRAIN_PIXEL / grid.pixel))
    coarse = replace(grid, pixel=grid.pixel * f)
    inner = box.coarser(f)
    wide = inner.grown(round(TERRAIN_RIM / coarse.pixel))
    dark = terrain_shadow(elevation_on(dem, coarse, wide), coarse.pixel, *sun)[inner.within(wide)]
    return dark.repeat(f, axis=0).repeat(f, axis=1)[box.within(PixelBox(*(v * f for v in inner)))]


def _own_mask(
    product: Product, name: str, numbers: Numbers, mask_grid: Grid, mask_box: PixelBox, images: Images
) -> NDArray[np.uint8]:
    """The user's own classes, no data where the bands have none.

    Raises:
        UnreadableAsset: it holds numbers that are no classes.
    """
    classes = images.read(product.asset(name), mask_grid, mask_box, "classes").array.astype(np.uint8)
    wrong = sorted(set(np.unique(classes)) - {int(c) for c in MaskClass})
    if wrong:
        known = ", ".join(f"{c.value} {c.name.lower()}" for c in MaskClass)
        raise UnreadableAsset(
            f"{product.asset(name)} holds {', '.join(map(str, wrong[:5]))}; a mask's classes are {known}"
        )
    for row in range(0, len(classes), STRIP):
        known_pixels = np.isfinite(numbers.rows(row, min(row + STRIP, len(classes)))[: len(FOUR)]).all(axis=0)
        classes[row : row + STRIP][~known_pixels] = MaskClass.NODATA
    return classes


def scene_angles(product: Product, grid: Grid, box: PixelBox) -> Angles:
    """The angles of a product; without grids one sun, the Item's or that of place and time, and a sensor at nadir.

    Raises:
        UnreadableAsset: the granule metadata are damaged, or of another place.
    """
    left, bottom, right, top = grid.bounds(box)
    if "granule_metadata" not in product.assets:
        return constant_angles(left, top, max(right - left, top - bottom), _sun(product, grid, box)[0])
    angles = read_angles(product.asset("granule_metadata"))
    rows, cols = angles.sun_zenith.shape
    around = max(2 * angles.step, grid.window * grid.pixel)
    if (
        left < angles.left - around
        or top > angles.top + around
        or right > angles.left + (cols - 1) * angles.step + around
        or bottom < angles.top - (rows - 1) * angles.step - around
    ):
        raise UnreadableAsset(
            f"granule metadata {product.asset('granule_metadata')} are of another place than the images; fetch them again"
        )
    return angles


def _sun(product: Product, grid: Grid, box: PixelBox) -> tuple[tuple[float, float], str | None]:
    """Zenith and azimuth of a product's sun in degrees, checked against place and time, and what to tell of it."""
    left, bottom, right, top = grid.bounds(box)
    lon, lat = Transformer.from_crs(product.epsg, 4326, always_xy=True).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    return checked_sun(product.sun, product.datetime, lon, lat)


def _numbers(
    product: Product, store: Store, grid: Grid, box: PixelBox, inside: PixelBox, images: Images
) -> _Read:
    """What the mask and the air are told by, the offset, and how B02 came onto the grid.

    Args:
        inside: the product's own pixels of the mask grid.
    """
    mask_grid, factor = store.mask_grid(product.epsg), store.mask_factor
    mask_box = box.coarser(factor)
    more = [b for b in SWIR + (L1C_BANDS if product.level == "L1C" else ()) if b in product.assets]
    means = np.empty((len(FOUR) + len(more), *mask_box.shape), np.uint16)
    darkest, missing, delivered = None, None, ""
    saturated = np.zeros(mask_box.shape, bool)

    def read(band: str, on: Grid, where: PixelBox) -> Placed:
        if band in store.config.bands and on == store.band_grid(product.epsg, band):
            placed = images.first(product.asset(band), on, where)
        else:
            placed = images.read(product.asset(band), on, where, "reflectance")
        if placed.saturated is not None:
            times = placed.saturated.shape[0] // mask_box.height
            squares = placed.saturated.reshape(mask_box.height, times, mask_box.width, times)
            np.logical_or(saturated, squares.any(axis=(1, 3)), out=saturated)
        return placed

    for layer, band in enumerate(FOUR):
        placed = read(band, grid, box)
        counts = _whole(placed.array)
        delivered = delivered or placed.lineage
        for rows in range(0, len(means[layer]), STRIP):
            fine = counts[rows * factor : (rows + STRIP) * factor]
            means[layer, rows : rows + STRIP] = _whole(np.nan_to_num(thinned(fine, factor, 0)))
        if layer == 0 and product.baseline >= "0400" and (counts == 1).any():
            missing = counts == 1
        elif missing is not None:
            missing &= counts == 1
        darkest = counts if darkest is None else np.minimum(darkest, counts, out=darkest)
        del placed, counts
    assert darkest is not None
    for layer, band in enumerate(more, len(FOUR)):
        means[layer] = _whole(read(band, mask_grid, mask_box).array)
        if band in SWIR:
            squares = darkest.reshape(mask_box.height, factor, mask_box.width, factor)
            np.minimum(squares, means[layer][:, None, :, None], out=squares)
    if missing is not None:
        missing = missing if missing.any() else None
    if missing is not None:
        darkest[missing] = 0
    if images.lift:
        darkest = np.where(darkest > 0, np.maximum(darkest.astype(np.int32) - images.lift, 1), 0).astype(
            np.uint16
        )
    xml = product.assets.get("product_metadata")
    try:
        offset = _decide(product, darkest, xml, means, more)
    except ProductError as error:
        raise type(error)(f"{product.id}: {error}") from None
    added = offset.value - images.lift
    if missing is not None and offset.value == ADDED:
        gone = missing.reshape(mask_box.height, factor, mask_box.width, factor).any(axis=(1, 3))
        means[: len(FOUR), gone] = 0
    else:
        missing = None
    if product.baseline < "0400":
        _fill_single(means[: len(FOUR)], inside.within(mask_box), mask_grid.pixel, max(1, -added))
    return _Read(Numbers((*FOUR, *more), means, added), offset, delivered, saturated, missing)


def _fill_single(means: NDArray[np.uint16], inside: tuple[slice, slice], pixel: float, dark: int) -> None:
    """Takes a count of 0 in some of the bands for the dark that it is, so that the others are shown.

    Old products write water that comes out below zero as 0. At the rim of the swath, where bands begin one after
    the other, the pixel stays without data.
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
    for layer in means:
        layer[alone & (layer == 0)] = dark


def _decide(
    product: Product, darkest: NDArray[np.uint16], xml: str | None, means: NDArray[np.uint16], more: list[str]
) -> Offset:
    """The offset of a product's numbers.

    Raises:
        ProductError: nothing settles it.
    """
    return decide_offset(
        darkest,
        xml_offset=read_xml_offset(xml) if xml else None,
        claims=product.claims,
        baseline=product.baseline,
        cirrus=means[len(FOUR) + more.index("B10")] if "B10" in more else None,
        untouched=product.asset("B02").endswith(".jp2"),
        swir=any(band in more for band in SWIR),
    )


def _whole(counts: NDArray[np.generic]) -> NDArray[np.uint16]:
    """Counts as whole numbers: those of a resampled band are not."""
    if counts.dtype == np.uint16:
        return counts  # type: ignore[return-value]
    return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16)


def _detectors(
    product: Product, angles: Angles, images: Images, mask_grid: Grid, mask_box: PixelBox
) -> NDArray[np.uint8]:
    if not angles.view:
        return np.zeros(mask_box.shape, np.uint8)
    footprint = None
    if "DETFOO" in product.assets:
        footprint = read_detectors(product.asset("DETFOO"), mask_grid, mask_box, images.off)
    return nearest_detectors(footprint, angles, mask_box.shape)


def _haze(numbers: Numbers, land: NDArray[np.bool_]) -> float:
    if not land.any():
        return float("nan")
    blue, red = (float(numbers.block(b, (slice(None), slice(None)))[land].mean()) for b in ("B02", "B04"))
    return blue - 0.5 * red


def _air(
    product: Product,
    numbers: Numbers,
    land: NDArray[np.bool_],
    mask_grid: Grid,
    mask_box: PixelBox,
    angles: Angles,
    dem: Path | None,
) -> SeenAir:
    """The air over an L1C product, from its bands, its auxiliary data and the elevation."""
    lowest = float(angles.sun_zenith.max())
    if lowest > RANGES["sun_zenith"][1]:
        raise Uncorrectable(
            f"{product.id}: the sun stands at {lowest:.1f}° from the zenith, past {RANGES['sun_zenith'][1]:g}°;"
            " there is no correction for so low a sun, leave the product out"
        )
    left, bottom, right, top = mask_grid.bounds(mask_box)
    lon, lat = Transformer.from_crs(product.epsg, 4326, always_xy=True).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    models: dict[str, float] = {}
    for name in ("ecmwf", "cams"):
        if name in product.assets:
            models |= read_auxiliary(product.assets[name], lon, lat)
    return see_air(
        numbers,
        land,
        (left, top, mask_grid.pixel),
        angles,
        satellite=product.platform,
        models=models,
        elevation=node_elevation(dem, angles, product.epsg) if dem else None,
    )
