"""Mosaics, their versions and scenes as STAC, how a version is cited, and how visible its seams are."""

import json
import logging
from collections.abc import Callable, Container, Iterable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from terrazzo.errors import InvalidRequest, NotFound, ReadFailure, StoreError
from terrazzo.formats import GEOJSON
from terrazzo.mosaic.measure import choose
from terrazzo.server.answer import document
from terrazzo.server.cite import citation
from terrazzo.server.conditions import has_already, not_there, part_of
from terrazzo.server.figures import seam_scores
from terrazzo.server.geoparquet import geoparquet
from terrazzo.server.keys import listed_to
from terrazzo.server.processes import key_of
from terrazzo.server.request import ASKED, only
from terrazzo.server.routes.inputs import context_of, mount_of, opened
from terrazzo.server.settings import Settings
from terrazzo.server.stac import (
    JSON,
    PARQUET,
    PERIODS,
    VERSIONED,
    catalog,
    collection,
    item,
    periods_collection,
    version_collection,
)
from terrazzo.server.urls import public_base

log = logging.getLogger(__name__)
T = TypeVar("T")
router = APIRouter(tags=["Mosaics"])
CITATIONS = {"json": "application/json", "text": "text/plain", "bibtex": "application/x-bibtex"}


@router.get("/mosaics")
async def mosaics(request: Request) -> Any:
    """The mosaics, as STAC Collections."""
    return await _listed(request, "/mosaics", ())


@router.get("/collections")
async def collections(request: Request) -> Any:
    """The mosaics, as STAC Collections; where the server answers to searches, those of their periods too."""
    return await _listed(request, "/collections", (PERIODS,) if mount_of(request).searches else ())


async def _listed(request: Request, path: str, also: tuple[str, ...]) -> Any:
    only(request.query_params, ())
    context, one = context_of(request), _collection(request)

    def read() -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
        names = listed_to(request, context.mosaics.names())
        return readable(one, [n + end for n in names for end in ("", *also)])

    documents, problems = await context.look(read)
    links = [{"rel": "self", "href": public_base(request) + path, "type": JSON}]
    if also:
        # STAC API wants it.
        links.append({"rel": "root", "href": f"{public_base(request)}/stac", "type": JSON})
    return {"collections": documents, "links": links, **problems}


def _collection(request: Request, items: bool = False) -> Callable[[str], dict[str, Any]]:
    """Writes the Collection of a mosaic, or of its periods."""
    context, base, mount = context_of(request), public_base(request), mount_of(request)

    def one(name: str) -> dict[str, Any]:
        if mount.searches and name.endswith(PERIODS):
            return periods_collection(base, context.mosaics.engine(name.removesuffix(PERIODS)).version)
        version = context.mosaics.engine(name).version
        return collection(base, version, exports=mount.exports, items=items, search=mount.searches)

    return one


@router.get("/mosaics/{mosaic}")
async def one_mosaic(request: Request, mosaic: str) -> Any:
    """A mosaic, as a STAC Collection."""
    return await _described(request, lambda: _collection(request, items=True)(mosaic))


@router.get("/collections/{collection}")
async def one_collection(request: Request, collection: str) -> Any:
    """A mosaic, its periods or a version of it, as a STAC Collection."""
    context = context_of(request)

    def read() -> dict[str, Any]:
        seen, match = listed_to(request, context.mosaics.names()), VERSIONED.fullmatch(collection)
        # What a key of another mosaic let in by the version's name is none of its own.
        if match is None or collection in seen:
            return _collection(request, items=True)(collection)
        if match[1] not in seen:
            raise NotFound(f"there is no collection {collection!r}")
        return _version(request, match[1], match[2])

    return await _described(request, read)


async def _described(request: Request, read: Callable[[], dict[str, Any]]) -> Any:
    only(request.query_params, ())
    document = await context_of(request).look(read)
    # It has two addresses, and names the one that it was asked by.
    here = str(request.url.replace(query=""))
    return document | {"links": [k | {"href": here} if k["rel"] == "self" else k for k in document["links"]]}


@router.get("/mosaics/{mosaic}/versions/{version}")
async def one_version(request: Request, mosaic: str, version: str) -> Any:
    """A version of a mosaic, as a STAC Collection that links the Items of its scenes."""
    only(request.query_params, ())
    return await context_of(request).look(lambda: _version(request, mosaic, version))


def _version(request: Request, mosaic: str, version: str) -> dict[str, Any]:
    """Writes the Collection of a version."""
    mosaics, search = context_of(request).mosaics, mount_of(request).searches
    current = mosaics.engine(mosaic).version.name
    named = mosaics.engine(mosaic, version).version
    return version_collection(public_base(request), named, current, search=search)


