"""Tile matrix sets: well-known ones, a mosaic's own grids, and files of the operator; each ends where the data do."""

import json
import logging
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import morecantile
import shapely
from morecantile import TileMatrixSet, TileMatrixSets
from pyproj import CRS, Geod

from terrazzo.crs import canonical, check_place, northing_first
from terrazzo.errors import InvalidRequest, NotFound, StoreError
from terrazzo.grid import Bounds, zone_epsg, zone_name
from terrazzo.mosaic.warp import transformer
from terrazzo.scene import read_item
from terrazzo.version import Version

log = logging.getLogger(__name__)
WEB = "WebMercatorQuad"
WEB_512 = "WebMercatorQuad512"
"""Tiles of 512 px on web mercator's borders, for screens of high density."""
OWN = "UTM"
"""The grid of a zone is called `UTM33N`."""
MOST_LIMITS = 256
"""Sets of versions whose limits are kept."""
ALIASES = {"GoogleMapsCompatible": WEB, "EPSG:3857": WEB, "WGS84": "WorldCRS84Quad"}
GEOD = Geod(ellps="WGS84")


class Grids:
    """The tile matrix sets of a server.

    Args:
        names: what `TERRAZZO_TMS` lists: names of sets and paths of JSON files (OGC 17-083r4); empty for web
            mercator and a mosaic's own grid.

    Raises:
        StoreError: a file is missing or no set that WMTS can describe.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = tuple(names)
        files = {name: read_set(Path(name)) for name in names if name.endswith(".json")}
        self._offered = tuple(str(files[n][0].id) if n in files else ALIASES.get(n, n) for n in names)
        added = {str(s.id): s for s in (*(f[0] for f in files.values()), _web_512())}
        self._turned = {str(s.id): turned for s, turned in files.values() if turned is not None}
        plain = {n: t for n in morecantile.tms.list() if _is_plain(t := morecantile.tms.get(n))}
        self.known = TileMatrixSets({**plain, **added})
        self._cut: dict[tuple[object, ...], TileMatrixSet] = {}
        self._limits: dict[tuple[str, str, str], dict[int, tuple[int, int, int, int]]] = {}
        strange = [n for n in self._offered if n not in self.known.list() and not n.startswith(OWN)]
        if strange:
            raise StoreError(
                f"TERRAZZO_TMS: there is no tile matrix set {', '.join(strange)}; there are"
                f" {', '.join(self.known.list())}, UTM33N and the like, and JSON files"
            )

    def names(self, version: Version) -> tuple[str, ...]:
        """The sets a mosaic's documents list: of those offered, the ones that have a place for it."""
        if not self._offered:
            return WEB, *(own_name(z) for z in version.zones[:1])
        return tuple(n for n in self._offered if self._why_not(version, n) is None) or (WEB,)

    def name_left_out(self, version: Version) -> None:
        """Logs each of the sets offered that has no place for a mosaic, with the reason."""
        for name in self._offered:
            if why := self._why_not(version, name):
                log.warning("TERRAZZO_TMS: %s is left out of %s: %s", name, version.mosaic_id, why)

    def _why_not(self, version: Version, name: str) -> str | None:
        """Why a set has no place for a mosaic; None where it has one."""
        try:
            limits(self.find(version, name), version)
        except NotFound as error:
            return str(error)
        return None

    def overzoomed(self, version: Version, name: str) -> TileMatrixSet:
        """A tile matrix set by name with all its zooms, for clients of XYZ that ask for more than the data have.

        Their tiles show the same pixels, larger. A mosaic's own grid has no zooms beyond its pixels.

        Raises:
            NotFound: there is none of that name, or it has no place for the mosaic.
        """
        tms = self.find(version, name)
        return self._placed(version, str(tms.id)) if tms.id in self.known.list() else tms

    def find(self, version: Version, name: str) -> TileMatrixSet:
        """A tile matrix set by name, cut off at the zoom that shows every pixel.

        Raises:
            NotFound: there is none of that name, or it has no place for the mosaic.
        """
        name = ALIASES.get(name, name)
        pixel = version.store.config.pixel
        if name.startswith(OWN) and name[len(OWN) :] in {zone_name(z) for z in version.zones}:
            return zone_grid(zone_epsg(name[len(OWN) :]), pixel)
        if name not in self.known.list():
            known = dict.fromkeys((*(self._offered or (WEB,)), *(own_name(z) for z in version.zones)))
            raise NotFound(
                f"there is no tile matrix set {name!r}; there are {', '.join(known)} and those under /tileMatrixSets"
            )
        b = version.bounds
        # Not whole degrees: these may lie beyond the area where a national system is known.
        lon, lat = round((b.left + b.right) / 2, 1), round((b.bottom + b.top) / 2, 1)
        key = (name, pixel, lon, lat, b if name in self._turned else None)
        if key not in self._cut:
            self._cut[key] = _ending(self._placed(version, name), pixel, lon, lat)
        return self._cut[key]

    def limits(self, version: Version, name: str) -> dict[int, tuple[int, int, int, int]]:
        """`limits` of a set by name, which is kept: each tile of OGC API – Tiles asks, and it looks at every scene.

        Raises:
            NotFound: there is none of that name, or it has no place for the mosaic.
        """
        key = (version.mosaic_id, version.name, name)
        if key not in self._limits:
            if len(self._limits) >= MOST_LIMITS:
                self._limits = {}
            self._limits[key] = limits(self.find(version, name), version)
        return self._limits[key]

    def _placed(self, version: Version, name: str) -> TileMatrixSet:
        """A set; with the numbers of its origin in the other order where that alone has a place for the mosaic."""
        known = self.known.get(name)
        turned = self._turned.get(name)
        return turned if turned and not _has_place(known, version) and _has_place(turned, version) else known


