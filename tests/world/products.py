"""Writes what a pass saw as the product an archive delivers: a STAC Item, COGs, granule metadata."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from terrazzo.bands import BANDS
from terrazzo.grid import PixelBox
from terrazzo.precompute.products.angles import BAND_IDS
from tests.world.land import Place
from tests.world.sky import STEP, Seen, View, tangents

NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
    "B12": "swir22",
}  # fmt: skip
"""Asset keys as Earth Search names them."""


@dataclass(frozen=True)
class Pass:
    """What a product says of itself.

    Attributes:
        added: counts the archive added to the numbers: 0, or 1000 since baseline 04.00.
        claims: what the Item says of the offset: `told` (boa_offset_applied and raster offset that agree
            with `added`), `silent`, or `contradictory` as Earth Search's copies are.
        fine: all bands at the place's pixel; else each at its native resolution.
    """

    when: datetime
    satellite: str = "S2A"
    orbit: int = 79
    level: str = "L2A"
    baseline: str = "05.09"
    added: int = 1000
    claims: str = "told"
    fine: bool = False


def write_product(folder: Path, seen: Seen, about: Pass, *, scl: bool = True) -> Path:
    """Writes a product and returns its Item's path.

    Files lie in `folder/<id>/`, the Item beside it. With a view in the pass's sky the product has detector
    footprints and granule metadata with angle grids; without, it has neither.
    """
    place = seen.land.place
    name = product_name(place, about)
    scene = f"{about.satellite}_{place.mgrs}_{about.when:%Y%m%d}_0_{about.level}"
    files = folder / scene
    files.mkdir(parents=True, exist_ok=True)
    assets: dict[str, Any] = {}
    for k, band in enumerate(seen.land.bands):
        factor = 1 if about.fine else max(1, round(BANDS[band].resolution / 10))
        counts = to_counts(mean_of(seen.rho[k], factor), mean_of(seen.valid * 1.0, factor) == 1, about.added)
        write_raster(files / f"{band}.tif", counts, place, factor)
        assets[NAMES[band]] = asset(scene, f"{band}.tif") | raster_bands(about)
    if scl:
        write_raster(files / "SCL.tif", scene_classes(seen)[::2, ::2], place, 2)
        assets["scl"] = asset(scene, "SCL.tif")
        probability = np.where(seen.cloud, 95, np.where(seen.missed, 20, 1)).astype(np.uint8)
        write_raster(files / "CLDPRB.tif", probability[::2, ::2], place, 2)
        assets["cloud"] = asset(scene, "CLDPRB.tif")
    if seen.sky.view:
        write_raster(files / "DETFOO.tif", seen.detector[::2, ::2], place, 2)
        assets["detector_footprint"] = asset(scene, "DETFOO.tif")
        (files / "granule_metadata.xml").write_text(granule_metadata(place, seen.sky.view, seen.land.bands))
        assets["granule_metadata"] = asset(scene, "granule_metadata.xml")
    path = folder / f"{scene}.json"
    path.write_text(json.dumps(item(scene, name, place, about, seen.sky.view, assets), indent=1))
    return path


def product_name(place: Place, about: Pass) -> str:
    """The product's name as ESA gives it."""
    return (
        f"{about.satellite}_MSI{about.level}_{about.when:%Y%m%dT%H%M%S}_N{about.baseline.replace('.', '')}"
        f"_R{about.orbit:03d}_T{place.mgrs}_{about.when:%Y%m%d}T235959"
    )


def to_counts(rho: NDArray[np.floating], valid: NDArray[np.bool_], added: int) -> NDArray[np.uint16]:
    """Counts as an archive writes them: 1e-4 of reflectance, plus what it adds; 0 without data, else at least 1."""
    counts = np.clip(np.rint(rho * 10_000) + added, 1, 65535)
    return np.where(valid, counts, 0).astype(np.uint16)


