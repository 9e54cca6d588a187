"""Areas to tell statistics of: polygons of a file, placed on the mosaic's zone grids and grouped by where they lie."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from terrazzo.bulk.windows import native_crs
from terrazzo.crs import DEGREES, canonical, crs_of
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.request.boxes import SWAPPED, touch
from terrazzo.version import Version

BLOCK = 1024
"""Side, in pixels, of the squares of a zone's grid whose areas are worked on together."""
TOGETHER = 2000
"""Areas that are worked on together, at most."""
AT_ONCE = 10_000
"""Areas that are placed at once."""
MOST_PIXELS = 4096 * 4096
"""Pixels of the box around one area."""


@dataclass(frozen=True, eq=False)
class Areas:
    """Polygons as they were given.

    Attributes:
        geometry: (n,) well-known binary, in `crs`; None where there is none.
        ids: (n,) what each is known by: a column of the file, or its feature number.
        id_name: that column's name, `fid` for feature numbers.
    """

    geometry: pa.Array
    ids: pa.Array
    id_name: str
    crs: CRS


class Group(NamedTuple):
    """Areas near each other, and the pixels around all of them.

    Attributes:
        numbers: (k,) places in `Areas`.
        polygons: (k,) shapely geometries in the target's coordinates.
    """

    numbers: NDArray[np.int64]
    polygons: NDArray[np.object_]
    target: Target


def read_areas(path: Path, id_name: str | None = None, layer: str | None = None) -> Areas:
    """The polygons of a GeoParquet file, or of one that GDAL reads (GeoPackage, GeoJSON).

    Args:
        id_name: column that names them; by default the feature's number, of GeoParquet its row from 0.

    Raises:
        InvalidRequest: the file holds no polygons that can be placed, or has no such column.
    """
    try:
        return (_of_parquet if path.suffix in (".parquet", ".geoparquet") else _of_layer)(
            path, id_name, layer
        )
    except (
        pa.ArrowException,
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        CRSError,
        KeyError,
        TypeError,
        ValueError,
        OSError,
    ) as error:
        raise InvalidRequest(
            f"{path.name}: no GeoParquet, GeoPackage or GeoJSON that can be read ({error})"
        ) from None


def areas_of_features(features: list[Mapping[str, Any]], crs: str = DEGREES) -> Areas:
    """The polygons of GeoJSON features.

    Args:
        crs: of their coordinates, canonical.

    Raises:
        InvalidRequest: one is no GeoJSON feature.
    """
    try:
        geometry = [
            None if f["geometry"] is None else shapely.from_geojson(json.dumps(f["geometry"])).wkb
            for f in features
        ]
    except (KeyError, TypeError, AttributeError, shapely.errors.ShapelyError):
        raise InvalidRequest("features: GeoJSON features with polygons, in degrees") from None
    return Areas(pa.array(geometry, pa.binary()), pa.array(range(len(features))), "fid", crs_of(crs))


def _of_parquet(path: Path, id_name: str | None, layer: str | None) -> Areas:
    with pq.ParquetFile(path) as file:
        names, metadata = file.schema_arrow.names, file.schema_arrow.metadata or {}
        if b"geo" not in metadata:
            raise InvalidRequest(
                f"{path.name}: a Parquet file without geometry; GeoParquet says which column holds it"
            )
        geo = json.loads(metadata[b"geo"])
        column = geo["primary_column"]
        about = geo["columns"][column]
        if about.get("encoding") != "WKB":
            raise InvalidRequest(f"{path.name}: geometry is encoded as {about.get('encoding')}, not as WKB")
        _known(path, id_name, names)
        table = file.read(columns=[column, *([id_name] if id_name else [])])
    # GeoParquet writes PROJJSON.
    crs = _crs_of_file(path, json.dumps(about["crs"]) if about.get("crs") else DEGREES)
    ids = table[id_name].combine_chunks() if id_name else pa.array(np.arange(len(table)))
    return Areas(_binary(table[column]), ids, id_name or "fid", crs)


def _of_layer(path: Path, id_name: str | None, layer: str | None) -> Areas:
    about = pyogrio.read_info(path, layer=layer)
    _known(path, id_name, about["fields"].tolist())
    meta, table = pyogrio.raw.read_arrow(
        path, layer=layer, columns=[id_name] if id_name else [], return_fids=id_name is None
    )
    if not meta["crs"]:
        raise InvalidRequest(f"{path.name}: the layer names no coordinate system")
    name = id_name or meta["fid_column"] or "OGC_FID"
    ids = table[name].combine_chunks()
    geometry = _binary(table[meta["geometry_name"] or "wkb_geometry"])
    return Areas(geometry, ids, id_name or "fid", _crs_of_file(path, meta["crs"]))


def _crs_of_file(path: Path, text: str) -> CRS:
    """The coordinate system that a file names.

    Raises:
        InvalidRequest: it is none, or cannot be placed; the message names the file.
    """
    try:
        return crs_of(canonical(text))
    except InvalidRequest as error:
        raise InvalidRequest(f"{path.name}: {error}") from None


def _binary(column: pa.ChunkedArray) -> pa.Array:
    return column.cast(pa.binary()).combine_chunks()


def _known(path: Path, id_name: str | None, names: list[str]) -> None:
    if id_name is not None and id_name not in names:
        raise InvalidRequest(f"{path.name} has no column {id_name}; it has {', '.join(names)}")


