"""What an export is asked for: one frozen value, the same from the command line and over HTTP."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from terrazzo.bands import NODATA, SCALE, STYLES
from terrazzo.bulk.area import Area, area_of_box, area_of_geometry
from terrazzo.errors import InvalidRequest
from terrazzo.expression import bands_of
from terrazzo.grid import Bounds
from terrazzo.mosaic.measure import Measure, measure_of
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.mosaic.request import CHOICES, PixelRequest
from terrazzo.picture import Pairs
from terrazzo.version import Version

PictureFormat = Literal["gpkg", "mbtiles", "pmtiles"]
MERCATOR, EARTH = "EPSG:3857", 6378137.0
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
    "format": "tif (default): numbers; gpkg, mbtiles or pmtiles: a picture in web map tiles, for tablets without a network",
    "style": f"of pictures, by default the first that the mosaic has: {', '.join(s.name for s in STYLES.values() if not s.colormap)}",
    "rescale": "of pictures: min,max in reflectance shown as black and white; several pairs separated by ;",
    "zoom": "of pictures: the deepest zoom, by default the first whose pixels are not larger than the mosaic's",
    "tiles": "of pictures: png (default) or webp",
}
PICTURE_ONLY = ("style", "rescale", "zoom", "tiles")
NUMBERS_ONLY = ("crs", "resolution", "dtype", "scale", "offset", "nodata", "compression", "split", "extras")
MOST_ZOOM = 20
FLOAT32_MOST = 3.4028235e38


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
class Picture:
    """How an export is shown, where it is a picture in web map tiles.

    Attributes:
        rescale, gamma: as `stretched` takes them.
        zoom: the deepest.
    """

    format: PictureFormat
    rescale: Pairs
    gamma: float
    zoom: int
    tiles: Literal["png", "webp"] = "png"


@dataclass(frozen=True)
class Order:
    """An export.

    Attributes:
        crs, resolution: of the files; None: the mosaic's own.
        split: pixels a side of the squares the area is divided into; None: one file.
        extras: names of `ORIGINS` that are written beside the bands.
        picture: None for numbers in GeoTIFF.
    """

    area: Area
    measure: Measure
    crs: str | None = None
    resolution: float | None = None
    encoding: Encoding = PLAIN
    compression: Compression = "deflate"
    split: int | None = None
    extras: tuple[str, ...] = ()
    picture: Picture | None = None

    @property
    def ending(self) -> str:
        """Of the names of its files."""
        return ".tif" if self.picture is None else f".{self.picture.format}"

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
    form = one_of(given, "format", ("tif", *get_args(PictureFormat))) or "tif"
    strange = sorted(set(given) & set(PICTURE_ONLY if form == "tif" else NUMBERS_ONLY))
    if strange:
        raise InvalidRequest(
            f"format={form} and {', '.join(strange)} contradict each other: leave one of them out"
        )
    if form != "tif":
        return _picture_order(given, form, version)  # type: ignore[arg-type]
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


def _picture_order(given: Mapping[str, Any], form: "PictureFormat", version: Version) -> Order:
    area, style = _area(given), None
    if not given.get("bands") and not given.get("expression"):
        known = {s.name: s for s in STYLES.values() if not s.colormap and set(s.bands) <= set(version.bands)}
        name = one_of(given, "style", tuple(known)) or next(iter(known), None)
        if name is None:
            raise InvalidRequest("bands: this mosaic has the bands of no style; name one or three")
        style = known[name]
        given = {**given, "bands": style.bands}
    elif "style" in given:
        raise InvalidRequest("style and bands or expression contradict each other: name one of them")
    measure = measure_from({k: v for k, v in given.items() if k != "style"}, version)
    if measure.pixels.stage in ("raw", "mask") or len(measure.names) not in (1, 3):
        raise InvalidRequest(f"format={form}: a picture of one or three bands of reflectance")
    usual = style.rescale if style else (-1.0, 1.0) if measure.expression else (0.0, 0.4)
    if measure.baseline:
        usual = (-(usual[1] - usual[0]) / 2, (usual[1] - usual[0]) / 2)
    rescale = pairs_of(given["rescale"]) if given.get("rescale") else (usual,)
    if len(rescale) not in (1, len(measure.names)):
        raise InvalidRequest(f"rescale: one pair, or {len(measure.names)}")
    zoom, deepest = _number(given, "zoom"), native_zoom(version.store.config.pixel, area.latitude)
    if zoom is not None and not (zoom == int(zoom) and 0 <= zoom <= MOST_ZOOM):
        raise InvalidRequest(f"zoom={zoom:g}: 0 to {MOST_ZOOM}")
    picture = Picture(
        form,
        rescale,
        style.gamma if style and "rescale" not in given and not measure.baseline else 1.0,
        deepest if zoom is None else int(zoom),
        one_of(given, "tiles", ("png", "webp")) or "png",  # type: ignore[arg-type]
    )
    return Order(area, measure, MERCATOR, mercator_pixel(picture.zoom), picture=picture)


def pairs_of(text: str) -> Pairs:
    """What is shown as black and white, from `min,max;min,max`.

    Raises:
        InvalidRequest: it is no such text.
    """
    try:
        pairs = tuple((float(low), float(high)) for low, high in (p.split(",") for p in text.split(";")))
    except (ValueError, AttributeError):
        pairs = ()
    if not pairs or any(not low < high or max(abs(low), abs(high)) > 1e6 for low, high in pairs):
        raise InvalidRequest(f"rescale={text}: min,max with min below max, such as 0,0.3")
    return pairs


def mercator_pixel(zoom: int) -> float:
    """Side of a pixel of a zoom of web maps, in metres of EPSG:3857."""
    return math.tau * EARTH / 256 / 2.0**zoom


def native_zoom(pixel: float, latitude: float) -> int:
    """The first zoom whose pixels, on the ground, are not larger than a mosaic's."""
    ground = mercator_pixel(0) * math.cos(math.radians(latitude))
    return min(MOST_ZOOM, max(0, math.ceil(math.log2(ground / pixel) - 1e-6)))


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
    stage, expression = _text(given, "stage"), _text(given, "expression")
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
        stage=stage,  # type: ignore[arg-type]
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
    elif math.isfinite(nodata) and abs(nodata) > FLOAT32_MOST:
        raise InvalidRequest(f"nodata={nodata:g}: beyond what float32 holds")
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
