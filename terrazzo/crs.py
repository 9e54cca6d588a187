"""Coordinate systems: read once where a request enters, into one form that PROJ and GDAL both understand.

pyproj places pixels, and GDAL writes the labels by which other programs place them. Both get the same full
definition: given a bare code, each looks it up in a database of its own, GDAL takes a deprecated code's successor, and
either may shift the datum where the other does not.
"""

import math
import re
import statistics
import warnings
from functools import lru_cache
from typing import Any

from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from terrazzo.errors import InvalidRequest

DEGREES = "EPSG:4326"
DEGREE = 111_319.490_793
"""Metres of a degree on the equator of WGS 84."""
HOW = "use a code such as EPSG:3857"
MODERN = frozenset({"China 2000", "ETRS89/DREF91 Realization 2016", "Latvian coordinate system 2020"})
"""Datums without a transformation to WGS 84 in PROJ's database that agree with it by their definition, as realizations
of ITRS or ETRS89: within .2 m, and Europe's plate's drift since 1989."""
FAR = 1.0
"""Metres by which a place may differ between pyproj and the programs that read a label."""
CONTRADICTS = 300.0
"""Metres by which a datum shift may lie from the middle of those known: the oldest differ by some 200 m among themselves."""
GEOD = Geod(ellps="WGS84")
WORLD = AreaOfInterest(-180, -90, 180, 90)


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
        InvalidRequest: there is no such system, it is not one of the plane, it is deprecated, or nobody knows how it lies
            to WGS 84.
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
    transform(crs_of(DEGREES), crs)
    area = crs.area_of_use
    if area is not None:
        east = area.east if area.east > area.west else area.east + 360
        middle = ((area.west + east) / 2 + 180) % 360 - 180
        _check_label(crs, middle, (area.south + area.north) / 2)
    authority = crs.to_authority()
    if authority and CRS.from_authority(*authority).equals(crs, ignore_axis_order=True):
        return DEGREES if authority == ("OGC", "CRS84") else ":".join(authority)
    return str(crs.to_wkt())


def definition(crs: str) -> str:
    """A system in full, as GDAL is to write it: WKT of the very system that pyproj places by."""
    return str(crs_of(crs).to_wkt())


@lru_cache(maxsize=256)
def transform(source: CRS, target: CRS) -> Transformer:
    """The transformation between two systems, x before y.

    Raises:
        InvalidRequest: there is none, or none that knows how their datums lie to each other: PROJ then takes one for the
            other ("ballpark"), which is up to a kilometre off.
    """
    # PROJ looks for shifts where both areas of use are; a zone's pixels reach beyond the zone.
    for where in (None, WORLD):
        try:
            return Transformer.from_crs(
                source,
                target,
                always_xy=True,
                allow_ballpark=_are_alike(source, target),
                area_of_interest=where,
            )
        except ProjError:
            continue
    names = f"{_named(source)} and {_named(target)}"
    try:
        Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        raise InvalidRequest(
            f"there is no transformation between coordinate systems {names}: {error}"
        ) from None
    odd = source if target.equals(crs_of(DEGREES), ignore_axis_order=True) else target
    better = _successor(odd)
    raise InvalidRequest(
        f"between coordinate systems {names} no datum shift is known, so places would be off by up to a kilometre; "
        + (f"use {better}" if better else "use the successor of its datum, or the mosaic's UTM zone")
    )


def _are_alike(source: CRS, target: CRS) -> bool:
    """Whether one of two systems has a datum that lies as WGS 84 does, though no transformation says so, or names none.

    A system with an ellipsoid alone, as PROJ strings describe them, has the latitudes and longitudes that it is given.
    """
    names = [c.datum.name for c in (source, target) if c.datum is not None]
    return any(n in MODERN or n.startswith("Unknown based on") for n in names)


