"""What all bands of a scene share while it is made: offset, mask, angles, detectors, the air."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from terrazzo.bands import FOUR, MaskClass
from terrazzo.errors import Uncorrectable, UnreadableAsset
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.clouds.mask import Mask, mask_scene
from terrazzo.precompute.clouds.score import clear_score, score_of_classes
from terrazzo.precompute.clouds.terrain import terrain_shadow
from terrazzo.precompute.correct.air import Height, SeenAir, see_air
from terrazzo.precompute.correct.factors import nearest_detectors
from terrazzo.precompute.correct.table import RANGES
from terrazzo.precompute.products.angles import Angles, constant_angles, read_angles
from terrazzo.precompute.products.auxiliary import read_auxiliary
from terrazzo.precompute.products.elevation import elevation_on, modelled_elevation, node_elevation
from terrazzo.precompute.products.numbers import Numbers
from terrazzo.precompute.products.offset import Offset
from terrazzo.precompute.products.product import OWN, Product
from terrazzo.precompute.products.quality import read_classification, read_defects, read_detectors
from terrazzo.precompute.products.raster import Images, asset_grid
from terrazzo.precompute.products.sun import checked_sun
from terrazzo.precompute.scene.counts import STRIP, Remains, read_counts
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.store import Store

TERRAIN_PIXEL, TERRAIN_RIM = 30.0, 10_000.0
"""Pixel size, in metres, of the terrain shadow, and distance around a scene from which hills cast it."""
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
        detector, classes, score: (row, col) uint8 on the mask grid; score as of `clear_score`.
        remains: as in `Counts`.
        haze: mean of B02 − B04 / 2 over land, reflectance; NaN without land.
        lineage: what was done, a line each.
        air: None for products that are corrected for the atmosphere already.
        notes: what the user should know.
        seen_by: bands that the mask was made from; none where it is the user's own.
    """

    box: PixelBox
    offset: Offset
    added: int
    angles: Angles
    detector: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    score: NDArray[np.uint8]
    remains: Remains
    haze: float
    lineage: tuple[str, ...]
    air: SeenAir | None
    notes: tuple[str, ...]
    seen_by: tuple[str, ...]


def prepare(product: Product, store: Store, recipe: Recipe, images: Images) -> Prepared:
    """Reads the data for the offset, the mask and the air of a product.

    Args:
        images: keeps those of the store's bands, which are needed again.

    Raises:
        ProductError: the product cannot become a scene.
    """
    grid, mask_grid = store.grid(product.epsg), store.mask_grid(product.epsg)
    bounds, _ = asset_grid(product.asset("B02"), product.epsg, product.declared.get("B02"))
    box = grid.pad(grid.box_from_bounds(*bounds))
    mask_box = box.coarser(store.mask_factor)
    inside = mask_grid.box_from_bounds(*bounds)
    read = read_counts(product, store, images, box, inside)
    numbers = read.numbers
    angles, lines = scene_angles(product, grid, box), [f"B02 {read.delivered}"]
    notes = list(product.notes)
    if "granule_metadata" not in product.assets:
        notes += [note for note in (_sun(product, grid, box)[1],) if note]
        lines.append("no angle grids in the product: view angles not corrected, sun from the Item or 45°")
    if recipe.mask.startswith(OWN):
        classes = _own_mask(product, recipe.mask, numbers, mask_grid, mask_box, images)
        score = score_of_classes(classes)
    else:
        mask = _mask(product, recipe.mask, numbers, mask_grid, mask_box, images, angles.mean_sun)
        classes, score = mask.classes, clear_score(mask)
        if recipe.dem is None:
            lines.append(NO_TERRAIN)
        else:
            dark = _terrain(recipe.dem, mask_grid, mask_box, angles.mean_sun)
            classes[dark & np.isin(classes, DARKENED)] = MaskClass.TERRAIN_SHADOW
    lost = read_defects(product.assets, mask_grid, mask_box, images.off)
    lost = (lost | read.saturated) & (classes != MaskClass.NODATA)
    classes[lost], score[lost] = MaskClass.DEFECTIVE, 0
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
        score=score,
        remains=read.remains,
        haze=_haze(numbers, land),
        lineage=tuple(lines),
        air=air,
        notes=tuple(notes),
        seen_by=() if recipe.mask.startswith(OWN) else numbers.bands,
    )


def _mask(
    product: Product,
    choice: str,
    numbers: Numbers,
    mask_grid: Grid,
    mask_box: PixelBox,
    images: Images,
    sun: tuple[float, float],
) -> Mask:
    """Results from the counts and the archive's masks."""
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
    )


def _terrain(dem: Path, grid: Grid, box: PixelBox, sun: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels in the shadow of hills, also of hills around the scene, on pixels of about `TERRAIN_PIXEL`."""
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
    """Zenith and azimuth of a product's sun in degrees, checked against place and time, and a note about it."""
    left, bottom, right, top = grid.bounds(box)
    lon, lat = Transformer.from_crs(product.epsg, 4326, always_xy=True).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    return checked_sun(product.sun, product.datetime, lon, lat)


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
        elevation=_height(product, angles, dem),
    )


def _height(product: Product, angles: Angles, dem: Path | None) -> Height | None:
    """The ground's elevation: the user's model, else that of the product's weather models."""
    if dem is not None:
        return Height(node_elevation(dem, angles, product.epsg), "elevation given", 0.0)
    models = [product.assets[name] for name in ("cams", "ecmwf") if name in product.assets]
    metres = modelled_elevation(models, angles, product.epsg)
    return None if metres is None else Height(metres, "elevation of the weather model", 15.0)
