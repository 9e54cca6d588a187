"""Turns a product into a scene of the store: grid, mask, correction, strips, Item."""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import rasterio
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from terrazzo.bands import NODATA, SCALE, SCORE_NODATA, MaskClass, stored_factor
from terrazzo.cog import write_cog
from terrazzo.correction import Coefficients, Correction, corrected, correction_arrays
from terrazzo.edges import DEPTH, Strips, clear_medians, strip_table
from terrazzo.errors import NotFound, ProductError
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.correct.brdf import Brdf
from terrazzo.precompute.correct.factors import coarse_coefficients
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.products.raster import Images
from terrazzo.precompute.products.validation import guarded
from terrazzo.precompute.scene.identity import as_used, declared_of, forms_of, identity
from terrazzo.precompute.scene.item import scene_item
from terrazzo.precompute.scene.prepare import Prepared, prepare
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import (
    CORRECTION,
    ITEM,
    MASK,
    OWNER,
    SCORE,
    STRIPS,
    Scene,
    owner_of,
    read_scene,
    scene_from_item,
)
from terrazzo.store import Store

GDAL_CACHE = 64
"""Megabytes of decoded blocks that GDAL keeps: each block is read once."""
DEFAULT = Recipe()
VIEW_OF = "B04"
"""The band whose view angles are kept."""


def ingest(product: Product, store: Store, recipe: Recipe = DEFAULT) -> Scene:
    """Makes the scene of a product, or returns the one that is there when nothing has changed.

    Raises:
        ProductError: the product cannot become a scene; the message says why and what to do.
    """
    with guarded(product.id):
        product = as_used(product, store)
        checksums, rev, prefix = identity(product, store, recipe)
    try:
        return read_scene(store, prefix)
    except NotFound:
        pass
    folder, kept = (Path(tempfile.mkdtemp(dir=store.scratch())) for _ in range(2))
    try:
        # Threads of a matrix product wait for each other where other workers have the processors.
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), threadpool_limits(1):
            return _make(product, store, prefix, rev, checksums, folder, kept, recipe)
    finally:
        for scratch in (folder, kept):
            shutil.rmtree(scratch, ignore_errors=True)


class Known(NamedTuple):
    """What is known of the scene of a product before it is made.

    Attributes:
        rev: its revision; None of a product that cannot become one.
        scene: if it is there and nothing has changed.
    """

    rev: str | None
    scene: Scene | None


def known_scene(product: Product, store: Store, recipe: Recipe = DEFAULT) -> Known:
    """What is known of the scene of a product; costs the checksums, no decoding."""
    rev = None
    try:
        with guarded(product.id):
            _, rev, prefix = identity(product, store, recipe)
        return Known(rev, read_scene(store, prefix))
    except (NotFound, ProductError):
        return Known(rev, None)


def _make(
    product: Product,
    store: Store,
    prefix: str,
    rev: str,
    checksums: dict[str, str],
    folder: Path,
    kept: Path,
    recipe: Recipe,
) -> Scene:
    grid = store.grid(product.epsg)
    with guarded(product.id):
        images = _images(product, store, kept, _off(recipe, grid))
        prepared = prepare(product, store, recipe, images)
    _write_files(product, store, prepared, images, recipe.brdf, folder, owner_of(f"{prefix}/{ITEM}"))
    item = scene_item(product, store, prepared, recipe, rev=rev, folder=folder, sources=checksums)
    store.write_config()
    for path in sorted(folder.iterdir()):
        store.publish_file(path, f"{prefix}/{path.name}")
    store.write_json(f"{prefix}/{ITEM}", item)
    return scene_from_item(item, prefix)


