"""The application: settings in, ASGI out."""

from importlib.util import find_spec

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from titiler.core.factory import AlgorithmFactory, ColorMapFactory, TMSFactory

from terrazzo import __version__
from terrazzo.errors import InvalidRequest, StoreError
from terrazzo.server import openapi, pages
from terrazzo.server.answer import RepeatedRequests, ServerContext
from terrazzo.server.errors import add_error_answers
from terrazzo.server.factory import READING, WMTS, MosaicFactory
from terrazzo.server.guard import Guarded
from terrazzo.server.keys import Keys, TakeKey
from terrazzo.server.middleware import (
    CommonHeaders,
    HeadAsGet,
    OneSlash,
    Packed,
    PublicAddress,
    Unforeseen,
    Watched,
)
from terrazzo.server.routes import exports, service, uploads
from terrazzo.server.routes.help import add_help
from terrazzo.server.settings import Settings
from terrazzo.server.stac import QUERYABLES, SCHEMA, SEARCHES
from terrazzo.server.tilesets import CONFORMS_TO

COMMON = tuple(
    f"http://www.opengis.net/spec/{name}"
    for name in (
        "ogcapi-common-1/1.0/conf/core",
        "ogcapi-common-1/1.0/conf/landing-page",
        "ogcapi-common-1/1.0/conf/json",
        "ogcapi-common-1/1.0/conf/oas30",
        "ogcapi-tiles-1/1.0/conf/oas30",
    )
)
JSON = "application/json"
LINKS = (
    ("conformance", "/conformance", JSON, "Standards"),
    ("service-desc", "/openapi.json", openapi.MEDIA, "Endpoints"),
    ("service-doc", "/docs", "text/html", "Endpoints, to read"),
    ("alternate", "/?f=html", "text/html", "The map"),
    ("data", "/collections", JSON, "Mosaics"),
    ("http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes", "/tileMatrixSets", JSON, None),
)
"""What the landing page links besides the mosaics."""


def create_app(settings: Settings) -> FastAPI:
    """The application for a store.

    Raises:
        StoreError: the store is missing or of another format, or its keys cannot be read.
    """
    searching, links, classes = search_parts()
    mosaics = MosaicFactory(
        settings=settings,
        routers=(*READING, exports.router, uploads.router, *searching),
        links=(*LINKS, *links),
        conforms_to={WMTS, *COMMON, *CONFORMS_TO, *classes},
    )
    app = FastAPI(
        title=settings.title,
        version=__version__,
        description="Cloud-free, seam-free Sentinel-2 mosaics as tiles, values and GeoTIFF.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # A redirect would lose the key; `OneSlash` makes it needless.
        redirect_slashes=False,
        middleware=_middleware(settings, mosaics.context),
    )
    app.openapi_version = openapi.VERSION
    app.state.context = mosaics.context
    app.include_router(mosaics.router)
    plain = pages.templates()
    app.include_router(
        TMSFactory(supported_tms=mosaics.context.grids.known, templates=plain).router,
        tags=["Tile matrix sets"],
    )
    app.include_router(
        ColorMapFactory(templates=plain).router, tags=["Colormaps"], dependencies=[Depends(_small)]
    )
    app.include_router(AlgorithmFactory(templates=plain).router, tags=["Algorithms"])
    app.include_router(service.router, dependencies=[Depends(mosaics.mount)])
    service.add_files(app)
    add_help(app)
    add_error_answers(app)
    return app


def search_parts() -> tuple[
    tuple[APIRouter, ...], tuple[tuple[str, str, str, str | None], ...], tuple[str, ...]
]:
    """Routes, links and conformance classes of STAC's Item Search; none without the extra `stac`."""
    if find_spec("cql2") is None:
        return (), (), ()
    from terrazzo.server.routes import search

    return (search.router,), ((QUERYABLES, "/queryables", SCHEMA, "What a filter compares"),), SEARCHES


def _middleware(settings: Settings, context: ServerContext) -> list[Middleware]:
    """What happens to every request, the outermost first."""
    return [
        Middleware(PublicAddress, public_url=settings.public_url, trusted=settings.trusted_proxies),
        Middleware(OneSlash),
        Middleware(TakeKey, keys=_keys(settings)),
        Middleware(Watched),
        Middleware(HeadAsGet),
        Middleware(CommonHeaders, origins=settings.cors_origins),
        Middleware(
            Guarded, guarded=settings.guarded(), own=settings.protect is None, names=settings.own_hosts()
        ),
        Middleware(RepeatedRequests, context=context),
        Middleware(Packed),
        Middleware(Unforeseen),
    ]


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
