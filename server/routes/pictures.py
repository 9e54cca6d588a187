"""Tiles and boxes, as pictures and as numbers."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request, Response

from terrazzo.crs import DEGREES
from terrazzo.errors import InvalidRequest, OutsideCoverage
from terrazzo.formats import offered
from terrazzo.mosaic.engine import tile_target
from terrazzo.mosaic.measure import choose
from terrazzo.request.boxes import box_of, numbers_of_box
from terrazzo.request.parameters import BOXED, MAPPED, PICTURE, SIZED, asked_names
from terrazzo.server.accept import preferred
from terrazzo.server.answer import PictureRequest
from terrazzo.server.boxes import box_target, map_size
from terrazzo.server.request import ASKED, beside, documented, parse_format
from terrazzo.server.routes.inputs import Corners, context_of, opened

router = APIRouter()
BOX = "/mosaics/{mosaic}/bbox/{bbox}"


@router.get("/mosaics/{mosaic}/tiles/{tms}/{z}/{x}/{tile}", tags=["Tiles"], openapi_extra=ASKED)
async def tile(
    request: Request,
    mosaic: str,
    tms: str,
    z: str,
    x: str,
    tile: Annotated[str, Path(description="{y}, {y}@2x, with .png, .jpg, .webp, .tif or .npy")],
) -> Response:
    """An XYZ tile.

    Beyond the last zoom of TileJSON the same pixels come larger, to the last one of the tile matrix set (24 of web
    mercator), and 404 after that.
    """
    return await _tile(request, mosaic, tms, z, x, tile)


async def _tile(
    request: Request, mosaic: str, tms: str, z: str, x: str, tile: str, named: Request | None = None
) -> Response:
    """A tile as `named` asks for it, if given; repeated answers are known by the address of `request`."""
    context = context_of(request)
    name, _, ending = tile.partition(".")
    form = parse_format(ending or "png")
    y, _, scale = name.partition("@")
    if scale not in ("", "1x", "2x"):
        raise InvalidRequest(f"@{scale}: use @2x or nothing")
    zoom, column, row = (_whole(v) for v in (z, x, y))

    def find() -> PictureRequest:
        engine, ask = opened(context, mosaic, named or request)
        matrix_set = context.grids.find(engine.version, tms)
        if zoom > matrix_set.maxzoom:
            matrix_set = context.grids.overzoomed(engine.version, tms)
        size = matrix_set.tileMatrices[0].tileWidth * (2 if scale == "2x" else 1)
        try:
            return PictureRequest(engine, ask, tile_target(matrix_set, column, row, zoom, size))
        except InvalidRequest as error:
            raise OutsideCoverage(str(error)) from None

    return await context.picture(request, find, form)


@router.get("/mosaics/{mosaic}/tiles/{tms}/{day}/{z}/{x}/{tile}", tags=["Tiles"], openapi_extra=ASKED)
async def tile_of_a_time(
    request: Request, mosaic: str, tms: str, day: str, z: str, x: str, tile: str
) -> Response:
    """An XYZ tile of a day, month or year, for time sliders that fill in templates: the same as with `datetime`."""
    if "datetime" in request.query_params:
        raise InvalidRequest("datetime: the address names the time already")
    query = urlencode([*request.query_params.multi_items(), ("datetime", day)]).encode()
    named = Request({**request.scope, "query_string": query}, request.receive)
    return await _tile(request, mosaic, tms, z, x, tile, named)


@router.get(
    "/collections/{mosaic}/map/tiles/{tms}/{matrix}/{row}/{column}.{form}",
    tags=["Tiles"],
    openapi_extra=ASKED,
    operation_id="mosaics.collection.map.getTile",
)
async def map_tile(
    request: Request, mosaic: str, tms: str, matrix: str, row: str, column: str, form: str
) -> Response:
    """A tile of a tile set (OGC API – Tiles): 404 outside the limits that the tile set names."""
    context, picture_format = context_of(request), parse_format(form)
    zoom, y, x = (_whole(v) for v in (matrix, row, column))

    def find() -> PictureRequest:
        engine, ask = opened(context, mosaic, request)
        matrix_set = context.grids.find(engine.version, tms)
        row0, row1, column0, column1 = context.grids.limits(engine.version, tms).get(zoom, (0, -1, 0, -1))
        if not (row0 <= y <= row1 and column0 <= x <= column1):
            raise OutsideCoverage(f"tile {zoom}/{y}/{x} lies outside the limits of {matrix_set.id}")
        size = matrix_set.tileMatrices[0].tileWidth
        return PictureRequest(engine, ask, tile_target(matrix_set, x, y, zoom, size))

    return await context.picture(request, find, picture_format)


@router.get(
    "/collections/{mosaic}/map",
    tags=["Boxes"],
    openapi_extra=documented(PICTURE, MAPPED),
    operation_id="mosaics.collection.getMap",
)
async def map_picture(request: Request, mosaic: str) -> Response:
    """A picture of a mosaic, or of a box, in degrees (OGC API – Maps)."""
    context, given = context_of(request), beside(request, MAPPED)
    media = [f.media for f in offered("tile").values()]
    picture_format = parse_format(
        given.get("f") or preferred(request.headers.get("accept", ""), media) or media[0]
    )
    about: dict[str, str] = {"Vary": "Accept"}

    def find() -> PictureRequest:
        engine, ask = opened(context, mosaic, request, asked_names(MAPPED))
        box = box_of(given.get("bbox", engine.version.bounds), DEGREES, engine.version.bounds)
        width, height = map_size(box, given.get("width"), given.get("height"))
        target = box_target(engine, box, DEGREES, None, width, height)
        about["Content-Bbox"] = ",".join(f"{v:.10g}" for v in target.bounds)
        if days := choose(engine, ask.measure).selection.days:
            about["Content-Datetime"] = "/".join(day.isoformat() for day in days)
        return PictureRequest(engine, ask, target)

    # Accept decides too, and more headers than a repeated answer has.
    answer = await context.picture(request, find, picture_format, repeatable=False)
    answer.headers.update(about)
    return answer


@router.get(BOX + ".{form}", tags=["Boxes"], openapi_extra=documented(PICTURE, SIZED))
async def box(request: Request, mosaic: str, bbox: Corners, form: str) -> Response:
    """A box as GeoTIFF or picture, at full resolution unless a size is given."""
    return await _box(request, mosaic, bbox, form, beside(request, SIZED))


@router.get(
    BOX + "/{width}x{height}.{form}",
    tags=["Boxes"],
    openapi_extra=documented(PICTURE, BOXED),
)
async def sized_box(
    request: Request, mosaic: str, bbox: Corners, form: str, width: int, height: int
) -> Response:
    """A box of a size."""
    size = {"width": width, "height": height}
    return await _box(request, mosaic, bbox, form, beside(request, BOXED) | size)


async def _box(request: Request, mosaic: str, bbox: str, form: str, given: dict[str, Any]) -> Response:
    context, picture_format = context_of(request), parse_format(form)
    crs, bounds = given.get("bbox_crs", DEGREES), numbers_of_box(bbox)
    # A size in the path leaves none for the query.
    own = BOXED if "width" in request.path_params else SIZED

    def find() -> PictureRequest:
        engine, ask = opened(context, mosaic, request, asked_names(own))
        size = (given.get(k) for k in ("width", "height", "max_size"))
        target = box_target(engine, box_of(bounds, crs, engine.version.bounds), crs, given.get("crs"), *size)
        return PictureRequest(engine, ask, target)

    return await context.picture(request, find, picture_format, name=f"{mosaic}.{picture_format}")


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidRequest(f"tile number {text!r}: a whole number")
    return int(text)
