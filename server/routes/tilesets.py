"""What map programs open a mosaic by: TileJSON, GDAL's description, and tile sets (OGC API – Tiles)."""

import json
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response

from terrazzo.errors import InvalidRequest
from terrazzo.formats import GEOJSON
from terrazzo.mosaic.interpolated import resamplings
from terrazzo.mosaic.measure import choose
from terrazzo.server import grids
from terrazzo.server.answer import document
from terrazzo.server.gdal import description, zone_of
from terrazzo.server.keys import key_query
from terrazzo.server.request import ASKED, only, parse_ask, query_of
from terrazzo.server.routes.inputs import context_of, opened
from terrazzo.server.tilesets import imagery_index, tileset, tilesets
from terrazzo.server.tilesets import tilejson as tilejson_of
from terrazzo.server.urls import public_base
from terrazzo.server.wmts.qgis import layer_definition

router = APIRouter(tags=["Tiles"])


@router.get("/mosaics/{mosaic}/{tms}/tilejson.json", openapi_extra=ASKED)
async def tilejson(request: Request, mosaic: str, tms: str) -> Any:
    """TileJSON 3 of a mosaic with the parameters given."""
    context = context_of(request)

    def write() -> str:
        engine, ask = opened(context, mosaic, request)
        choose(engine, ask.measure)
        # With the version, so that one view never mixes two.
        query = f"?{urlencode({**query_of(request), 'version': engine.version.name})}"
        if key := key_query(request):
            query += f"&{key}"
        matrix_set = context.grids.find(engine.version, tms)
        # As its tile set does, it answers only where the set has tiles of the mosaic.
        grids.limits(matrix_set, engine.version)
        state = context.mosaics.picture_state(engine.version)
        return json.dumps(tilejson_of(public_base(request), engine.version, matrix_set, query, state))

    return document(request, await context.look(write), "application/json", context.kept(mosaic))


@router.get("/mosaics/{mosaic}/imagery-index.json")
async def imagery_index_entry(request: Request, mosaic: str) -> Any:
    """A mosaic's entry in an imagery index, which map editors read."""
    only(request.query_params, ())
    context = context_of(request)

    def write() -> str:
        version = context.mosaics.engine(mosaic).version
        matrix_set = context.grids.find(version, grids.WEB)
        return json.dumps(imagery_index(public_base(request), version, matrix_set, key_query(request)))

    return document(request, await context.look(write), GEOJSON, context.kept(mosaic))


@router.get("/mosaics/{mosaic}/gdal.xml", openapi_extra=ASKED)
async def gdal_xml(
    request: Request,
    mosaic: str,
    tms: Annotated[str | None, Query(description="the mosaic's own grid of a zone, UTM33N")] = None,
) -> Response:
    """What GDAL, and so QGIS, opens as a raster of int16 reflectance, band by band."""
    context = context_of(request)

    def write() -> str:
        query = query_of(request, ("tms",))
        if {"style", "expression", "baseline"} & set(query):
            raise InvalidRequest("gdal.xml: bands, not a style, an expression or a change")
        engine = context.mosaics.engine(mosaic, query.get("version") or None)
        kept = {"bands": ",".join(engine.version.bands)} | query
        ask = parse_ask(kept, engine.version)
        epsg = zone_of(engine.version, tms)
        tile = f"{public_base(request)}/mosaics/{mosaic}/tiles/{grids.own_name(epsg)}"
        address = f"{tile}/${{z}}/${{x}}/${{y}}.tif?{urlencode(kept)}"
        if key := key_query(request):
            address += f"&{key}"
        selection = engine.select(ask.pixels)
        scenes = [e.scene for e in selection.entries if selection.request.stage == "raw"]
        lines = resamplings(engine, scenes)
        return description(engine.version, selection.request, epsg, address, lines)

    return document(request, await context.look(write), "application/xml", context.kept(mosaic))


@router.get("/mosaics/{mosaic}/layers.qlr", openapi_extra=ASKED)
async def qgis_layers(request: Request, mosaic: str) -> Any:
    """A QGIS layer definition: a group with a layer of tiles for each period, which know their days."""
    context = context_of(request)

    def write() -> str:
        query = {k: v for k, v in query_of(request).items() if k != "datetime"}
        engine = context.mosaics.engine(mosaic, query.get("version") or None)
        ask = parse_ask(query, engine.version)
        tiles = f"{public_base(request)}/mosaics/{mosaic}/tiles/{grids.WEB}/{{z}}/{{x}}/{{y}}.png"
        last = context.grids.find(engine.version, grids.WEB).maxzoom
        return layer_definition(engine.version, ask, tiles, query | _key(request), last)

    answer = document(
        request, await context.look(write), "application/x-qgis-layer-definition", context.kept(mosaic)
    )
    answer.headers["Content-Disposition"] = f'attachment; filename="{mosaic}.qlr"'
    return answer


@router.get("/mosaics/{mosaic}/tiles", openapi_extra=ASKED)
@router.get(
    "/collections/{mosaic}/map/tiles",
    openapi_extra=ASKED,
    operation_id="mosaics.collection.map.getTileSetsList",
)
async def tile_sets(request: Request, mosaic: str) -> Any:
    """The tile sets of a mosaic (OGC API – Tiles)."""
    context, base = context_of(request), public_base(request)

    def read() -> dict[str, Any]:
        version = opened(context, mosaic, request)[0].version
        sets = [context.grids.find(version, n) for n in context.grids.names(version)]
        return tilesets(base, version, sets, _query(request))

    return await context.look(read)


@router.get("/mosaics/{mosaic}/tiles/{tms}", openapi_extra=ASKED)
@router.get(
    "/collections/{mosaic}/map/tiles/{tms}",
    openapi_extra=ASKED,
    operation_id="mosaics.collection.map.getTileSet",
)
async def tile_set(request: Request, mosaic: str, tms: str) -> Any:
    """A tile set of a mosaic with the limits of its matrices (OGC API – Tiles)."""
    context, base = context_of(request), public_base(request)

    def read() -> dict[str, Any]:
        version = opened(context, mosaic, request)[0].version
        return tileset(base, version, context.grids.find(version, tms), _query(request))

    return await context.look(read)


@router.get("/mosaics/{mosaic}/tileMatrixSets/{tms}")
async def matrix_set(request: Request, mosaic: str, tms: str) -> Any:
    """A tile matrix set as this mosaic has it: it ends where the data do."""
    only(request.query_params, ())
    context = context_of(request)

    def read() -> Any:
        own = context.grids.find(context.mosaics.engine(mosaic).version, tms)
        return own.model_dump(mode="json", exclude_none=True) | {"crs": grids.uri(own)}

    return await context.look(read)


def _key(request: Request) -> dict[str, str]:
    return dict(parse_qsl(key_query(request)))


def _query(request: Request) -> str:
    """The request's parameters and key, for the addresses in its answer."""
    parts = [p for p in (request.url.query, key_query(request)) if p]
    return f"?{'&'.join(parts)}" if parts else ""
