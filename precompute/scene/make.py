"""Turns a product into a scene of the store: grid, mask, correction, strips, Item."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from terrazzo import PIXELS
from terrazzo.bands import BANDS, FOUR, NODATA, SCALE, MaskClass, stored_factor
from terrazzo.cog import write_cog
from terrazzo.correction import Coefficients, Correction, corrected, correction_arrays
from terrazzo.edges import DEPTH, Strips, strip_medians, strip_table
from terrazzo.errors import MissingBand, NotFound, ProductError, Uncorrectable
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.clouds.model import model_hash
from terrazzo.precompute.correct.brdf import COEFFICIENTS, LOWEST_SUN, SUN, Brdf
from terrazzo.precompute.correct.factors import coarse_coefficients, view_of
from terrazzo.precompute.correct.table import load_table
from terrazzo.precompute.products.angles import Angles
from terrazzo.precompute.products.door import guarded
from terrazzo.precompute.products.elevation import node_elevation
from terrazzo.precompute.products.files import checksum
from terrazzo.precompute.products.form import Form, read_forms
from terrazzo.precompute.products.product import EXTRAS, L1C_EXTRAS, OWN, SWIR, Product, Told
from terrazzo.precompute.products.quality import quality_roles
from terrazzo.precompute.products.raster import Images, asset_grid
from terrazzo.precompute.products.safe import mean_air
from terrazzo.precompute.scene.item import scene_item
from terrazzo.precompute.scene.prepare import Prepared, prepare, scene_angles
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import CORRECTION, ITEM, MASK, STRIPS, Scene, read_scene, scene_from_item, scene_prefix
from terrazzo.store import Store

GDAL_CACHE = 64
"""Megabytes of decoded blocks that GDAL keeps: each block is read once."""
DEFAULT = Recipe()
VIEW_OF = "B04"
"""The band whose view angles are kept."""


def ingest(product: Product, store: Store, recipe: Recipe = DEFAULT) -> Scene:
    """Makes the scene of a product, or returns the one that is there when nothing has changed.

    Raises:
        ProductError: the product cannot become a scene; the message tells why and what to do.
    """
    with guarded(product.id):
        product = with_stand_in(product, store)
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


def ready_scene(product: Product, store: Store, recipe: Recipe = DEFAULT) -> Scene | None:
    """The scene of a product if it is there and nothing has changed; costs the checksums, no decoding."""
    try:
        with guarded(product.id):
            prefix = identity(product, store, recipe)[2]
        return read_scene(store, prefix)
    except (NotFound, ProductError):
        return None


def with_stand_in(product: Product, store: Store) -> Product:
    """The product, with B8A in B08's place where it has images of 20 m and 60 m alone.

    Raises:
        MissingBand: the store's pixels are finer than that.
    """
    if product.level != "L2A" or "B08" in product.assets or "B8A" not in product.assets:
        return product
    if store.config.pixel < BANDS["B8A"].resolution:
        raise MissingBand(
            f"{product.id} has no B08, as products with images of 20 m and 60 m alone: fetch its images of 10 m, or make a"
            " store of 20 m (--pixel 20), where B8A takes the place of B08"
        )
    note = "no B08 in the product: B8A, a narrower near infrared, is in its place"
    assets = {**product.assets, "B08": product.assets["B8A"]}
    told = {**product.told, **({"B08": product.told["B8A"]} if "B8A" in product.told else {})}
    return replace(product, assets=assets, told=told, notes=(*product.notes, note))


def identity(product: Product, store: Store, recipe: Recipe) -> tuple[dict[str, str], str, str]:
    """Checksums of a product's files, the revision they determine, and the scene's folder.

    Raises:
        ProductError: a file that is needed is missing.
    """
    product = with_stand_in(product, store)
    if product.level == "L1C" and "B12" not in product.assets:
        raise Uncorrectable(
            f"{product.id} is L1C without B12, which tells the aerosol: no atmospheric correction;"
            " fetch B12, or use the L2A product"
        )
    wanted = (*store.config.bands, *FOUR, *(("B12",) if product.level == "L1C" else ()))
    needed = [product.asset(b) for b in dict.fromkeys(wanted)]
    if recipe.mask.startswith(OWN):
        needed.append(product.asset(recipe.mask))
    also = (*EXTRAS, *SWIR, *quality_roles(product.assets), *(L1C_EXTRAS if product.level == "L1C" else ()))
    extras = [product.assets[a] for a in also if a in product.assets and product.assets[a] not in needed]
    checksums = {Path(p).name: checksum(p) for p in (*needed, *extras)}
    rev = _revision(product, checksums, store, recipe)
    return checksums, rev, scene_prefix(product.epsg, product.mgrs, product.id, rev)


def _revision(product: Product, checksums: dict[str, str], store: Store, recipe: Recipe) -> str:
    """12 hexadecimal digits over what determines the scene's pixels."""
    forms = {Path(path).name: form for path, form in _forms(product, store).items()}
    air: dict[str, Any] = {}
    if product.level == "L1C":
        air["table"] = load_table().hash
    if product.level == "L1C" or recipe.dem:
        air["elevation"] = _elevation(product, store, recipe)
    text = json.dumps(
        {
            **air,
            "product": product.id,
            "sources": checksums,
            "claims": dict(product.claims),
            "baseline": product.baseline,
            "grid": [store.config.pixel, store.config.mask_pixel, store.config.window, store.config.bands],
            "mask": recipe.mask,
            "brdf": recipe.brdf,
            **({"forms": {n: repr(f) for n, f in forms.items()}} if forms else {}),
            "shift": astuple(recipe.shift) if recipe.shift else None,
            "model": model_hash(product.level),
            "pixels": PIXELS,
        },
        sort_keys=True,
    )
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _elevation(product: Product, store: Store, recipe: Recipe) -> list[list[float]] | None:
    """Whole metres at the nodes of the angle grids, None at sea level."""
    if recipe.dem is None:
        return None
    grid = store.grid(product.epsg)
    box = grid.pad(
        grid.box_from_bounds(*asset_grid(product.asset("B02"), product.epsg, product.told.get("B02"))[0])
    )
    heights: list[list[float]] = np.rint(
        node_elevation(recipe.dem, scene_angles(product, grid, box), product.epsg)
    ).tolist()
    return heights


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
    clear = np.isin(prepared.classes, (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW))
    medians, counts, coefficients = [], [], {}
    for band in store.config.bands:
        values, found = _corrected(product, store, prepared, images, band, recipe.brdf)
        if found is not None:
            coefficients[band] = found
        _write_band(folder, store, grid, prepared.box, band, values)
        scale = stored_factor(band)
        usable = _rescaled(clear, round(store.mask_factor / scale * 2), values.shape)
        median, count = _clear_medians(values, usable, grid.window // scale, DEPTH // scale)
        medians.append(median)
        counts.append(count)
    mask_grid = store.mask_grid(product.epsg)
    write_cog(
        folder / MASK,
        prepared.classes,
        mask_grid.transform(prepared.box.coarser(store.mask_factor)),
        f"EPSG:{product.epsg}",
        nodata=0,
        overview="mode",
        levels=mask_grid.window.bit_length() - 1,
        tags={"CLASSES": ", ".join(f"{c.value} {c.name.lower()}" for c in MaskClass)},
    )
    strips = Strips(grid.window_range(prepared.box), np.stack(medians, -1), np.stack(counts, -1))
    pq.write_table(
        strip_table(strips, store.config.bands), folder / STRIPS, compression="zstd", write_page_checksum=True
    )
    correction = Correction(prepared.added, prepared.detector, coefficients)
    arrays = correction_arrays(correction) | _seen_arrays(prepared)
    np.savez_compressed(folder / CORRECTION, **arrays)  # type: ignore[arg-type]
    item = scene_item(
        product,
        grid=grid,
        store=store,
        box=prepared.box,
        rev=rev,
        classes=prepared.classes,
        haze=prepared.haze,
        offset=prepared.offset,
        angles=prepared.angles,
        lineage=(*prepared.lineage, _brdf_line(prepared.angles, recipe.brdf)),
        notes=_notes(prepared, recipe, store.config.bands),
        air=prepared.air.properties() if prepared.air else mean_air(product),
        parameters={"mask": recipe.mask, "brdf": recipe.brdf, "model": model_hash(product.level)},
        dem=recipe.dem.name if recipe.dem else None,
        shift=recipe.shift,
        folder=folder,
        sources=checksums,
    )
    store.write_config()
    for path in sorted(folder.iterdir()):
        store.publish_file(path, f"{prefix}/{path.name}")
    store.write_json(f"{prefix}/{ITEM}", item)
    return scene_from_item(item, prefix)


def _images(product: Product, store: Store, folder: Path, off: tuple[float, float]) -> Images:
    """The product's images, with how each writes reflectance."""
    return Images(folder, off, _forms(product, store), _told(product))


def _told(product: Product) -> dict[str, Told]:
    """What the Item says of each image, by path."""
    return {product.assets[role]: t for role, t in product.told.items() if role in product.assets}


def _forms(product: Product, store: Store) -> dict[str, Form]:
    """How each image writes reflectance that does not do it as ESA does, by path.

    Raises:
        ProductError: one holds no reflectance.
    """
    wanted = {*store.config.bands, *FOUR, *SWIR}
    if product.level == "L1C":
        wanted |= BANDS.keys() & set(L1C_EXTRAS)
    paths = {band: product.assets[band] for band in sorted(wanted) if band in product.assets}
    return read_forms(paths, _told(product))


def _seen_arrays(prepared: Prepared) -> dict[str, NDArray[np.generic]]:
    """Air and angles at the nodes, for people to look at and for whoever needs angles of pixels."""
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


def _clear_medians(
    values: NDArray[np.int16], usable: NDArray[np.bool_], window: int, depth: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Medians and counts of the strips over usable pixels, one row of windows at a time to spare memory."""
    rows = []
    for top in range(0, len(values), window):
        part = values[top : top + window]
        counts = usable[top : top + window] & (part != NODATA)
        rows.append(
            strip_medians(np.where(counts, part * np.float32(SCALE), np.float32(np.nan)), window, depth)
        )
    medians, numbers = zip(*rows, strict=True)
    return np.concatenate(medians), np.concatenate(numbers)


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
    if prepared.missing is not None:
        counts[(np.rint(counts) == 1) & prepared.missing[::scale, ::scale]] = 0
    air = prepared.air.grid if prepared.air else None
    found = coarse_coefficients(prepared.angles, band, satellite=product.platform, brdf=brdf, air=air)
    correction = Correction(prepared.added, prepared.detector, {band: found} if found else {})
    ratio = round(store.mask_factor / scale * 2)
    land = _rescaled(prepared.classes == MaskClass.LAND, ratio, box.shape)
    detector = _rescaled(prepared.detector, ratio, box.shape)
    return corrected(counts, land, detector, correction, band, grid, box), found


def _rescaled(array: NDArray[Any], doubled_ratio: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Repeats (ratio 2), keeps (1) or takes every other pixel of (1/2) a mask-grid array; the ratio comes doubled."""
    if doubled_ratio == 4:
        return array.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    return array[::2, ::2] if doubled_ratio == 1 else array


def _write_band(
    folder: Path, store: Store, grid: Grid, box: PixelBox, band: str, values: NDArray[np.int16]
) -> None:
    factor = stored_factor(band)
    stored = grid.scaled(factor)
    write_cog(
        folder / f"{band}.tif",
        values,
        stored.transform(box.coarser(factor)),
        f"EPSG:{grid.epsg}",
        nodata=NODATA,
        overview="average",
        levels=stored.window.bit_length() - 1,
        scale=SCALE,
        description=band,
    )


def _off(recipe: Recipe, grid: Grid) -> tuple[float, float]:
    """Metres by which the product's ground lies too far east and north."""
    return (recipe.shift.east * grid.pixel, recipe.shift.north * grid.pixel) if recipe.shift else (0.0, 0.0)


def _notes(prepared: Prepared, recipe: Recipe, bands: Sequence[str]) -> list[str]:
    """What the user should know of a scene that was made all the same."""
    offset, notes = prepared.offset, list(prepared.notes)
    if offset.conflicts:
        notes.append(
            f"the evidence on the offset is contradictory: took {offset.value} by {offset.decided_by}"
            f" ({offset.verdict}), though {', '.join(offset.conflicts)}"
        )
    if recipe.brdf != "off" and not prepared.angles.view:
        notes.append("no angle grids (granule metadata) in the product: view angles stay as they are")
    if recipe.brdf != "off" and prepared.angles.view and not prepared.detector.any():
        notes.append(
            "no detector footprint in the product: view angles were corrected by the mean of all detectors"
        )
    lowest = float(prepared.angles.sun_zenith.max())
    if recipe.brdf != "off" and prepared.angles.view and lowest > LOWEST_SUN:
        notes.append(
            f"the sun is up to {lowest:.0f}° from the zenith: view angles were corrected as at {LOWEST_SUN:g}°"
        )
    others = {b: view_of(prepared.angles, b) for b in bands if b in COEFFICIENTS}
    lacking = [f"{b} by those of {other}" for b, other in others.items() if other and other != b]
    if recipe.brdf != "off" and lacking:
        notes.append(f"the granule metadata lack view angles of some bands: corrected {', '.join(lacking)}")
    if recipe.shift is not None:
        s = recipe.shift
        notes.append(
            f"its ground lay {s.east:.2f} pixels too far east and {s.north:.2f} too far north (±{s.spread:.2f}):"
            " resampled once to where the other dates' lies"
        )
    return notes


def _brdf_line(angles: Angles, brdf: Brdf) -> str:
    if brdf == "off":
        return "view angles not corrected (--brdf off)"
    if not angles.view:
        return "view angles not corrected: the product has no angle grids"
    sun = f", sun to {SUN:g}° from the zenith" if brdf == "nadir+sun" else ""
    return f"view angles corrected to nadir{sun} over land, c-factor"


def now() -> str:
    """This moment as STAC writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
