"""Figures of a mosaic over HTTP: the days that an area shows, and its seams."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse

from terrazzo.grid import Bounds
from terrazzo.server.factory import asked, desk_of, opened
from terrazzo.server.figures import day_shares, seam_scores
from terrazzo.server.request import only

router = APIRouter()
BRIEF = {"Cache-Control": "public, max-age=60"}


@router.get(
    "/mosaics/{mosaic}/dates/{minx},{miny},{maxx},{maxy}", tags=["Boxes"], dependencies=[Depends(asked)]
)
async def dates(
    request: Request, mosaic: str, minx: float, miny: float, maxx: float, maxy: float
) -> JSONResponse:
    """Which days a box in degrees shows, in per cent of its pixels with data."""
    desk = desk_of(request)
    bounds = Bounds(minx, miny, maxx, maxy)
    told = await desk.work(request, lambda: day_shares(*opened(desk, mosaic, request), bounds))
    return JSONResponse(told, headers=BRIEF)


@router.get("/mosaics/{mosaic}/seams", tags=["Mosaics"])
async def seams(request: Request, mosaic: str) -> JSONResponse:
    """How visible the borders of scenes are, by method and normalization."""
    only(request.query_params, ())
    desk = desk_of(request)
    told = await desk.look(lambda: seam_scores(desk.mosaics.engine(mosaic).version))
    return JSONResponse(told, headers=BRIEF)
