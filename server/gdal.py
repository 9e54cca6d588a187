"""A mosaic as a raster that GIS programs open: a VRT with band names, scale and nodata over GDAL's tile client."""

from collections.abc import Sequence
from functools import lru_cache, reduce
from importlib.resources import files
from typing import Any

from jinja2 import Environment

from terrazzo.bands import NODATA, SCALE
from terrazzo.errors import InvalidRequest
from terrazzo.grid import PixelBox
from terrazzo.mosaic.request import CLASSES_BAND, Resolved
from terrazzo.server import grids
from terrazzo.version import Version


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("terrazzo.server.pages").joinpath("gdal.xml.j2").read_text())


def description(
    version: Version, asked: Resolved, epsg: int, address: str, interpolated: Sequence[str]
) -> str:
    """The description of one zone's pixels, one to one.

    GDAL's tile client knows no scale and no band names, so it lies inside a VRT, which cuts out whole windows that
    hold scenes: overviews of such a box are whole pixels.

    Args:
        address: of a tile, with GDAL's `${z}`, `${x}`, `${y}`.
        interpolated: of `stage=raw`, how the products' pixels were resampled to the store's.
    """
    grid = version.store.grid(epsg)
    tms = grids.zone_grid(epsg, grid.pixel)
    last = tms.tileMatrices[-1]
    left, top = grids.left_top(tms, tms.maxzoom)
    boxes = (e.scene.box for es in map(version.entries, version.periods) for e in es if e.scene.epsg == epsg)
    whole = reduce(PixelBox.union, boxes)
    bounds = grid.bounds(whole)
    of_reflectance = asked.stage not in ("raw", "mask")
    text: str = _template().render(
        epsg=epsg,
        address=address,
        bands=(CLASSES_BAND,) if asked.stage == "mask" else asked.bands,
        nodata=NODATA,
        scale=SCALE if of_reflectance else None,
        attribution=version.attribution,
        mosaic=version.mosaic_id,
        request=asked.text(),
        interpolated="; ".join(interpolated),
        pixel=grid.pixel,
        tile=last.tileWidth,
        level=tms.maxzoom,
        rows=tms.tileMatrices[0].matrixHeight,
        all=(
            left,
            top,
            left + last.matrixWidth * last.tileWidth * grid.pixel,
            top - last.matrixHeight * last.tileHeight * grid.pixel,
        ),
        matrix=(last.matrixWidth * last.tileWidth, last.matrixHeight * last.tileHeight),
        corner=(bounds.left, bounds.top),
        size=(whole.width, whole.height),
        offset=(round((bounds.left - left) / grid.pixel), round((top - bounds.top) / grid.pixel)),
    )
    return text


def zone_of(version: Version, name: str | None) -> int:
    """The zone of a grid's name, the first of the mosaic by default.

    Raises:
        InvalidRequest: the mosaic has no such grid.
    """
    known = {grids.own_name(z): z for z in version.zones}
    if name is None:
        return version.zones[0]
    if name not in known:
        raise InvalidRequest(f"tms={name}: the mosaic's own grids are {', '.join(known)}")
    return known[name]
