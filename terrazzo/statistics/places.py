"""Where areas lie: cut to the mosaic before they are projected, placed on its zone grids, grouped by place, large ones in blocks.

Far from its zone a projection has no meaning, so what reaches beyond the mosaic is cut off in the coordinates that it
was given in.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from terrazzo.bulk.area import edge_step
from terrazzo.bulk.windows import native_crs
from terrazzo.crs import DEGREES, in_units, is_geographic
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.request.boxes import SWAPPED, touch
from terrazzo.statistics.areas import Areas, shapes_of
from terrazzo.version import Version

BLOCK = 1024
"""Side, in pixels, of the squares of a zone's grid whose areas are worked on together, and of the parts of larger ones."""
TOGETHER = 2000
"""Areas that are worked on together, at most."""
AT_ONCE = 10_000
"""Areas that are placed at once."""
MOST_PIXELS = 4096 * 4096
"""Pixels of areas that are worked on together."""
MARGIN = 0.01
"""Degrees by which the mosaic's bounds are grown before areas are cut to them."""
WIDEST = 668_000.0
"""Metres from a zone's middle, 6 degrees on the equator, up to which one zone's grid is used for one area."""
OUTSIDE = "outside the mosaic"
NOWHERE = "cannot be transformed to longitude and latitude: check its coordinates"
KINDS = (
    "a point: statistics are of polygons, so buffer it",
    "a line: statistics are of polygons, so buffer it",
)
"""Why geometries of 0 and 1 dimensions have no pixels."""


class AreaPlaces(NamedTuple):
    """Areas, cut to the mosaic.

    Attributes:
        zone: (n,) EPSG code, −1 where there is nothing of it in the mosaic.
        cut: (n,) polygons in the areas' own coordinates, None where there is nothing.
        polygons: (n,) the same in the zone's coordinates.
        reasons: (n,) why there is nothing; empty where there is something.
    """

    zone: NDArray[np.int64]
    cut: NDArray[np.object_]
    polygons: NDArray[np.object_]
    reasons: NDArray[np.object_]


class Group(NamedTuple):
    """Areas near each other, and the pixels around all of them.

    Attributes:
        numbers: (k,) places in `Areas`.
        polygons: (k,) shapely geometries in the target's coordinates.
    """

    numbers: NDArray[np.int64]
    polygons: NDArray[np.object_]
    target: Target


class Region(NamedTuple):
    """The part of a mosaic's bounds that lies nearest to one of its zones, as a polygon in the coordinates of areas."""

    zone: int
    shape: shapely.Geometry


def groups(areas: Areas, version: Version, most: int | None = None) -> list[NDArray[np.int64]]:
    """Places in `areas` of those that are worked on together: in one block of a zone's grid, at most `TOGETHER`, and with so
    many pixels that those of all of them fit in memory.

    An area larger than a block comes alone, and `is_large`. Areas without polygons in the mosaic come last, together.

    Args:
        most: pixels of the box around one area, where that is limited.

    Raises:
        InvalidRequest: an area is larger than that, or latitude and longitude seem to be swapped.
    """
    _in_order(areas, version)
    count = len(areas.geometry)
    keys, sizes = np.full((count, 4), -1, np.int64), np.zeros(count, np.int64)
    for start in range(0, count, AT_ONCE):
        numbers = np.arange(start, min(start + AT_ONCE, count))
        zone, boxes = _boxes(version, placed(areas, version, numbers))
        sides = boxes[:, 2:] - boxes[:, :2]
        if most is not None and (huge := numbers[sides.prod(axis=1) > most]).size:
            raise InvalidRequest(
                f"area {areas.ids[int(huge[0])]} has a box of more than {most} px: ask for a table, which has no such limit"
                " (`terrazzo statistics`, or a job: …/exports/statistics)"
            )
        middle = (boxes[:, :2] + boxes[:, 2:]) // 2 // BLOCK
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
    b = shapely.total_bounds(shapes_of(first))
    if not np.isfinite(b).all() or touch(Bounds(*b), version.bounds):
        return
    if touch(Bounds(b[1], b[0], b[3], b[2]), version.bounds):
        raise InvalidRequest(f"the areas lie outside the mosaic; {SWAPPED}")


def group(here: AreaPlaces, version: Version, numbers: NDArray[np.int64]) -> Group | None:
    """Areas of one block with their polygons; None where they have none."""
    if not (here.zone > 0).any():
        return None
    zone = int(here.zone.max())
    return Group(numbers, here.polygons, _target(version, zone, shapely.total_bounds(here.polygons)))


def is_large(here: AreaPlaces, version: Version) -> bool:
    """Whether areas are one that is worked on by `blocks`."""
    if len(here.zone) > 1 or here.zone[0] < 0:
        return False
    box = version.store.grid(int(here.zone[0])).box_from_bounds(*here.polygons[0].bounds)
    return max(box.shape) > BLOCK


