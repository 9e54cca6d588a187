"""The endpoints of WMTS; KVP and REST end in the same functions."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from terrazzo.bands import STYLES
from terrazzo.config import Period, day_interval
from terrazzo.errors import InvalidRequest, NotFound, OutsideCoverage
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.measure import choose
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.selection import newest_period
from terrazzo.mosaic.warp import transformer
from terrazzo.server.answer import Desk, Job, document
from terrazzo.server.explain import Account, account, as_document, as_page, as_text, rows
from terrazzo.server.factory import desk_of
from terrazzo.server.keys import key_query
from terrazzo.server.layers import LAYERS
from terrazzo.server.layers import legend as layer_legend
from terrazzo.server.request import PARAMETERS, only, parse_ask
from terrazzo.server.urls import public_base
from terrazzo.server.wmts import offers
from terrazzo.server.wmts.capabilities import INFO_FORMATS, capabilities
from terrazzo.server.wmts.errors import OwsException, report
from terrazzo.server.wmts.legend import classes_legend, legend
from terrazzo.server.wmts.offers import CLASSES, FORMATS
from terrazzo.version import Version

router = APIRouter(tags=["WMTS"])
REST = "/mosaics/{mosaic}/wmts/1.0.0"
SECTIONS = ("ServiceIdentification", "ServiceProvider", "OperationsMetadata", "Contents", "Themes")
XML = ("application/xml", "text/xml")
DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
KNOWN = {
    "service", "request", "version", "layer", "style", "format", "tilematrixset", "tilematrix", "tilerow",
    "tilecol", "time", "i", "j", "infoformat", "acceptversions", "sections", "acceptformats", "updatesequence",
}  # fmt: skip
FURTHER = set(PARAMETERS) - {"style", "version"}
"""Parameters of tiles that WMTS takes besides its own; it has a style and a version itself."""


@dataclass(frozen=True)
class Place:
    """A tile as WMTS names it, and what is asked of it beside."""

    layer: str
    style: str
    time: str | None
    matrix_set: str
    matrix: str
    row: str
    col: str
    asked: Mapping[str, str]


def _kvp(request: Request) -> dict[str, str]:
    """Parameters by lower-case name; unknown ones and stray ? and & do no harm, as the standard asks."""
    pairs = ((k.lstrip("?&").lower(), v) for k, v in request.query_params.items())
    return {k: v for k, v in pairs if k in KNOWN}


def _further(request: Request) -> dict[str, str]:
    """What is asked of tiles beside WMTS's own parameters."""
    pairs = ((k.lstrip("?&").lower(), v) for k, v in request.query_params.items())
    return {k: v for k, v in pairs if k in FURTHER and v}


def _need(query: Mapping[str, str], name: str) -> str:
    value = query.get(name.lower())
    if not value:
        raise OwsException("MissingParameterValue", name, f"the parameter {name} is missing")
    return value


async def _answer(work: Callable[[], Awaitable[Response]], *, rest: bool) -> Response:
    try:
        return await work()
    except OwsException as error:
        return report(error, rest=rest)
    except OutsideCoverage as error:
        return report(OwsException("TileOutOfRange", "TileMatrix", str(error)), rest=rest)
    except InvalidRequest as error:
        return report(OwsException("InvalidParameterValue", None, str(error)), rest=rest)


@router.get("/mosaics/{mosaic}/wmts")
async def kvp(request: Request, mosaic: str) -> Response:
    """WMTS by key-value pairs; without any, the capabilities document."""
    return await _by_pairs(request, mosaic, "")


@router.get("/mosaics/{mosaic}/wmts/{document}")
async def further_kvp(request: Request, mosaic: str, document: str) -> Response:
    """The same of a further document: all periods, where pixels come from, every stage."""
    return await _by_pairs(request, mosaic, _known_document(document))


