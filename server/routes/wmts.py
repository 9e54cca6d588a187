"""The endpoints of WMTS; KVP and REST end in the same functions."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from terrazzo.bands import STYLES
from terrazzo.errors import InvalidRequest, NotFound, OutsideCoverage
from terrazzo.formats import Interface, format_of, offered
from terrazzo.mosaic.measure import choose
from terrazzo.mosaic.request import PixelRequest
from terrazzo.request.parameters import DATETIME, table
from terrazzo.request.parse import joined
from terrazzo.server.answer import document
from terrazzo.server.keys import key_query
from terrazzo.server.layers import LAYERS
from terrazzo.server.layers import legend as layer_legend
from terrazzo.server.request import beside, documented, only, parse_ask, parse_format
from terrazzo.server.routes.inputs import context_of
from terrazzo.server.urls import public_base
from terrazzo.server.wmts import offers
from terrazzo.server.wmts.capabilities import INFO_FORMATS, capabilities
from terrazzo.server.wmts.errors import OwsException, report
from terrazzo.server.wmts.info import feature_info
from terrazzo.server.wmts.legend import classes_legend, legend
from terrazzo.server.wmts.offers import CLASSES
from terrazzo.server.wmts.tiles import FURTHER, WmtsTile, picture_of, whole

router = APIRouter(tags=["WMTS"])
LEGENDS = table((replace(DATETIME, meaning=f"of the style `date`, whose days it shows: {DATETIME.meaning}"),))
REST = "/mosaics/{mosaic}/wmts/1.0.0"
SECTIONS = ("ServiceIdentification", "ServiceProvider", "OperationsMetadata", "Contents", "Themes")
XML = ("application/xml", "text/xml")
KNOWN = {
    "service", "request", "version", "layer", "style", "format", "tilematrixset", "tilematrix", "tilerow",
    "tilecol", "time", "i", "j", "infoformat", "acceptversions", "sections", "acceptformats", "updatesequence",
}  # fmt: skip


@dataclass(frozen=True)
class RestTile:
    """A tile in an address of the resource-oriented style."""

    layer: str
    style: str
    matrix_set: str
    matrix: str
    row: str
    col: str

    def tile(self, request: Request, time: str | None = None) -> WmtsTile:
        """The tile with what is asked of it beside."""
        return WmtsTile(**asdict(self), time=time, asked=_further(request))


def _kvp(request: Request) -> dict[str, str]:
    """Parameters by lower-case name; unknown ones and stray ? and & do no harm, as the standard asks."""
    pairs = ((k.lstrip("?&").lower(), v) for k, v in request.query_params.items())
    return {k: v for k, v in pairs if k in KNOWN}


def _further(request: Request) -> tuple[tuple[str, str], ...]:
    """What is asked of tiles beside WMTS's own parameters, pair by pair."""
    pairs = ((k.lstrip("?&").lower(), v) for k, v in request.query_params.multi_items())
    return tuple((k, v) for k, v in pairs if k in FURTHER)


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
        tile = WmtsTile(
            layer=_need(query, "Layer"),
            style=query["style"],
            matrix_set=_need(query, "TileMatrixSet"),
            matrix=_need(query, "TileMatrix"),
            row=_need(query, "TileRow"),
            col=_need(query, "TileCol"),
            time=query.get("time"),
            asked=_further(request),
        )
        if name == "gettile":
            return await _tile(request, mosaic, tile, _ending("wmts", _need(query, "Format"), "Format"))
        ending = _ending("account", query.get("infoformat") or "text/html", "InfoFormat")
        return await _info(request, mosaic, tile, _need(query, "I"), _need(query, "J"), ending)

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
    rest: Annotated[RestTile, Depends()],
    ending: str,
) -> Response:
    """A tile of the layer without time."""
    tile = rest.tile(request)
    return await _answer(lambda: _tile(request, mosaic, tile, _ending("wmts", ending, "Format")), rest=True)


@router.get(REST + "/{layer}/{style}/{time}/{matrix_set}/{matrix}/{row}/{col}.{ending}")
async def rest_tile_of_time(
    request: Request,
    mosaic: str,
    rest: Annotated[RestTile, Depends()],
    time: str,
    ending: str,
) -> Response:
    """A tile of the time layer."""
    if rest.layer != f"{mosaic}_time":
        # The same number of segments: {row}/{col}/{j}/{i} of the layer without time is one more.
        return await _answer(lambda: _refuse_layer(rest.layer), rest=True)
    tile = rest.tile(request, time)
    return await _answer(lambda: _tile(request, mosaic, tile, _ending("wmts", ending, "Format")), rest=True)


