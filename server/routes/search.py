"""STAC API: Item Search over scenes and periods, the Items of a collection, and what can be compared."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from terrazzo.errors import InvalidRequest, NotFound
from terrazzo.formats import GEOJSON
from terrazzo.server.bodies import read_order
from terrazzo.server.keys import key_query, listed_to
from terrazzo.server.request import only
from terrazzo.server.routes.inputs import context_of
from terrazzo.server.routes.mosaics import is_open, readable
from terrazzo.server.search.asked import KNOWN, SearchRequest, Token, parse_search
from terrazzo.server.search.collections import SearchedCollection, collections_of, open_collection
from terrazzo.server.search.pages import Hit, find, with_fields
from terrazzo.server.stac import SCHEMA
from terrazzo.server.urls import public_base

READERS = 16
"""Items of a page that are read at the same time: of an object store each is a request."""
EXAMPLE = {"bbox": [15.9, 45.7, 16.1, 45.9], "filter": "eo:cloud_cover < 20", "limit": 10}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}},
    }
}
ASKED = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in KNOWN
    ]
}
router = APIRouter(tags=["STAC API"])


@router.get("/search", openapi_extra=ASKED)
async def search(request: Request) -> JSONResponse:
    """Items of scenes and of periods, a page at a time."""
    asked = given_in(request)
    return await _answered(request, asked, lambda: parse_search(asked), "/search")


@router.post("/search", openapi_extra=BODY)
async def search_by_body(request: Request) -> JSONResponse:
    """The same with the parameters in a body."""
    only(request.query_params, ())
    asked = await read_order(request, context_of(request).memory)
    return await _answered(request, asked, lambda: parse_search(asked, posted=True), "/search")


@router.get("/collections/{collection}/items", openapi_extra=ASKED)
async def items(request: Request, collection: str) -> JSONResponse:
    """The Items of a collection, a page at a time."""
    asked = given_in(request)
    # pystac-client says it twice.
    if asked.get("collections", collection) != collection:
        raise InvalidRequest("collections: the address names one; /search takes several")

    def parsed() -> SearchRequest:
        wanted = parse_search({**asked, "collections": [collection]})
        _one(request, collection)
        return wanted

    return await _answered(request, asked, parsed, f"/collections/{collection}/items")


@router.get("/collections/{collection}/items/{item}")
async def one_item(request: Request, collection: str, item: str) -> JSONResponse:
    """An Item of a collection."""
    only(request.query_params, ())
    wanted = parse_search({"ids": [item]})

    def read() -> dict[str, Any]:
        one = _one(request, collection)
        hits = find(wanted, {collection: one.listing}).hits
        if not hits:
            raise NotFound(f"collection {collection} has no Item {item[:60]!r}; see its link items")
        return _document(request, {collection: one}, hits[0])

    return JSONResponse(await context_of(request).look(read), media_type=GEOJSON)


@router.get("/queryables")
async def queryables(request: Request) -> JSONResponse:
    """What a filter may compare and sortby may sort by, as JSON Schema."""
    only(request.query_params, ())

    def read() -> dict[str, Any]:
        opened, _ = _open(request, parse_search({}))
        return _schema(f"{public_base(request)}/queryables", "Terrazzo", opened.values())

    return JSONResponse(await context_of(request).look(read), media_type=SCHEMA)


@router.get("/collections/{collection}/queryables")
async def queryables_of(request: Request, collection: str) -> JSONResponse:
    """What a filter may compare in a collection, as JSON Schema."""
    only(request.query_params, ())
    here = f"{public_base(request)}/collections/{collection}/queryables"
    schema = await context_of(request).look(lambda: _schema(here, collection, [_one(request, collection)]))
    return JSONResponse(schema, media_type=SCHEMA)


def given_in(request: Request) -> dict[str, str]:
    """The parameters of a GET.

    Raises:
        InvalidRequest: one is named twice.
    """
    pairs = request.query_params.multi_items()
    if len(pairs) > len({name for name, _ in pairs}):
        raise InvalidRequest("a parameter is named twice: write lists with commas")
    return dict(pairs)


async def _answered(
    request: Request, given: Mapping[str, Any], parse: Callable[[], SearchRequest], path: str
) -> JSONResponse:
    """A page, with the link to the next one.

    Args:
        given: the parameters.
        parse: reads them; large areas take a while.
    """

    def read() -> dict[str, Any]:
        asked = parse()
        opened, problems = _open(request, asked)
        page = find(asked, {name: one.listing for name, one in opened.items()})
        with ThreadPoolExecutor(READERS) as pool:
            tasks = {hit.name: pool.submit(_document, request, opened, hit) for hit in page.hits}
        features, unread = readable(lambda name: tasks[name].result(), tasks)
        problems = [*problems, *unread.get("problems", [])]
        end = asked.token.skip + len(page.hits)
        token = Token(end, {s.mosaic: s.version for s in opened.values()})
        more = page.hits and end < page.matched
        return {
            "type": "FeatureCollection",
            "features": [with_fields(f, asked.fields) for f in features],
            "numberMatched": page.matched,
            "numberReturned": len(features),
            "links": _links(request, path, {**given, "token": token.text()} if more else None),
            **({"problems": problems} if problems else {}),
        }

    return JSONResponse(await context_of(request).look(read), media_type=GEOJSON)


def _open(request: Request, asked: SearchRequest) -> tuple[dict[str, SearchedCollection], list[str]]:
    """The collections of a search, of mosaics that the client may see; and why others cannot be read."""
    context = context_of(request)
    names = listed_to(request, context.mosaics.names())
    visible = [n for n in names if is_open(request, context.settings, n)]
    meant = collections_of(visible, asked.collections)
    pinned = asked.token.versions
    collections, problems = readable(
        lambda name: (name, open_collection(context.mosaics, name, *meant[name], pinned)),
        meant,
        {name for name, (mosaic, version) in meant.items() if version or mosaic in pinned},
    )
    return dict(collections), problems.get("problems", [])


def _one(request: Request, collection: str) -> SearchedCollection:
    """A collection by its id.

    Raises:
        NotFound: it does not exist, or the client may not see it.
    """
    collections, problems = _open(request, parse_search({"collections": [collection]}))
    if collection not in collections:
        raise NotFound("; ".join(problems) or f"no collection {collection[:60]!r}; see /collections")
    return collections[collection]


def _document(request: Request, opened: Mapping[str, SearchedCollection], hit: Hit) -> dict[str, Any]:
    assets, query = context_of(request).settings.assets_url, key_query(request)
    return opened[hit.collection].item(public_base(request), hit.collection, hit.row, assets, query)


def _links(request: Request, path: str, following: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    base, posted = public_base(request), request.method == "POST"
    links: list[dict[str, Any]] = [
        {"rel": "root", "href": f"{base}/stac", "type": "application/json"},
        {"rel": "self", "href": f"{base}{path}", "type": GEOJSON},
    ]
    if following is None:
        return links
    if posted:
        next_page = {"href": base + path, "method": "POST", "body": dict(following), "merge": False}
        return [*links, {"rel": "next", "type": GEOJSON, **next_page}]
    query = "&".join(q for q in (urlencode(following), key_query(request)) if q)
    return [*links, {"rel": "next", "type": GEOJSON, "href": f"{base}{path}?{query}", "method": "GET"}]


def _schema(here: str, title: str, collections: Iterable[SearchedCollection]) -> dict[str, Any]:
    """What can be compared in collections, as JSON Schema."""
    properties: dict[str, Any] = {"geometry": {"$ref": "https://geojson.org/schema/Geometry.json"}}
    for one in collections:
        for field in one.listing.properties.schema:
            properties[field.name] = _kind(field.type)
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": here,
        "type": "object",
        "title": title,
        "properties": properties,
        # A property that no Item has is null, and no error.
        "additionalProperties": True,
    }


def _kind(of: pa.DataType) -> dict[str, str]:
    if pa.types.is_timestamp(of):
        return {"type": "string", "format": "date-time"}
    if pa.types.is_boolean(of):
        return {"type": "boolean"}
    if pa.types.is_integer(of) or pa.types.is_floating(of):
        return {"type": "number"}
    return {"type": "string"}
