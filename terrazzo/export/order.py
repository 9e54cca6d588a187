"""What an export is asked for: one frozen value, the same from the command line and over HTTP."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from terrazzo.bands import NODATA, SCALE
from terrazzo.errors import InvalidRequest
from terrazzo.export.area import Area, area_of_box, area_of_geometry
from terrazzo.expression import bands_of
from terrazzo.grid import Bounds
from terrazzo.mosaic.measure import Measure, measure_of
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.mosaic.request import CHOICES, PixelRequest
from terrazzo.version import Version

Dtype = Literal["int16", "uint16", "uint8", "float32"]
Compression = Literal["deflate", "zstd", "lzw", "none"]
DEFAULT_EXTRAS = ("quality", "date")
LEAST_SPLIT, MOST_SPLIT = 512, 65536
"""Sides that the files of a divided export may have, in pixels."""

MEASURED: dict[str, str] = {
    "bands": "names of bands, all by default",
    "expression": "over bands instead of them, such as (B08-B04)/(B08+B04); several, separated by ;",
    "datetime": "day, month, year, interval or name of a period, the newest by default",
    "baseline": "the same: the values of that time are taken off those of datetime",
    **CHOICES,
    "ids": "scenes",
    "version": "a version of the mosaic, the current one by default",
}
"""What is measured, the same of exports and statistics."""
PARAMETERS: dict[str, str] = {
    "bbox": "W, S, E, N; W east of E crosses the antimeridian",
    "bbox_crs": "coordinate system of bbox, by default EPSG:4326",
    "geometry": "GeoJSON in degrees instead of bbox: the pixels that it touches",
    **MEASURED,
    "crs": "coordinate system of the files, by default the mosaic's UTM zone",
    "resolution": "pixel size in units of crs, by default the mosaic's own",
    "dtype": "int16 (default), uint16, uint8 or float32 (default of expressions)",
    "scale": "reflectance = stored · scale + offset; 0.0001 by default, 1 for float32; uint8 needs one",
    "offset": "0 by default, -0.1 for uint16",
    "nodata": "stored value of pixels without data: -32768 by default, 0 for uint8 and uint16, NaN for float32",
    "compression": "deflate (default), zstd, lzw or none",
    "split": f"pixels a side of the squares that the area is divided into, {LEAST_SPLIT} to {MOST_SPLIT}; one file by default",
    "extras": f"of {', '.join(ORIGINS)}; {' and '.join(DEFAULT_EXTRAS)} by default",
}


@dataclass(frozen=True)
class Encoding:
    """How values are stored: reflectance, or what an expression makes of it, = stored · scale + offset."""

    dtype: Dtype
    scale: float
    offset: float
    nodata: float

    @property
    def plain(self) -> bool:
        """Whether it is the engine's own, so that pixels go through untouched."""
        return (self.dtype, self.scale, self.offset, self.nodata) == ("int16", SCALE, 0.0, NODATA)


PLAIN = Encoding("int16", SCALE, 0.0, NODATA)


@dataclass(frozen=True)
class Order:
    """An export.

    Attributes:
        crs, resolution: of the files; None: the mosaic's own.
        split: pixels a side of the squares the area is divided into; None: one file.
        extras: names of `ORIGINS` that are written beside the bands.
    """

    area: Area
    measure: Measure
    crs: str | None = None
    resolution: float | None = None
    encoding: Encoding = PLAIN
    compression: Compression = "deflate"
    split: int | None = None
    extras: tuple[str, ...] = ()

    @property
    def pixels(self) -> PixelRequest:
        """What the engine is asked."""
        return self.measure.pixels


def parse_order(raw: Mapping[str, Any], version: Version) -> Order:
    """An order from the values of `PARAMETERS`; `version` is the one that it names.

    Lists may be given as such or as text with commas; None counts as not given.

    Raises:
        InvalidRequest: a parameter or value is not understood; the message lists those that are.
    """
    given = {k: v for k, v in raw.items() if v is not None}
    known_only(given, PARAMETERS)
    measure, stage = measure_from(given, version), given.get("stage")
    split = _number(given, "split")
    if split is not None and not (split == int(split) and LEAST_SPLIT <= split <= MOST_SPLIT):
        raise InvalidRequest(f"split={split:g}: {LEAST_SPLIT} to {MOST_SPLIT} px")
    extras = texts(given, "extras") if "extras" in given else DEFAULT_EXTRAS
    if extras == ("none",):
        extras = ()
    if "spread" in extras and stage == "mask":
        raise InvalidRequest("extras=spread: classes have none; ask for another stage")
    if strange := sorted(set(extras) - set(ORIGINS)):
        raise InvalidRequest(f"extras={','.join(strange)}: there are {', '.join(ORIGINS)}, or none")
    return Order(
        _area(given),
        measure,
        _text(given, "crs"),
        _number(given, "resolution"),
        _encoding(given, counts=stage in ("raw", "mask"), usual="float32" if measure.expression else "int16"),
        one_of(given, "compression", get_args(Compression)) or "deflate",  # type: ignore[arg-type]
        None if split is None else int(split),
        tuple(dict.fromkeys(extras)),
    )


