"""Tile matrix sets: the well-known ones, and the mosaic's own grid, ending where the data do."""

import math
from functools import lru_cache

import morecantile
from morecantile import TileMatrixSet
from pyproj import CRS

from terrazzo.errors import NotFound
from terrazzo.grid import Bounds, zone_epsg, zone_name
from terrazzo.mosaic.warp import transformer
from terrazzo.version import Version

WEB = "WebMercatorQuad"
OWN = "UTM"
"""The grid of a zone is called `UTM33N`."""
ALIASES = {"GoogleMapsCompatible": WEB, "EPSG:3857": WEB, "WGS84": "WorldCRS84Quad"}


def find(version: Version, name: str) -> TileMatrixSet:
    """A tile matrix set by name, cut off at the zoom that shows every pixel.

    Raises:
        NotFound: there is none of that name.
    """
    name = ALIASES.get(name, name)
    pixel = version.store.config.pixel
    if name.startswith(OWN) and name[len(OWN) :] in {zone_name(z) for z in version.zones}:
        return zone_grid(zone_epsg(name[len(OWN) :]), pixel)
    if name not in morecantile.tms.list():
        known = [WEB, *(own_name(z) for z in version.zones)]
        raise NotFound(
            f"there is no tile matrix set {name!r}; there are {', '.join(known)} and those under /tileMatrixSets"
        )
    return _cut(name, pixel, round((version.bounds.bottom + version.bounds.top) / 2))


def own_name(epsg: int) -> str:
    """Name of the tile matrix set of a zone grid."""
    return OWN + zone_name(epsg)


@lru_cache(maxsize=64)
def _cut(name: str, pixel: float, latitude: int) -> TileMatrixSet:
    """A well-known set without the zooms beyond the data's resolution."""
    tms = morecantile.tms.get(name)
    metres = (
        tms.crs._pyproj_crs.axis_info[0].unit_conversion_factor
        if not tms.crs._pyproj_crs.is_geographic
        else 111_319.49
    )
    stretch = 1 / math.cos(math.radians(latitude)) if name in (WEB, "WorldMercatorWGS84Quad") else 1.0
    last = next(
        (i for i, m in enumerate(tms.tileMatrices) if m.cellSize * metres <= pixel * stretch * 1.01),
        len(tms.tileMatrices) - 1,
    )
    return tms.model_copy(update={"tileMatrices": tms.tileMatrices[: last + 1]})


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
    return TileMatrixSet.custom(
        extent=[0.0, top - rows * side, side, top],
        crs=CRS.from_epsg(epsg),
        matrix_scale=[1, rows],
        minzoom=0,
        maxzoom=levels,
        id=own_name(epsg),
        title=f"Pixel grid of UTM zone {zone_name(epsg)}",
    )


def limits(tms: TileMatrixSet, bounds: Bounds) -> dict[int, tuple[int, int, int, int]]:
    """First and last row and column of the tiles that touch an area in degrees, by zoom."""
    crs = tms.crs._pyproj_crs
    to_set = transformer("EPSG:4326", ":".join(crs.to_authority()) if crs.to_authority() else crs.to_wkt())
    x0, y0, x1, y1 = to_set.transform_bounds(*bounds, densify_pts=21)
    out = {}
    for matrix in tms.tileMatrices:
        side_x, side_y = matrix.cellSize * matrix.tileWidth, matrix.cellSize * matrix.tileHeight
        origin = matrix.pointOfOrigin
        left, top = (origin[1], origin[0]) if tms._invert_axis else origin
        columns = [math.floor((x - left) / side_x) for x in (x0, x1)]
        rows = [math.floor((top - y) / side_y) for y in (y1, y0)]
        last_row, last_column = matrix.matrixHeight - 1, matrix.matrixWidth - 1
        out[int(matrix.id)] = (
            *(min(max(r, 0), last_row) for r in rows),
            *(min(max(c, 0), last_column) for c in columns),
        )
    return out
