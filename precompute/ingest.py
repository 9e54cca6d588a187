"""Turns a product into a scene of the store: grid, mask, correction, strips, Item."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyproj import Transformer

from precompute.acquire.angles import Angles, constant_angles, read_angles
from precompute.acquire.auxiliary import read_auxiliary
from precompute.acquire.elevation import node_elevation
from precompute.acquire.files import checksum
from precompute.acquire.offset import Offset, decide_offset, read_xml_offset
from precompute.acquire.products import EXTRAS, L1C_EXTRAS, Product
from precompute.acquire.raster import asset_grid, read_on_grid
from precompute.acquire.safe import mean_air
from precompute.clouds.mask import Choice, mask_scene
from precompute.clouds.model import FOUR, model_hash
from precompute.correct.air import SeenAir, see_air
from precompute.correct.factors import coarse_coefficients, nearest_detectors
from precompute.correct.table import RANGES, load_table
from precompute.item import scene_item
from precompute.thinning import thinned
from terrazzo import PIXELS
from terrazzo.bands import NODATA, SCALE, MaskClass, stored_factor
from terrazzo.cog import write_cog
from terrazzo.correction import Coefficients, Correction, corrected, correction_arrays
from terrazzo.edges import DEPTH, Strips, strip_medians, strip_table
from terrazzo.errors import NotFound, ProductError, Uncorrectable
from terrazzo.grid import Grid, PixelBox
from terrazzo.scene import CORRECTION, ITEM, MASK, STRIPS, Scene, read_scene, scene_from_item, scene_prefix
from terrazzo.store import Store

SWIR = ("B11", "B12")
"""They tell clouds from snow and roofs, and over these only they are dark enough to tell the offset; read where the
product has them."""


@dataclass(frozen=True)
class Prepared:
    """What all bands of a scene share while it is made."""

    box: PixelBox
    offset: Offset
    angles: Angles | None
    detector: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    lineage: tuple[str, ...]
    air: SeenAir | None


L1C_BANDS = ("B8A", "B09", "B10")
"""What tells the water vapour over an L1C product, and its cirrus the offset."""
AIR_LINE = "atmosphere taken out by the table of 6SV runs, continental aerosol"


def ingest(
    product: Product,
    store: Store,
    *,
    mask: Choice = "fused",
    brdf: str = "nadir",
    dem: Path | None = None,
) -> Scene:
    """Makes the scene of a product, or returns the one that is there when nothing has changed.

    Args:
        mask: where the mask comes from, see `mask_scene`.
        brdf: `nadir` or `off`.
        dem: elevation model for the pressure over L1C products; sea level without.

    Raises:
        ProductError: the product cannot become a scene; the message tells why and what to do.
    """
    checksums, rev, prefix = _identity(product, store, mask, brdf, dem)
    try:
        return read_scene(store, prefix)
    except NotFound:
        pass
    folder = Path(tempfile.mkdtemp(dir=store.scratch()))
    try:
        return _make(product, store, prefix, rev, checksums, folder, mask, brdf, dem)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ready_scene(
    product: Product,
    store: Store,
    *,
    mask: Choice = "fused",
    brdf: str = "nadir",
    dem: Path | None = None,
) -> Scene | None:
    """The scene of a product if it is there and nothing has changed; costs the checksums, no decoding."""
    try:
        return read_scene(store, _identity(product, store, mask, brdf, dem)[2])
    except (NotFound, ProductError):
        return None


def _identity(
    product: Product, store: Store, mask: Choice, brdf: str, dem: Path | None
) -> tuple[dict[str, str], str, str]:
    """Checksums of a product's files, the revision they determine, and the scene's folder."""
    if product.level == "L1C" and "B12" not in product.assets:
        raise Uncorrectable(
            f"{product.id} is L1C without B12, which tells the aerosol: no atmospheric correction;"
            " fetch B12, or use the L2A product"
        )
    wanted = (*store.config.bands, *FOUR, *(("B12",) if product.level == "L1C" else ()))
    needed = [product.asset(b) for b in dict.fromkeys(wanted)]
    also = EXTRAS + SWIR + (L1C_EXTRAS if product.level == "L1C" else ())
    extras = [product.assets[a] for a in also if a in product.assets and product.assets[a] not in needed]
    checksums = {Path(p).name: checksum(p) for p in (*needed, *extras)}
    rev = _revision(product, checksums, store, mask, brdf, dem)
    return checksums, rev, scene_prefix(product.epsg, product.mgrs, product.id, rev)


def _revision(
    product: Product, checksums: dict[str, str], store: Store, mask: str, brdf: str, dem: Path | None
) -> str:
    """12 hexadecimal digits over what determines the scene's pixels."""
    air = {"table": load_table().hash, "dem": str(dem)} if product.level == "L1C" else {}
    text = json.dumps(
        {
            **air,
            "product": product.id,
            "sources": checksums,
            "claims": dict(product.claims),
            "baseline": product.baseline,
            "grid": [store.config.pixel, store.config.mask_pixel, store.config.window, store.config.bands],
            "mask": mask,
            "brdf": brdf,
            "model": model_hash(product.level),
            "pixels": PIXELS,
        },
        sort_keys=True,
    )
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _make(
    product: Product,
    store: Store,
    prefix: str,
    rev: str,
    checksums: dict[str, str],
    folder: Path,
    mask: Choice,
    brdf: str,
    dem: Path | None,
) -> Scene:
    grid = store.grid(product.epsg)
    prepared, hot = _prepare(product, store, grid, mask, dem)
    clear = np.isin(prepared.classes, (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW))
    medians, counts, coefficients = [], [], {}
    for band in store.config.bands:
        values, found = _corrected(product, store, prepared, band, brdf)
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
    pq.write_table(strip_table(strips, store.config.bands), folder / STRIPS, compression="zstd")
    correction = Correction(prepared.offset.value, prepared.detector, coefficients)
    np.savez_compressed(folder / CORRECTION, **correction_arrays(correction))  # type: ignore[arg-type]
    item = scene_item(
        product,
        grid=grid,
        store=store,
        box=prepared.box,
        rev=rev,
        classes=prepared.classes,
        haze=hot,
        offset=prepared.offset,
        angles=prepared.angles,
        lineage=(*prepared.lineage, _brdf_line(prepared.angles, brdf)),
        notes=_notes(prepared, brdf),
        air=prepared.air.properties() if prepared.air else mean_air(product),
        parameters={"mask": mask, "brdf": brdf, "model": model_hash(product.level)},
        folder=folder,
        sources=checksums,
    )
    for path in sorted(folder.iterdir()):
        store.publish_file(path, f"{prefix}/{path.name}")
    store.write_json(f"{prefix}/{ITEM}", item)
    return scene_from_item(item, prefix)


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


