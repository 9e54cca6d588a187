"""Areas to export: boxes and GeoJSON, across the antimeridian too, and the pixels of a grid that they touch."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from terrazzo.crs import DEGREES, canonical, in_units, is_geographic
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.request.boxes import SWAPPED, box_of, touch

MOST_POSITIONS = 100_000
STEP_METRES = 1000.0
"""Metres after which an edge gets another position, so that it stays straight in its own system on any grid."""
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
        middle = transformer(self.crs, DEGREES).transform((b.left + b.right) / 2, (b.bottom + b.top) / 2)[1]
        if not math.isfinite(middle):
            raise InvalidRequest(
                f"the area cannot be transformed to longitude and latitude: check its coordinates in {self.crs}"
            )
        return float(middle)

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


def area_of_box(bounds: Bounds, crs: str = DEGREES, coverage: Bounds | None = None) -> Area:
    """A box; in degrees W may lie east of E.

    Args:
        crs: canonical.
        coverage: what the mosaic covers, in degrees, where there is one.

    Raises:
        InvalidRequest: the box is empty, or its latitudes and longitudes seem to be swapped.
    """
    return Area(box_of(bounds, crs, coverage), crs)


def area_of_geometry(geojson: object, coverage: Bounds | None = None) -> Area:
    """A GeoJSON point, polygon, collection or feature, in degrees or in the coordinate system of its `crs` member.

    Args:
        coverage: what the mosaic covers, in degrees, where there is one.

    Raises:
        InvalidRequest: it is none of these, has too many positions, or no place on the globe.
    """
    crs = crs_of_geojson(geojson)
    try:
        polygons = tuple(_polygons(geojson))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError):
        polygons = ()
    if not polygons:
        raise InvalidRequest(
            "geometry: a GeoJSON Point, Polygon, MultiPolygon or a feature of these, in degrees"
        )
    count = sum(len(ring) for rings in polygons for ring in rings)
    if count > MOST_POSITIONS:
        raise InvalidRequest(f"geometry: {count} positions, at most {MOST_POSITIONS}; simplify it")
    if crs != DEGREES:
        polygons = tuple(tuple(_to_degrees(ring, crs) for ring in rings) for rings in polygons)
    positions = np.concatenate([ring for rings in polygons for ring in rings])
    if not (
        np.isfinite(positions).all() and (np.abs(positions) <= (180 if crs == DEGREES else 360, 90)).all()
    ):
        raise InvalidRequest(_not_on_the_globe(positions, crs))
    west = _west(polygons)
    moved = tuple(tuple(_east_of(west, ring) for ring in rings) for rings in polygons)
    outlines = np.concatenate([rings[0] for rings in moved])
    (left, bottom), (right, top) = outlines.min(axis=0), outlines.max(axis=0)
    box = Bounds(float(left), float(bottom), float(right), float(top))
    flipped = Bounds(box.bottom, box.left, box.top, box.right)
    if coverage and crs == DEGREES and not touch(box, coverage) and touch(flipped, coverage):
        raise InvalidRequest(f"geometry: it lies outside the mosaic; {SWAPPED}")
    return Area(box, DEGREES, moved, json.dumps(geojson))


def crs_of_geojson(geojson: object) -> str:
    """The coordinate system of GeoJSON: that of its `crs` member, as GDAL writes it, else degrees; x comes first.

    PostGIS writes the member into each geometry; one counts for all within it.

    Raises:
        InvalidRequest: a member names none, or geometries have different ones.
    """
    names: set[str] = set()
    waiting: list[tuple[object, str]] = [(geojson, DEGREES)]
    while waiting:
        part, outer = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        own = outer if part.get("crs") is None else _crs_of_member(part["crs"])
        lists = [part[name] for name in ("features", "geometries") if isinstance(part.get(name), list)]
        if "coordinates" in part:
            names.add(own)
        waiting += [(one, own) for one in [*chain(*lists), part.get("geometry")]]
    if len(names) > 1:
        raise InvalidRequest(
            f"geometry: coordinates in {' and in '.join(sorted(names))}: give all in one coordinate system"
        )
    return names.pop() if names else DEGREES


def _crs_of_member(member: object) -> str:
    try:
        name = member["properties"]["name"]  # type: ignore[index]
    except (TypeError, KeyError):
        name = None
    if not isinstance(name, str):
        raise InvalidRequest(
            'geometry: its crs member names no coordinate system, as {"type": "name", "properties": {"name":'
            ' "urn:ogc:def:crs:EPSG::32633"}} does; leave it out for degrees'
        )
    try:
        return canonical(name)
    except InvalidRequest as error:
        raise InvalidRequest(f"geometry: {error}") from None


def _not_on_the_globe(positions: NDArray[np.float64], crs: str) -> str:
    if crs != DEGREES:
        return f"geometry: it cannot be transformed to longitude and latitude; check its coordinates in {crs}"
    hint = f"; {SWAPPED}" if (np.abs(positions) <= (90, 180)).all() else ""
    return f"geometry: longitudes within ±180 and latitudes within ±90 degrees{hint}"


def _to_degrees(ring: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """A ring in degrees, with positions enough that its edges lie where they did."""
    dense = ring if is_geographic(crs) else _dense(ring, crs)
    placed = np.stack(transformer(crs, DEGREES).transform(*dense.T), axis=1)
    if np.ptp(placed[:, 0]) > 180:
        # No ring of a plane is half the globe wide: it crosses the antimeridian.
        placed[:, 0] %= 360
    return np.asarray(placed)


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
    placed = [np.stack(to_target.transform(*_dense(ring, DEGREES).T), axis=1).tolist() for ring in rings]
    if len(rings[0]) == 1:
        return {"type": "Point", "coordinates": placed[0][0]}
    return {"type": "Polygon", "coordinates": placed}


def edge_step(crs: str) -> float:
    """Length, in units of a coordinate system, after which an edge gets another position, in exports and tables alike."""
    return in_units(crs, STEP_METRES)


def _dense(ring: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """A ring with positions enough that its straight edges stay so, up to 1000 an edge."""
    if len(ring) == 1:
        return ring
    steps = np.ceil(np.abs(np.diff(ring, axis=0)).max(axis=1) / edge_step(crs)).astype(int).clip(1, 1000)
    start, way = ring[:-1].repeat(steps, axis=0), np.diff(ring, axis=0).repeat(steps, axis=0)
    share = np.concatenate([np.arange(n) / n for n in steps])
    dense: NDArray[np.float64] = np.concatenate([start + share[:, None] * way, ring[-1:]])
    return dense