def known_only(given: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    """Refuses parameters that are not known.

    Raises:
        InvalidRequest: there is one; the message lists the known ones.
    """
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise InvalidRequest(f"unknown parameter {', '.join(unknown)}; there are: {', '.join(parameters)}")


def measure_from(given: Mapping[str, Any], version: Version) -> Measure:
    """What is measured, from the values of `MEASURED`.

    Raises:
        InvalidRequest: a value is not understood, or two contradict each other.
    """
    stage, expression = given.get("stage"), _text(given, "expression")
    if expression and ("bands" in given or stage in ("raw", "mask")):
        other = "bands" if "bands" in given else f"stage={stage}"
        raise InvalidRequest(f"expression and {other} contradict each other: leave one of them out")
    pixels = PixelRequest(
        bands=bands_of(expression) if expression else texts(given, "bands") or version.bands,
        datetime=_text(given, "datetime"),
        max_cloud=_number(given, "max_cloud"),
        orbit=_orbit(given),
        ids=texts(given, "ids"),
        method=_text(given, "method"),  # type: ignore[arg-type]
        normalize=_switch(given, "normalize"),
        stage=stage,
        fill=_text(given, "fill"),  # type: ignore[arg-type]
        snow=_text(given, "snow"),  # type: ignore[arg-type]
        resampling=_text(given, "resampling"),  # type: ignore[arg-type]
    )
    return measure_of(pixels, expression, _text(given, "baseline"))


def _area(given: Mapping[str, Any]) -> Area:
    if ("bbox" in given) == ("geometry" in given):
        raise InvalidRequest("name the area: either bbox (W, S, E, N) or geometry (GeoJSON)")
    if "geometry" in given:
        return area_of_geometry(given["geometry"])
    box = given["bbox"]
    try:
        numbers = [float(v) for v in (box.split(",") if isinstance(box, str) else box)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4:
        raise InvalidRequest("bbox: four numbers, W, S, E, N")
    return area_of_box(Bounds(*numbers), _text(given, "bbox_crs") or "EPSG:4326")


def _encoding(given: Mapping[str, Any], *, counts: bool, usual: Dtype) -> Encoding:
    asked = {"dtype", "scale", "offset", "nodata"} & set(given)
    if counts:
        if asked:
            raise InvalidRequest(
                f"stage={given['stage']} holds whole numbers as they are: leave out {', '.join(sorted(asked))}"
            )
        return PLAIN
    dtype = one_of(given, "dtype", get_args(Dtype)) or usual
    if dtype in ("uint8", "uint16") and "baseline" in given and "offset" not in given:
        raise InvalidRequest(
            f"dtype={dtype} and baseline: a change has a sign; use int16 or float32, or name an offset"
        )
    defaults = {
        "int16": (SCALE, 0.0, NODATA),
        "uint16": (SCALE, -0.1, 0.0),
        "uint8": (None, 0.0, 0.0),
        "float32": (1.0, 0.0, math.nan),
    }[dtype]
    scale, offset, nodata = (
        _number(given, name) if name in given else value
        for name, value in zip(("scale", "offset", "nodata"), defaults, strict=True)
    )
    if scale is None:
        raise InvalidRequest("dtype=uint8: name a scale, such as 0.002 for reflectance up to 0.5")
    if not scale > 0:
        raise InvalidRequest(f"scale={scale:g}: above 0")
    assert offset is not None
    assert nodata is not None
    ranges = {"int16": (-32768, 32767), "uint16": (0, 65535), "uint8": (0, 255)}
    if dtype in ranges:
        low, high = ranges[dtype]
        if not (low <= nodata <= high and nodata == int(nodata)):
            raise InvalidRequest(f"nodata={nodata:g}: a whole number of {dtype}, {low} to {high}")
    return Encoding(dtype, scale, offset, nodata)  # type: ignore[arg-type]


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 2000:
        raise InvalidRequest(f"{name}: a short text")
    return value


def texts(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of names, given as such or as text with commas; empty when it is not given."""
    value = given.get(name, ())
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts) or len(parts) > 1000:
        raise InvalidRequest(f"{name}: a list of names")
    return tuple(p.strip() for p in parts if p.strip())


def _number(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{name}={value!r}: a number") from None
    if not math.isfinite(number) and name != "nodata":
        raise InvalidRequest(f"{name}={value!r}: a finite number")
    return number


def _orbit(given: Mapping[str, Any]) -> int | None:
    number = _number(given, "orbit")
    if number is not None and not (number == int(number) and 1 <= number <= 143):
        raise InvalidRequest(f"orbit={number:g}: a relative orbit, 1 to 143")
    return None if number is None else int(number)


def _switch(given: Mapping[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise InvalidRequest(f"{name}={value}: use on or off")
    return bool(value == "on")


def one_of(given: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str | None:
    """One of the allowed values; None when it is not given."""
    value = given.get(name)
    if value is not None and value not in allowed:
        raise InvalidRequest(f"{name}={value}: use one of {', '.join(allowed)}")
    return value
