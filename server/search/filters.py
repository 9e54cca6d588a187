"""CQL2 over columns: the library cql2 parses a filter, Arrow compares.

An absent property is null, and what is compared with null is null (Kleene): it does not match, and neither does its negation.
Days, boxes over the antimeridian and absent properties are the reasons why cql2's own matching is not used.
"""

import json
from collections.abc import Mapping
from typing import Any

import cql2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from terrazzo.errors import InvalidRequest
from terrazzo.request.boxes import number_of
from terrazzo.server.search.listing import Listing, box_area
from terrazzo.server.search.times import Span, interval_of, span_of

MOST_TEXT, MOST_NESTED = 16_384, 32
"""Characters of a filter and levels in it: cql2 parses by recursion, in time that grows fast with brackets."""
COMPARED = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
ARGUMENTS = {
    **dict.fromkeys(("and", "or"), (2, MOST_TEXT)),
    **dict.fromkeys(("not", "isNull", "casei"), (1, 1)),
    **dict.fromkeys((*COMPARED, "in", "like", "s_intersects", "t_intersects"), (2, 2)),
    "between": (3, 3),
}
"""How many arguments an operator has, at least and at most."""
OFFERED = "and, or, not, = <> < <= > >=, between, in, like, isNull, casei, s_intersects, t_intersects"


def parse_filter(given: Any, language: Any) -> dict[str, Any]:
    """A filter in CQL2 text or JSON as CQL2 JSON; `matching` refuses operators with arguments that they do not have.

    Not by cql2's own validation (0.6.0), which can take very much memory.

    Raises:
        InvalidRequest: it is too long, too deep, or no CQL2.
    """
    language = language or ("cql2-text" if isinstance(given, str) else "cql2-json")
    if language not in ("cql2-text", "cql2-json"):
        raise InvalidRequest(f"filter-lang={str(language)[:20]}: cql2-text or cql2-json")
    try:
        text = given if isinstance(given, str) else json.dumps(given)
    except RecursionError:
        text = None
    if text is None or len(text) > MOST_TEXT or _depth(text) > MOST_NESTED:
        raise InvalidRequest(
            f"filter: at most {MOST_TEXT} characters and {MOST_NESTED} levels; large areas go into intersects"
        )
    if not isinstance(given, str):
        text = json.dumps(_flat(given))
    try:
        parsed = cql2.parse_text(text) if language == "cql2-text" else cql2.parse_json(text)
        expression = parsed.to_json()
    except Exception as error:
        # What cql2 says of empty geometries is of no class of its own.
        raise InvalidRequest(f"filter: no {language}: {str(error)[:200]}") from None
    if not isinstance(expression, dict):
        raise InvalidRequest(f"filter: a condition, such as eo:cloud_cover < 20; known are {OFFERED}")
    return expression


def _flat(node: Any) -> Any:
    """A filter whose `between` names its bounds as the standard does; drafts, and who tests by them, put them into a list."""
    if isinstance(node, Mapping):
        flat = {k: _flat(v) for k, v in node.items()}
        args = flat.get("args")
        if (
            flat.get("op") == "between"
            and isinstance(args, list)
            and len(args) == 2
            and isinstance(args[1], list)
        ):
            flat["args"] = [args[0], *args[1]]
        return flat
    return [_flat(v) for v in node] if isinstance(node, list) else node


def _depth(text: str) -> int:
    """Brackets that are open at the same time."""
    steps = [1 if c in "([{" else -1 if c in ")]}" else 0 for c in text]
    return int(np.cumsum(steps).max(initial=0))


