"""What products say of each pixel's detector and defects: rasters since baseline 04.00, polygons (GML) before.

Layouts: Sentinel-2 Products Specification Document, 14 (GML) and 15 (JP2).
"""

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject

from terrazzo.errors import UnreadableAsset
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.products.files import read_xml
from terrazzo.precompute.products.form import image
from terrazzo.precompute.products.raster import read_on_grid, window_of

GML = "{http://www.opengis.net/gml/3.2}"
KINDS = ("QUALIT", "DEFECT", "TECQUA")
LOST = {"MSI_LOST", "QT_DEFECTIVE_PIXELS", "DEFECTIVE", "QT_NODATA_PIXELS"}
"""Types of polygons whose pixels were not measured; degraded ones were."""
LOST_LAYERS = (3, 5)
"""Of a raster's eight: lost packets, defective columns."""


def quality_roles(assets: Mapping[str, str]) -> list[str]:
    """Roles of a product's files that name defective pixels."""
    return sorted(a for a in assets if a.partition("_")[0] in KINDS)


def read_detectors(
    path: str, grid: Grid, box: PixelBox, off: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.uint8]:
    """(row, col) number of the detector that saw each pixel, 0 where the file names none.

    Args:
        off: as in `read_on_grid`.

    Raises:
        UnreadableAsset: the file is missing or damaged.
    """
    if not path.endswith(".gml"):
        return read_on_grid(path, grid, box, "classes", off).array.astype(np.uint8)
    # The identifier is detector_footprint-B02-07-3: band, detector, and the polygon's number.
    shapes = []
    for name, _, polygon in _polygons(path):
        parts = name.split("-")
        if len(parts) < 3 or not parts[2].isdigit():
            raise UnreadableAsset(f"{path}: {name!r} names no detector; fetch the product again")
        shapes.append((polygon, int(parts[2])))
    return _burnt(shapes, grid, box, off)


def read_defects(
    assets: Mapping[str, str], grid: Grid, box: PixelBox, off: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.bool_]:
    """(row, col) pixels that a product says were lost or are defective in one of the bands.

    Rasters are not read where the granule's metadata say that nothing is degraded: decoding them is a fifth of a scene's work.

    Args:
        assets: path by role.
        off: as in `read_on_grid`.

    Raises:
        UnreadableAsset: a file is missing or damaged.
    """
    out = np.zeros(box.shape, bool)
    whole = "granule_metadata" in assets and says_undegraded(assets["granule_metadata"])
    for role in quality_roles(assets):
        path = assets[role]
        if whole and not path.endswith(".gml"):
            continue
        if path.endswith(".gml"):
            shapes = [(p, 1) for _, kind, p in _polygons(path) if kind in LOST or role.startswith("DEFECT")]
            out |= _burnt(shapes, grid, box, off) > 0
        else:
            out |= _layers(path, grid, box, off)
    return out


def says_undegraded(path: str) -> bool:
    """Whether a granule's metadata say that no part of its data is degraded.

    Raises:
        UnreadableAsset: the file is missing or no XML.
    """
    try:
        return float(read_xml(path).findtext(".//DEGRADED_MSI_DATA_PERCENTAGE") or "nan") == 0
    except ValueError:
        return False


def read_classification(
    path: str, grid: Grid, box: PixelBox, off: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.uint8]:
    """(row, col) what an L1C product's own mask calls each pixel: 0 nothing, 1 opaque cloud, 2 cirrus, 3 snow or ice.

    Args:
        path: MSK_CLASSI, a raster of three flags since baseline 04.00.
        off: as in `read_on_grid`.

    Raises:
        UnreadableAsset: the file is missing or damaged.
    """
    try:
        with image(path) as dataset:
            window = window_of(dataset, grid.bounds(box), off)
            if window is None:
                return np.zeros(box.shape, np.uint8)
            opaque, cirrus, snow = dataset.read([1, 2, 3], window=window) > 0
            transform = Affine.translation(-off[0], -off[1]) @ dataset.window_transform(window)
    except IndexError as error:
        raise UnreadableAsset(f"{path} is damaged ({error}); fetch the product again") from None
    out = np.zeros(box.shape, np.uint8)
    reproject(
        np.select([opaque, cirrus, snow], [1, 2, 3], 0).astype(np.uint8),
        out,
        src_transform=transform,
        src_crs=f"EPSG:{grid.epsg}",
        dst_transform=grid.transform(box),
        dst_crs=f"EPSG:{grid.epsg}",
        resampling=Resampling.nearest,
    )
    return out


def _layers(path: str, grid: Grid, box: PixelBox, off: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels of a box of which a raster of flags has one set, in whatever part of the pixel."""
    out = np.zeros(box.shape, bool)
    with image(path) as dataset:
        window = window_of(dataset, grid.bounds(box), off)
        if window is None:
            return out
        # One read, since the layers are decoded together.
        layers = [layer for layer in LOST_LAYERS if layer <= dataset.count]
        rows, cols = np.nonzero(dataset.read(layers, window=window).any(axis=0))
        transform = Affine.translation(-off[0], -off[1]) @ dataset.window_transform(window)
        x, y = transform @ (cols + 0.5, rows + 0.5)
        reach = max(1, round(dataset.res[0] / grid.pixel))
    col, row = ~grid.transform(box) @ (x - (reach - 1) * grid.pixel / 2, y + (reach - 1) * grid.pixel / 2)
    for down in range(reach):
        for right in range(reach):
            i, j = np.floor(row).astype(int) + down, np.floor(col).astype(int) + right
            inside = (i >= 0) & (i < box.height) & (j >= 0) & (j < box.width)
            out[i[inside], j[inside]] = True
    return out


def _polygons(path: str) -> Iterator[tuple[str, str, shapely.Polygon]]:
    """Identifier, type and outline of each feature of a mask in GML, in the coordinates of its tile."""
    for feature in read_xml(path).iter():
        if not feature.tag.endswith("}MaskFeature"):
            continue
        kind = next((e.text or "" for e in feature.iter() if e.tag.endswith("}maskType")), "")
        for polygon in feature.iter(f"{GML}Polygon"):
            rings = [_ring(path, e) for e in polygon.iter(f"{GML}posList")]
            if rings:
                try:
                    outline = shapely.make_valid(shapely.Polygon(rings[0], rings[1:]))
                except (ValueError, shapely.errors.ShapelyError):
                    raise _no_ring(path) from None
                yield feature.get(f"{GML}id", ""), kind, outline


def _ring(path: str, element: Element) -> NDArray[np.float64]:
    try:
        numbers = np.array((element.text or "").split(), np.float64)
        return numbers.reshape(-1, int(element.get("srsDimension", "2")))[:, :2]
    except ValueError:
        raise _no_ring(path) from None


def _no_ring(path: str) -> UnreadableAsset:
    return UnreadableAsset(f"{path} has a ring that is none; fetch the product again")


def _burnt(
    shapes: list[tuple[shapely.Geometry, int]], grid: Grid, box: PixelBox, off: tuple[float, float]
) -> NDArray[np.uint8]:
    if not shapes:
        return np.zeros(box.shape, np.uint8)
    transform = Affine.translation(*off) @ grid.transform(box)
    out: NDArray[np.uint8] = rasterize(shapes, out_shape=box.shape, transform=transform, dtype=np.uint8)
    return out