@router.get("/mosaics/{mosaic}/versions/{version}/cite")
async def cite(
    request: Request,
    mosaic: str,
    version: str,
    f: Annotated[str, Query(description="json, text or bibtex")] = "json",
) -> Response:
    """How a version is cited: text and BibTeX, with the hash of all that determines its pixels."""
    only(request.query_params, ("f",))
    context, base = context_of(request), public_base(request)
    if f not in CITATIONS:
        raise InvalidRequest(f"f={f}: use json, text or bibtex")
    texts = await context.look(
        lambda: citation(base, context.mosaics.engine(mosaic, version).version, context.settings.provider)
    )
    return document(
        request, json.dumps(texts) if f == "json" else texts[f], CITATIONS[f], context.kept(mosaic)
    )


@router.get("/mosaics/{mosaic}/versions/{version}/scenes.parquet")
async def scenes_parquet(request: Request, mosaic: str, version: str) -> Response:
    """The STAC Items of a version's scenes as one stac-geoparquet file; parts of it by Range."""
    only(request.query_params, ())
    context = context_of(request)
    data, etag = await context.look(
        lambda: geoparquet(context.mosaics.engine(mosaic, version).version, context.settings.assets_url)
    )
    headers = {
        "ETag": etag,
        **context.kept(mosaic),
        "Accept-Ranges": "bytes",
    }
    if has_already(request.headers, etag):
        return Response(status_code=304, headers=headers)
    part = part_of(request.headers, len(data), etag)
    if part is None:
        return Response(data, media_type=PARQUET, headers=headers)
    if not part:
        return not_there(len(data))
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
    return Response(data[part.start : part.stop], 206, headers, PARQUET)


@router.get("/mosaics/{mosaic}/versions/{version}/scenes/{scene}")
async def one_scene(request: Request, mosaic: str, version: str, scene: str) -> Any:
    """The STAC Item of a version's scene."""
    only(request.query_params, ())
    context, base = context_of(request), public_base(request)

    def read() -> str:
        named = context.mosaics.engine(mosaic, version).version
        return json.dumps(item(base, named, scene, context.settings.assets_url))

    return document(request, await context.look(read), GEOJSON, context.kept(mosaic))


@router.get("/mosaics/{mosaic}/scenes", openapi_extra=ASKED)
async def scenes(request: Request, mosaic: str) -> JSONResponse:
    """The STAC Items of the scenes that a request selects, in their order; then those of its baseline."""
    context, base = context_of(request), public_base(request)

    def read() -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
        engine, ask = opened(context, mosaic, request)
        chosen = choose(engine, ask.measure)
        sides = [s for s in (chosen.selection, chosen.baseline) if s is not None]
        names = dict.fromkeys(e.scene.id for side in sides for e in side.entries)
        return readable(lambda name: item(base, engine.version, name, context.settings.assets_url), names)

    features, problems = await context.look(read)
    items = {"type": "FeatureCollection", "features": features, "links": [], **problems}
    return JSONResponse(items, media_type=GEOJSON)


def readable(
    read: Callable[[str], T], names: Iterable[str], asked: Container[str] = ()
) -> tuple[list[T], dict[str, list[str]]]:
    """The documents that can be read; and as `problems`, where there are any, why others cannot.

    Args:
        asked: names of what a client alone says that it exists: that it does not is no error of the store.
    """
    documents, problems = [], []
    for name in names:
        try:
            documents.append(read(name))
        except (NotFound, ReadFailure, StoreError) as error:
            is_mistaken = isinstance(error, NotFound) and name in asked
            level = logging.INFO if is_mistaken else logging.ERROR
            log.log(level, "%s is left out: %s", name, error.whole)
            problems.append(f"{name}: {error}")
    return documents, {"problems": problems} if problems else {}


@router.get("/mosaics/{mosaic}/seams")
async def seams(request: Request, mosaic: str) -> JSONResponse:
    """How visible the borders of scenes are, by method and normalization."""
    only(request.query_params, ())
    context = context_of(request)
    scores = await context.look(lambda: seam_scores(context.mosaics.engine(mosaic).version))
    return JSONResponse(scores, headers=context.kept(mosaic))


def is_open(request: Request, settings: Settings, mosaic: str) -> bool:
    """Whether the client may see a mosaic's tiles, and so its name."""
    key = key_of(request)
    return "tiles" not in settings.guarded() or (key is not None and key.opens("tiles", mosaic))


@router.get("/stac")
async def stac(request: Request) -> Response:
    """The landing page: a STAC Catalog with links to all there is."""
    context = context_of(request)
    names = await context.look(lambda: listed_to(request, context.mosaics.names()))
    names = [n for n in names if is_open(request, context.settings, n)]
    mount = mount_of(request)
    page = catalog(
        public_base(request), context.settings.title, names, conforms_to=mount.conforms_to, links=mount.links
    )
    return JSONResponse(page, headers={"Vary": "Accept", "Cache-Control": "no-cache"})