async def _by_pairs(request: Request, mosaic: str, document: str) -> Response:
    async def work() -> Response:
        query = _kvp(request)
        if not query:
            return await _capabilities(request, mosaic, document, {})
        service = _need(query, "Service")
        if service.upper() != "WMTS":
            raise OwsException("InvalidParameterValue", "Service", f"service {service!r}: WMTS")
        operation = _need(query, "Request")
        name = operation.lower()
        if name == "getcapabilities":
            return await _capabilities(request, mosaic, document, query)
        if name not in ("gettile", "getfeatureinfo"):
            raise OwsException(
                "OperationNotSupported", operation, f"{operation}: GetCapabilities, GetTile or GetFeatureInfo"
            )
        if _need(query, "Version") != "1.0.0":
            raise OwsException("InvalidParameterValue", "Version", f"version {query['version']!r}: 1.0.0")
        if "style" not in query:
            raise OwsException("MissingParameterValue", "Style", "the parameter Style is missing")
        place = Place(
            _need(query, "Layer"),
            query["style"],
            query.get("time"),
            _need(query, "TileMatrixSet"),
            _need(query, "TileMatrix"),
            _need(query, "TileRow"),
            _need(query, "TileCol"),
            _further(request),
        )
        if name == "gettile":
            return await _tile(request, mosaic, place, _ending(FORMATS, _need(query, "Format"), "Format"))
        ending = _ending(INFO_FORMATS, query.get("infoformat") or "text/html", "InfoFormat")
        return await _info(request, mosaic, place, _need(query, "I"), _need(query, "J"), ending)

    return await _answer(work, rest=False)


@router.get(REST + "/WMTSCapabilities.xml")
async def rest_capabilities(request: Request, mosaic: str) -> Response:
    """The capabilities document."""
    return await _answer(lambda: _capabilities(request, mosaic, "", {}), rest=True)


