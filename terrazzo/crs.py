"""Coordinate systems: read once where a request enters, into one form that PROJ and GDAL both understand."""

import math
import re
from functools import lru_cache
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from terrazzo.errors import InvalidRequest

DEGREES = "EPSG:4326"
DEGREE = 111_319.490_793
"""Metres of a degree on the equator of WGS 84."""
HOW = "use a code such as EPSG:3857"


@lru_cache(maxsize=256)
def crs_of(given: str) -> CRS:
    """The coordinate system that a text names: a code, with EPSG before it or not, a URN, an address, WKT or PROJ.

    Raises:
        InvalidRequest: there is none of that name; the message repeats the name.
    """
    text = given.strip()
    plain = re.sub(r"^(?:CRS:?84|OGC:1\.3:CRS84)$", "OGC:CRS84", text, flags=re.IGNORECASE)
    try:
        return CRS.from_user_input(f"EPSG:{plain}" if plain.isdecimal() else plain)
    except (CRSError, ValueError, TypeError):
        raise InvalidRequest(f"there is no coordinate system {given[:100]!r}; {HOW}") from None


@lru_cache(maxsize=256)
def canonical(given: str) -> str:
    """One text for one coordinate system: its code, such as `EPSG:3035`, and where it has none its WKT.

    Every text that names the same system gives the same one, and both pyproj and GDAL read it.

    Raises:
        InvalidRequest: there is no such system, it is not one of the plane, or it is deprecated.
    """
    crs = crs_of(given)
    if len(crs.axis_info) != 2 or not (crs.is_geographic or crs.is_projected):
        raise InvalidRequest(
            f"coordinate system {given[:100]!r} has no plane of longitude and latitude or of metres; {HOW}"
        )
    if crs.is_deprecated:
        better = _successor(crs)
        raise InvalidRequest(
            f"coordinate system {given[:100]!r} is deprecated, and programs place it differently; "
            + (f"use {better}" if better else HOW)
        )
    authority = crs.to_authority()
    if authority and CRS.from_authority(*authority).equals(crs, ignore_axis_order=True):
        return DEGREES if authority == ("OGC", "CRS84") else ":".join(authority)
    return str(crs.to_wkt())


def is_geographic(crs: str) -> bool:
    """Whether coordinates are angles."""
    return bool(crs_of(crs).is_geographic)


def in_units(crs: str, metres: float) -> float:
    """A length on the ground in units of a coordinate system: degrees on the equator, feet, metres."""
    system = crs_of(crs)
    unit = float(system.axis_info[0].unit_conversion_factor) or 1.0
    if system.is_geographic:
        return metres / DEGREE * (math.radians(1) / unit)
    return metres / unit


def northing_first(crs: CRS) -> bool:
    """Whether a system's coordinates stand in the order (up, right), as latitude and longitude do.

    PROJ and GDAL turn the axes of such systems, and of no others, when they want x before y. The directions decide,
    since names do not: Austria's X points north. At a pole both axes point along meridians, and the order is (up,
    right) where the second lies clockwise of the first. Systems that count southward or westward stay as they are, as
    they do in PROJ and GDAL.
    """
    first, second = (axis.direction for axis in crs.axis_info[:2])
    if first == second and first in ("north", "south"):
        along = [_meridian(axis) for axis in crs.to_json_dict()["coordinate_system"]["axis"][:2]]
        if None in along:
            return False
        # East is counter-clockwise as seen from above the north pole, clockwise above the south pole.
        return (along[1] - along[0]) % 360 == (270 if first == "south" else 90)
    return (first, second) == ("north", "east")


def _meridian(axis: dict[str, Any]) -> Any:
    """Longitude of the meridian that a polar axis follows, in degrees; None where it is not known."""
    told = axis.get("meridian", {}).get("longitude")
    return told["value"] if isinstance(told, dict) else told


def _successor(crs: CRS) -> str | None:
    """Code of the system that replaces a deprecated one, and is not deprecated itself."""
    for _ in range(4):
        better = [c.to_authority() for c in crs.get_non_deprecated()]
        if not better or better[0] is None:
            return None
        crs = CRS.from_authority(*better[0])
        if not crs.is_deprecated:
            return ":".join(better[0])
    return None