def _has_place(tms: TileMatrixSet, version: Version) -> bool:
    try:
        limits(tms, version)
    except NotFound:
        return False
    return True


def read_set(path: Path) -> tuple[TileMatrixSet, TileMatrixSet | None]:
    """A tile matrix set from a JSON file, its matrices numbered from 0, the coarsest, on.

    The numbers of its origin stand in the order that the file's `orderedAxes` names, else in that of the coordinate
    system's axes. Both sets name the origin in the order of the axes.

    Returns:
        The set, and where the file has no `orderedAxes` the same with its origin's numbers in the other order.

    Raises:
        StoreError: the file is missing, no set that WMTS can describe, or of a coordinate system that is refused.
    """
    try:
        raw = json.loads(path.read_bytes())
        raw["tileMatrices"].sort(key=lambda m: -m["scaleDenominator"])
        for i, matrix in enumerate(raw["tileMatrices"]):
            matrix["id"] = str(i)
        tms = TileMatrixSet.model_validate(raw)
    except OSError as error:
        raise StoreError(f"TERRAZZO_TMS: {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"TERRAZZO_TMS: {path} is no tile matrix set: {error}") from None
    crs = tms.crs._pyproj_crs
    if not tms.id or crs.to_authority() is None:
        raise StoreError(f"TERRAZZO_TMS: {path} needs an id, and a crs with a code, such as EPSG:3067")
    try:
        canonical(code(tms))
    except InvalidRequest as error:
        raise StoreError(f"TERRAZZO_TMS: {path}: {error}") from None
    if not _is_plain(tms):
        raise StoreError(
            f"TERRAZZO_TMS: {path}: WMTS knows neither variable matrix widths nor a bottom-left origin"
        )
    up_first = _up_first(tms.orderedAxes or [], crs)
    own = northing_first(crs)
    if up_first is None:
        return _by_axes(tms, own, turn=False), _by_axes(tms, own, turn=True)
    return _by_axes(tms, own, turn=up_first != own), None


UP, RIGHT = {"n", "north", "northing", "lat", "latitude", "y"}, {"e", "east", "easting", "lon", "long", "longitude", "x"}  # fmt: skip


def _up_first(ordered: Sequence[str], crs: CRS) -> bool | None:
    """Whether the first of the axes that a file names is the one that points up; None where it names none that is known."""
    named = [n.strip().lower() for n in ordered[:2]]
    for own in ([a.abbrev.lower() for a in crs.axis_info], [a.name.lower() for a in crs.axis_info]):
        # The system's own names mean its own axes: Austria's X points up.
        if named in (own[:2], own[1::-1]):
            return northing_first(crs) == (named == own[:2])
    if len(named) < 2:
        return None
    return (
        True
        if named[0] in UP and named[1] in RIGHT
        else False
        if named[0] in RIGHT and named[1] in UP
        else None
    )


def _by_axes(tms: TileMatrixSet, up_first: bool, *, turn: bool) -> TileMatrixSet:
    """A set that names its axes so that morecantile reads its origin as it stands; `turn` swaps the origin's numbers."""
    matrices = [
        m.model_copy(update={"pointOfOrigin": m.pointOfOrigin[::-1]}) if turn else m for m in tms.tileMatrices
    ]
    axes = ["N", "E"] if up_first else ["E", "N"]
    return tms.model_copy(update={"tileMatrices": matrices, "orderedAxes": axes})


def _is_plain(tms: TileMatrixSet) -> bool:
    return not any(m.variableMatrixWidths or m.cornerOfOrigin != "topLeft" for m in tms.tileMatrices)


def own_name(epsg: int) -> str:
    """Name of the tile matrix set of a zone grid."""
    return OWN + zone_name(epsg)


@lru_cache(maxsize=1)
def _web_512() -> TileMatrixSet:
    web = morecantile.tms.get(WEB)
    halved = [
        m.model_copy(
            update={
                "tileWidth": 512,
                "tileHeight": 512,
                "cellSize": m.cellSize / 2,
                "scaleDenominator": m.scaleDenominator / 2,
            }
        )
        for m in web.tileMatrices
    ]
    changed = {"id": WEB_512, "title": "Web mercator in tiles of 512 px", "uri": None, "tileMatrices": halved}
    return web.model_copy(update=changed)


def _ending(tms: TileMatrixSet, pixel: float, lon: float, lat: float) -> TileMatrixSet:
    """A set without the matrices beyond the data's resolution at a place."""
    metres = _metres_a_unit(tms, lon, lat)
    sizes = [m.cellSize * metres for m in tms.tileMatrices]
    last = next((i for i, size in enumerate(sizes) if size <= pixel * 1.01), len(sizes) - 1)
    return tms.model_copy(update={"tileMatrices": tms.tileMatrices[: last + 1]})


def _metres_a_unit(tms: TileMatrixSet, lon: float, lat: float) -> float:
    """Metres on the ground per unit of the coordinate system at a place, the larger of the two directions.

    Raises:
        NotFound: the place has no coordinates there, or programs would look for it elsewhere.
    """
    crs = code(tms)
    try:
        check_place(crs, lon, lat)
    except InvalidRequest as error:
        raise NotFound(f"the mosaic's area cannot be transformed to {tms.id}: {error}") from None
    x, y = transformer("EPSG:4326", crs).transform(lon, lat)
    step = 1e-4 if tms.crs._pyproj_crs.is_geographic else 10.0
    places = transformer(crs, "EPSG:4326").transform([x, x + step, x], [y, y, y + step])
    if not all(math.isfinite(v) for values in places for v in values):
        raise NotFound(f"the mosaic's area cannot be transformed to {tms.id}")
    (lon0, lon1, lon2), (lat0, lat1, lat2) = places
    across, up = GEOD.inv(lon0, lat0, lon1, lat1)[2], GEOD.inv(lon0, lat0, lon2, lat2)[2]
    return float(max(across, up) / step)


@lru_cache(maxsize=64)
def zone_grid(epsg: int, pixel: float) -> TileMatrixSet:
    """The tile matrix set whose finest pixels are those of a zone's grid.

    It is anchored to the zone's origin, so it stays the same when a mosaic grows.
    """
    levels = max(1, math.ceil(math.log2(1_000_000 / (256 * pixel))))
    side = 256 * pixel * 2**levels
    south = epsg >= 32700
    rows = math.ceil(10_000_000 / side)
    top = 10_000_000.0 if south else rows * side
    own: TileMatrixSet = TileMatrixSet.custom(
        extent=[0.0, top - rows * side, side, top],
        crs=CRS.from_epsg(epsg),
        matrix_scale=[1, rows],
        minzoom=0,
        maxzoom=levels,
        id=own_name(epsg),
        title=f"Pixel grid of UTM zone {zone_name(epsg)}",
    )
    return own


def code(tms: TileMatrixSet) -> str:
    """The coordinate system of a set as code, such as EPSG:3857; as WKT where it has none."""
    crs = tms.crs._pyproj_crs
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def urn(tms: TileMatrixSet) -> str:
    """The coordinate system of a set as OGC's uniform resource name."""
    authority, number = code(tms).split(":")
    return f"urn:ogc:def:crs:{authority}:{'1.3' if authority == 'OGC' else ''}:{number}"


def uri(tms: TileMatrixSet) -> str:
    """The coordinate system of a set as OGC's address."""
    authority, number = code(tms).split(":")
    return f"http://www.opengis.net/def/crs/{authority}/{'1.3' if authority == 'OGC' else '0'}/{number}"


def left_top(tms: TileMatrixSet, zoom: int) -> tuple[float, float]:
    """x and y of the upper left corner of a matrix."""
    x, y = tms._matrix_origin(tms.matrix(zoom))
    return float(x), float(y)


def corner(tms: TileMatrixSet, zoom: int) -> tuple[float, float]:
    """The upper left corner of a matrix in the axis order of its coordinate system, as WMTS wants it."""
    x, y = left_top(tms, zoom)
    return (y, x) if northing_first(tms.crs._pyproj_crs) else (x, y)


def data_boxes(version: Version) -> dict[int, set[Bounds]]:
    """Rectangles that hold a version's scenes, in metres, by zone."""
    boxes: dict[int, set[Bounds]] = {}
    for epsg in version.zones:
        grid = version.store.grid(epsg)
        inside = Bounds(-math.inf, -math.inf, math.inf, math.inf)
        if not _over_180(version):
            inside = Bounds(*transformer("EPSG:4326", f"EPSG:{epsg}").transform_bounds(*version.bounds))
        for entry in (e for p in version.periods.values() if not p.members for e in version.entries(p.name)):
            if entry.scene.epsg != epsg:
                continue
            b = grid.bounds(entry.scene.box)
            # Scenes are padded to whole windows; the version's bounds are those of their footprints.
            boxes.setdefault(epsg, set()).add(
                Bounds(
                    max(b.left, inside.left),
                    max(b.bottom, inside.bottom),
                    min(b.right, inside.right),
                    min(b.top, inside.top),
                )
            )
    return boxes


def _over_180(version: Version) -> bool:
    """Whether a version lies on both sides of the 180° line: its bounds are those of the globe then."""
    return version.bounds.right - version.bounds.left > 180


def middle(version: Version) -> tuple[float, float]:
    """Longitude and latitude of the middle of a version's bounds; within the data where these lie around the globe."""
    b = version.bounds
    if not _over_180(version):
        return (b.left + b.right) / 2, (b.bottom + b.top) / 2
    scene = next(e.scene for p in version.periods for e in version.entries(p))
    footprint = shapely.geometry.shape(read_item(version.store, scene)["geometry"])
    largest = max(shapely.get_parts(footprint), key=lambda part: part.area)
    inside = largest.representative_point()
    return float(inside.x), float(inside.y)


def _around(tms: TileMatrixSet, data: Bounds) -> Bounds:
    """A rectangle that holds data on both sides of the 180° line: all columns where the set is cut there."""
    left, top = left_top(tms, int(tms.tileMatrices[0].id))
    first = tms.tileMatrices[0]
    right = left + first.cellSize * first.tileWidth * first.matrixWidth
    bottom = top - first.cellSize * first.tileHeight * first.matrixHeight
    inside = Bounds(
        max(data.left, left), max(data.bottom, bottom), min(data.right, right), min(data.top, top)
    )
    if not all(math.isfinite(v) for v in inside):
        raise NotFound(f"the mosaic's area cannot be transformed to {tms.id}")
    if inside.right - inside.left > (right - left) / 2:
        return Bounds(left, inside.bottom, right, inside.top)
    return inside


def extent(tms: TileMatrixSet, version: Version) -> Bounds:
    """The rectangle of a set's coordinate system that holds a version's scenes.

    Raises:
        NotFound: they have no place there.
    """
    crs = code(tms)
    boxes = [
        transformer(f"EPSG:{epsg}", crs).transform_bounds(*b, densify_pts=21)
        for epsg, bounds in data_boxes(version).items()
        for b in bounds
        if b.left < b.right and b.bottom < b.top
    ]
    if not boxes:
        raise NotFound("the mosaic has no scenes")
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    if _over_180(version):
        return _around(tms, Bounds(min(lefts), min(bottoms), max(rights), max(tops)))
    # Either rectangle holds all scenes; where the axes of one lie askew, the other is the tighter one.
    west, south, east, north = transformer("EPSG:4326", crs).transform_bounds(*version.bounds, densify_pts=21)
    tight = Bounds(
        max(min(lefts), west), max(min(bottoms), south), min(max(rights), east), min(max(tops), north)
    )
    if not all(math.isfinite(v) for v in tight):
        raise NotFound(f"the mosaic's area cannot be transformed to {tms.id}")
    return tight


def limits(tms: TileMatrixSet, version: Version) -> dict[int, tuple[int, int, int, int]]:
    """First and last row and column of the tiles that touch a version's scenes, by zoom.

    Raises:
        NotFound: no tile of the set does.
    """
    x0, y0, x1, y1 = extent(tms, version)
    out = {}
    for matrix in tms.tileMatrices:
        zoom = int(matrix.id)
        side_x, side_y = matrix.cellSize * matrix.tileWidth, matrix.cellSize * matrix.tileHeight
        left, top = left_top(tms, zoom)
        columns = [math.floor((x0 - left) / side_x), math.ceil((x1 - left) / side_x) - 1]
        rows = [math.floor((top - y1) / side_y), math.ceil((top - y0) / side_y) - 1]
        last_row, last_column = matrix.matrixHeight - 1, matrix.matrixWidth - 1
        if rows[1] < 0 or columns[1] < 0 or rows[0] > last_row or columns[0] > last_column:
            right, bottom = left + side_x * (last_column + 1), top - side_y * (last_row + 1)
            raise NotFound(
                f"the mosaic's area, x {x0:.0f} to {x1:.0f} and y {y0:.0f} to {y1:.0f}, lies outside {tms.id}, whose"
                f" matrices hold x {left:.0f} to {right:.0f} and y {bottom:.0f} to {top:.0f}; of a file check"
                " pointOfOrigin and orderedAxes"
            )
        row0, row1 = (min(max(r, 0), last_row) for r in rows)
        column0, column1 = (min(max(c, 0), last_column) for c in columns)
        out[zoom] = (row0, row1, column0, column1)
    return out
