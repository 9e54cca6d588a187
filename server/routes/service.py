"""The server itself: its map, its documentation, its health, its standards."""

import hashlib
import os
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from terrazzo import __version__
from terrazzo.errors import InvalidRequest
from terrazzo.server import openapi, pages
from terrazzo.server.accept import preferred
from terrazzo.server.keys import listed_to
from terrazzo.server.metrics import exposition
from terrazzo.server.mosaics import NONE_YET
from terrazzo.server.routes.help import SITE
from terrazzo.server.routes.inputs import context_of, mount_of
from terrazzo.server.routes.mosaics import is_open, stac

router = APIRouter()
JSON, HTML = "application/json", "text/html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
KEPT = {True: "public, max-age=31536000, immutable", False: "no-cache"}
"""How long a browser keeps a file of the map: for good under the stamp of its contents, else until it has asked again."""
VIEWER = Path(str(files("terrazzo.server.viewer")))
OF_THE_MAP = (".css", ".html", ".js", ".mjs", ".png", ".svg", ".txt", ".woff2")
"""Endings of the files that the map consists of; beside them lies a module of ours."""


@cache
def stamp() -> str:
    """Hash of the map's files: with other contents they have other addresses, and so may be kept for good."""
    whole = hashlib.blake2b(digest_size=6)
    for path in sorted(p for p in VIEWER.rglob("*") if p.name.endswith(OF_THE_MAP)):
        whole.update(path.read_bytes())
    return whole.hexdigest()


class MapFiles(StaticFiles):
    """Files of the map, and none else that lies in or under its folder; in the folder of their stamp they are kept for good."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where a file lies; nowhere for one that is not the map's."""
        own = path.removeprefix(f"{stamp()}/")
        return super().lookup_path(own) if own.endswith(OF_THE_MAP) else ("", None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file with how long it may be kept."""
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = KEPT[path.startswith(f"{stamp()}/")]
        return answer


def policy(labels: str | None) -> str:
    """What the map's page may load: the server's own, and of an outside host the labels that the operator names."""
    host = "/".join(labels.split("/")[:3]) if labels else ""
    return POLICY.replace("img-src 'self'", f"img-src 'self' {host}") if host else POLICY


def add_files(app: FastAPI) -> None:
    """Adds the files of the map."""
    app.mount("/viewer", MapFiles(directory=VIEWER), name="viewer")


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The landing page; for those who rather have HTML, as browsers do, the map."""
    asked = request.query_params.get("f")
    if asked not in (None, "json", "html"):
        raise InvalidRequest(f"f={asked[:20]}: json or html")
    if (asked or preferred(request.headers.get("accept", ""), (JSON, HTML))) not in ("html", HTML):
        return await stac(request)
    settings = context_of(request).settings
    labels = settings.labels or ""
    headers = {
        "Content-Security-Policy": policy(settings.labels),
        "Vary": "Accept",
        "Cache-Control": "no-cache",
    }
    modules = tuple(sorted(p.stem for p in VIEWER.glob("*.js") if p.stem != "viewer"))
    has_help = (SITE / "index.html").is_file()
    shown = pages.viewer(stamp(), modules, settings.title, labels, settings.labels_attribution, has_help)
    return HTMLResponse(shown, headers=headers)


@router.get("/docs", include_in_schema=False)
async def documentation(request: Request) -> Response:
    """The endpoints and their parameters."""
    text = pages.endpoints(request.app.openapi())
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


@router.get("/api", include_in_schema=False)
@router.get("/openapi.json", include_in_schema=False)
async def described(request: Request) -> Response:
    """The endpoints and their parameters, for machines."""
    return JSONResponse(openapi.as_older(request.app.openapi()), media_type=openapi.MEDIA)


@router.get("/healthz", tags=["Health"])
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz", tags=["Health"])
async def readyz(request: Request) -> Response:
    """Checks that a pixel of each mosaic can be read; names only mosaics that the client may see."""
    context = context_of(request)
    state = await context.examine()
    headers = {"Cache-Control": "no-store"}
    shown = [n for n in listed_to(request, state.names) if is_open(request, context.settings, n)]
    if state.failed:
        failed = {name: reason for name, reason in state.failed.items() if name in shown}
        detail = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        detail = detail or f"{len(state.failed)} of {len(state.names)} mosaics cannot be read: see the log"
        body = {"status": "not ready", "detail": detail, "mosaics": shown, "failed": [*failed]}
        return JSONResponse(body, 503, headers)
    if state.names:
        return JSONResponse({"status": "ready", "mosaics": shown}, headers=headers)
    return JSONResponse({"status": "no mosaic yet", "detail": NONE_YET, "mosaics": []}, 503, headers)


@router.get("/metrics", tags=["Health"])
def metrics() -> Response:
    """Counts for Prometheus: read from the files of all processes, so on a thread beside the event loop."""
    return Response(
        exposition(), media_type="text/plain; version=0.0.4", headers={"Cache-Control": "no-store"}
    )


@router.get("/conformance", tags=["Health"])
async def conformance(request: Request) -> dict[str, list[str]]:
    """The standards this server follows."""
    return {"conformsTo": list(mount_of(request).conforms_to)}
