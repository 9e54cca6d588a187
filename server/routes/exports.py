"""Exports over HTTP, in the shape of OGC API – Processes: a job for each, its status, its results."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import FileResponse, JSONResponse

from terrazzo.bulk.area import crs_of_geojson
from terrazzo.bulk.windows import export_target, touching
from terrazzo.errors import InvalidRequest, NotFound, TooMany
from terrazzo.export.estimate import estimate
from terrazzo.export.files import PICTURE_TYPES
from terrazzo.export.order import parse_order
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure, choose
from terrazzo.request.parameters import DESCRIBED, EXPORT, TABULATED, asked_names, schema_of
from terrazzo.server.answer import Desk
from terrazzo.server.factory import opened
from terrazzo.server.jobs import UPLOAD, Job, Jobs
from terrazzo.server.keys import Key
from terrazzo.server.request import asked, beside, documented, query_of
from terrazzo.server.statistics import described
from terrazzo.server.urls import public_base
from terrazzo.statistics.areas import read_areas
from terrazzo.statistics.question import Question, parse_table
from terrazzo.statistics.run import chosen_of

MOST_BODY = 16 << 20
"""Bytes of a request's body that is JSON."""
MOST_AREAS = 512 << 20
"""Bytes of a file of areas."""
AREA_PIXELS = 10_000
"""Pixels that each area counts towards a quota."""
TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".vrt": "application/x-vrt",
    ".json": "application/geo+json",
    **PICTURE_TYPES,
    ".parquet": "application/vnd.apache.parquet",
    ".csv": "text/csv",
}
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
FRESH = {"Cache-Control": "private, no-store"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        **schema_of(EXPORT),
                        "dry_run": {"type": "boolean", "description": "tell the cost, start nothing"},
                    },
                },
                "example": {"bbox": [15.9, 45.7, 16.1, 45.9], "bands": ["B04", "B08"], "dry_run": True},
            }
        },
    }
}
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
            "application/geopackage+sqlite3": {"schema": {"type": "string", "format": "binary"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
FEATURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/geo+json": {"schema": {"type": "object"}}},
    }
}
router = APIRouter(tags=["Exports"])


@router.post("/mosaics/{mosaic}/exports", status_code=201, openapi_extra=BODY)
async def create(request: Request, mosaic: str) -> Response:
    """Asks for an export: a job at `Location`, or with `dry_run` what it would cost."""
    desk, raw = _desk(request), await _body(request)
    dry = raw.pop("dry_run", False)
    if not isinstance(dry, bool):
        raise InvalidRequest("dry_run: true or false")

    def looked() -> dict[str, Any] | Job:
        engine = desk.mosaics.engine(mosaic, _version(raw))
        order = parse_order(raw, engine.version)
        if dry:
            cost = estimate(engine, order, desk.threads)
            return {**cost._asdict(), "pixels": cost.width * cost.height, "version": engine.version.name}
        chosen = choose(engine, order.measure)
        target = export_target(engine.version, order.area, order.crs, order.resolution)
        samples = target.height * target.width * _channels(order.measure)
        if not touching(engine, chosen, target):
            raise InvalidRequest(
                f"the area holds no data for {chosen.text()}; the mosaic covers {tuple(engine.version.bounds)}"
            )
        jobs, owner = _jobs(request), owner_of(request)
        key: Key | None = request.scope.get("terrazzo.key")
        _within_quota(desk, jobs, owner, samples, key.samples if key else None)
        return jobs.create(
            mosaic, engine.version.name, {**raw, "version": engine.version.name}, owner, samples
        )

    found = await desk.work(request, looked)
    if isinstance(found, dict):
        return JSONResponse(found, headers=FRESH)
    return _accepted(request, found)


@router.post("/mosaics/{mosaic}/exports/statistics", status_code=201, openapi_extra=AREAS_BODY)
async def tabulate(request: Request, mosaic: str) -> Response:
    """Asks for statistics of many areas: a job at `Location`. The body is GeoJSON features with what is asked of them, or
    a GeoPackage or GeoParquet file with that in the query."""
    desk, jobs = _desk(request), _jobs(request)
    owner, key = owner_of(request), request.scope.get("terrazzo.key")
    own = key.samples if key else None
    # What would be refused whatever the areas are is not read at all.
    await desk.look(lambda: _within_quota(desk, jobs, owner, 1, own))
    place = jobs.folder / f"{UPLOAD}{uuid.uuid4().hex}"
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            raw = await _body(request)
            features = raw.pop("features", None)
            path = place.with_suffix(".geojson")
            path.write_text(json.dumps(_collection(features)))
        else:
            raw = query_of(request, parameters=TABULATED)
            await desk.look(lambda: _question(desk, mosaic, raw))
            path = await _saved(request, place)

        def looked() -> Job:
            engine, question, id_name, layer = _question(desk, mosaic, raw)
            count = len(read_areas(path, id_name, layer).geometry)
            samples = count * len(question.periods) * _channels(question.measure) * AREA_PIXELS
            _within_quota(desk, jobs, owner, samples, own)
            order = {**raw, "version": engine.version.name}
            return jobs.create(mosaic, engine.version.name, order, owner, samples, path)

        return _accepted(request, await desk.work(request, looked))
    finally:
        for rest in jobs.folder.glob(f"{place.name}*"):
            rest.unlink(missing_ok=True)