def blocks(areas: Areas, version: Version, here: AreaPlaces, numbers: NDArray[np.int64]) -> Iterator[Group]:
    """The parts of one large area, in squares of a zone's grid, row by row; where it reaches across zones, in each zone's own."""
    pieces = [(int(here.zone[0]), here.polygons[0])]
    west, _, east, _ = here.polygons[0].bounds
    if len(version.zones) > 1 and max(5e5 - west, east - 5e5) > WIDEST:
        each = [(r.zone, shapely.intersection(here.cut, r.shape)) for r in regions(version, areas)]
        pieces = [(z, _projected(_solid(part), areas, z)[0]) for z, part in each if part[0].area > 0]
    for zone, polygon in pieces:
        grid = version.store.grid(zone)
        box = grid.box_from_bounds(*polygon.bounds)
        shapely.prepare(polygon)
        for row in range(box.row0 // BLOCK, -(-box.row1 // BLOCK)):
            for col in range(box.col0 // BLOCK, -(-box.col1 // BLOCK)):
                square = PixelBox(row, col, row + 1, col + 1)
                square = PixelBox(*(n * BLOCK for n in square)).intersection(box)
                outline = shapely.box(*grid.bounds(square))
                if not shapely.intersects(polygon, outline):
                    continue
                inside = _solid(np.array([shapely.intersection(polygon, outline)], object))
                if inside[0].area > 0:
                    yield Group(numbers, inside, _target(version, zone, inside[0].bounds))


def pixels_at_most(areas: Areas, version: Version) -> NDArray[np.float64]:
    """(area,) pixels of the boxes around areas, cut to the mosaic: a bound that needs no geometry but the boxes."""
    crs = areas.crs.to_wkt()
    b = shapely.bounds(shapes_of(areas.geometry.to_numpy(zero_copy_only=False)))
    pixel = in_units(crs, version.store.grid(version.zones[0]).pixel)
    most = np.zeros(len(b))
    for part in (np.array(r.shape.bounds) for r in regions(version, areas)):
        sides = np.minimum(b[:, 2:], part[2:]) - np.maximum(b[:, :2], part[:2])
        most += np.nan_to_num(np.clip(sides, 0, None)).prod(axis=1) / pixel**2
    return most


def placed(areas: Areas, version: Version, numbers: NDArray[np.int64]) -> AreaPlaces:
    """Areas as they lie on the mosaic's zone grids; each in the zone that is nearest to a position of its own."""
    wkb = areas.geometry.take(pa.array(numbers)).to_numpy(zero_copy_only=False)
    given = shapes_of(wkb)
    reasons = _reasons(wkb, given)
    solid = np.flatnonzero(reasons == "")
    shapes = _mended(given[solid])
    flat = shapely.area(shapes) <= 0
    reasons[solid[flat]] = "a polygon without area"
    solid, shapes = solid[~flat], shapes[~flat]
    whole = shapely.union_all([r.shape for r in regions(version, areas)])
    shapely.prepare(whole)
    inside = shapely.contains_properly(whole, shapes)
    shapes[~inside] = _solid(shapely.intersection(shapes[~inside], whole))
    empty = shapely.area(shapes) <= 0
    reasons[solid[empty]] = [_why_outside(areas, version, g) for g in given[solid[empty]]]
    solid, shapes = solid[~empty], shapes[~empty]
    nothing = np.full(len(numbers), None, object)
    zone, cut, polygons = np.full(len(numbers), -1, np.int64), nothing, nothing.copy()
    if solid.size:
        first = shapely.get_coordinates(shapely.point_on_surface(shapes))
        lon = np.asarray(transformer(areas.crs.to_wkt(), DEGREES).transform(*first.T)[0])
        zone[solid] = [int(native_crs(version, x).removeprefix("EPSG:")) for x in lon]
        cut[solid] = shapes
        for epsg in np.unique(zone[solid]):
            here = solid[zone[solid] == epsg]
            polygons[here] = _projected(cut[here], areas, int(epsg))
        lost = solid[~np.isfinite(shapely.bounds(polygons[solid])).all(axis=1)]
        zone[lost], cut[lost], polygons[lost], reasons[lost] = -1, None, None, NOWHERE
    return AreaPlaces(zone, cut, polygons, reasons)


def regions(version: Version, areas: Areas) -> tuple[Region, ...]:
    """The mosaic's bounds, divided by its zones, in the coordinates of areas; around the globe where those are angles."""
    return _regions(version.bounds, version.zones, areas.crs.to_wkt())


@lru_cache(maxsize=64)
def _regions(bounds: Bounds, zones: tuple[int, ...], crs: str) -> tuple[Region, ...]:
    left, right = bounds.left - MARGIN, bounds.right + MARGIN
    right += 360 if right < left else 0
    bottom, top = max(bounds.bottom - MARGIN, -90), min(bounds.top + MARGIN, 90)
    middles = {epsg % 100 * 6 - 183: epsg for epsg in reversed(zones)}
    ordered = sorted(middles)
    around = [*ordered, ordered[0] + 360]
    # Half way between two zones the nearer one changes; at 180 degrees other systems than degrees end.
    borders = {(a + b) / 2 + turn for a, b in pairwise(around) for turn in (-360, 0, 360)}
    inner = sorted(x for x in borders | {-180, 180} if left < x < right)
    edges = [left, *inner, right]
    out, to_areas = [], transformer(DEGREES, crs)
    for west, east in pairwise(edges):
        away = [abs(((west + east) / 2 - m + 180) % 360 - 180) for m in ordered]
        nearest = ordered[int(np.argmin(away))]
        square = shapely.segmentize(shapely.box(west, bottom, east, top), edge_step(DEGREES))
        for turn in (-360, 0, 360) if is_geographic(crs) else (0,):
            shape = shapely.transform(square, lambda xy: np.column_stack(to_areas.transform(*xy.T)))
            if turn:
                shape = translate(shape, in_units(crs, 1) / in_units(DEGREES, 1) * turn)
            if np.isfinite(shape.bounds).all():
                out.append(Region(middles[nearest], shapely.make_valid(shape)))
    return tuple(out)


def _projected(shapes: NDArray[np.object_], areas: Areas, epsg: int) -> NDArray[np.object_]:
    """Shapes in a zone's coordinates, with positions enough that their edges lie where they did."""
    if areas.crs.to_epsg() == epsg:
        return shapes
    crs = areas.crs.to_wkt()
    to_zone = transformer(crs, f"EPSG:{epsg}")
    return np.asarray(
        shapely.transform(
            shapely.segmentize(shapes, edge_step(crs)), lambda xy: np.column_stack(to_zone.transform(*xy.T))
        ),
        object,
    )


def _mended(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes whose rings cross or touch, as the places that their polygons cover: what two of them share counts once."""
    valid = shapely.is_valid(shapes)
    # GEOS' first way, by lines, drops what two polygons share and fills holes that touch the outline.
    mended = shapely.make_valid(shapes[~valid], method="structure", keep_collapsed=False)
    shapes[~valid] = mended
    return _solid(shapes)


def _solid(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes without the lines and points beside polygons that mending and cutting leave: they have no pixels."""
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes[mixed] = shapely.buffer(shapes[mixed], 0)
    return shapes


def _reasons(wkb: NDArray[np.object_], given: NDArray[np.object_]) -> NDArray[np.object_]:
    """(n,) why a geometry is no polygon that can be placed; empty where it is one."""
    reasons = np.full(len(given), "", object)
    sizes = shapely.get_dimensions(given)
    for dimension, why in enumerate(KINDS):
        reasons[sizes == dimension] = why
    coordinates_known = np.isfinite(shapely.bounds(given)).all(axis=1)
    reasons[~coordinates_known] = NOWHERE
    reasons[shapely.is_empty(given)] = "an empty geometry"
    reasons[shapely.is_missing(given)] = "a geometry that cannot be read: give polygons"
    reasons[[w is None for w in wkb]] = "no geometry"
    return reasons


def _why_outside(areas: Areas, version: Version, shape: shapely.Geometry) -> str:
    west, south, east, north = shape.bounds
    if not areas.crs.is_geographic:
        return OUTSIDE
    swapped = touch(Bounds(south, west, north, east), version.bounds)
    if swapped:
        return f"{OUTSIDE}; {SWAPPED}"
    whole = 90 * in_units(areas.crs.to_wkt(), 1) / in_units(DEGREES, 1)
    return NOWHERE if max(-south, north) > whole or max(-west, east) > 6 * whole else OUTSIDE


def _boxes(version: Version, here: AreaPlaces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Zone of each area, −1 without polygons, and (n, 4) row0, col0, row1, col1 on its grid."""
    boxes = np.zeros((len(here.zone), 4), np.int64)
    for i in np.flatnonzero(here.zone > 0):
        boxes[i] = version.store.grid(int(here.zone[i])).box_from_bounds(*here.polygons[i].bounds)
    return here.zone, boxes


def _target(version: Version, zone: int, b: tuple[float, float, float, float]) -> Target:
    """The pixels of a zone's grid that a rectangle touches."""
    grid = version.store.grid(zone)
    box = grid.box_from_bounds(*b)
    box = PixelBox(box.row0, box.col0, max(box.row1, box.row0 + 1), max(box.col1, box.col0 + 1))
    return Target(f"EPSG:{zone}", grid.bounds(box), box.height, box.width)