def _prepare(
    product: Product, store: Store, grid: Grid, mask: Choice, dem: Path | None
) -> tuple[Prepared, float]:
    bounds, _ = asset_grid(product.asset("B02"), product.epsg)
    box = grid.pad(grid.box_from_bounds(*bounds))
    mask_grid = store.mask_grid(product.epsg)
    mask_box = box.coarser(store.mask_factor)
    darkest, means, delivered = None, [], ""
    for band in FOUR:
        placed = read_on_grid(product.asset(band), grid, box, "reflectance")
        darkest = placed.array if darkest is None else np.minimum(darkest, placed.array)
        means.append(thinned(placed.array, store.mask_factor, 0))
        delivered = delivered or f"{band} {placed.lineage}"
    assert darkest is not None
    more = [b for b in SWIR + (L1C_BANDS if product.level == "L1C" else ()) if b in product.assets]
    for band in more:
        counts = read_on_grid(product.asset(band), mask_grid, mask_box, "reflectance").array
        if band in SWIR:
            f = store.mask_factor
            darkest = np.minimum(darkest, counts.repeat(f, axis=0).repeat(f, axis=1))
        means.append(np.where(counts > 0, counts, np.nan).astype(np.float32))
    xml = product.assets.get("product_metadata")
    offset = decide_offset(
        np.rint(darkest).astype(np.int32),
        xml_offset=read_xml_offset(xml) if xml else None,
        claims=product.claims,
        baseline=product.baseline,
        cirrus=_cirrus(product, mask_grid, mask_box),
    )
    del darkest
    reflectance = (np.stack(means) + np.float32(offset.value)) * np.float32(SCALE)
    extra: dict[str, Any] = {}
    for name, argument in (("SCL", "scl"), ("CLDPRB", "cloud_probability")):
        if name in product.assets:
            extra[argument] = read_on_grid(product.asset(name), mask_grid, mask_box, "classes").array
    angles, lines = None, [delivered]
    if "granule_metadata" in product.assets:
        angles = read_angles(product.asset("granule_metadata"))
    else:
        lines.append("no angle grids in the product: view angles not corrected, sun from the Item or 45°")
    zenith, azimuth = angles.mean_sun if angles else product.sun or (45.0, 180.0)
    made = mask_scene(
        reflectance,
        (*FOUR, *more),
        level=product.level,
        pixel=mask_grid.pixel,
        sun=(zenith, azimuth),
        choice=mask,
        **extra,
    )
    footprint = None
    if "DETFOO" in product.assets:
        footprint = read_on_grid(product.asset("DETFOO"), mask_grid, mask_box, "classes").array.astype(
            np.uint8
        )
    detector = (
        nearest_detectors(footprint, angles, mask_box.shape) if angles else np.zeros(mask_box.shape, np.uint8)
    )
    land = made.classes == MaskClass.LAND
    air = None
    if product.level == "L1C":
        if angles is None:
            left, bottom, right, top = grid.bounds(box)
            angles = constant_angles(left, top, max(right - left, top - bottom), (zenith, azimuth))
        toa = dict(zip((*FOUR, *more), reflectance, strict=True))
        air = _air(product, toa, land, mask_grid, mask_box, angles, dem)
        lines += [AIR_LINE, *air.warnings]
    hot = reflectance[0] - 0.5 * reflectance[2]
    haze = float(hot[land].mean()) if land.any() else float("nan")
    return Prepared(box, offset, angles, detector, made.classes, tuple(lines), air), haze