@router.get(REST + "/{layer}/{style}/{matrix_set}/{matrix}/{row}/{col}/{j}/{i}.{ending}")
async def rest_info(
    request: Request,
    mosaic: str,
    rest: Annotated[RestTile, Depends()],
    j: str,
    i: str,
    ending: str,
) -> Response:
    """What lies under a pixel of the layer without time."""
    tile = rest.tile(request)
    return await _answer(
        lambda: _info(request, mosaic, tile, i, j, _ending("account", ending, "InfoFormat")), rest=True
    )


@router.get(REST + "/{layer}/{style}/{time}/{matrix_set}/{matrix}/{row}/{col}/{j}/{i}.{ending}")
async def rest_info_of_time(
    request: Request,
    mosaic: str,
    rest: Annotated[RestTile, Depends()],
    time: str,
    j: str,
    i: str,
    ending: str,
) -> Response:
    """What lies under a pixel of the time layer."""
    tile = rest.tile(request, time)
    return await _answer(
        lambda: _info(request, mosaic, tile, i, j, _ending("account", ending, "InfoFormat")), rest=True
    )


@router.get("/mosaics/{mosaic}/legend/{style}.png", openapi_extra=documented(LEGENDS))
async def style_legend(request: Request, mosaic: str, style: str) -> Response:
    """The legend of a style."""
    only(request.query_params, LEGENDS)
    when = beside(request, LEGENDS).get("datetime")
    context = context_of(request)

    def days() -> tuple[str, str]:
        engine = context.mosaics.engine(mosaic)
        entries = engine.select(PixelRequest(engine.version.bands, datetime=when)).entries
        shown = sorted(e.scene.datetime.date().isoformat() for e in entries)
        return (shown[0], shown[-1]) if shown else ("no scene", "")

    known: dict[str, Callable[[], bytes]] = {
        **{name: partial(legend, style) for name, style in STYLES.items()},
        **{name: partial(layer_legend, layer) for name, layer in LAYERS.items()},
        CLASSES: classes_legend,
    }
    if style not in known:
        raise NotFound(f"there is no style {style!r}; there are {', '.join(known)}")

    def drawn() -> bytes:
        # A time that there is not is refused by every style, though only one shows it.
        ends = days() if when or style == "date" else ("", "")
        return layer_legend(LAYERS["date"], ends) if style == "date" else known[style]()

    seconds = 60 if style == "date" else 86400
    return Response(
        await context.look(drawn),
        media_type="image/png",
        headers={"Cache-Control": f"public, max-age={seconds}"},
    )


async def _refuse_layer(layer: str) -> Response:
    raise OwsException("InvalidParameterValue", "Layer", f"layer {layer!r} has no Time")


def _ending(interface: Interface, name: str, locator: str) -> str:
    """The format of a media type or an ending."""
    form = format_of(name, interface)
    if form is None:
        known = ", ".join(f.media for f in offered(interface).values())
        raise OwsException("InvalidParameterValue", locator, f"{name!r}: {known}")
    return form.name


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
    context = context_of(request)
    base, asked = public_base(request), joined(_further(request), FURTHER)

    def written() -> str:
        engine = context.mosaics.engine(mosaic)
        version = engine.version
        if asked:
            choose(engine, parse_ask(asked, version).measure)
        sequence = query.get("updatesequence")
        if sequence and sequence > version.name:
            # Names are hashes, without an order: whatever is still there is no newer than the current one.
            try:
                context.mosaics.engine(mosaic, sequence)
            except NotFound:
                raise OwsException(
                    "InvalidUpdateSequence", None, f"unknown update sequence {sequence!r}"
                ) from None
        shown = () if sequence == version.name else sections
        sets = [context.grids.find(version, name) for name in context.grids.names(version)]
        return capabilities(
            version, base, context.settings, sets, document_name, shown, key_query(request), urlencode(asked)
        )

    return document(request, await context.look(written), media, context.kept(mosaic))


async def _tile(request: Request, mosaic: str, tile: WmtsTile, ending: str) -> Response:
    context = context_of(request)
    return await context.picture(request, lambda: picture_of(context, mosaic, tile), parse_format(ending))


async def _info(request: Request, mosaic: str, tile: WmtsTile, i: str, j: str, ending: str) -> Response:
    context = context_of(request)
    col, row = whole(i, "I"), whole(j, "J")
    text = await context.work(
        request, lambda: feature_info(picture_of(context, mosaic, tile), col, row, ending)
    )
    return Response(text, media_type=INFO_FORMATS[ending], headers={"Cache-Control": "no-cache"})
