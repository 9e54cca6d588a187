"""Areas of statistics: polygons of a file or of GeoJSON features, in their own coordinates."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from terrazzo.crs import DEGREES, canonical, crs_of
from terrazzo.errors import InvalidRequest

CURVED = range(7, 15)
"""Kinds of well-known binary that hold arcs, or may."""


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


def read_areas(path: Path, id_name: str | None = None, layer: str | None = None) -> Areas:
    """The polygons of a GeoParquet file, or of one that GDAL reads (GeoPackage, GeoJSON).

    Args:
        id_name: column that names them; by default the feature's number, of GeoParquet its row from 0.

    Raises:
        InvalidRequest: the file holds no polygons that can be placed, or has no such column.
    """
    # A server, which reads no files of areas, starts without it.
    import pyogrio

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
    geometry = [_wkb_of_feature(f, number) for number, f in enumerate(features)]
    return Areas(pa.array(geometry, pa.binary()), pa.array(range(len(features))), "fid", crs_of(crs))


def _wkb_of_feature(feature: Mapping[str, Any], number: int) -> bytes | None:
    try:
        shape = feature["geometry"]
        return None if shape is None else shapely.from_geojson(json.dumps(shape)).wkb
    except (KeyError, TypeError, AttributeError):
        raise InvalidRequest(f"features[{number}]: a GeoJSON feature has a member `geometry`") from None
    except shapely.errors.ShapelyError as error:
        raise InvalidRequest(f"features[{number}]: its geometry is no GeoJSON: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What is wrong with a geometry, from what GEOS says, which names its own classes."""
    said = str(error)
    if "closed linestring" in said:
        return "a ring must end with the position that it begins with"
    if "json.exception" in said:
        return "its `type` and `coordinates` do not fit each other"
    return said.rpartition("Exception: ")[2].strip()


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
    if "crs" in about and about["crs"] is None:
        raise InvalidRequest(
            f"{path.name}: the file says that its coordinate system is not known; write it with one"
        )
    # GeoParquet writes PROJJSON; it is degrees where nothing is said.
    crs = _crs_of_file(path, json.dumps(about["crs"]) if about.get("crs") else DEGREES)
    ids = table[id_name].combine_chunks() if id_name else pa.array(np.arange(len(table)))
    return Areas(_binary(table[column]), ids, id_name or "fid", crs)


def _of_layer(path: Path, id_name: str | None, layer: str | None) -> Areas:
    import pyogrio

    about = pyogrio.read_info(path, layer=layer)
    _known(path, id_name, about["fields"].tolist())
    meta, table = pyogrio.raw.read_arrow(
        path, layer=layer, columns=[id_name] if id_name else [], return_fids=id_name is None
    )
    if not meta["crs"]:
        raise InvalidRequest(f"{path.name}: the layer names no coordinate system; write it with one")
    name = id_name or meta["fid_column"] or "OGC_FID"
    ids = table[name].combine_chunks()
    geometry = _binary(table[meta["geometry_name"] or "wkb_geometry"])
    if _has_curves(geometry):
        # Not as Arrow, GDAL gives arcs as lines, a position every 4 degrees.
        geometry = pa.array(pyogrio.raw.read(path, layer=layer, columns=[])[2], pa.binary())
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


def shapes_of(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
    """(n,) well-known binary as flat shapely geometries; None where there is none, or none that shapely reads."""
    try:
        return np.asarray(shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore")), object)
    except NotImplementedError:
        # A curve among many is no fault of the others.
        return np.array([None if _is_curve(w) else shapes_of(np.array([w], object))[0] for w in wkb], object)


def _has_curves(geometry: pa.Array) -> bool:
    return any(_is_curve(w) for w in geometry.to_numpy(zero_copy_only=False))


def _is_curve(wkb: bytes | None) -> bool:
    """Whether a geometry may hold arcs: collections may."""
    if wkb is None or len(wkb) < 5:
        return False
    kind = int.from_bytes(wkb[1:5], "little" if wkb[0] else "big") & 0xFFFF
    return kind % 1000 in CURVED


def _known(path: Path, id_name: str | None, names: list[str]) -> None:
    if id_name is not None and id_name not in names:
        raise InvalidRequest(f"{path.name} has no column {id_name}; it has {', '.join(names)}")