@router.get("/mosaics/{mosaic}/wmts/{document}/1.0.0/WMTSCapabilities.xml")
async def further_rest_capabilities(request: Request, mosaic: str, document: str) -> Response:
    """A further capabilities document: time, quality or stages."""
    name = _known_document(document)
    return await _answer(lambda: _capabilities(request, mosaic, name, {}), rest=True)


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
    place = Place(layer, style, None, matrix_set, matrix, row, col, _further(request))
    return await _answer(lambda: _tile(request, mosaic, place, _known(FORMATS, ending, "Format")), rest=True)


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
    if layer != f"{mosaic}_time":
        # The same number of segments: {row}/{col}/{j}/{i} of the layer without time is one more.
        return await _answer(lambda: _refuse_layer(layer), rest=True)
    place = Place(layer, style, time, matrix_set, matrix, row, col, _further(request))
    return await _answer(lambda: _tile(request, mosaic, place, _known(FORMATS, ending, "Format")), rest=True)


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
    place = Place(layer, style, None, matrix_set, matrix, row, col, _further(request))
    return await _answer(
        lambda: _info(request, mosaic, place, i, j, _known(INFO_FORMATS, ending, "InfoFormat")), rest=True
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
    place = Place(layer, style, time, matrix_set, matrix, row, col, _further(request))
    return await _answer(
        lambda: _info(request, mosaic, place, i, j, _known(INFO_FORMATS, ending, "InfoFormat")), rest=True
    )


@router.get("/mosaics/{mosaic}/legend/{style}.png")
async def style_legend(
    request: Request,
    mosaic: str,
    style: str,
    datetime: Annotated[
        str | None, Query(description="as of tiles; what the days at the ends of `date` are of")
    ] = None,
) -> Response:
    """The legend of a style."""
    only(request.query_params, ("datetime",))
    desk = desk_of(request)

    def days() -> tuple[str, str]:
        engine = desk.mosaics.engine(mosaic)
        entries = engine.select(PixelRequest(engine.version.bands, datetime=datetime)).entries
        shown = sorted(e.scene.datetime.date().isoformat() for e in entries)
        return (shown[0], shown[-1]) if shown else ("no scene", "")

    known: dict[str, Callable[[], bytes]] = {
        **{name: lambda s=s: legend(s) for name, s in STYLES.items()},  # type: ignore[misc]
        **{name: lambda v=v: layer_legend(v) for name, v in LAYERS.items()},  # type: ignore[misc]
        "date": lambda: layer_legend(LAYERS["date"], days()),
        CLASSES: classes_legend,
    }
    if style not in known:
        raise NotFound(f"there is no style {style!r}; there are {', '.join(known)}")
    seconds = 60 if style == "date" else 86400
    return Response(
        await desk.look(known[style]),
        media_type="image/png",
        headers={"Cache-Control": f"public, max-age={seconds}"},
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


def _known_document(document: str) -> str:
    if document not in offers.DOCUMENTS:
        raise NotFound(f"there is no document {document!r}; there are {', '.join(offers.DOCUMENTS)}")
    return document


async def _capabilities(
    request: Request, mosaic: str, document_name: str, query: Mapping[str, str]
) -> Response:
    accepted = [v.strip() for v in query.get("acceptversions", "").split(",") if v.strip()]
    if accepted and "1.0.0" not in accepted:
        raise OwsException("VersionNegotiationFailed", None, "this server speaks version 1.0.0")
    wanted = {v.strip() for v in query.get("sections", "").split(",") if v.strip()} or {"All"}
    if unknown := wanted - {*SECTIONS, "All"}:
        raise OwsException(
            "InvalidParameterValue",
            "Sections",
            f"sections {', '.join(sorted(unknown))}: {', '.join(SECTIONS)}, All",
        )
    sections = SECTIONS if "All" in wanted else tuple(s for s in SECTIONS if s in wanted)
    media = next(
        (v.strip() for v in query.get("acceptformats", "").split(",") if v.strip() in XML), "application/xml"
    )
    desk = desk_of(request)
    base, asked = public_base(request), _further(request)

    def written() -> str:
        engine = desk.mosaics.engine(mosaic)
        version = engine.version
        if asked:
            choose(engine, parse_ask(asked, version).measure)
        sequence = query.get("updatesequence")
        if sequence and sequence > version.name:
            # Names are hashes, without an order: whatever is still there is no newer than the current one.
            try:
                desk.mosaics.engine(mosaic, sequence)
            except NotFound:
                raise OwsException(
                    "InvalidUpdateSequence", None, f"update sequence {sequence!r} is none of this mosaic's"
                ) from None
        shown = () if sequence == version.name else sections
        sets = [desk.grids.find(version, name) for name in desk.grids.names(version)]
        return capabilities(
            version, base, desk.settings, sets, document_name, shown, key_query(request), urlencode(asked)
        )

    return document(request, await desk.look(written), media, desk.settings)


def _found(desk: Desk, mosaic: str, place: Place) -> Job:
    """The engine, what it is asked, and the pixels, of a tile that WMTS names."""
    engine = desk.mosaics.engine(mosaic)
    version = engine.version
    known = offers.layers(version)
    if place.layer not in known:
        raise OwsException("InvalidParameterValue", "Layer", f"layer {place.layer!r}: {', '.join(known)}")
    layer = known[place.layer]
    names = [s.name for s in layer.styles]
    # The documents list few, for dialogs; every style of the mosaic can be had by its name.
    others = [] if CLASSES in names else [s.name for s in offers.origin_styles() if s.name not in names]
    style = names[0] if place.style in ("", "default") else place.style
    if style not in (*names, *others):
        raise OwsException(
            "InvalidParameterValue", "Style", f"style {style!r}: {', '.join((*names, *others))}"
        )
    query = dict(layer.asked)
    if style != CLASSES and not (
        place.style in ("", "default") and {"bands", "expression"} & set(place.asked)
    ):
        query["style"] = style
    if layer.periods:
        query["datetime"] = period_of(version, place.time).name
    for name, value in place.asked.items():
        if query.setdefault(name, value) != value:
            raise OwsException(
                "InvalidParameterValue",
                name,
                f"{name}={value}: layer {layer.id} has {name}={query[name]}; take {mosaic}",
            )
    try:
        matrix_set = desk.grids.find(version, place.matrix_set)
    except NotFound as error:
        raise OwsException("InvalidParameterValue", "TileMatrixSet", str(error)) from None
    if place.matrix not in {m.id for m in matrix_set.tileMatrices}:
        last = matrix_set.tileMatrices[-1].id
        raise OwsException("InvalidParameterValue", "TileMatrix", f"matrix {place.matrix!r}: 0 to {last}")
    row, col = (_number(v, n) for v, n in ((place.row, "TileRow"), (place.col, "TileCol")))
    matrix = matrix_set.matrix(int(place.matrix))
    for value, most, name in ((row, matrix.matrixHeight, "TileRow"), (col, matrix.matrixWidth, "TileCol")):
        if not 0 <= value < most:
            raise OwsException("TileOutOfRange", name, f"{name} {value}: 0 to {most - 1}")
    return Job(engine, parse_ask(query, version), tile_target(matrix_set, col, row, int(place.matrix)))


def period_of(version: Version, value: str | None) -> Period:
    """The period a Time value means: the newest without one, else that in which a day, month or year lies.

    Raises:
        OwsException: no date, or none in exactly one period.
    """
    if value in (None, "", "default"):
        return newest_period(version)
    periods = offers.periods(version)
    known = ", ".join(p.start.isoformat() for p in sorted(periods, key=lambda p: p.start))
    if not DATE.fullmatch(str(value)):
        raise OwsException("InvalidParameterValue", "Time", f"time {value!r}: a date such as {known}")
    try:
        first, last = day_interval(str(value))
    except InvalidRequest as error:
        raise OwsException("InvalidParameterValue", "Time", str(error)) from None
    touched = [p for p in periods if first and last and p.start <= last and first <= p.end]
    if len(touched) != 1:
        told = "spans several periods" if touched else "lies in no period"
        raise OwsException("InvalidParameterValue", "Time", f"time {value} {told}; there are {known}")
    return touched[0]


def _number(text: str, locator: str) -> int:
    if not text.lstrip("-").isdecimal() or len(text) > 9:
        raise OwsException("InvalidParameterValue", locator, f"{locator} {text!r}: a whole number")
    return int(text)


async def _tile(request: Request, mosaic: str, place: Place, ending: str) -> Response:
    desk = desk_of(request)
    return await desk.picture(request, lambda: _found(desk, mosaic, place), ending)  # type: ignore[arg-type]


async def _info(request: Request, mosaic: str, place: Place, i: str, j: str, ending: str) -> Response:
    desk = desk_of(request)
    col, row = _number(i, "I"), _number(j, "J")

    def told() -> str:
        job = _found(desk, mosaic, place)
        target = job.target
        for value, most, name in ((col, target.width, "I"), (row, target.height, "J")):
            if not 0 <= value < most:
                raise OwsException("PointIJOutOfRange", name, f"{name} {value}: 0 to {most - 1}")
        dx, dy = target.resolution
        x, y = target.bounds.left + (col + 0.5) * dx, target.bounds.top - (row + 0.5) * dy
        lon, lat = transformer(target.crs, "EPSG:4326").transform(x, y)
        try:
            found = account(job.engine, job.ask, lon, lat)
        except OutsideCoverage as error:
            return _told(job.engine, None, lon, lat, ending, str(error))
        return _told(job.engine, found, lon, lat, ending)

    return Response(
        await desk.work(request, told), media_type=INFO_FORMATS[ending], headers={"Cache-Control": "no-cache"}
    )


def _told(engine: Engine, told: Account | None, lon: float, lat: float, ending: str, detail: str = "") -> str:
    """The answer in a format: JSON as GeoJSON, which QGIS reads as a feature; HTML well-formed, for GDAL."""
    if ending == "html":
        return as_page(engine, told, lon, lat, detail)
    if ending == "txt":
        return f"detail: {detail}\n" if told is None else as_text(engine, told)
    properties: dict[str, Any] = {"detail": detail}
    if told is not None:
        document = as_document(engine, told, lon, lat)
        properties = rows(told) | {
            "version": document["version"],
            "attribution": document["attribution"],
            "candidates": document["candidates"],
            "path": document["path"],
            "source": document["source"],
            **{k: document[k] for k in ("change", "baseline") if k in document},
        }
    geometry = {"type": "Point", "coordinates": [lon, lat]}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})