def matching(expression: Mapping[str, Any], listing: Listing) -> pa.BooleanArray:
    """(n,) of true, false or null by the rows of a listing.

    Raises:
        InvalidRequest: the filter has an operator that is not known, or compares what cannot be compared.
    """
    op, args = str(expression.get("op", "")), _args(expression)
    if op in ("and", "or"):
        join = pc.and_kleene if op == "and" else pc.or_kleene
        result = matching(_condition(args[0]), listing)
        for other in args[1:]:
            result = join(result, matching(_condition(other), listing))
        return result
    if op == "not":
        return pc.invert(matching(_condition(args[0]), listing))
    if op in COMPARED:
        return _compared(op, args[0], args[1], listing)
    if op == "between":
        low, high = (_compared(o, args[0], v, listing) for o, v in zip((">=", "<="), args[1:], strict=True))
        return pc.and_kleene(low, high)
    if op == "in":
        if not isinstance(args[1], list):
            raise InvalidRequest("filter: in wants a list of values after the property")
        hits = [_compared("=", args[0], value, listing) for value in args[1]]
        result = hits[0] if hits else pa.array(np.zeros(len(listing), bool))
        for hit in hits[1:]:
            result = pc.or_kleene(result, hit)
        return result
    if op == "like":
        return _like(args, listing)
    if op == "isNull":
        return pc.is_null(_column(args[0], listing))
    if op == "s_intersects":
        return pa.array(listing.touching(_area(args)))
    if op == "t_intersects":
        return pa.array(listing.during(_moment(args)))
    raise InvalidRequest(f"filter: {op[:30]!r} is not known here; known are {OFFERED}")


def _args(expression: Mapping[str, Any]) -> list[Any]:
    """The arguments of an operator.

    Raises:
        InvalidRequest: it is not known, or they are too few or too many.
    """
    op, args = expression.get("op"), expression.get("args")
    if not isinstance(op, str) or op not in ARGUMENTS:
        raise InvalidRequest(f"filter: {str(op)[:30]!r} is not known here; known are {OFFERED}")
    least, most = ARGUMENTS[op]
    if not isinstance(args, list) or not least <= len(args) <= most:
        raise InvalidRequest(f"filter: {op} has {least if least == most else f'{least} or more'} arguments")
    return args


def _folded(value: Any) -> tuple[Any, bool]:
    """What CASEI encloses, and whether it does."""
    if isinstance(value, Mapping) and value.get("op") == "casei":
        return _args(value)[0], True
    return value, False


