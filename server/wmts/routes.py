"""The endpoints of WMTS; KVP and REST end in the same functions."""

import html
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pyproj import Transformer

from server import grids
from server.answer import Desk, matches
from server.factory import desk_of, point_values
from server.request import Ask, parse_ask
from server.urls import public_base
from server.wmts.capabilities import FORMATS, INFO_FORMATS, capabilities, styles
from server.wmts.errors import OwsException, report
from server.wmts.legend import legend
from terrazzo.bands import STYLES
from terrazzo.cells import digest
from terrazzo.errors import InvalidRequest, NotFound, OutsideCoverage, TerrazzoError
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.selection import newest_period
from terrazzo.mosaic.warp import Target

router = APIRouter(tags=["WMTS"])
REST = "/mosaics/{mosaic}/wmts/1.0.0"
KNOWN = {
    "service", "request", "version", "layer", "style", "format", "tilematrixset", "tilematrix", "tilerow",
    "tilecol", "time", "i", "j", "infoformat", "acceptversions", "sections", "acceptformats", "updatesequence",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A tile as WMTS names it."""

    layer: str
    style: str
    time: str | None
    matrix_set: str
    matrix: str
    row: str
    col: str


def _kvp(request: Request) -> dict[str, str]:
    """Parameters by lower-case name; stray ? and & that clients leave do no harm."""
    return {
        k.lstrip("?").lower(): v for k, v in request.query_params.items() if k.lstrip("?").lower() in KNOWN
    }


def _need(query: Mapping[str, str], name: str) -> str:
    value = query.get(name.lower())
    if not value:
        raise OwsException("MissingParameterValue", name, f"the parameter {name} is missing")
    return value


async def _answer(work: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await work()
    except OwsException as error:
        return report(error)
    except TerrazzoError as error:
        code = "InvalidParameterValue" if isinstance(error, InvalidRequest | NotFound) else "NoApplicableCode"
        return report(OwsException(code, "request", str(error)))


@router.get("/mosaics/{mosaic}/wmts")
async def kvp(request: Request, mosaic: str) -> Response:
    """WMTS by key-value pairs."""

    async def work() -> Response:
        query = _kvp(request)
        service = query.get("service", "WMTS")
        if service.upper() != "WMTS":
            raise OwsException("InvalidParameterValue", "Service", f"service {service!r}: WMTS")
        operation = query.get("request", "GetCapabilities" if not query else "")
        if not operation:
            raise OwsException("MissingParameterValue", "Request", "the parameter Request is missing")
        name = operation.lower()
        if name == "getcapabilities":
            accepted = query.get("acceptversions")
            if accepted and "1.0.0" not in accepted.split(","):
                raise OwsException("VersionNegotiationFailed", "AcceptVersions", "this server speaks 1.0.0")
            return await _capabilities(request, mosaic)
        if name not in ("gettile", "getfeatureinfo"):
            raise OwsException(
                "OperationNotSupported", "Request", f"{operation}: GetCapabilities, GetTile or GetFeatureInfo"
            )
        place = Place(
            _need(query, "Layer"),
            query.get("style", ""),
            query.get("time"),
            _need(query, "TileMatrixSet"),
            _need(query, "TileMatrix"),
            _need(query, "TileRow"),
            _need(query, "TileCol"),
        )
        if name == "gettile":
            return await _tile(request, mosaic, place, _ending(FORMATS, _need(query, "Format"), "Format"))
        ending = _ending(INFO_FORMATS, query.get("infoformat") or "text/html", "InfoFormat")
        return await _info(request, mosaic, place, _need(query, "I"), _need(query, "J"), ending)

    return await _answer(work)


@router.get(REST + "/WMTSCapabilities.xml")
async def rest_capabilities(request: Request, mosaic: str) -> Response:
    """The capabilities document."""
    return await _answer(lambda: _capabilities(request, mosaic))


@router.get(REST + "/{layer}/{style}/{matrix_set}/{matrix}/{row}/{col}.{ending}")
async def rest_tile(
    request: Request,
    mosaic: str,
    layer: str,
    style: str,
    matrix_set: str,
    matrix: str,
    row: str,
    col: str,
    ending: str,
) -> Response:
    """A tile of the layer without time."""
    place = Place(layer, style, None, matrix_set, matrix, row, col)
    return await _answer(lambda: _tile(request, mosaic, place, _known(FORMATS, ending, "Format")))


@router.get(REST + "/{layer}/{style}/{time}/{matrix_set}/{matrix}/{row}/{col}.{ending}")
async def rest_tile_of_time(
    request: Request,
    mosaic: str,
    layer: str,
    style: str,
    time: str,
    matrix_set: str,
    matrix: str,
    row: str,
    col: str,
    ending: str,
) -> Response:
    """A tile of the time layer."""
    if not layer.endswith("_time"):
        # The same number of segments: {row}/{col}/{j}/{i} of the layer without time is one more.
        return await _answer(lambda: _refuse_layer(layer))
    place = Place(layer, style, time, matrix_set, matrix, row, col)
    return await _answer(lambda: _tile(request, mosaic, place, _known(FORMATS, ending, "Format")))


@router.get(REST + "/{layer}/{style}/{matrix_set}/{matrix}/{row}/{col}/{j}/{i}.{ending}")
async def rest_info(
    request: Request,
    mosaic: str,
    layer: str,
    style: str,
    matrix_set: str,
    matrix: str,
    row: str,
    col: str,
    j: str,
    i: str,
    ending: str,
) -> Response:
    """What lies under a pixel of the layer without time."""
    place = Place(layer, style, None, matrix_set, matrix, row, col)
    return await _answer(
        lambda: _info(request, mosaic, place, i, j, _known(INFO_FORMATS, ending, "InfoFormat"))
    )


@router.get(REST + "/{layer}/{style}/{time}/{matrix_set}/{matrix}/{row}/{col}/{j}/{i}.{ending}")
async def rest_info_of_time(
    request: Request,
    mosaic: str,
    layer: str,
    style: str,
    time: str,
    matrix_set: str,
    matrix: str,
    row: str,
    col: str,
    j: str,
    i: str,
    ending: str,
) -> Response:
    """What lies under a pixel of the time layer."""
    place = Place(layer, style, time, matrix_set, matrix, row, col)
    return await _answer(
        lambda: _info(request, mosaic, place, i, j, _known(INFO_FORMATS, ending, "InfoFormat"))
    )


@router.get("/mosaics/{mosaic}/legend/{style}.png")
async def style_legend(request: Request, mosaic: str, style: str) -> Response:
    """The legend of a style."""
    if style not in STYLES:
        raise NotFound(f"there is no style {style!r}; there are {', '.join(STYLES)}")
    return Response(
        legend(STYLES[style]), media_type="image/png", headers={"Cache-Control": "public, max-age=86400"}
    )


async def _refuse_layer(layer: str) -> Response:
    raise OwsException("InvalidParameterValue", "Layer", f"layer {layer!r} has no Time")


def _ending(formats: Mapping[str, str], media: str, locator: str) -> str:
    for ending, name in formats.items():
        if media.lower() in (name, ending):
            return ending
    raise OwsException("InvalidParameterValue", locator, f"{media!r}: {', '.join(formats.values())}")


def _known(formats: Mapping[str, str], ending: str, locator: str) -> str:
    return _ending(formats, ending.lower().replace("jpeg", "jpg"), locator)


async def _capabilities(request: Request, mosaic: str) -> Response:
    desk = desk_of(request)
    engine = desk.mosaics.engine(mosaic)
    text = capabilities(engine.version, public_base(request, desk.settings), desk.settings)
    etag = f'"{digest(text.encode()).hex()}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={desk.settings.max_age}"}
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(text, media_type="application/xml", headers=headers)


def _asked(desk: Desk, mosaic: str, place: Place) -> tuple[Engine, Ask, Target]:
    """The engine, what it is asked, and the pixels, of a tile that WMTS names."""
    engine = desk.mosaics.engine(mosaic)
    version = engine.version
    if place.layer not in (mosaic, f"{mosaic}_time"):
        raise OwsException(
            "InvalidParameterValue", "Layer", f"layer {place.layer!r}: {mosaic} or {mosaic}_time"
        )
    names = [s.name for s in styles(version)]
    style = names[0] if place.style in ("", "default") else place.style
    if style not in names:
        raise OwsException("InvalidParameterValue", "Style", f"style {style!r}: {', '.join(names)}")
    query = {"style": style}
    if place.layer.endswith("_time") and place.layer != mosaic:
        query["datetime"] = _time(engine, place.time)
    try:
        matrix_set = grids.find(version, place.matrix_set)
    except NotFound as error:
        raise OwsException("InvalidParameterValue", "TileMatrixSet", str(error)) from None
    if place.matrix not in {m.id for m in matrix_set.tileMatrices}:
        raise OwsException("InvalidParameterValue", "TileMatrix", f"no matrix {place.matrix!r}")
    row, col = (_number(v, n) for v, n in ((place.row, "TileRow"), (place.col, "TileCol")))
    matrix = matrix_set.matrix(int(place.matrix))
    for value, most, name in ((row, matrix.matrixHeight, "TileRow"), (col, matrix.matrixWidth, "TileCol")):
        if not 0 <= value < most:
            raise OwsException("TileOutOfRange", name, f"{name} {value}: 0 to {most - 1}")
    return engine, parse_ask(query, version), tile_target(matrix_set, col, row, int(place.matrix))


def _time(engine: Engine, value: str | None) -> str:
    """The period a Time value means: its first day, or a day, month or year inside it."""
    periods = [p for p in engine.version.periods.values() if not p.members]
    if value in (None, "", "default", "current"):
        return newest_period(engine.version).name
    for period in periods:
        if value in (period.name, period.start.isoformat()):
            return period.name
    try:
        request = parse_ask({"datetime": str(value)}, engine.version).pixels
        return engine.select(request).request.period
    except InvalidRequest as error:
        raise OwsException("InvalidParameterValue", "Time", str(error)) from None


def _number(text: str, locator: str) -> int:
    if not text.lstrip("-").isdecimal() or len(text) > 9:
        raise OwsException("InvalidParameterValue", locator, f"{locator} {text!r}: a whole number")
    return int(text)


async def _tile(request: Request, mosaic: str, place: Place, ending: str) -> Response:
    desk = desk_of(request)
    engine, ask, target = _asked(desk, mosaic, place)
    return await desk.picture(request, engine, ask, target, ending)  # type: ignore[arg-type]


async def _info(request: Request, mosaic: str, place: Place, i: str, j: str, ending: str) -> Response:
    desk = desk_of(request)
    engine, ask, target = _asked(desk, mosaic, place)
    col, row = _number(i, "I"), _number(j, "J")
    for value, most, name in ((col, target.width, "I"), (row, target.height, "J")):
        if not 0 <= value < most:
            raise OwsException("PointIJOutOfRange", name, f"{name} {value}: 0 to {most - 1}")
    dx, dy = target.resolution
    x, y = target.bounds.left + (col + 0.5) * dx, target.bounds.top - (row + 0.5) * dy
    lon, lat = Transformer.from_crs(target.crs, "EPSG:4326", always_xy=True).transform(x, y)
    try:
        found = await desk.work(lambda: point_values(engine, ask, lon, lat))
    except OutsideCoverage as error:
        found = {"coordinates": [lon, lat], "values": [], "detail": str(error)}
    return Response(
        _told(found, ending), media_type=INFO_FORMATS[ending], headers={"Cache-Control": "no-cache"}
    )


def _told(found: dict[str, Any], ending: str) -> str:
    """The answer in a format: JSON as GeoJSON, which QGIS reads as a feature; HTML well-formed, for GDAL."""
    rows = dict(zip(found.get("band_names", ()), found["values"], strict=False)) | {
        k: v for k, v in found.items() if k not in ("band_names", "values", "coordinates")
    }
    if ending == "json":
        geometry = {"type": "Point", "coordinates": found["coordinates"]}
        feature = {"type": "Feature", "geometry": geometry, "properties": rows}
        return json.dumps({"type": "FeatureCollection", "features": [feature]})
    if ending == "txt":
        return "\n".join(f"{k}: {v}" for k, v in rows.items()) + "\n"
    cells = "".join(
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items()
    )
    return (
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/><title>Pixel</title></head>'
        f"<body><table>{cells}</table></body></html>"
    )