@lru_cache(maxsize=1024)
def check_place(crs: str, lon: float, lat: float) -> None:
    """Checks that a file in a coordinate system lies at a place where its label says.

    Raises:
        InvalidRequest: programs that read the label would put it more than `FAR` metres away, or the datum shift that they take
            contradicts the others that are known there.
    """
    _check_label(crs_of(crs), lon, lat)
    _check_shift(crs_of(crs), lon, lat)


def _check_shift(crs: CRS, lon: float, lat: float) -> None:
    """Compares PROJ's choice of a datum shift with the middle of all shifts that EPSG has at a place.

    Raises:
        InvalidRequest: it lies more than `CONTRADICTS` metres from it (MGI 1901 over Kosovo: 1,611 m, PROJ 9.5.1; see findings/).
    """
    around = AreaOfInterest(lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01)
    with warnings.catch_warnings():
        # That the best shift needs a grid that is not installed.
        warnings.simplefilter("ignore", UserWarning)
        known = TransformerGroup(crs_of(DEGREES), crs, always_xy=True, area_of_interest=around).transformers
    places = [t.transform(lon, lat) for t in known if t.accuracy >= 0]
    places = [p for p in places if all(map(math.isfinite, p))]
    if len(places) < 3:
        return
    unit = crs.axis_info[0].unit_conversion_factor * (math.degrees(DEGREE) if crs.is_geographic else 1)
    middle = tuple(statistics.median(axis) for axis in zip(*places, strict=True))
    off = math.dist(transform(crs_of(DEGREES), crs).transform(lon, lat), middle) * unit
    if off > CONTRADICTS:
        raise InvalidRequest(
            f"coordinate system {_named(crs)}: near {lon:.2f}, {lat:.2f} the datum shift that programs take lies {off:.0f} m from the"
            " others that EPSG has; use the mosaic's UTM zone, or the successor of the system"
        )


def _check_label(crs: CRS, lon: float, lat: float) -> None:
    # GDAL takes a moment to import, and what asks in degrees alone need not wait for it.
    from rasterio.warp import transform as by_label

    x, y = transform(crs_of(DEGREES), crs).transform(lon, lat)
    if not (math.isfinite(x) and math.isfinite(y)):
        return
    label = _label(crs.to_wkt())
    if label is None:
        raise InvalidRequest(f"coordinate system {_named(crs)} cannot be written into a GeoTIFF; {HOW}")
    (there_lon,), (there_lat,) = by_label(label, DEGREES, [x], [y])
    off = GEOD.inv(lon, lat, there_lon, there_lat)[2] if math.isfinite(there_lon + there_lat) else math.inf
    if off > FAR:
        better = _successor(crs)
        raise InvalidRequest(
            f"coordinate system {_named(crs)}: programs would put its files {off:.0f} m beside their place near"
            f" {lon:.2f}, {lat:.2f}; "
            + (f"use {better}" if better else f"use the mosaic's UTM zone, or {HOW[4:]}")
        )


@lru_cache(maxsize=256)
def _label(wkt: str) -> Any:
    """The system that GDAL reads from a GeoTIFF into which it wrote one; None where it reads none."""
    from affine import Affine
    from rasterio.io import MemoryFile

    how = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    with MemoryFile() as memory:
        with memory.open(crs=wkt, transform=Affine(10, 0, 0, 0, -10, 0), **how):
            pass
        with memory.open() as dataset:
            return dataset.crs


def _named(crs: CRS) -> str:
    """Code and name of a system, for messages."""
    authority = crs.to_authority(min_confidence=20)
    return f"{':'.join(authority)} ({crs.name})" if authority else crs.name


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
        turn: float = (along[1] - along[0]) % 360
        return turn == (270 if first == "south" else 90)
    return (first, second) == ("north", "east")


def _meridian(axis: dict[str, Any]) -> Any:
    """Longitude of the meridian that a polar axis follows, in degrees; None where it is not known."""
    longitude = axis.get("meridian", {}).get("longitude")
    return longitude["value"] if isinstance(longitude, dict) else longitude


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