@router.post(
    "/mosaics/{mosaic}/statistics",
    tags=["Boxes"],
    openapi_extra=FEATURE_BODY,
    dependencies=[Depends(asked), Depends(documented(DESCRIBED))],
)
async def statistics(request: Request, mosaic: str) -> Any:
    """Statistics of GeoJSON features, in their properties; other parameters are those of tiles."""
    desk, raw = _desk(request), await _body(request)
    several = raw.get("type") == "FeatureCollection"
    features, crs, how = _collection(raw)["features"], crs_of_geojson(raw), beside(request, DESCRIBED)

    def told() -> list[dict[str, Any]]:
        engine, ask = opened(desk, mosaic, request, asked_names(DESCRIBED))
        if ask.layer or ask.pixels.stage in ("raw", "mask"):
            told = f"style={ask.layer}" if ask.layer else f"stage={ask.pixels.stage}"
            raise InvalidRequest(f"{told}: statistics are of reflectance or an expression over it")
        return described(engine, ask.measure, features, crs, **how)

    found = await desk.work(request, told)
    return {"type": "FeatureCollection", "features": found} if several else found[0]


@router.get("/mosaics/{mosaic}/exports")
async def listed(request: Request, mosaic: str) -> Response:
    """The exports that were asked for with this key, the newest first."""
    desk, base, owner = _desk(request), public_base(request), owner_of(request)

    def found() -> list[dict[str, Any]]:
        desk.mosaics.engine(mosaic)
        mine = [
            j for j in _jobs(request).all() if j.mosaic == mosaic and (j.owner == owner or _is_admin(request))
        ]
        return [status_of(base, j) for j in reversed(mine)]

    return JSONResponse({"jobs": await desk.look(found), "links": []}, headers=FRESH)


@router.get("/mosaics/{mosaic}/exports/{job}")
async def status(request: Request, mosaic: str, job: str) -> Response:
    """How far an export is."""
    found = await _desk(request).look(lambda: _mine(request, mosaic, job))
    return JSONResponse(status_of(public_base(request), found), headers=FRESH)


@router.delete("/mosaics/{mosaic}/exports/{job}")
async def dismiss(request: Request, mosaic: str, job: str) -> Response:
    """Ends an export and removes what it wrote."""
    found = await _desk(request).look(lambda: _jobs(request).dismiss(_mine(request, mosaic, job)))
    return JSONResponse(status_of(public_base(request), found), headers=FRESH)


@router.get("/mosaics/{mosaic}/exports/{job}/results")
async def results(request: Request, mosaic: str, job: str) -> Response:
    """The files of a finished export."""
    found = await _desk(request).look(lambda: _mine(request, mosaic, job))
    if found.status != "successful":
        detail = f"export {job} is {found.status}: {found.message or 'ask again when it is successful'}"
        return JSONResponse(
            {
                "type": "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/result-not-ready",
                "title": detail,
                "detail": detail,
                "status": 404,
            },
            404,
        )
    here = f"{_address(public_base(request), found)}/results"
    jobs = _jobs(request)
    files = {
        name: {
            "href": f"{here}/{name}",
            "type": _type(name),
            "length": jobs.file(found, name).stat().st_size,
        }
        for name in found.files
    }
    return JSONResponse(files, headers=FRESH)


@router.get("/mosaics/{mosaic}/exports/{job}/results/{name}")
async def download(request: Request, mosaic: str, job: str, name: str) -> Response:
    """A file of a finished export; parts of it by Range."""
    jobs = _jobs(request)
    path = await _desk(request).look(lambda: jobs.file(_mine(request, mosaic, job), name))
    return FileResponse(
        path, media_type=_type(name), filename=name, headers={"Cache-Control": "private, max-age=3600"}
    )


def _version(raw: Mapping[str, Any]) -> str | None:
    name = raw.get("version") or None
    if not isinstance(name, str | None):
        raise InvalidRequest(f"version={name}: 12 hexadecimal digits, as text")
    return name


def _channels(measure: Measure) -> int:
    """What a pixel of a measure counts towards a quota: the bands that are read or the values that are told, whichever are more."""
    bands = len(measure.pixels.bands) * (1 if measure.baseline is None else 2)
    return max(bands, len(measure.names))


def _accepted(request: Request, job: Job) -> Response:
    told = status_of(public_base(request), job)
    return JSONResponse(told, 201, headers={"Location": told["links"][0]["href"], **FRESH})