def groups(areas: Areas, version: Version) -> list[NDArray[np.int64]]:
    """Places in `areas` of those that are worked on together: in one block of a zone's grid, at most `TOGETHER`, and with so
    many pixels that those of all of them fit in memory.

    Areas without polygons come last, together.

    Raises:
        InvalidRequest: an area is too large, has no place on the zone grids, or latitude and longitude seem to be swapped.
    """
    _in_order(areas, version)
    count = len(areas.geometry)
    keys, sizes = np.full((count, 4), -1, np.int64), np.zeros(count, np.int64)
    for start in range(0, count, AT_ONCE):
        numbers = np.arange(start, min(start + AT_ONCE, count))
        zone, boxes = _boxes(areas, version, numbers)
        sides = boxes[:, 2:] - boxes[:, :2]
        huge = numbers[(zone > 0) & (sides.prod(axis=1) > MOST_PIXELS)]
        if huge.size:
            raise InvalidRequest(
                f"area {areas.ids[int(huge[0])]} has a box of more than {MOST_PIXELS} px: divide it, or export it"
            )
        middle = (boxes[:, :2] + boxes[:, 2:]) // 2 // BLOCK
        # An area larger than a block is worked on by itself.
        alone = np.where((sides > BLOCK).any(axis=1), numbers, -1)
        here = zone > 0
        keys[numbers[here]] = np.column_stack([zone, middle, alone])[here]
        sizes[numbers] = sides.prod(axis=1)
    empty = keys[:, 0] < 0
    order = np.lexsort((keys[:, 3], keys[:, 2], keys[:, 1], keys[:, 0], empty))
    changes = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    return [
        part
        for block in np.split(order, changes)
        if block.size
        for some in np.split(block, range(TOGETHER, block.size, TOGETHER))
        for part in np.split(some, np.flatnonzero(np.diff(np.cumsum(sizes[some]) // MOST_PIXELS)) + 1)
    ]


def _in_order(areas: Areas, version: Version) -> None:
    """Refuses areas of which none of the first lies in the mosaic, and would with latitude and longitude swapped."""
    if not areas.crs.is_geographic:
        return
    first = areas.geometry.slice(0, AT_ONCE).to_numpy(zero_copy_only=False)
    b = shapely.total_bounds(shapely.from_wkb(first, on_invalid="ignore"))
    if not np.isfinite(b).all() or touch(Bounds(*b), version.bounds):
        return
    if touch(Bounds(b[1], b[0], b[3], b[2]), version.bounds):
        raise InvalidRequest(f"the areas lie outside the mosaic; {SWAPPED}")


def group(areas: Areas, version: Version, numbers: NDArray[np.int64]) -> Group | None:
    """Areas of one block with their polygons; None where they have none."""
    zone, polygons = _placed(areas, version, numbers)
    if not (zone > 0).any():
        return None
    grid = version.store.grid(int(zone.max()))
    b = shapely.total_bounds(polygons)
    box = grid.box_from_bounds(*b)
    box = PixelBox(box.row0, box.col0, max(box.row1, box.row0 + 1), max(box.col1, box.col0 + 1))
    return Group(numbers, polygons, Target(f"EPSG:{zone.max()}", grid.bounds(box), box.height, box.width))


def _boxes(
    areas: Areas, version: Version, numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Zone of each area, −1 without polygons, and (n, 4) row0, col0, row1, col1 on its grid."""
    zone, polygons = _placed(areas, version, numbers)
    boxes = np.zeros((len(numbers), 4), np.int64)
    for i in np.flatnonzero(zone > 0):
        boxes[i] = version.store.grid(int(zone[i])).box_from_bounds(*polygons[i].bounds)
    return zone, boxes


def _placed(
    areas: Areas, version: Version, numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Zone of each area, −1 without polygons, and its polygons in that zone's coordinates."""
    wkb = areas.geometry.take(pa.array(numbers)).to_numpy(zero_copy_only=False)
    given = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
    given = np.where(shapely.is_valid(given), given, shapely.make_valid(given))
    # Lines and points beside polygons, as mending leaves them, have no pixels; a buffer keeps the polygons alone.
    mixed = shapely.get_type_id(given) == shapely.GeometryType.GEOMETRYCOLLECTION
    given[mixed] = shapely.buffer(given[mixed], 0)
    zone, placed = np.full(len(numbers), -1, np.int64), np.full(len(numbers), None, object)
    solid = np.flatnonzero(shapely.area(given) > 0)
    if not solid.size:
        return zone, placed
    # A position of its own, not the middle of its box, tells the zone: the box may reach around the globe.
    first = shapely.get_coordinates(shapely.point_on_surface(given[solid]))
    lon = np.asarray(transformer(areas.crs.to_wkt(), DEGREES).transform(*first.T)[0])
    zone[solid] = [int(native_crs(version, x).removeprefix("EPSG:")) for x in lon]
    for epsg in np.unique(zone[solid]):
        to_zone = transformer(areas.crs.to_wkt(), f"EPSG:{epsg}")
        here = np.flatnonzero(zone == epsg)
        placed[here] = shapely.transform(
            given[here], lambda xy, t=to_zone: np.column_stack(t.transform(*xy.T))
        )
    lost = ~np.isfinite(shapely.bounds(placed[solid])).all(axis=1)
    if lost.any():
        raise InvalidRequest(
            f"area {areas.ids[int(numbers[solid[np.argmax(lost)]])]} has no place in the mosaic's zone: check its coordinates"
        )
    return zone, placed
