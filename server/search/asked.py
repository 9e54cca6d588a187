"""What a search asks: the parameters of GET and the body of POST as one value."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import shapely

from terrazzo.errors import InvalidRequest
from terrazzo.server.search.filters import four_of, geometry_of, parse_filter
from terrazzo.server.search.listing import box_area
from terrazzo.server.search.times import Span, datetime_of
from terrazzo.version import VERSION_NAME

KNOWN = (
    "collections",
    "ids",
    "bbox",
    "intersects",
    "datetime",
    "limit",
    "sortby",
    "fields",
    "filter",
    "filter-lang",
    "filter-crs",
    "token",
)
LIMIT, MOST = 10, 1000
MOST_SKIPPED = 1 << 62
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


@dataclass(frozen=True)
class Fields:
    """What of each Item is wanted.

    Attributes:
        include: None where only `exclude` is given.
    """

    include: tuple[str, ...] | None
    exclude: tuple[str, ...]


@dataclass(frozen=True)
class Token:
    """The start of a search's next page: Items to skip, and each mosaic's version of the first page."""

    skip: int
    versions: Mapping[str, str]

    def text(self) -> str:
        """It as a parameter's value."""
        raw = json.dumps([self.skip, dict(self.versions)], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


@dataclass(frozen=True)
class SearchRequest:
    """A search.

    Attributes:
        collections: ids of collections; None for those of the current versions.
        condition: of `filter`, as CQL2 JSON.
        sort: (property, whether descending), the first counts most.
        fields: None for whole Items.
    """

    collections: tuple[str, ...] | None
    ids: tuple[str, ...] | None
    area: shapely.Geometry | None
    span: Span | None
    condition: Mapping[str, Any] | None
    sort: tuple[tuple[str, bool], ...]
    fields: Fields | None
    limit: int
    token: Token


def parse_search(given: Mapping[str, Any], *, posted: bool = False) -> SearchRequest:
    """Reads a search.

    Args:
        given: of POST JSON values, else texts.

    Raises:
        InvalidRequest: a parameter is not known, or a value is not understood.
    """
    if strange := [k for k in given if k not in KNOWN]:
        hint = "; use filter instead of query" if "query" in strange else ""
        raise InvalidRequest(f"{', '.join(strange)[:80]}: known parameters are {', '.join(KNOWN)}{hint}")
    asked = {k: v for k, v in given.items() if v not in (None, "")}
    lists = ("bbox", "intersects", "fields")
    if posted and (
        texts := [k for k in lists if isinstance(asked.get(k), str) or (k in given and given[k] is None)]
    ):
        raise InvalidRequest(f"{', '.join(texts)}: in a body a JSON list or object, not a text or null")
    if "bbox" in asked and "intersects" in asked:
        raise InvalidRequest("bbox and intersects: name one of them")
    if asked.get("filter-crs", CRS84) != CRS84:
        raise InvalidRequest(f"filter-crs: {CRS84} is the only one")
    condition = None
    if "filter" in asked:
        condition = parse_filter(asked["filter"], asked.get("filter-lang"))
    return SearchRequest(
        _texts("collections", asked.get("collections")),
        _texts("ids", asked.get("ids")),
        _area(asked),
        datetime_of(asked["datetime"]) if "datetime" in asked else None,
        condition,
        _sort(asked.get("sortby")),
        _fields(asked["fields"]) if "fields" in asked else None,
        _limit(asked.get("limit", LIMIT)),
        _token(asked.get("token")),
    )


def _texts(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(p, str) for p in parts):
        raise InvalidRequest(f"{name}: a list of texts")
    names = tuple(p.strip() for p in parts if p.strip())
    if parts and not names:
        raise InvalidRequest(f"{name}: it names nothing; leave it out")
    # An empty list asks for nothing in particular, as clients send it.
    return names or None


def _area(asked: Mapping[str, Any]) -> shapely.Geometry | None:
    if "bbox" in asked:
        box = asked["bbox"]
        return box_area(four_of(re.split(r"[,\s]+", box.strip()) if isinstance(box, str) else box))
    if "intersects" not in asked:
        return None
    shape = asked["intersects"]
    if isinstance(shape, str):
        try:
            shape = json.loads(shape)
        except (ValueError, RecursionError):
            raise InvalidRequest("intersects: a GeoJSON geometry, written as JSON") from None
    return geometry_of(shape)


def _sort(value: Any) -> tuple[tuple[str, bool], ...]:
    if value is None:
        return ()
    keys: list[tuple[str, bool]] = []
    parts = value.split(",") if isinstance(value, str) else value
    for part in parts if isinstance(parts, list) else [None]:
        if isinstance(part, str) and part.strip():
            # A plus in an address is read as a blank.
            keys.append((part.strip().removeprefix("+").removeprefix("-"), part.strip().startswith("-")))
        elif isinstance(part, Mapping) and isinstance(part.get("field"), str):
            direction = part.get("direction", "asc")
            if direction not in ("asc", "desc"):
                raise InvalidRequest(f"sortby: direction {direction!r} is asc or desc")
            keys.append((part["field"], direction == "desc"))
        else:
            keys.append(("", False))
    named = tuple((name.removeprefix("properties."), down) for name, down in keys)
    if not all(name for name, _ in named):
        raise InvalidRequest('sortby: -datetime,+id or [{"field": "datetime", "direction": "desc"}]')
    return named


def _fields(value: Any) -> Fields:
    if isinstance(value, str):
        parts = [p.strip() for p in value.split(",") if p.strip()]
        include = tuple(p.lstrip("+") for p in parts if not p.startswith("-"))
        exclude = tuple(p[1:] for p in parts if p.startswith("-"))
        return Fields(include or (None if exclude else ()), exclude)
    sides = [value.get(k, []) or [] for k in ("include", "exclude")] if isinstance(value, Mapping) else [None]
    if not all(isinstance(s, list) and all(isinstance(n, str) for n in s) for s in sides):
        raise InvalidRequest('fields: id,-links or {"include": ["id"], "exclude": ["links"]}')
    include, exclude = (tuple(s or ()) for s in sides)
    return Fields(include if "include" in value or not exclude else None, exclude)


def _limit(value: Any) -> int:
    try:
        limit = int(value) if not isinstance(value, bool | float) else 0
    except (TypeError, ValueError):
        limit = 0
    if limit < 1:
        raise InvalidRequest(f"limit: a whole number from 1; a page holds {MOST} Items at most")
    return min(limit, MOST)


def _token(value: Any) -> Token:
    if value is None:
        return Token(0, {})
    try:
        skip, versions = json.loads(base64.urlsafe_b64decode(f"{value}==").decode())
        known = all(isinstance(v, str) and VERSION_NAME.fullmatch(v) for v in versions.values())
        if isinstance(skip, int) and 0 <= skip < MOST_SKIPPED and known:
            return Token(skip, versions)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError):
        pass
    raise InvalidRequest("token: take it from the link `next` of the page before, or leave it out")
