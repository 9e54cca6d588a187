"""The Items of a collection as columns, to search them without reading each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from terrazzo.checks import table_source, understood
from terrazzo.errors import InvalidRequest
from terrazzo.scene import ITEM, SCENE_COLUMNS
from terrazzo.server.geoparquet import PREFIX
from terrazzo.server.search.times import Span
from terrazzo.store import Store
from terrazzo.version import read_checked, version_key

PERIOD, BOX = "terrazzo:period", "terrazzo:box"
NO_PROPERTIES = {"type", "stac_version", *SCENE_COLUMNS}
PARTS = ("bbox", "geometry", "links", "assets", "stac_extensions")
"""Parts of an Item that are no properties."""
NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class Listing:
    """The Items of a collection.

    Attributes:
        properties: one row an Item: `id`, and what may be compared and sorted by.
        not_compared: properties that are lists or objects.
        begins, ends: (n,) int64 microseconds since 1970; the Item's time is [begin, end).
        boxes: (n, 4) float64 west, south, east, north in degrees; west > east crosses the antimeridian.
        outlines: (n,) WKB of the geometries.
        document: the Item of a row, the addresses of its assets relative to those of all.
    """

    properties: pa.Table
    not_compared: frozenset[str]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    boxes: NDArray[np.float64]
    outlines: pa.Array
    document: Callable[[int], dict[str, Any]]

    def __len__(self) -> int:
        return len(self.begins)

    def during(self, span: Span) -> NDArray[np.bool_]:
        """(n,) bool: the Items whose time and the span have a moment in common."""
        during: NDArray[np.bool_] = (self.begins < span.high) & (self.ends > span.low)
        return during

    def touching(self, area: shapely.Geometry) -> NDArray[np.bool_]:
        """(n,) bool: the Items whose geometry intersects an area in degrees, within ±180."""
        near = np.zeros(len(self), bool)
        west, south, east, north = self.boxes.T
        crosses = west > east
        for part in shapely.get_parts(area):
            left, bottom, right, top = shapely.bounds(part)
            begins, ends = west <= right, east >= left
            near |= np.where(crosses, begins | ends, begins & ends) & (south <= top) & (north >= bottom)
        rows = np.flatnonzero(near)
        shapely.prepare(area)
        outlines = shapely.from_wkb(self.outlines.take(pa.array(rows)).to_numpy(zero_copy_only=False))
        near[rows] = shapely.intersects(area, outlines)
        return near


def box_area(bounds: tuple[float, float, float, float]) -> shapely.Geometry:
    """A box in degrees as an area; with west > east the two boxes on both sides of the antimeridian.

    Raises:
        InvalidRequest: it does not lie within ±180 and ±90 degrees, or south lies above north.
    """
    west, south, east, north = bounds
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90 or south > north:
        raise InvalidRequest("bbox: W,S,E,N within ±180 and ±90 degrees, S below N; W > E crosses ±180")
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union_all([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])


def read_scenes(store: Store, mosaic: str, version: str) -> tuple[pa.Table, dict[str, Any]]:
    """A version's table of scenes, a row for each period that a scene lies in, without what no search needs; and its lock.

    Raises:
        NotFound: there is no such version.
        Damaged: a table has changed since it was written.
    """
    lock: dict[str, Any] = store.read_json(version_key(mosaic, version, "lock.json"))
    data = read_checked(store, mosaic, version, "scenes.parquet", lock.get("sums", {}))
    with understood(f"scenes.parquet of {version}"):
        file = pq.ParquetFile(table_source(data))
        schema = file.schema_arrow
        names = [f.name for f in schema if _is_plain(f.type) and f.name not in NO_PROPERTIES]
        table = file.read(columns=[*names, PERIOD, PREFIX, BOX, "bbox", "geometry"])
        # What cannot be compared is named in the metadata: its values would take most of the memory.
        others = ",".join(sorted(set(schema.names) - {*names, *NO_PROPERTIES, *PARTS}))
        return table.replace_schema_metadata({NOT_COMPARED: others}).combine_chunks(), lock


def corners_of(table: pa.Table) -> NDArray[np.float64]:
    """(n, 4) west, south, east, north of the rows of `read_scenes`."""
    sides = [table["bbox"].combine_chunks().field(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    return np.stack([s.to_numpy(zero_copy_only=False) for s in sides], axis=1)


def scenes_listing(store: Store, table: pa.Table) -> Listing:
    """The scenes of `read_scenes` as Items, each once."""
    first = np.unique(table["id"].to_numpy(), return_index=True)[1]
    table = table.take(pa.array(first)).combine_chunks()
    begins = pc.cast(table["datetime"], pa.int64()).to_numpy()
    prefixes = table[PREFIX]

    def document(row: int) -> dict[str, Any]:
        prefix = prefixes[row].as_py()
        item: dict[str, Any] = store.read_json(f"{prefix}/{ITEM}")
        assets = {
            k: {**a, "href": f"{prefix}/{a['href'].removeprefix('./')}"} for k, a in item["assets"].items()
        }
        return {**item, "assets": assets}

    return Listing(
        table.drop_columns([PERIOD, PREFIX, BOX, "bbox", "geometry"]),
        frozenset(table.schema.metadata[NOT_COMPARED.encode()].decode().split(",")),
        begins,
        begins + 1,
        corners_of(table),
        table["geometry"].combine_chunks(),
        document,
    )


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_timestamp(kind)
    )


def listing_of(items: list[dict[str, Any]], spans: list[Span]) -> Listing:
    """A listing of Items that are there as documents.

    Args:
        spans: the time of each.
    """
    names = dict.fromkeys(k for i in items for k, v in i["properties"].items() if _is_value(v))
    columns: dict[str, Any] = {"id": [i["id"] for i in items]}
    columns |= {name: [i["properties"].get(name) for i in items] for name in names if name != "datetime"}
    begins = np.array([s.low for s in spans], np.int64)
    columns["datetime"] = pa.array(begins, pa.timestamp("us", "UTC"))
    outlines = [shapely.to_wkb(shapely.geometry.shape(i["geometry"])) for i in items]
    return Listing(
        pa.table(columns),
        frozenset(k for i in items for k in i["properties"]) - frozenset(names),
        begins,
        np.array([s.high for s in spans], np.int64),
        np.array([i["bbox"] for i in items], np.float64).reshape(-1, 4),
        pa.array(outlines, pa.binary()),
        lambda row: items[row],
    )


def _is_value(value: Any) -> bool:
    return isinstance(value, str | float | int | bool)