def _write_files(
    product: Product,
    store: Store,
    prepared: Prepared,
    images: Images,
    brdf: Brdf,
    folder: Path,
    owner: str,
) -> None:
    """Writes bands, mask, strips and correction of a scene, which name their `owner`."""
    grid = store.grid(product.epsg)
    clear = np.isin(prepared.classes, (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW))
    medians, counts, coefficients = [], [], {}
    for band in store.config.bands:
        values, of_band = _corrected(product, store, prepared, images, band, brdf)
        if of_band is not None:
            coefficients[band] = of_band
        _write_band(folder / f"{band}.tif", grid, prepared.box, band, values, owner)
        scale = stored_factor(band)
        median, count = clear_medians(values, clear, grid.window // scale, DEPTH // scale)
        medians.append(median)
        counts.append(count)
    mask_grid = store.mask_grid(product.epsg)
    where = (mask_grid.transform(prepared.box.coarser(store.mask_factor)), f"EPSG:{product.epsg}")
    levels = mask_grid.window.bit_length() - 1
    names = ", ".join(f"{c.value} {c.name.lower()}" for c in MaskClass)
    write_cog(
        folder / MASK,
        prepared.classes,
        *where,
        nodata=0,
        overview="mode",
        levels=levels,
        tags={"CLASSES": names, OWNER: owner},
    )
    write_cog(
        folder / SCORE,
        prepared.score,
        *where,
        nodata=SCORE_NODATA,
        overview="average",
        levels=levels,
        description="clear score",
        tags={OWNER: owner},
    )
    strips = Strips(grid.window_range(prepared.box), np.stack(medians, -1), np.stack(counts, -1))
    pq.write_table(
        strip_table(strips, store.config.bands), folder / STRIPS, compression="zstd", write_page_checksum=True
    )
    correction = Correction(prepared.added, prepared.detector, coefficients)
    arrays = correction_arrays(correction) | _seen_arrays(prepared) | {OWNER: np.array(owner)}
    np.savez_compressed(folder / CORRECTION, **arrays)


def _images(product: Product, store: Store, folder: Path, off: tuple[float, float]) -> Images:
    """The product's images, with how each writes reflectance."""
    return Images(folder, off, forms_of(product, store), declared_of(product))


def _seen_arrays(prepared: Prepared) -> dict[str, NDArray[np.generic]]:
    """Air and angles at the nodes, for inspection and for users of pixel angles."""
    angles, air = prepared.angles, prepared.air
    arrays: dict[str, NDArray[np.generic]] = {
        "nodes": np.array([angles.left, angles.top, angles.step]),
        "sun_zenith": angles.sun_zenith.astype(np.float32),
        "sun_azimuth": angles.sun_azimuth.astype(np.float32),
    }
    if air is not None:
        names = ("aot", "water_vapour", "ozone", "pressure")
        arrays |= {name: np.asarray(getattr(air.grid, name), np.float32) for name in names}
    view = angles.view.get(VIEW_OF)
    if view:
        east, north = np.stack([view[d] for d in sorted(view)], axis=1).astype(np.float32)
        arrays |= {
            "view_detectors": np.array(sorted(view), np.uint8),
            "view_east": east,
            "view_north": north,
        }
    return arrays


def _corrected(
    product: Product, store: Store, prepared: Prepared, images: Images, band: str, brdf: Brdf
) -> tuple[NDArray[np.int16], Coefficients | None]:
    """A band's int16 reflectance on its stored grid, and the coefficients that made it."""
    grid = store.band_grid(product.epsg, band)
    scale = stored_factor(band)
    box = prepared.box.coarser(scale)
    with guarded(product.id):
        placed = images.again(product.asset(band), grid, box)
    counts = placed.array
    prepared.remains.clear(counts, scale)
    air = prepared.air.grid if prepared.air else None
    coefficients = coarse_coefficients(prepared.angles, band, satellite=product.platform, brdf=brdf, air=air)
    correction = Correction(prepared.added, prepared.detector, {band: coefficients} if coefficients else {})
    land = prepared.classes == MaskClass.LAND
    return corrected(counts, land, prepared.detector, correction, band, grid, box), coefficients


def _write_band(
    path: Path, grid: Grid, box: PixelBox, band: str, values: NDArray[np.int16], owner: str
) -> None:
    factor = stored_factor(band)
    stored = grid.scaled(factor)
    write_cog(
        path,
        values,
        stored.transform(box.coarser(factor)),
        f"EPSG:{grid.epsg}",
        nodata=NODATA,
        overview="average",
        levels=stored.window.bit_length() - 1,
        scale=SCALE,
        description=band,
        tags={OWNER: owner},
    )


def _off(recipe: Recipe, grid: Grid) -> tuple[float, float]:
    """Metres by which the product's ground lies too far east and north."""
    return (recipe.shift.east * grid.pixel, recipe.shift.north * grid.pixel) if recipe.shift else (0.0, 0.0)


def now() -> str:
    """This moment as STAC writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
