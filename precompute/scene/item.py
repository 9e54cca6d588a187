"""Writes the STAC Item of a scene: what it is, what it was made of, and what was done to it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import shapes

from terrazzo import __version__
from terrazzo.bands import BANDS, NODATA, SCALE, SCORE_NODATA, MaskClass
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.clouds.model import model_hash
from terrazzo.precompute.clouds.score import unsure_share
from terrazzo.precompute.products.angles import Angles
from terrazzo.precompute.products.globe import cut
from terrazzo.precompute.products.offset import Offset
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.products.safe import mean_air
from terrazzo.precompute.scene.notes import brdf_line, notes_of
from terrazzo.precompute.scene.prepare import Prepared
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.scene.shift import Shift
from terrazzo.scene import SCORE, class_shares
from terrazzo.store import Store

EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "projection/v2.0.0",
        "eo/v2.0.0",
        "sat/v1.2.0",
        "view/v1.1.0",
        "processing/v1.2.0",
        "file/v2.1.0",
        "raster/v2.0.0",
        "grid/v1.1.0",
    )
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def scene_item(
    product: Product,
    store: Store,
    prepared: Prepared,
    recipe: Recipe,
    *,
    rev: str,
    folder: Path,
    sources: Mapping[str, str],
) -> dict[str, Any]:
    """The STAC 1.1 Item of a finished scene.

    Args:
        folder: holds the scene's files.
        sources: checksums of the product's files by name.
    """
    grid, box = store.grid(product.epsg), prepared.box
    geometry = footprint(prepared.classes, store.mask_grid(product.epsg), box.coarser(store.mask_factor))
    properties: dict[str, Any] = {
        "datetime": _utc(product.datetime),
        "created": _utc(datetime.now(UTC)),
        "platform": f"sentinel-{product.platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": grid.pixel,
        "grid:code": f"MGRS-{product.mgrs}",
        "proj:code": f"EPSG:{product.epsg}",
        "proj:shape": list(box.shape),
        "proj:transform": [*grid.transform(box)[:6]],
        **({"sat:relative_orbit": product.relative_orbit} if product.relative_orbit else {}),
        "terrazzo:rev": rev,
        "terrazzo:box": list(box),
        "terrazzo:bands": list(store.config.bands),
        "terrazzo:datatake": product.datatake,
    }
    latitude = float(geometry.centroid.y)
    properties |= _processing(product, prepared, recipe, store.config.bands, latitude)
    properties |= _seen(prepared) | _angles(product, prepared.angles) | _chosen(recipe, grid.pixel)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": EXTENSIONS,
        "id": product.id,
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "bbox": list(geometry.bounds),
        "properties": properties,
        "links": [_derived_from(product, sources)],
        "assets": {p.stem: _asset(p, store) for p in sorted(folder.iterdir())},
    }


def _processing(
    product: Product, prepared: Prepared, recipe: Recipe, bands: tuple[str, ...], latitude: float
) -> dict[str, Any]:
    """What was done to the product, on which evidence, and what the user should know of it."""
    offset = prepared.offset
    lineage = (*prepared.lineage, brdf_line(prepared.angles, recipe.brdf, bands))
    return {
        "processing:level": "L2",
        "processing:software": {"terrazzo": __version__},
        "processing:lineage": "; ".join([_offset_line(offset), *lineage]),
        "terrazzo:offset": {
            "value": offset.value,
            "decided_by": offset.decided_by,
            "evidence": dict(offset.evidence),
            "conflicts": list(offset.conflicts),
            "verdict": offset.verdict,
        },
        "terrazzo:notes": notes_of(prepared, recipe, bands, latitude),
        "terrazzo:parameters": {
            "mask": recipe.mask,
            "brdf": recipe.brdf,
            "model": model_hash(product.level),
        },
        "terrazzo:air": prepared.air.properties() if prepared.air else mean_air(product),
        "terrazzo:path": "terrazzo from L1C" if product.level == "L1C" else "Sen2Cor L2A",
        "terrazzo:source": {
            "baseline": product.baseline,
            "level": product.level,
            "generated": _utc(product.generated),
        },
    }


def _seen(prepared: Prepared) -> dict[str, Any]:
    """Shares of what the mask shows."""
    counts = dict(enumerate(np.bincount(prepared.classes.ravel(), minlength=9).tolist()))
    clear, clouded = class_shares(counts)
    valid = max(1, sum(counts.values()) - counts[MaskClass.NODATA])
    return {
        "eo:cloud_cover": round(100 * clouded, 2),
        "terrazzo:clear_share": clear,
        "terrazzo:cloud_share": clouded,
        "terrazzo:snow_share": counts[MaskClass.SNOW] / valid,
        "terrazzo:unsure_share": round(unsure_share(prepared.score), 4),
        "terrazzo:haze": None if np.isnan(prepared.haze) else prepared.haze,
    }


def _angles(product: Product, angles: Angles) -> dict[str, Any]:
    """Mean angles in degrees, where they are known."""
    properties: dict[str, Any] = {}
    if angles.view or product.sun:
        zenith, azimuth = angles.mean_sun
        properties |= {"view:sun_elevation": round(90 - zenith, 4), "view:sun_azimuth": round(azimuth, 4)}
    if angles.view:
        zenith, azimuth = angles.mean_view
        properties |= {"view:off_nadir": round(zenith, 4), "view:azimuth": round(azimuth, 4)}
    return properties


def _chosen(recipe: Recipe, pixel: float) -> dict[str, Any]:
    """The elevation model and the shift that were used, if any."""
    properties: dict[str, Any] = {}
    if recipe.dem is not None:
        properties["terrazzo:elevation_model"] = recipe.dem.name
    if recipe.shift is not None:
        properties["terrazzo:moved"] = {
            "east_m": -recipe.shift.east * pixel,
            "north_m": -recipe.shift.north * pixel,
            "uncertainty_m": recipe.shift.spread * pixel,
            "squares": recipe.shift.squares,
        }
    return properties


def moved_by(item: Mapping[str, Any], pixel: float) -> Shift | None:
    """The shift that was undone when the scene of an Item was made, in pixels; None if none was."""
    moved = item["properties"].get("terrazzo:moved")
    if moved is None:
        return None
    east, north, spread = (moved[k] / pixel for k in ("east_m", "north_m", "uncertainty_m"))
    return Shift(-east, -north, spread, moved["squares"]).rounded()


def footprint(classes: NDArray[np.uint8], grid: Grid, box: PixelBox) -> shapely.Geometry:
    """Outline of the pixels with data in degrees, in parts on either side of the 180° line, simplified to within four pixels, specks left out."""
    valid = (classes != MaskClass.NODATA).astype(np.uint8)
    outlines = [
        shapely.geometry.shape(g)
        for g, v in shapes(valid, valid == 1, transform=grid.transform(box))
        if v == 1
    ]
    whole = shapely.union_all(outlines) if outlines else shapely.box(*grid.bounds(box))
    parts = _polygons(whole)
    least = 0.01 * max(p.area for p in parts)
    outline = shapely.union_all([shapely.Polygon(p.exterior) for p in parts if p.area >= least])
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    simple = outline.simplify(4 * grid.pixel)
    return cut(
        shapely.transform(
            simple, lambda xy: np.round(np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), -1), 7)
        )
    )


def _polygons(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    return [g for g in shapely.get_parts(geometry) if g.geom_type == "Polygon"]


def _derived_from(product: Product, sources: Mapping[str, str]) -> dict[str, Any]:
    return {
        "rel": "derived_from",
        "href": product.href,
        "title": product.id,
        "terrazzo:checksums": dict(sources),
    }


def _asset(path: Path, store: Store) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": f"./{path.name}",
        "file:size": path.stat().st_size,
        "file:checksum": _multihash(path),
    }
    if path.suffix != ".tif":
        return asset | {"type": "application/octet-stream", "roles": ["metadata"]}
    with rasterio.open(path, driver="GTiff") as dataset:
        asset |= {
            "type": COG,
            "proj:shape": list(dataset.shape),
            "proj:transform": [*dataset.transform[:6]],
        }
    if path.stem not in BANDS:
        nodata = SCORE_NODATA if path.name == SCORE else MaskClass.NODATA
        return asset | {"roles": ["data-mask"], "data_type": "uint8", "nodata": int(nodata)}
    band = BANDS[path.stem]
    return asset | {
        "roles": ["data", "reflectance"],
        "data_type": "int16",
        "nodata": NODATA,
        "bands": [
            {
                "name": band.name,
                "eo:common_name": band.common,
                "eo:center_wavelength": round(band.centre_nm[0] / 1000, 4),
                "eo:full_width_half_max": band.width_nm / 1000,
                "raster:scale": SCALE,
                "raster:offset": 0,
            }
        ],
    }


def _offset_line(offset: Offset) -> str:
    line = f"offset {offset.value} by {offset.decided_by}: {offset.verdict}"
    return line + (f"; contradicted: {', '.join(offset.conflicts)}" if offset.conflicts else "")


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _multihash(path: Path) -> str:
    """SHA-256 of a file that was just written. Where it cannot be read the disk fails, not the product."""
    with path.open("rb") as file:
        return "1220" + hashlib.file_digest(file, "sha256").hexdigest()