def _question(
    desk: Desk, mosaic: str, raw: Mapping[str, Any]
) -> tuple[Engine, Question, str | None, str | None]:
    """What is asked of areas, with the names of their column and layer.

    Raises:
        InvalidRequest: it cannot be answered, whatever the areas are.
    """
    engine = desk.mosaics.engine(mosaic, _version(raw))
    question, _, id_name, layer = parse_table(raw, engine.version)
    chosen_of(engine, question)
    return engine, question, id_name, layer


async def _saved(request: Request, place: Path) -> Path:
    """The file in a request's body, under a name that tells its kind.

    Raises:
        InvalidRequest: it is neither a GeoPackage nor a Parquet file, or too large.
    """
    size, first = 0, b""
    with place.open("wb") as file:
        async for chunk in request.stream():
            first = (first + chunk)[:16] if len(first) < 16 else first
            size += len(chunk)
            if size > MOST_AREAS:
                raise InvalidRequest(f"the file is past {MOST_AREAS >> 20} MB: divide it")
            file.write(chunk)
    ending = ".parquet" if first[:4] == b"PAR1" else ".gpkg" if first == b"SQLite format 3\0" else None
    if ending is None:
        raise InvalidRequest("the body: GeoJSON as application/json, or a GeoPackage or GeoParquet file")
    return place.rename(place.with_suffix(ending))


def _collection(raw: Any) -> dict[str, Any]:
    """GeoJSON features as a collection.

    Raises:
        InvalidRequest: there is none.
    """
    features = raw
    if isinstance(raw, dict):
        features = raw.get("features") if raw.get("type") == "FeatureCollection" else [raw]
    if not isinstance(features, list) or not features:
        raise InvalidRequest("features: a GeoJSON Feature or FeatureCollection of polygons, in degrees")
    if not all(isinstance(f, dict) and f.get("type") == "Feature" for f in features):
        raise InvalidRequest("features: each one a GeoJSON Feature")
    if not all(isinstance(f.get("properties"), dict | None) for f in features):
        raise InvalidRequest("features: the properties of each one an object, or null")
    crs_of_geojson(raw)
    crs = {"crs": raw["crs"]} if isinstance(raw, dict) and raw.get("crs") else {}
    return {"type": "FeatureCollection", **crs, "features": features}


def owner_of(request: Request) -> str:
    """Id of the key that a request came with; empty without one."""
    key: Key | None = request.scope.get("terrazzo.key")
    return "" if key is None else key.id


def _is_admin(request: Request) -> bool:
    key: Key | None = request.scope.get("terrazzo.key")
    return key is not None and "admin" in key.scopes


def status_of(base: str, job: Job) -> dict[str, Any]:
    """A job as OGC API – Processes tells of it."""
    here = _address(base, job)
    links = [{"rel": "self", "href": here, "type": "application/json", "title": "Status"}]
    if job.status == "successful":
        links.append({"rel": f"{REL}results", "href": f"{here}/results", "type": "application/json"})
    told = {
        "processID": job.process,
        "type": "process",
        "jobID": job.id,
        "status": job.status,
        "message": job.message,
        "progress": int(job.progress),
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "updated": job.updated,
        "terrazzo:version": job.version,
        "terrazzo:problems": list(job.problems),
        "links": links,
    }
    return {k: v for k, v in told.items() if v is not None}


def _address(base: str, job: Job) -> str:
    return f"{base}/mosaics/{job.mosaic}/exports/{job.id}"


def _type(name: str) -> str:
    return TYPES[name[name.rindex(".") :]]


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs()
    return jobs


def _mine(request: Request, mosaic: str, name: str) -> Job:
    job = _jobs(request).get(mosaic, name)
    if job.owner != owner_of(request) and not _is_admin(request):
        raise NotFound(f"there is no export {name[:40]!r}; exports are removed when they have expired")
    return job


async def _body(request: Request) -> dict[str, Any]:
    """The order in a request's body, plain or as the `inputs` of OGC API – Processes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise InvalidRequest(f"the body is past {MOST_BODY >> 20} MB: simplify the geometry")
    try:
        raw = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise InvalidRequest('the body must be JSON, such as {"bbox": [15.9, 45.7, 16.1, 45.9]}') from None
    if isinstance(raw, dict) and isinstance(raw.get("inputs"), dict):
        raw = raw["inputs"]
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    return dict(raw)


def _within_quota(desk: Desk, jobs: Jobs, owner: str, samples: int, own: int | None) -> None:
    settings = desk.settings
    most = own or settings.export_samples
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    mine = [j for j in jobs.all() if j.owner == owner]
    waiting = sum(j.open for j in mine)
    if waiting >= settings.export_jobs:
        raise TooMany(
            f"{waiting} exports are not finished yet, at most {settings.export_jobs} a key: wait or dismiss one"
        )
    used = sum(j.samples for j in mine if j.created >= since and j.status != "dismissed")
    if used + samples > most:
        raise TooMany(
            f"{samples / 1e6:.0f} million values, after {used / 1e6:.0f} in the last day:"
            f" at most {most / 1e6:.0f} million a key and day"
        )