def mean_of(array: NDArray[np.floating], factor: int) -> NDArray[np.floating]:
    """(row / factor, col / factor) means of blocks; sides must be multiples of `factor`."""
    h, w = array.shape
    return array.reshape(h // factor, factor, w // factor, factor).mean(axis=(1, 3))


def scene_classes(seen: Seen) -> NDArray[np.uint8]:
    """Sen2Cor's scene classification as it would be, missed clouds called what lies below them."""
    ground = np.array([6, 4, 4, 4, 5, 5, 5], np.uint8)[seen.land.kind]
    classes = np.where(seen.cloud, 9, np.where(seen.shadow, 3, ground))
    return np.where(seen.valid, classes, 0).astype(np.uint8)


def write_raster(path: Path, array: NDArray[Any], place: Place, factor: int = 1) -> None:
    """A COG of one band on a place, pixels `factor` times as large."""
    grid = place.grid
    profile = {
        "driver": "COG", "height": array.shape[0], "width": array.shape[1], "count": 1,
        "dtype": array.dtype.name, "crs": f"EPSG:{place.epsg}", "nodata": 0, "compress": "DEFLATE",
        "transform": grid.transform(place.box) @ rasterio.Affine.scale(factor), "blocksize": 256,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(array, 1)


def asset(scene: str, file: str) -> dict[str, Any]:
    """An asset that lies in the scene's folder."""
    return {"href": f"./{scene}/{file}"}


def raster_bands(about: Pass) -> dict[str, Any]:
    """What an asset says of its numbers."""
    if about.claims == "silent":
        return {}
    offset = -0.1 if about.claims == "contradictory" else -about.added / 10_000
    return {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": offset}]}


def item(
    scene: str, name: str, place: Place, about: Pass, view: View | None, assets: dict[str, Any]
) -> dict[str, Any]:
    """The STAC Item of a product, as an archive writes it."""
    outline = footprint(place)
    properties: dict[str, Any] = {
        "datetime": about.when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "platform": f"sentinel-{about.satellite[1:].lower()}",
        "constellation": "sentinel-2",
        "grid:code": f"MGRS-{place.mgrs}",
        "proj:epsg": place.epsg,
        "s2:processing_baseline": about.baseline,
        "s2:product_uri": f"{name}.SAFE",
        "s2:generation_time": about.when.strftime("%Y-%m-%dT23:59:59Z"),
    }
    if about.claims != "silent":
        properties["earthsearch:boa_offset_applied"] = about.claims == "contradictory" or about.added == 0
    if view is not None:
        properties |= {"view:sun_elevation": 90 - view.sun_zenith, "view:sun_azimuth": view.sun_azimuth}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene,
        "collection": f"sentinel-2-{about.level.lower()}",
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "properties": properties,
        "links": [],
        "assets": assets,
    }


def footprint(place: Place) -> shapely.Polygon:
    """Outline of a place in degrees."""
    b = place.grid.bounds(place.box)
    transform = Transformer.from_crs(place.epsg, 4326, always_xy=True).transform
    return shapely.Polygon([transform(x, y) for x, y in shapely.box(*b).exterior.coords])


def granule_metadata(place: Place, view: View, bands: tuple[str, ...]) -> str:
    """An MTD_TL.xml with the sun's and each band's and detector's angle grids, nodes every 5 km.

    A detector's grid holds numbers on the nodes within one node of its strip and NaN elsewhere, as the real ones.
    """
    bounds = place.grid.bounds(place.box)
    ny = int(np.ceil(place.box.height * place.pixel / STEP)) + 2
    nx = int(np.ceil(place.box.width * place.pixel / STEP)) + 2
    y, x = np.meshgrid(bounds.top - STEP * np.arange(ny), bounds.left + STEP * np.arange(nx), indexing="ij")
    sun = grids("Sun_Angles_Grid", np.full(x.shape, view.sun_zenith), np.full(x.shape, view.sun_azimuth))
    parts = []
    for band in bands:
        for detector in range(1, 13):
            east, north = tangents(place, view, np.full(x.shape, detector), x)
            middle = (detector - 0.5) * view.width - 0.2 * (bounds.top - y)
            far = np.abs(x - bounds.left - middle) > view.width / 2 + 1.5 * STEP
            zenith = np.where(far, np.nan, np.degrees(np.arctan(np.hypot(east, north))))
            azimuth = np.where(far, np.nan, np.degrees(np.arctan2(east, north)) % 360)
            attributes = f' bandId="{BAND_IDS.index(band)}" detectorId="{detector}"'
            parts.append(grids("Viewing_Incidence_Angles_Grids", zenith, azimuth, attributes))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<n1:Level-2A_Tile_ID xmlns:n1="urn:simulated"><n1:Geometric_Info>'
        f'<Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:{place.epsg}</HORIZONTAL_CS_CODE><Geoposition resolution="10">'
        f"<ULX>{bounds.left}</ULX><ULY>{bounds.top}</ULY></Geoposition></Tile_Geocoding><Tile_Angles>"
        f"{sun}{''.join(parts)}</Tile_Angles></n1:Geometric_Info></n1:Level-2A_Tile_ID>"
    )


def grids(
    name: str, zenith: NDArray[np.floating], azimuth: NDArray[np.floating], attributes: str = ""
) -> str:
    """A pair of angle grids as XML."""

    def values(array: NDArray[np.floating]) -> str:
        rows = "".join(f"<VALUES>{' '.join(f'{v:.6f}' for v in row)}</VALUES>" for row in array)
        return f"<COL_STEP>{STEP:g}</COL_STEP><ROW_STEP>{STEP:g}</ROW_STEP><Values_List>{rows}</Values_List>"

    return (
        f"<{name}{attributes}><Zenith>{values(zenith)}</Zenith><Azimuth>{values(azimuth)}</Azimuth></{name}>"
    )


def place_of(
    mgrs: str, epsg: int, top: float, left: float, rows: int, cols: int, pixel: float, window: int
) -> Place:
    """A place from its upper left corner in metres."""
    origin = 10_000_000.0 if epsg >= 32700 else 0.0
    row, col = round((origin - top) / pixel), round(left / pixel)
    return Place(mgrs, epsg, PixelBox(row, col, row + rows, col + cols), pixel, window)
