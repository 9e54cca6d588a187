"""The area a user asks for: a box, a file of any format and coordinate system that OGR reads, or a tile's name."""

from pathlib import Path

import numpy as np
import shapely
from pyproj import Transformer

from terrazzo.bulk.outlines import read_outline
from terrazzo.errors import InvalidRequest, WrongGrid
from terrazzo.grid import Bounds, mgrs_epsg
from terrazzo.precompute.products import tiles
from terrazzo.precompute.products.globe import cut
from terrazzo.request.boxes import box_of

ROWS = "ABCDEFGHJKLMNPQRSTUV"
"""Letters of the 100 km rows; every second zone starts five letters later."""
COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Latitude bands of 8° from 80° S."""
TILE_SIDE = 109_800
"""Metres of a Sentinel-2 tile's side: 100 km and what it shares with the next one."""
WINDOW, MARGIN = 5_120.0, 2
"""Metres of a window of 512 px of 10 m; windows around an area."""
SMALL = 0.5
"""Share of a tile up to which only a part of it is fetched."""
VERTICES = 500
"""Most vertices of an outline that is sent to an archive; some refuse longer requests."""


def from_box(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    """A box in degrees; W east of E crosses the antimeridian, and then it is two boxes.

    Raises:
        InvalidRequest: the numbers are no box on the globe.
    """
    left, bottom, right, top = box_of(Bounds(west, south, east, north), name="--bbox")
    if left < -180:
        left, right = left + 360, right + 360
    if left >= 180:
        left, right = left - 360, right - 360
    if right <= 180:
        return shapely.box(left, bottom, right, top)
    return shapely.union(shapely.box(left, bottom, 180, top), shapely.box(-180, bottom, right - 360, top))


def degrees_box(geometry: shapely.Geometry) -> Bounds:
    """W S E N around a geometry in degrees; W lies east of E where it is cut at the antimeridian."""
    west, south, east, north = geometry.bounds
    if (west, east) == (-180, 180) and geometry.geom_type == "MultiPolygon":
        parts = [part.bounds for part in geometry.geoms]
        west = min((b[0] for b in parts if b[0] >= 0), default=west)
        east = max((b[2] for b in parts if b[2] < 0), default=east)
    return Bounds(west, south, east, north)


def from_file(path: Path) -> shapely.Geometry:
    """The union of a file's first layer in degrees.

    Raises:
        InvalidRequest: OGR cannot read it, or it has no geometry or no coordinate system.
    """
    return cut(read_outline(path))


def outline(geometry: shapely.Geometry) -> shapely.Geometry:
    """What is sent to an archive: the geometry, or something that holds it and has fewer vertices."""
    simple = geometry
    for tolerance in (1e-4, 1e-3, 1e-2):
        if shapely.get_num_coordinates(simple) <= VERTICES:
            return simple
        simple = shapely.simplify(shapely.buffer(geometry, tolerance, quad_segs=1), tolerance)
    return simple if shapely.get_num_coordinates(simple) <= VERTICES else shapely.convex_hull(geometry)


def tile_name(text: str) -> str:
    """`35VLG` of `35vlg` or `T35VLG`.

    Raises:
        InvalidRequest: it is no name of a tile.
    """
    try:
        return tiles.tile_name(text)
    except WrongGrid as error:
        raise InvalidRequest(f"--tile: {error}") from None


def from_tile(name: str) -> shapely.Geometry:
    """The outline of a tile in degrees.

    The MGRS letters of a 100 km square count eastings from 100 km in sets of eight that repeat every third zone,
    and northings modulo 2000 km; the latitude band selects one of the repeated rows (NGA.STND.0037).

    Raises:
        InvalidRequest: the zone has no such square.
    """
    square, epsg = tile_square(name)
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    outline = shapely.transform(
        shapely.segmentize(shapely.box(*square), 20_000),
        lambda xy: np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), -1),
    )
    return cut(outline)


def tile_square(name: str) -> tuple[Bounds, int]:
    """A tile's square in metres, and its zone's EPSG code.

    Raises:
        InvalidRequest: the zone has no such square.
    """
    zone, band, column, row = int(name[:2]), name[2], name[3], name[4]
    columns = COLUMNS[(zone - 1) % 3]
    if column not in columns or row not in ROWS:
        raise InvalidRequest(f"--tile {name}: zone {zone} has no square {column}{row}")
    epsg = mgrs_epsg(name)
    easting = (columns.index(column) + 1) * 100_000.0
    northing = (ROWS.index(row) - (0 if zone % 2 else 5)) % 20 * 100_000.0
    south = -80 + 8 * BANDS.index(band)
    to_metres = Transformer.from_crs(4326, epsg, always_xy=True)
    middle = to_metres.transform(6 * zone - 183, south + 4)[1]
    northing += round((middle - northing - 50_000) / 2_000_000) * 2_000_000
    return Bounds(easting, northing + 100_000 - TILE_SIDE, easting + TILE_SIDE, northing + 100_000), epsg


def part_of(area: shapely.Geometry, name: str) -> Bounds | None:
    """The part of a tile that an area needs, in metres of its zone: whole windows with a margin around the area.

    None where that is most of the tile, or where the area does not touch it. The margin holds the clouds that throw
    their shadows into the area, and gives normalization something to compare.
    """
    square, epsg = tile_square(name)
    inside = shapely.intersection(area, from_tile(name))
    if inside.is_empty:
        return None
    to_metres = Transformer.from_crs(4326, epsg, always_xy=True)
    outline = shapely.transform(
        shapely.segmentize(inside, 0.05), lambda xy: np.stack(to_metres.transform(xy[:, 0], xy[:, 1]), -1)
    )
    south = 10_000_000.0 if epsg >= 32700 else 0.0
    left, bottom, right, top = outline.bounds

    def snapped(value: float, origin: float, by: float) -> float:
        steps = (value - origin) / WINDOW
        return origin + WINDOW * float(np.floor(steps) if by < 0 else np.ceil(steps)) + by * WINDOW

    part = Bounds(
        max(square.left, snapped(left, 0.0, -MARGIN)),
        max(square.bottom, snapped(bottom, south, -MARGIN)),
        min(square.right, snapped(right, 0.0, MARGIN)),
        min(square.top, snapped(top, south, MARGIN)),
    )
    share = (part.right - part.left) * (part.top - part.bottom) / TILE_SIDE**2
    return part if share <= SMALL else None


def touched(part: Bounds, square: Bounds, side: float) -> Bounds:
    """The blocks of a side in metres, counted from a square's north-west corner, that a part of it touches."""
    return Bounds(
        square.left + side * float(np.floor((part.left - square.left) / side)),
        max(square.bottom, square.top - side * float(np.ceil((square.top - part.bottom) / side))),
        min(square.right, square.left + side * float(np.ceil((part.right - square.left) / side))),
        square.top - side * float(np.floor((square.top - part.top) / side)),
    )