def _condition(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or "op" not in value:
        raise InvalidRequest("filter: and, or and not join conditions, such as eo:cloud_cover < 20")
    return value


def _compared(op: str, left: Any, right: Any, listing: Listing) -> pa.BooleanArray:
    if _is_column(right) and not _is_column(left):
        return _compared(TURNED.get(op, op), right, left, listing)
    column = _column(left, listing)
    if pa.types.is_null(column.type):
        return pa.nulls(len(listing), pa.bool_())
    if _is_column(right):
        other = _column(right, listing)
        if not pa.types.is_null(other.type):
            _require_kind(left, column, _kind(other.type))
        return COMPARED[op](column, other).cast(pa.bool_())
    if _kind(column.type) == "a time":
        return _during(op, column, _span(right))
    value = _literal(right)
    _require_kind(left, column, _kind(pa.scalar(value).type))
    return COMPARED[op](column, pa.scalar(value))


def _during(op: str, column: pa.Array, span: Span) -> pa.BooleanArray:
    """Compares times with a span: they are equal to it within it, before it below, after it above."""
    times = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    from_low, from_high = pc.greater_equal(times, span.low), pc.greater_equal(times, span.high)
    within = pc.and_(from_low, pc.invert(from_high))
    return {
        "=": within,
        "<>": pc.invert(within),
        "<": pc.invert(from_low),
        "<=": pc.invert(from_high),
        ">": from_high,
        ">=": from_low,
    }[op]


def _span(value: Any) -> Span:
    if isinstance(value, Mapping) and len(value) == 1:
        kind, text = next(iter(value.items()))
        if kind in ("date", "timestamp"):
            return span_of(text)
    return span_of(value)


def _like(args: list[Any], listing: Listing) -> pa.BooleanArray:
    column, (pattern, folds) = _column(args[0], listing), _folded(args[1])
    folds = folds or _folded(args[0])[1]
    if not isinstance(pattern, str):
        raise InvalidRequest("filter: like wants a text, with % for any letters and _ for one")
    if pa.types.is_null(column.type):
        return pa.nulls(len(listing), pa.bool_())
    _require_kind(args[0], column, "text")
    return pc.match_like(column, pattern, ignore_case=folds)


def _is_column(value: Any) -> bool:
    value, _ = _folded(value)
    return isinstance(value, Mapping) and isinstance(value.get("property"), str)


def _column(value: Any, listing: Listing) -> pa.Array:
    """A property's values, all null where no Item has it."""
    inner, folds = _folded(value)
    if folds:
        column = _column(inner, listing)
        if pa.types.is_null(column.type):
            return column
        _require_kind(inner, column, "text")
        return pc.utf8_lower(column)
    if not _is_column(value):
        raise InvalidRequest("filter: one side of a comparison must be a property")
    name = value["property"].removeprefix("properties.")
    if name in listing.not_compared:
        raise InvalidRequest(f"filter: {name} is a list or an object: /queryables lists what can be compared")
    if name not in listing.properties.column_names:
        return pa.nulls(len(listing))
    return listing.properties[name].combine_chunks()


def _literal(value: Any) -> str | float | bool:
    inner, folds = _folded(value)
    if folds and isinstance(inner, str):
        return inner.lower()
    if isinstance(value, str | float | bool):
        return value
    if isinstance(value, int):
        # Arrow has no larger ones, and no Item either.
        return value if abs(value) < 1 << 63 else float(value)
    raise InvalidRequest("filter: a property is compared with a number, a text, a truth value or a time")


def _kind(of: pa.DataType) -> str:
    if pa.types.is_boolean(of):
        return "a truth value"
    if pa.types.is_integer(of) or pa.types.is_floating(of):
        return "a number"
    return "a time" if pa.types.is_timestamp(of) else "text"


def _require_kind(name: Any, column: pa.Array, kind: str) -> None:
    own = _kind(column.type)
    if own != kind:
        shown = name.get("property", "a property") if isinstance(name, Mapping) else "a property"
        raise InvalidRequest(f"filter: {shown} is {own}, and is compared with {kind}: compare like with like")


def _area(args: list[Any]) -> shapely.Geometry:
    areas = [a for a in args if not _is_column(a)]
    if len(areas) != 1 or {"property": "geometry"} not in args:
        raise InvalidRequest("filter: s_intersects(geometry, …) with one area")
    (area,) = areas
    if isinstance(area, Mapping) and "bbox" in area:
        return box_area(four_of(area["bbox"]))
    return geometry_of(area)


def _moment(args: list[Any]) -> Span:
    times = [a for a in args if not _is_column(a)]
    if len(times) != 1 or {"property": "datetime"} not in args:
        raise InvalidRequest("filter: t_intersects(datetime, …) with one time or interval")
    (when,) = times
    if isinstance(when, Mapping) and "interval" in when:
        ends = when["interval"]
        if not isinstance(ends, list) or len(ends) != 2:
            raise InvalidRequest("filter: an interval has a begin and an end, .. where it is open")
        begin, end = (next(iter(e.values()), None) if isinstance(e, Mapping) else e for e in ends)
        return interval_of(begin, end)
    return _span(when)


def four_of(numbers: Any) -> tuple[float, float, float, float]:
    """W, S, E, N of a box of four numbers, or of six with heights.

    Raises:
        InvalidRequest: it is no such list.
    """
    try:
        values = [] if isinstance(numbers, str | dict) else [number_of(v) for v in numbers]
    except (TypeError, ValueError):
        values = []
    if len(values) not in (4, 6) or not np.isfinite(values).all():
        raise InvalidRequest("bbox: four numbers, W,S,E,N in degrees, or six with heights")
    half = len(values) // 2
    return values[0], values[1], values[half], values[half + 1]


def geometry_of(raw: Any) -> shapely.Geometry:
    """A GeoJSON geometry.

    Raises:
        InvalidRequest: it is none, it is empty, or it lies outside ±180 and ±90 degrees.
    """
    try:
        area = shapely.from_geojson(json.dumps(raw))
    except (shapely.errors.ShapelyError, TypeError, ValueError):
        area = None
    if area is None or area.is_empty or not isinstance(raw, Mapping) or raw.get("type") == "Feature":
        raise InvalidRequest("intersects: a GeoJSON geometry in degrees, such as a Polygon")
    west, south, east, north = area.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise InvalidRequest("intersects: longitudes within ±180 and latitudes within ±90; cut it at ±180")
    return area