def _cirrus(product: Product, mask_grid: Grid, mask_box: PixelBox) -> NDArray[np.uint16] | None:
    """Counts of an L1C product's B10, where it has one."""
    if product.level != "L1C" or "B10" not in product.assets:
        return None
    counts = read_on_grid(product.asset("B10"), mask_grid, mask_box, "reflectance").array
    return np.rint(counts).astype(np.uint16)


def _air(
    product: Product,
    toa: dict[str, NDArray[np.float32]],
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
        toa,
        land,
        (left, top, mask_grid.pixel),
        angles,
        satellite=product.platform,
        models=models,
        elevation=node_elevation(dem, angles, product.epsg) if dem else None,
    )


def _corrected(
    product: Product, store: Store, prepared: Prepared, band: str, brdf: str
) -> tuple[NDArray[np.int16], Coefficients | None]:
    """A band's int16 reflectance on its stored grid, and the coefficients that made it."""
    grid = store.band_grid(product.epsg, band)
    scale = stored_factor(band)
    box = prepared.box.coarser(scale)
    counts = read_on_grid(product.asset(band), grid, box, "reflectance").array
    found = None
    air = prepared.air.grid if prepared.air else None
    if prepared.angles is not None:
        found = coarse_coefficients(
            prepared.angles, band, satellite=product.platform, brdf=brdf == "nadir", air=air
        )
    correction = Correction(prepared.offset.value, prepared.detector, {band: found} if found else {})
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


def _notes(prepared: Prepared, brdf: str) -> list[str]:
    """What the user should know of a scene that was made all the same."""
    offset, notes = prepared.offset, []
    if offset.conflicts:
        notes.append(
            f"the evidence on the offset is contradictory: took {offset.value} by {offset.decided_by},"
            f" though {', '.join(offset.conflicts)}"
        )
    if brdf == "nadir" and prepared.angles is None:
        notes.append("no angle grids (granule metadata) in the product: view angles stay as they are")
    return notes


def _brdf_line(angles: Angles | None, brdf: str) -> str:
    if brdf == "off":
        return "view angles not corrected (--brdf off)"
    if angles is None:
        return "view angles not corrected: the product has no angle grids"
    return "view angles corrected to nadir over land, c-factor"


def now() -> str:
    """This moment as STAC writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
