"""The application: settings in, ASGI out; one table maps errors to status codes."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from titiler.core.factory import AlgorithmFactory, ColorMapFactory, TMSFactory

from terrazzo import __version__
from terrazzo.errors import InvalidRequest, NotFound, Overloaded, StoreError, TerrazzoError, TooMany
from terrazzo.server import pages
from terrazzo.server.answer import Desk
from terrazzo.server.cache import TileCache
from terrazzo.server.factory import MosaicFactory
from terrazzo.server.grids import Grids
from terrazzo.server.jobs import Jobs
from terrazzo.server.keys import Guarded, Keys, TakeKey
from terrazzo.server.metrics import exposition
from terrazzo.server.middleware import CommonHeaders, HeadAsGet, PublicAddress, Unforeseen, Watched
from terrazzo.server.mosaics import NONE_YET, Mosaics
from terrazzo.server.routes.exports import router as exports
from terrazzo.server.routes.figures import router as figures
from terrazzo.server.settings import Settings
from terrazzo.server.stac import catalog
from terrazzo.server.tilesets import CONFORMS_TO
from terrazzo.server.urls import public_base
from terrazzo.server.wmts.routes import router as wmts

log = logging.getLogger(__name__)
STATUS: tuple[tuple[type[TerrazzoError], int], ...] = (
    (InvalidRequest, 400),
    (NotFound, 404),
    (TooMany, 429),
    (Overloaded, 503),
    (StoreError, 503),
    (TerrazzoError, 500),
)
"""Status code of each error, the first that fits."""
WMTS = "http://www.opengis.net/spec/wmts/1.0"
CORE = "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)


def create_app(settings: Settings) -> FastAPI:
    """The application for a store.

    Raises:
        StoreError: the store is missing or of another format, or its keys cannot be read.
    """
    mosaics = Mosaics(settings.store, settings.follow)
    cache = TileCache(settings.cache_dir, settings.cache_size)
    grids = Grids(settings.tms)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await cache.close()
        app.state.desk.close()
        mosaics.close()

    app = FastAPI(
        title=settings.title,
        version=__version__,
        description="Cloud-free, seam-free Sentinel-2 mosaics as tiles, values and GeoTIFF.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(PublicAddress, public_url=settings.public_url, trusted=settings.trusted_proxies),
            Middleware(TakeKey, keys=_keys(settings)),
            Middleware(Watched),
            Middleware(HeadAsGet),
            Middleware(CommonHeaders, origins=settings.cors_origins),
            Middleware(Guarded, guarded=settings.guarded()),
            Middleware(
                GZipMiddleware, compresslevel=5, exclude_content_types=("image/*", "application/x-npy")
            ),
            Middleware(Unforeseen),
        ],
    )
    app.state.desk = Desk(settings, mosaics, cache, grids)
    # The folder is made when the first export is asked for: a server of tiles needs none.
    app.state.jobs = lru_cache(1)(lambda: Jobs(settings.state_folder(), settings.jobs_url))
    factory = MosaicFactory()
    app.include_router(factory.router)
    app.include_router(exports)
    app.include_router(figures)
    app.include_router(wmts)
    plain = pages.templates()
    app.include_router(
        TMSFactory(supported_tms=grids.known, templates=plain).router, tags=["Tile matrix sets"]
    )
    app.include_router(
        ColorMapFactory(templates=plain).router, tags=["Colormaps"], dependencies=[Depends(_small)]
    )
    app.include_router(AlgorithmFactory(templates=plain).router, tags=["Algorithms"])
    _pages(app)
    _errors(app)
    return app


def _keys(settings: Settings) -> Keys | None:
    """The keys; None where the server has no folder for any."""
    try:
        keys = Keys(settings.state_folder())
    except StoreError:
        return None
    # Read once now: a file that this user may not read ends the start, not each request.
    keys.all()
    return keys


def _small(request: Request) -> None:
    """Refuses pictures of colormaps that titiler.core would allocate without bound, or cannot write."""
    for name in ("width", "height"):
        value = request.query_params.get(name)
        if value is not None and not (value.isdecimal() and len(value) < 5 and 0 < int(value) <= 1024):
            raise InvalidRequest(f"{name}={value[:40]}: 1 to 1024 px")
    if request.query_params.get("f") == "jp2":
        raise InvalidRequest("f=jp2: use png, jpeg, webp, tif, npy, json or html")


def _pages(app: FastAPI) -> None:
    viewer = Path(str(files("terrazzo.server.viewer")))

    conforms_to = sorted({WMTS, CORE, *CONFORMS_TO})

    async def landing(request: Request) -> JSONResponse:
        desk: Desk = request.app.state.desk
        names = await desk.look(desk.mosaics.names)
        told = catalog(public_base(request), desk.settings.title, names, conforms_to)
        return JSONResponse(told, headers={"Vary": "Accept", "Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        """The map; for programs that ask for JSON, the landing page."""
        accept = request.headers.get("accept", "")
        if request.query_params.get("f") == "json" or ("json" in accept and "text/html" not in accept):
            return await landing(request)
        headers = {"Content-Security-Policy": POLICY, "Vary": "Accept"}
        return HTMLResponse((viewer / "index.html").read_text(), headers=headers)

    @app.get("/stac", tags=["Mosaics"])
    async def stac(request: Request) -> Response:
        """The landing page: a STAC Catalog with links to all there is."""
        return await landing(request)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        """The endpoints and their parameters."""
        return HTMLResponse(pages.endpoints(app.openapi()), headers={"Content-Security-Policy": POLICY})

    @app.get("/healthz", tags=["Health"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok", "version": __version__}

    @app.get("/readyz", tags=["Health"])
    async def readyz(request: Request) -> Response:
        """The store can be read and holds a mosaic."""
        desk: Desk = request.app.state.desk
        names = await desk.look(desk.mosaics.names)
        headers = {"Cache-Control": "no-store"}
        if names:
            return JSONResponse({"status": "ready", "mosaics": names}, headers=headers)
        told = {"status": "no mosaic yet", "detail": NONE_YET, "mosaics": []}
        return JSONResponse(told, 503, headers)

    @app.get("/metrics", tags=["Health"])
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(
            exposition(), media_type="text/plain; version=0.0.4", headers={"Cache-Control": "no-store"}
        )

    @app.get("/conformance", tags=["Health"])
    async def conformance() -> dict[str, list[str]]:
        """The standards this server follows."""
        return {"conformsTo": conforms_to}

    app.mount("/viewer", StaticFiles(directory=viewer), name="viewer")


def _errors(app: FastAPI) -> None:
    @app.exception_handler(TerrazzoError)
    async def told(request: Request, error: TerrazzoError) -> Response:
        status = next(code for kind, code in STATUS if isinstance(error, kind))
        headers = {"Cache-Control": "no-store"}
        if status == 503:
            headers["Retry-After"] = "2"
        if status == 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return JSONResponse({"detail": str(error)}, status, headers)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        # Nobody reads it; the number is the one that nginx logs then.
        return Response(status_code=499)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        details = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"detail": details}, 400, {"Cache-Control": "no-store"})
