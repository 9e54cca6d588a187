"""Jobs as OGC API – Processes shows them, whose they are, and how many one may ask for."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from terrazzo.errors import InvalidRequest, NotFound, TooMany
from terrazzo.mosaic.measure import Measure
from terrazzo.server.jobs import Job, Jobs
from terrazzo.server.keys import Key
from terrazzo.server.settings import Settings
from terrazzo.server.urls import public_base

REL = "http://www.opengis.net/def/rel/ogc/1.0/"
ANONYMOUS = "@"
"""How the owners begin of jobs that were ordered without a key, from elsewhere."""
FRESH = {"Cache-Control": "private, no-store"}


def key_of(request: Request) -> Key | None:
    """The key that a request came with."""
    key: Key | None = request.scope.get("terrazzo.key")
    return key


def owner_of(request: Request) -> str:
    """Id of the key that a request came with; without one, empty for this machine's user and else a name of the address.

    Who asks from the same address without a key shares its quota, and nothing else.
    """
    key = key_of(request)
    if key is not None or request.scope.get("terrazzo.own", True):
        return "" if key is None else key.id
    address = request.client.host if request.client else ""
    return ANONYMOUS + hashlib.sha256(address.encode()).hexdigest()[:16]


def may_see(request: Request, job: Job) -> bool:
    """Whether a job is that of the request's key, or the key opens all; one that was ordered without a key is whose who know its
    id, 122 random bits."""
    key = key_of(request)
    is_own = job.owner == owner_of(request) or job.owner.startswith(ANONYMOUS)
    return is_own or (key is not None and "admin" in key.scopes)


def lists(request: Request, job: Job) -> bool:
    """Whether a job stands in the list that a request asks for: none does that anybody could ask for."""
    key = key_of(request)
    is_own = job.owner == owner_of(request) and not job.owner.startswith(ANONYMOUS)
    return is_own or (key is not None and "admin" in key.scopes)


def own_job(request: Request, jobs: Jobs, mosaic: str, name: str) -> Job:
    """A job of the request's key.

    Raises:
        NotFound: there is none of that name.
    """
    job = jobs.get(mosaic, name)
    if not may_see(request, job):
        raise NotFound(f"there is no export {name[:40]!r}; exports are removed when they have expired")
    return job


def version_of(order: Mapping[str, Any]) -> str | None:
    """The version that an order names; None for the current one.

    Raises:
        InvalidRequest: it is no text.
    """
    name = order.get("version") or None
    if not isinstance(name, str | None):
        raise InvalidRequest(f"version={name}: 12 hexadecimal digits, as text")
    return name


def samples_of(measure: Measure) -> int:
    """What a pixel of a measure counts towards a quota: the bands read or the values returned, whichever are more."""
    bands = len(measure.pixels.bands) * (1 if measure.baseline is None else 2)
    return max(bands, len(measure.names))


def require_quota(request: Request, settings: Settings, jobs: Jobs, samples: int) -> None:
    """Refuses a job of so many samples, pixels times bands, past what the request's key may have.

    Raises:
        TooMany: too many jobs are unfinished, or the last day's samples are used up.
    """
    owner, key = owner_of(request), key_of(request)
    most = (key.samples if key else None) or settings.export_samples
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


def accepted(request: Request, job: Job) -> JSONResponse:
    """The answer to an order that became a job."""
    status = status_of(public_base(request), job)
    return JSONResponse(status, 201, headers={"Location": status["links"][0]["href"], **FRESH})


def status_of(base: str, job: Job) -> dict[str, Any]:
    """A job as OGC API – Processes describes it."""
    here = address_of(base, job)
    links = [{"rel": "self", "href": here, "type": "application/json", "title": "Status"}]
    if job.status == "successful":
        links.append({"rel": f"{REL}results", "href": f"{here}/results", "type": "application/json"})
    status = {
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
    return {k: v for k, v in status.items() if v is not None}


EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"


def without_results(job: Job) -> JSONResponse:
    """The answer to who asks for results that a job has not: not yet, 404, or never, 410 of a dismissed and 404 of a failed one."""
    code, kind = 404, f"{EXCEPTIONS}result-not-ready"
    detail = f"export {job.id} is {job.status}: ask again when it is successful"
    if job.status == "dismissed":
        code, kind = 410, f"{EXCEPTIONS}no-such-job"
        detail = f"export {job.id} was dismissed: its results are removed and will not come; order it again"
    elif job.status == "failed":
        kind = "about:blank"
        detail = f"export {job.id} failed, its results will not come: {job.message}"
    body = {"type": kind, "title": detail, "detail": detail, "status": code}
    return JSONResponse(body, code, FRESH)


def address_of(base: str, job: Job) -> str:
    """The address of a job's status."""
    return f"{base}/mosaics/{job.mosaic}/exports/{job.id}"
