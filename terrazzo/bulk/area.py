"""Areas to export: boxes and GeoJSON, across the antimeridian too, and the pixels of a grid that they touch."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize

from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import Target, transformer

DEGREES = "EPSG:4326"
MOST_POSITIONS = 100_000
STEP = 0.01
"""Degrees after which an edge gets another position, so that it stays straight in degrees on any grid."""
Rings = tuple[NDArray[np.float64], ...]
"""A polygon: its outline and its holes, each (position, lon lat); a point: one ring of one position."""


@dataclass(frozen=True, eq=False)
class Area:
    """An area.

    Attributes:
        bounds: in `crs`; in degrees the right may lie beyond 180 where it crosses the antimeridian.
        polygons: what of the box is meant, in degrees; empty: all of it.
        geometry: the same as GeoJSON text, as it was given; empty for boxes.
    """

    bounds: Bounds
    crs: str
    polygons: tuple[Rings, ...] = ()
    geometry: str = ""

    @property
    def latitude(self) -> float:
        """Of its middle, in degrees.

        Raises:
            InvalidRequest: it has no place on the globe.
        """
        b = self.bounds
        found = transformer(self.crs, DEGREES).transform((b.left + b.right) / 2, (b.bottom + b.top) / 2)[1]
        if not math.isfinite(found):
            raise InvalidRequest(f"the area has no place on the globe: check its coordinates in {self.crs}")
        return float(found)

    def outside(self, target: Target) -> NDArray[np.bool_] | None:
        """(row, col) the pixels of a target that the area does not touch; None where it is a box."""
        if not self.polygons:
            return None
        to_target = transformer(DEGREES, target.crs)
        dx, dy = target.resolution
        place = Affine(dx, 0, target.bounds.left, 0, -dy, target.bounds.top)
        shapes = [_shape(to_target, rings) for rings in self.polygons]
        return np.asarray(
            rasterize(
                shapes,
                target.shape,
                fill=1,
                transform=place,
                all_touched=True,
                default_value=0,
                dtype="uint8",
            )
            == 1
        )


def area_of_box(bounds: Bounds, crs: str = DEGREES) -> Area:
    """A box; in degrees W may lie east of E.

    Raises:
        InvalidRequest: the box is empty or its coordinate system unknown.
    """
    transformer(crs, DEGREES)
    left, bottom, right, top = bounds
    if all(map(math.isfinite, bounds)) and CRS.from_user_input(crs).is_geographic:
        if not (abs(left) <= 360 and abs(right) <= 360 and bottom >= -90 and top <= 90):
            raise InvalidRequest("the box must lie within ±180 and ±90 degrees, W S E N")
        if left > right and left >= 0 > right:
            right += 360
    if not all(map(math.isfinite, bounds)) or left >= right or bottom >= top:
        raise InvalidRequest("the box must be W S E N, W below E and S below N")
    return Area(Bounds(left, bottom, right, top), crs)


def area_of_geometry(geojson: object) -> Area:
    """A GeoJSON point, polygon, collection or feature, in degrees.

    Raises:
        InvalidRequest: it is none of these, or has too many positions.
    """
    if isinstance(geojson, str):
        try:
            geojson = json.loads(geojson)
        except ValueError as error:
            raise InvalidRequest(f"geometry: not JSON ({error})") from None
    try:
        polygons = tuple(_polygons(geojson))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError):
        polygons = ()
    if not polygons:
        raise InvalidRequest(
            "geometry: a GeoJSON Point, Polygon, MultiPolygon or a feature of these, in degrees"
        )
    positions = np.concatenate([ring for rings in polygons for ring in rings])
    if len(positions) > MOST_POSITIONS:
        raise InvalidRequest(f"geometry: {len(positions)} positions, at most {MOST_POSITIONS}; simplify it")
    if not (np.isfinite(positions).all() and (np.abs(positions) <= (180, 90)).all()):
        raise InvalidRequest("geometry: longitudes within ±180 and latitudes within ±90 degrees")
    west = _west(polygons)
    moved = tuple(tuple(_east_of(west, ring) for ring in rings) for rings in polygons)
    outlines = np.concatenate([rings[0] for rings in moved])
    (left, bottom), (right, top) = outlines.min(axis=0), outlines.max(axis=0)
    return Area(Bounds(left, bottom, right, top), DEGREES, moved, json.dumps(geojson))


def _polygons(geojson: Any) -> Iterator[Rings]:
    kind = geojson["type"]
    if kind == "FeatureCollection":
        for feature in geojson["features"]:
            yield from _polygons(feature)
    elif kind == "Feature":
        yield from _polygons(geojson["geometry"])
    elif kind == "GeometryCollection":
        for part in geojson["geometries"]:
            yield from _polygons(part)
    elif kind == "MultiPolygon":
        for polygon in geojson["coordinates"]:
            yield _rings(polygon)
    elif kind == "Polygon":
        yield _rings(geojson["coordinates"])
    elif kind == "Point":
        yield (np.array([geojson["coordinates"][:2]], np.float64),)
    else:
        raise ValueError(kind)


def _rings(coordinates: Any) -> Rings:
    rings = tuple(np.array([position[:2] for position in ring], np.float64) for ring in coordinates)
    if not rings or any(len(ring) < 4 for ring in rings):
        raise ValueError("a ring has four positions or more")
    return rings


def _west(polygons: tuple[Rings, ...]) -> float:
    """Where the polygons' longitudes begin: behind the widest gap between them, around the globe."""
    spans = sorted((float(r[0][:, 0].min()), float(r[0][:, 0].max())) for r in polygons)
    gaps, end = [], spans[0][1]
    for left, right in spans[1:]:
        gaps.append((left - end, left))
        end = max(end, right)
    # The gap across the antimeridian wins where it is as wide as another.
    around = (spans[0][0] + 360 - end, spans[0][0])
    return max([around, *gaps], key=lambda g: g[0])[1]


def _east_of(west: float, ring: NDArray[np.float64]) -> NDArray[np.float64]:
    return ring + np.array([360.0, 0.0]) if ring[:, 0].max() < west else ring


def _shape(to_target: Any, rings: Rings) -> Mapping[str, Any]:
    """A polygon in a target's coordinates, as GeoJSON."""
    placed = [np.stack(to_target.transform(*_dense(ring).T), axis=1).tolist() for ring in rings]
    if len(rings[0]) == 1:
        return {"type": "Point", "coordinates": placed[0][0]}
    return {"type": "Polygon", "coordinates": placed}


def _dense(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring with positions enough that edges which are straight in degrees stay so."""
    if len(ring) == 1:
        return ring
    steps = np.ceil(np.abs(np.diff(ring, axis=0)).max(axis=1) / STEP).astype(int).clip(1, 1000)
    start, way = ring[:-1].repeat(steps, axis=0), np.diff(ring, axis=0).repeat(steps, axis=0)
    share = np.concatenate([np.arange(n) / n for n in steps])
    dense: NDArray[np.float64] = np.concatenate([start + share[:, None] * way, ring[-1:]])
    return dense
