"""Exports over HTTP, in the shape of OGC API – Processes: a job for each, its status, its results."""

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from terrazzo.bulk.windows import export_target, touching
from terrazzo.errors import InvalidRequest
from terrazzo.export.estimate import estimate
from terrazzo.export.order import parse_order
from terrazzo.formats import media_of_file
from terrazzo.mosaic.measure import choose
from terrazzo.request.parameters import EXPORT, schema_of
from terrazzo.server.bodies import read_order
from terrazzo.server.conditions import Download
from terrazzo.server.jobs import Job
from terrazzo.server.processes import (
    FRESH,
    accepted,
    address_of,
    lists,
    own_job,
    owner_of,
    require_quota,
    samples_of,
    status_of,
    version_of,
    without_results,
)
from terrazzo.server.routes.inputs import context_of
from terrazzo.server.urls import public_base

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        **schema_of(EXPORT),
                        "dry_run": {"type": "boolean", "description": "return the cost, start nothing"},
                    },
                },
                "example": {"bbox": [15.9, 45.7, 16.1, 45.9], "bands": ["B04", "B08"], "dry_run": True},
            }
        },
    }
}
router = APIRouter(tags=["Exports"])


@router.post("/mosaics/{mosaic}/exports", status_code=201, openapi_extra=BODY)
async def create(request: Request, mosaic: str) -> Response:
    """Asks for an export: a job at `Location`, or with `dry_run` what it would cost."""
    context, raw = context_of(request), await read_order(request, context_of(request).memory)
    dry = raw.pop("dry_run", False)
    if not isinstance(dry, bool):
        raise InvalidRequest("dry_run: true or false")

    def look_up() -> dict[str, Any] | Job:
        engine = context.mosaics.engine(mosaic, version_of(raw))
        order = parse_order(raw, engine.version)
        if dry:
            cost = estimate(engine, order, context.threads)
            return {**cost._asdict(), "pixels": cost.width * cost.height, "version": engine.version.name}
        chosen = choose(engine, order.measure)
        target = export_target(engine.version, order.area, order.crs, order.resolution)
        samples = target.height * target.width * samples_of(order.measure)
        if not touching(engine, chosen, target):
            raise InvalidRequest(
                f"the area holds no data for {chosen.text()}; the mosaic covers {tuple(engine.version.bounds)}"
            )
        require_quota(request, context.settings, context.jobs, samples)
        order_of_version = {**raw, "version": engine.version.name}
        return context.jobs.create(mosaic, engine.version.name, order_of_version, owner_of(request), samples)

    looked_up = await context.work(request, look_up)
    if isinstance(looked_up, dict):
        return JSONResponse(looked_up, headers=FRESH)
    return accepted(request, looked_up)


@router.get("/mosaics/{mosaic}/exports")
async def listed(request: Request, mosaic: str) -> Response:
    """The exports that were asked for with this key, the newest first."""
    context, base = context_of(request), public_base(request)

    def known_jobs() -> list[dict[str, Any]]:
        context.mosaics.engine(mosaic)
        mine = [j for j in context.jobs.all() if j.mosaic == mosaic and lists(request, j)]
        return [status_of(base, j) for j in reversed(mine)]

    return JSONResponse({"jobs": await context.look(known_jobs), "links": []}, headers=FRESH)


@router.get("/mosaics/{mosaic}/exports/{job}")
async def status(request: Request, mosaic: str, job: str) -> Response:
    """How far an export is."""
    context = context_of(request)
    known = await context.look(lambda: own_job(request, context.jobs, mosaic, job))
    return JSONResponse(status_of(public_base(request), known), headers=FRESH)


@router.delete("/mosaics/{mosaic}/exports/{job}")
async def dismiss(request: Request, mosaic: str, job: str) -> Response:
    """Ends an export and removes what it wrote."""
    context = context_of(request)
    dismissed = await context.look(lambda: context.jobs.dismiss(own_job(request, context.jobs, mosaic, job)))
    return JSONResponse(status_of(public_base(request), dismissed), headers=FRESH)


@router.get("/mosaics/{mosaic}/exports/{job}/results")
async def results(request: Request, mosaic: str, job: str) -> Response:
    """The files of a finished export."""
    context = context_of(request)
    known = await context.look(lambda: own_job(request, context.jobs, mosaic, job))
    if known.status != "successful":
        return without_results(known)
    here = f"{address_of(public_base(request), known)}/results"

    def sized() -> dict[str, Any]:
        sizes = {name: context.jobs.file(known, name).stat().st_size for name in known.files}
        return {
            name: {"href": f"{here}/{name}", "type": media_of_file(name), "length": size}
            for name, size in sizes.items()
        }

    return JSONResponse(await context.look(sized), headers=FRESH)


@router.get("/mosaics/{mosaic}/exports/{job}/results/{name}")
async def download(request: Request, mosaic: str, job: str, name: str) -> Response:
    """A file of a finished export; parts of it by Range."""
    context = context_of(request)
    known = await context.look(lambda: own_job(request, context.jobs, mosaic, job))
    if known.status != "successful":
        return without_results(known)
    path = await context.look(lambda: context.jobs.file(known, name))
    return Download(
        path,
        media_type=media_of_file(name),
        filename=name,
        headers={"Cache-Control": "private, max-age=3600"},
    )
