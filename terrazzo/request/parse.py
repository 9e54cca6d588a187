"""The one parser: parameters of any interface become typed values, and those a request to the engine."""

from collections.abc import Iterable, Mapping
from typing import Any

from terrazzo.errors import InvalidRequest, near
from terrazzo.expression import bands_of, meant
from terrazzo.mosaic.measure import Measure, measure_of
from terrazzo.mosaic.request import PixelRequest
from terrazzo.request.kinds import read
from terrazzo.request.parameters import JOINED, Table
from terrazzo.version import Version

EMPTY: tuple[Any, ...] = (None, "", [], (), {})
"""Values that count as not given."""
UNMEASURED = ("raw", "mask")
"""Stages whose numbers are no reflectance."""


def joined(pairs: Iterable[tuple[str, str]], parameters: Table) -> dict[str, str]:
    """Pairs of a query by name: lists that were given in parts are joined, empty values dropped.

    Names that are not in the table stay, for `values` to refuse.

    Raises:
        InvalidRequest: a parameter that is no list is named twice.
    """
    known = _names(parameters)
    texts: dict[str, str] = {}
    for name, value in pairs:
        if not value.strip():
            if name not in known:
                texts.setdefault(name, value)
            continue
        if texts.get(name):
            kind = parameters[known[name]].kind if name in known else "text"
            if kind not in JOINED:
                raise InvalidRequest(f"{name} is named twice: name it once")
            value = f"{texts[name]}{JOINED[kind]}{value}"
        texts[name] = value
    return texts


def known_only(given: Iterable[str], parameters: Table | Iterable[str]) -> None:
    """Refuses parameters that are not known.

    Raises:
        InvalidRequest: there is one; the message lists the known ones.
    """
    known = _names(parameters) if isinstance(parameters, Mapping) else {n: n for n in parameters}
    if unknown := sorted(set(given) - set(known)):
        hint = near(unknown[0], tuple(known))
        there = ", ".join(dict.fromkeys(known.values())) or "none"
        raise InvalidRequest(f"unknown parameter {', '.join(unknown)[:200]}; there are: {there}{hint}")


def values(raw: Mapping[str, Any], parameters: Table) -> dict[str, Any]:
    """What was given, read by kind and by the names of the table; empty values count as not given.

    Raises:
        InvalidRequest: a parameter is not known or named twice, its value is not understood, or two contradict each other.
    """
    known_only(raw, parameters)
    known, given = _names(parameters), dict[str, Any]()
    for name, value in raw.items():
        if _is_empty(value):
            continue
        parameter = parameters[known[name]]
        if parameter.name in given:
            raise InvalidRequest(f"{parameter.name} and {name} are the same: name it once")
        given[parameter.name] = read(parameter, value)
    _alone(given)
    return given


def _is_empty(value: Any) -> bool:
    return any(value is e or (type(value) is type(e) and value == e) for e in EMPTY) or (
        isinstance(value, str) and not value.strip()
    )


def _names(parameters: Table) -> dict[str, str]:
    """Every name and alias with the name that the table has."""
    return {alias: p.name for p in parameters.values() for alias in (p.name, *p.aliases)}


def contradict(*given: str) -> InvalidRequest:
    """An error that names what contradicts each other."""
    return InvalidRequest(f"{' and '.join(given)} contradict each other: leave one of them out")


def measured(
    given: Mapping[str, Any], version: Version, usual: tuple[str, ...] = (), formula: str | None = None
) -> Measure:
    """What is measured, from values of `MEASURED`.

    Args:
        usual: bands where neither bands nor an expression are given; all of the mosaic's by default.
        formula: expression over `usual`, of a style.

    Raises:
        InvalidRequest: two values contradict each other, or the mosaic lacks a band.
    """
    expression = given.get("expression")
    bands = bands_of(expression) if expression else given.get("bands") or usual or version.bands
    unknown = [b for b in bands if b not in version.bands]
    if unknown:
        where = "expression" if expression else "bands"
        hint = meant(unknown[0], version.bands)
        raise InvalidRequest(f"{where}={','.join(unknown)}: this mosaic has {', '.join(version.bands)}{hint}")
    pixels = PixelRequest(
        bands=bands,
        datetime=given.get("datetime"),
        max_cloud=given.get("max_cloud"),
        orbit=given.get("orbit"),
        ids=given.get("ids", ()),
        method=given.get("method"),
        normalize=given.get("normalize"),
        stage=given.get("stage"),
        fill=given.get("fill"),
        snow=given.get("snow"),
        resampling=given.get("resampling"),
        target=given.get("target"),
        min_score=given.get("min_score"),
    )
    return measure_of(pixels, expression or formula, given.get("baseline"))


def _alone(given: Mapping[str, Any]) -> None:
    """Refuses a style, bands and an expression beside each other, and an expression over what is no reflectance."""
    named = [k for k in ("style", "expression", "bands") if k in given]
    if len(named) > 1:
        raise contradict(*named)
    if "expression" in given and given.get("stage") in UNMEASURED:
        raise contradict("expression", f"stage={given['stage']}")
