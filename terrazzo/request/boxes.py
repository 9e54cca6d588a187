"""Boxes and places: four numbers with commas or blanks, across the antimeridian too, and whether two were swapped."""

import math
import re
from typing import Any

from terrazzo.crs import DEGREES, is_geographic
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import transformer

SWAPPED = "did you swap latitude and longitude? Longitude comes first"


def numbers_of_box(value: Any, name: str = "bbox") -> Bounds:
    """Four finite numbers from a list, or from text with commas or blanks between them.

    Raises:
        InvalidRequest: there are not four, or one is no finite number.
    """
    return Bounds(
        *_finite(value, 4, f"{name}: four finite numbers, W S E N, with commas or blanks between them")
    )


def numbers_of_place(value: Any, name: str = "point") -> tuple[float, float]:
    """Longitude and latitude from a list, or from text with commas or blanks between them.

    Raises:
        InvalidRequest: there are not two, or one is no finite number.
    """
    what = f"{name}: two finite numbers, longitude and latitude, with commas or blanks between them"
    lon, lat = _finite(value, 2, what)
    return lon, lat


def _finite(value: Any, count: int, refusal: str) -> list[float]:
    """So many finite numbers from a list or text.

    Raises:
        InvalidRequest: they are not.
    """
    try:
        numbers = [number_of(v) for v in parts_of(value)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InvalidRequest(refusal)
    return numbers


def number_of(value: Any) -> float:
    """A number as JSON and forms write it: `float` alone takes `1_5`, digits of other scripts, and switches too.

    Raises:
        TypeError, ValueError: it is none, or too large for a float.
    """
    if isinstance(value, bool) or (isinstance(value, str) and ("_" in value or not value.isascii())):
        raise ValueError(f"{value!r} is no number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def parts_of(value: Any) -> Any:
    """The parts of text with commas or blanks between them; what is no text as it is."""
    return re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value


def box_of(bounds: Bounds, crs: str = DEGREES, coverage: Bounds | None = None, name: str = "bbox") -> Bounds:
    """A box as it is worked with: W below E, in degrees beyond 180 where it crosses the antimeridian.

    Args:
        bounds: W S E N; in degrees W may lie east of E.
        crs: canonical.
        coverage: what the mosaic covers, in degrees; a box that lies outside it, and would not if its numbers were
            swapped, is refused.

    Raises:
        InvalidRequest: it is no box, or latitude and longitude seem to be swapped.
    """
    left, bottom, right, top = bounds
    if not all(map(math.isfinite, bounds)):
        raise InvalidRequest(f"{name}: four finite numbers, W S E N, with commas or blanks between them")
    if is_geographic(crs):
        if not (abs(left) <= 360 and abs(right) <= 360 and abs(bottom) <= 90 and abs(top) <= 90):
            swapped = abs(left) <= 90 and abs(right) <= 90 and abs(bottom) <= 180 and abs(top) <= 180
            hint = f"; {SWAPPED}" if swapped else ""
            raise InvalidRequest(f"{name}: the box must lie within ±180 and ±90 degrees, W S E N{hint}")
        if left > right and left >= 0 > right:
            right += 360
        flipped = Bounds(bottom, left, top, right)
        if coverage and not touch(bounds, coverage) and touch(flipped, coverage):
            raise InvalidRequest(
                f"{name}: the box {','.join(f'{v:g}' for v in bounds)} lies outside the mosaic; {SWAPPED}: {name}=W,S,E,N,"
                f" such as {','.join(f'{v:g}' for v in flipped)}"
            )
    if left >= right or bottom >= top:
        raise InvalidRequest(
            f"{name}: the box must be W S E N, W below E and S below N;"
            " only a box from the eastern to the western hemisphere crosses the antimeridian"
        )
    return Bounds(left, bottom, right, top)


def in_one_piece(box: Bounds, crs: str, target: str) -> None:
    """Checks that a box which crosses the antimeridian lies in one piece in another coordinate system.

    Raises:
        InvalidRequest: that system ends there, as web mercator does.
    """
    if crs == target or not is_geographic(crs) or box.right <= 180:
        return
    middle = (box.bottom + box.top) / 2
    left, right = transformer(crs, target).transform([box.left, box.right], [middle, middle])[0]
    if left >= right and not is_geographic(target):
        raise InvalidRequest(
            f"bbox: the box crosses the antimeridian, where {target} ends; ask for its two sides, or in another coordinate"
            " system, such as the mosaic's UTM zone"
        )


def place_of(lon: float, lat: float, name: str) -> None:
    """Checks a place in degrees.

    Raises:
        InvalidRequest: it is none on Earth.
    """
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        hint = f"; {SWAPPED}" if abs(lon) <= 90 and abs(lat) <= 180 else ""
        raise InvalidRequest(f"{name}: longitude within ±180 and latitude within ±90{hint}")


def swap_of(lon: float, lat: float, coverage: Bounds) -> str:
    """`; did you swap …` where a place lies outside a mosaic and would not with its numbers swapped; else empty."""
    here, there = Bounds(lon, lat, lon, lat), Bounds(lat, lon, lat, lon)
    return f"; {SWAPPED}" if not touch(here, coverage) and touch(there, coverage) else ""


def touch(box: Bounds, coverage: Bounds) -> bool:
    """Whether two boxes in degrees have a place in common, around the globe."""
    if box.bottom > coverage.top or coverage.bottom > box.top:
        return False
    width = (box.right - box.left) % 360 if box.right < box.left else box.right - box.left
    span = (
        (coverage.right - coverage.left) % 360
        if coverage.right < coverage.left
        else coverage.right - coverage.left
    )
    return (coverage.left - box.left) % 360 <= width or (box.left - coverage.left) % 360 <= span
