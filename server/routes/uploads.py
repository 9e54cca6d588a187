"""Orders of statistics of many areas, whose polygons come with the request."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from terrazzo.formats import GEOJSON
from terrazzo.mosaic.engine import Engine
from terrazzo.request.parameters import TABULATED, schema_of
from terrazzo.server.answer import ServerContext
from terrazzo.server.areas import read_apart
from terrazzo.server.bodies import collection_of, read_order, save_areas
from terrazzo.server.jobs import UPLOAD, Job
from terrazzo.server.processes import accepted, owner_of, require_quota, samples_of, version_of
from terrazzo.server.request import query_of
from terrazzo.server.routes.inputs import context_of
from terrazzo.statistics.answers import chosen_of
from terrazzo.statistics.places import pixels_at_most
from terrazzo.statistics.question import Question, parse_table

AREA_PIXELS = 10_000
"""Pixels that each area counts towards a quota at least; a larger one counts those of its box in the mosaic."""
AREAS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "features": {"description": "a GeoJSON FeatureCollection of polygons, in degrees"},
                        **schema_of(TABULATED),
                    },
                }
            },
            GEOJSON: {"schema": {"type": "object"}},
            "application/geopackage+sqlite3": {"schema": {"type": "string", "format": "binary"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
router = APIRouter(tags=["Exports"])


@router.post("/mosaics/{mosaic}/exports/statistics", status_code=201, openapi_extra=AREAS_BODY)
async def tabulate(request: Request, mosaic: str) -> Response:
    """Asks for statistics of many areas: a job at `Location`. The body is an order with GeoJSON features in it, or
    GeoJSON, a GeoPackage or a GeoParquet file with the order in the query."""
    context = context_of(request)
    jobs = context.jobs
    # What would be refused whatever the areas are is not read at all.
    await context.look(lambda: require_quota(request, context.settings, jobs, 1))
    place = jobs.folder / f"{UPLOAD}{uuid.uuid4().hex}"
    received = context.uploads.take(1)
    try:
        if _media(request) in ("application/json", GEOJSON):
            raw = await read_order(request, context.memory)
            is_order = raw.get("type") not in ("FeatureCollection", "Feature")
            features = raw.pop("features", None) if is_order else raw
            raw = raw if is_order else query_of(request, parameters=TABULATED)
            path = place.with_suffix(".geojson")
            path.write_text(json.dumps(collection_of(features)))
        else:
            raw = query_of(request, parameters=TABULATED)
            await context.look(lambda: _question(context, mosaic, raw))
            path = await save_areas(request, place)

        def create() -> Job:
            engine, question, id_name, layer = _question(context, mosaic, raw)
            pixels = np.maximum(pixels_at_most(read_apart(path, id_name, layer), engine.version), AREA_PIXELS)
            samples = round(pixels.sum()) * len(question.periods) * samples_of(question.measure)
            require_quota(request, context.settings, jobs, samples)
            order = {**raw, "version": engine.version.name}
            return jobs.create(mosaic, engine.version.name, order, owner_of(request), samples, path)

        return accepted(request, await context.work(request, create))
    finally:
        received()
        for rest in jobs.folder.glob(f"{place.name}*"):
            rest.unlink(missing_ok=True)


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _question(
    context: ServerContext, mosaic: str, raw: Mapping[str, Any]
) -> tuple[Engine, Question, str | None, str | None]:
    """What is asked of areas, with the names of their column and layer.

    Raises:
        InvalidRequest: it cannot be answered, whatever the areas are.
    """
    engine = context.mosaics.engine(mosaic, version_of(raw))
    question, _, id_name, layer = parse_table(raw, engine.version)
    chosen_of(engine, question)
    return engine, question, id_name, layer
