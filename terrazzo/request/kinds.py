"""Values of requests, read by their kind: the same text, list or number gives the same value in every interface."""

import json
import math
from collections.abc import Callable
from typing import Any

from terrazzo.crs import canonical
from terrazzo.errors import InvalidRequest, near
from terrazzo.expression import checked
from terrazzo.grid import Bounds
from terrazzo.request.boxes import number_of, numbers_of_box, parts_of
from terrazzo.request.parameters import LONGEST, MOST_PERCENTILES, Kind, Parameter

MOST_RESCALE = 1e6


def read(parameter: Parameter, value: Any) -> Any:
    """The value of a parameter that was given.

    Raises:
        InvalidRequest: it is not understood; the message says what is.
    """
    if isinstance(value, str) and len(value) > LONGEST and parameter.kind not in ("area", "expression"):
        raise InvalidRequest(f"{parameter.name}: at most {LONGEST} characters")
    return READERS[parameter.kind](parameter, value)


def refusal(parameter: Parameter, value: Any, remedy: str) -> InvalidRequest:
    """An error that repeats what was given and says what is understood."""
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return InvalidRequest(f"{parameter.name}={shown[:100]}: {remedy}")


def _text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise refusal(parameter, value, "a short text")
    return value.strip()


def _choice(parameter: Parameter, value: Any) -> str:
    if value not in parameter.choices or not isinstance(value, str):
        raise refusal(parameter, value, f"use one of {', '.join(parameter.choices)}")
    return value


def _names(parameter: Parameter, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts):
        raise refusal(parameter, value, "names, as a list or with commas between")
    names = tuple(p.strip() for p in parts if p.strip())
    if not names:
        raise refusal(parameter, value, "it names nothing; leave it out")
    if parameter.high is not None and len(names) > parameter.high:
        raise InvalidRequest(f"{parameter.name}: up to {parameter.high:g} names")
    if strange := [n for n in names if parameter.choices and n not in parameter.choices]:
        hint = near(strange[0], parameter.choices)
        raise refusal(parameter, ",".join(strange), f"there are {', '.join(parameter.choices)}{hint}")
    return names


def _number(parameter: Parameter, value: Any) -> float:
    try:
        number = number_of(value)
    except (TypeError, ValueError):
        raise refusal(parameter, value, "a number") from None
    # Files of float32 mark pixels without data by NaN.
    if not math.isfinite(number) and parameter.name != "nodata":
        raise refusal(parameter, value, "a finite number")
    low, high = parameter.low, parameter.high
    if (low is not None and number < low) or (high is not None and number > high):
        raise refusal(parameter, value, f"{low:g} to {high:g}")
    return number


def _whole(parameter: Parameter, value: Any) -> int:
    number = _number(parameter, value)
    if number != int(number):
        raise refusal(parameter, value, "a whole number")
    return int(number)


def _switch(parameter: Parameter, value: Any) -> bool:
    known = {"on": True, "off": False, "true": True, "false": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in known:
        raise refusal(parameter, value, "use on or off")
    return known[value.lower()]


def _expression(parameter: Parameter, value: Any) -> str:
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(p, str) for p in parts):
        raise refusal(parameter, value, "a formula over bands, as text")
    return checked(";".join(parts))


def _pairs(parameter: Parameter, value: Any) -> tuple[tuple[float, float], ...]:
    """What is shown as black and white: `0,0.3`, `0,0.3;0,0.2`, `[0, 0.3]` or `[[0, 0.3], [0, 0.2]]`."""
    parts: Any = value.split(";") if isinstance(value, str) else value
    if (
        isinstance(parts, list | tuple)
        and len(parts) == 2
        and not any(isinstance(p, list | tuple | str) for p in parts)
    ):
        parts = [parts]
    try:
        split = [p.split(",") if isinstance(p, str) else p for p in parts]
        pairs = tuple((number_of(low), number_of(high)) for low, high in split)
    except (TypeError, ValueError):
        pairs = ()
    if not pairs or any(not low < high or max(abs(low), abs(high)) > MOST_RESCALE for low, high in pairs):
        raise refusal(parameter, value, "min,max with min below max, such as 0,0.3")
    return pairs


def _numbers(parameter: Parameter, value: Any) -> tuple[float, ...]:
    parts = parts_of(value)
    low, high = parameter.low or 0.0, parameter.high or 0.0
    try:
        numbers = tuple(number_of(p) for p in (parts if isinstance(parts, list | tuple) else [parts]))
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(low <= p <= high for p in numbers) or len(numbers) > MOST_PERCENTILES:
        raise refusal(parameter, value, f"up to {MOST_PERCENTILES} numbers, {low:g} to {high:g}")
    return tuple(dict.fromkeys(numbers))


def _box(parameter: Parameter, value: Any) -> Bounds:
    return numbers_of_box(value, parameter.name)


def _crs(parameter: Parameter, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise refusal(parameter, value, "a code such as EPSG:3857")
    try:
        return canonical(str(value))
    except InvalidRequest as error:
        raise InvalidRequest(f"{parameter.name}: {error}") from None


def _area(parameter: Parameter, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{parameter.name}: not JSON ({error})") from None


READERS: dict[Kind, Callable[[Parameter, Any], Any]] = {
    "text": _text,
    "choice": _choice,
    "names": _names,
    "number": _number,
    "whole": _whole,
    "switch": _switch,
    "expression": _expression,
    "pairs": _pairs,
    "numbers": _numbers,
    "box": _box,
    "crs": _crs,
    "area": _area,
}
