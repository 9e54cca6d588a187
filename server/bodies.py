"""Reads the bodies of requests: orders as JSON, features, files of areas."""

import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import Request

from terrazzo.bulk.area import crs_of_geojson
from terrazzo.crs import DEGREES
from terrazzo.errors import InvalidRequest
from terrazzo.server.budget import Budget
from terrazzo.server.timeouts import arriving

MOST_BODY = 16 << 20
"""Bytes of a request's body that is JSON."""
HALVES = re.compile(r"\\u[dD][89a-fA-F]")
"""Where JSON may hold half of a surrogate pair."""
PARSED = 8
"""Bytes of memory that a byte of JSON takes, once its numbers are objects."""
MOST_AREAS = 512 << 20
"""Bytes of a file of areas."""


async def read_order(request: Request, memory: Budget) -> dict[str, Any]:
    """The order in a request's body, plain or as the `inputs` of OGC API – Processes.

    Args:
        memory: that of all requests, of which the body takes a part while it is read.

    Raises:
        InvalidRequest: it is no JSON object, names something twice, or is too large.
        Overloaded: there is no memory for it.
        TooSlow: it did not arrive in time.
    """
    async with held_order(request, memory) as order:
        return order


@asynccontextmanager
async def held_order(request: Request, memory: Budget) -> AsyncIterator[dict[str, Any]]:
    """As `read_order`, for an order that waits in the queue: its memory is given back at the end of the block."""
    _require_plain(request)
    length = request.headers.get("content-length", "")
    give_back = memory.take(PARSED * min(int(length) if length.isdecimal() else MOST_BODY, MOST_BODY))
    try:
        body = bytearray()
        async for chunk in arriving(request):
            body += chunk
            if len(body) > MOST_BODY:
                raise InvalidRequest(f"the body is past {MOST_BODY >> 20} MB: simplify the geometry")
        # How long a body is that comes in chunks is known only now.
        give_back()
        give_back = memory.take(PARSED * len(body), refuse=False)
        yield await _order_in(bytes(body))
    finally:
        give_back()


async def _order_in(body: bytes) -> dict[str, Any]:
    try:
        # In a thread, so that others are answered meanwhile.
        raw = await anyio.to_thread.run_sync(_parsed, body)
    except (ValueError, RecursionError):
        raise InvalidRequest('the body must be JSON, such as {"bbox": [15.9, 45.7, 16.1, 45.9]}') from None
    if isinstance(raw, dict) and isinstance(raw.get("inputs"), dict):
        raw = raw["inputs"]
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    return dict(raw)


def _parsed(body: bytes) -> Any:
    """JSON, without what no answer and no table could hold."""
    text = body.decode(json.detect_encoding(body))
    raw = json.loads(
        text or "{}",
        object_pairs_hook=_once,
        parse_float=_finite_number,
        parse_int=_whole_number,
        parse_constant=_finite_number,
    )
    if HALVES.search(text):
        _require_characters(raw)
    return raw


def _finite_number(text: str) -> float:
    # By itself the parser holds the interpreter to the end of a list, half a second with all the places of a coast;
    # between two calls of Python others have their turn.
    value = float(text)
    if not math.isfinite(value):
        raise InvalidRequest("a number is infinite or NaN: leave it out, or write null")
    return value


def _whole_number(text: str) -> int:
    # For the sake of the others, too.
    return int(text)


def _require_characters(raw: Any) -> None:
    """Refuses JSON in which a text has one half of a surrogate pair without the other.

    Raises:
        InvalidRequest: one has.
    """
    try:
        json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise InvalidRequest(f"{half} is an unpaired surrogate: write the whole character") from None


def _require_plain(request: Request) -> None:
    packed = request.headers.get("content-encoding", "identity")
    if packed.strip().lower() != "identity":
        raise InvalidRequest(f"Content-Encoding: {packed[:40]}: send the body as it is, not packed")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidRequest(f"{next(n for n in names if names.count(n) > 1)} is named twice: name it once")
    return named


async def save_areas(request: Request, place: Path) -> Path:
    """The file in a request's body, with an ending of its kind.

    Raises:
        InvalidRequest: it is neither a GeoPackage nor a Parquet file, or too large.
        TooSlow: it did not arrive in time.
    """
    _require_plain(request)
    size, first = 0, b""
    with place.open("wb") as file:
        async for chunk in arriving(request):
            first = (first + chunk)[:16] if len(first) < 16 else first
            size += len(chunk)
            if size > MOST_AREAS:
                raise InvalidRequest(f"the file is past {MOST_AREAS >> 20} MB: divide it")
            file.write(chunk)
    ending = ".parquet" if first[:4] == b"PAR1" else ".gpkg" if first == b"SQLite format 3\0" else None
    if ending is None:
        raise InvalidRequest("the body: GeoJSON as application/geo+json, or a GeoPackage or GeoParquet file")
    return place.rename(place.with_suffix(ending))


def collection_of(raw: Any) -> dict[str, Any]:
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
    crs = crs_of_geojson(raw if isinstance(raw, dict) else {"features": raw})
    # GDAL reads the member of a collection, not those of its geometries.
    given = raw.get("crs") if isinstance(raw, dict) else None
    named = {"crs": given or {"type": "name", "properties": {"name": crs}}} if crs != DEGREES else {}
    return {"type": "FeatureCollection", **named, "features": features}
