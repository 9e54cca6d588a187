"""Values of places and areas: points, accounts of pixels, days that a box shows, statistics of polygons."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from terrazzo.bulk.area import crs_of_geojson
from terrazzo.errors import InvalidRequest, OutsideCoverage
from terrazzo.formats import GEOJSON, offered
from terrazzo.request.boxes import numbers_of_box, numbers_of_place
from terrazzo.request.parameters import DESCRIBED, PICTURE, SURE, asked_names
from terrazzo.server.accept import preferred
from terrazzo.server.bodies import collection_of, held_order
from terrazzo.server.explain import (
    POLICY,
    Account,
    Nothing,
    account_of,
    as_document,
    as_page,
    as_text,
    nothing_of,
)
from terrazzo.server.figures import day_shares, days
from terrazzo.server.points import point_values
from terrazzo.server.request import ASKED, beside, documented
from terrazzo.server.routes.inputs import Corners, Place, context_of, opened
from terrazzo.server.statistics import with_statistics

router = APIRouter()
ACCOUNTS = {name: f.media for name, f in offered("account").items()}
OFFERED = ACCOUNTS["json"]
"""What accounts are for those who do not care."""
OF_MEDIA = {OFFERED: "json", **{media: name for name, media in ACCOUNTS.items()}}
FEATURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/geo+json": {"schema": {"type": "object"}}},
    }
}


@router.get("/mosaics/{mosaic}/point/{place}", tags=["Points"], openapi_extra=documented(PICTURE, SURE))
async def point(request: Request, mosaic: str, place: Place) -> Any:
    """Reflectance, an expression or a change at a place, and the scene it comes from."""
    context, (lon, lat) = context_of(request), numbers_of_place(place)
    sure = beside(request, SURE)
    return await context.work(
        request, lambda: point_values(*opened(context, mosaic, request, asked_names(SURE)), lon, lat, **sure)
    )


@router.get("/mosaics/{mosaic}/explain/{place}", tags=["Points"], openapi_extra=documented(PICTURE, SURE))
async def explain(
    request: Request,
    mosaic: str,
    place: Place,
    f: Annotated[
        str | None, Query(description="json, html or txt; by default what Accept names first")
    ] = None,
) -> Response:
    """Why a pixel is as it is: every scene with its reason, the chosen one's numbers, and the way back; with 404 why none shows."""
    context, (lon, lat) = context_of(request), numbers_of_place(place, "explain")
    form = f or OF_MEDIA[preferred(request.headers.get("accept", ""), [*OF_MEDIA]) or OFFERED]
    if form not in ACCOUNTS:
        raise InvalidRequest(f"f={form}: use json, html or txt")
    sure = beside(request, SURE)

    def write() -> tuple[int, str]:
        engine, ask = opened(context, mosaic, request, ("f", *asked_names(SURE)))
        account: Account | Nothing
        try:
            account = account_of(engine, ask, lon, lat, **sure)
        except OutsideCoverage as error:
            account = nothing_of(engine, ask, lon, lat, str(error))
        status = 404 if isinstance(account, Nothing) else 200
        if form == "html":
            return status, as_page(engine, account, lon, lat)
        if isinstance(account, Nothing):
            return status, account.text() if form == "txt" else json.dumps(account.document())
        return status, as_text(engine, account) if form == "txt" else json.dumps(
            as_document(engine, account, lon, lat)
        )

    status, text = await context.work(request, write)
    kept = "no-cache" if status == 200 else "no-store"
    headers = {"Cache-Control": kept, "Vary": "Accept", "Content-Security-Policy": POLICY}
    return Response(text, status, media_type=ACCOUNTS[form], headers=headers)


@router.get("/mosaics/{mosaic}/dates/{bbox}", tags=["Boxes"], openapi_extra=ASKED)
async def dates(request: Request, mosaic: str, bbox: Corners) -> JSONResponse:
    """Which days a box in degrees shows, in per cent of its pixels with data."""
    context = context_of(request)
    bounds = numbers_of_box(bbox, "dates")
    shares = await context.work(request, lambda: day_shares(*opened(context, mosaic, request), bounds))
    return JSONResponse(shares, headers=context.kept(mosaic))


@router.get("/mosaics/{mosaic}/days", tags=["Mosaics"], openapi_extra=ASKED)
async def all_days(request: Request, mosaic: str) -> JSONResponse:
    """The days of the scenes that a request selects, with their clear shares."""
    context = context_of(request)
    shares = await context.look(lambda: days(*opened(context, mosaic, request)))
    return JSONResponse(shares, headers=context.kept(mosaic))


@router.post(
    "/mosaics/{mosaic}/statistics",
    tags=["Boxes"],
    openapi_extra=FEATURE_BODY | documented(PICTURE, DESCRIBED),
)
async def statistics(request: Request, mosaic: str) -> Response:
    """Statistics of GeoJSON features, in their properties; other parameters are those of tiles."""
    context = context_of(request)
    async with held_order(request, context.memory) as raw:
        several = raw.get("type") == "FeatureCollection"
        features, crs, how = collection_of(raw)["features"], crs_of_geojson(raw), beside(request, DESCRIBED)

        def compute() -> list[dict[str, Any]]:
            engine, ask = opened(context, mosaic, request, asked_names(DESCRIBED))
            if ask.layer or ask.pixels.stage in ("raw", "mask"):
                refused = f"style={ask.layer}" if ask.layer else f"stage={ask.pixels.stage}"
                raise InvalidRequest(f"{refused}: statistics are of reflectance or an expression over it")
            return with_statistics(engine, ask.measure, features, crs, **how)

        described = await context.work(request, compute)
        # Other members stay, above all `crs`, without which the coordinates would mean something else.
        answer = {**raw, "features": described} if several else described[0]
    return JSONResponse(answer, media_type=GEOJSON)
