"""What an export is asked for: one frozen value, the same from the command line and over HTTP."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from terrazzo.bands import NODATA, SCALE, STYLES
from terrazzo.bulk.area import Area, area_of_box, area_of_geometry
from terrazzo.config import Method
from terrazzo.crs import DEGREES
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.origin import fit
from terrazzo.mosaic.request import UNMERGED, PixelRequest
from terrazzo.mosaic.sigma import require_sigma
from terrazzo.picture import Pairs
from terrazzo.request.parameters import DEFAULT_EXTRAS, EXPORT, MOST_ZOOM, NUMBERS, TABLETS
from terrazzo.request.parse import UNMEASURED, contradict, measured, values
from terrazzo.version import Version

MERCATOR, EARTH = "EPSG:3857", 6378137.0
Dtype = Literal["int16", "uint16", "uint8", "float32"]
Compression = Literal["deflate", "zstd", "lzw", "none"]
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
        format: name of one of `terrazzo.formats`.
        rescale, gamma: as `stretched` takes them.
        zoom: the deepest.
    """

    format: str
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
    """An order from the values of the table `EXPORT`; `version` is the one that it names.

    Raises:
        InvalidRequest: a parameter or value is not understood; the message lists those that are.
    """
    given = values(raw, EXPORT)
    form = given.get("format", "tif")
    if form == "zarr":
        raise InvalidRequest(
            "format=zarr: a folder, and jobs of a server write files; use `terrazzo export -o NAME.zarr`, or xarray with terrazzo.open"
        )
    of_others = NUMBERS if form != "tif" else TABLETS
    if strange := [p.name for p in of_others if p.name in given]:
        raise contradict(f"format={form}", ", ".join(strange))
    area = _area(given, version)
    if form != "tif":
        return _picture_order(given, area, form, version)
    measure, stage = measured(given, version), given.get("stage")
    extras = given.get("extras", DEFAULT_EXTRAS)
    if extras == ("none",):
        extras = ()
    if "none" in extras:
        raise contradict("extras=none", "other extras")
    if "spread" in extras and stage == "mask":
        raise InvalidRequest("extras=spread: classes have none; ask for another stage")
    if "sigma" in extras:
        require_sigma(measure, version)
    layered: Method = "first" if stage in UNMERGED else measure.pixels.method or version.config.method
    fit(extras, layered)
    return Order(
        area,
        measure,
        given.get("crs"),
        given.get("resolution"),
        _encoding(given, counts=stage in UNMEASURED, usual="float32" if measure.expression else "int16"),
        given.get("compression", "deflate"),
        given.get("split"),
        tuple(dict.fromkeys(extras)),
    )


def _picture_order(given: Mapping[str, Any], area: Area, form: str, version: Version) -> Order:
    style = None
    if "bands" not in given and "expression" not in given:
        known = {s.name: s for s in STYLES.values() if not s.colormap and set(s.bands) <= set(version.bands)}
        name = given.get("style") or next(iter(known), None)
        if name is None:
            raise InvalidRequest("bands: this mosaic has the bands of no style; name one or three")
        if name not in known:
            raise InvalidRequest(f"style={name}: pictures for tablets have {', '.join(known)}")
        style = known[name]
    measure = measured(given, version, style.bands if style else ())
    if measure.pixels.stage in UNMEASURED or len(measure.names) not in (1, 3):
        raise InvalidRequest(f"format={form}: a picture of one or three bands of reflectance")
    usual = style.rescale if style else (-1.0, 1.0) if measure.expression else (0.0, 0.4)
    if measure.baseline:
        usual = (-(usual[1] - usual[0]) / 2, (usual[1] - usual[0]) / 2)
    rescale = given.get("rescale", (usual,))
    if len(rescale) not in (1, len(measure.names)):
        raise InvalidRequest(f"rescale: one pair, or {len(measure.names)}")
    picture = Picture(
        form,
        rescale,
        style.gamma if style and "rescale" not in given and not measure.baseline else 1.0,
        given["zoom"] if "zoom" in given else native_zoom(version.store.config.pixel, area.latitude),
        given.get("tiles", "png"),
    )
    return Order(area, measure, MERCATOR, mercator_pixel(picture.zoom), picture=picture)


def mercator_pixel(zoom: int) -> float:
    """Side of a pixel of a zoom of web maps, in metres of EPSG:3857."""
    return math.tau * EARTH / 256 / 2.0**zoom


def native_zoom(pixel: float, latitude: float) -> int:
    """The first zoom whose pixels, on the ground, are not larger than a mosaic's."""
    ground = mercator_pixel(0) * math.cos(math.radians(latitude))
    return min(MOST_ZOOM, max(0, math.ceil(math.log2(ground / pixel) - 1e-6)))


def _area(given: Mapping[str, Any], version: Version) -> Area:
    if ("bbox" in given) == ("geometry" in given):
        raise InvalidRequest("name the area: either bbox (W, S, E, N) or geometry (GeoJSON)")
    if "geometry" in given:
        if "bbox_crs" in given:
            raise contradict("geometry", "bbox_crs")
        return area_of_geometry(given["geometry"], version.bounds)
    return area_of_box(given["bbox"], given.get("bbox_crs", DEGREES), version.bounds)


def _encoding(given: Mapping[str, Any], *, counts: bool, usual: Dtype) -> Encoding:
    asked = {"dtype", "scale", "offset", "nodata"} & set(given)
    if counts:
        if asked:
            raise InvalidRequest(
                f"stage={given['stage']} holds whole numbers as they are: leave out {', '.join(sorted(asked))}"
            )
        return PLAIN
    dtype = given.get("dtype", usual)
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
        given.get(name, value) for name, value in zip(("scale", "offset", "nodata"), defaults, strict=True)
    )
    if scale is None:
        raise InvalidRequest("dtype=uint8: name a scale, such as 0.002 for reflectance up to 0.5")
    if not scale > 0:
        raise InvalidRequest(f"scale={scale:g}: above 0")
    ranges = {"int16": (-32768, 32767), "uint16": (0, 65535), "uint8": (0, 255)}
    if dtype in ranges:
        low, high = ranges[dtype]
        if not (low <= nodata <= high and nodata == int(nodata)):
            raise InvalidRequest(f"nodata={nodata:g}: a whole number of {dtype}, {low} to {high}")
    elif math.isfinite(nodata) and abs(nodata) > FLOAT32_MOST:
        raise InvalidRequest(f"nodata={nodata:g}: beyond what float32 holds")
    return Encoding(dtype, scale, offset, nodata)
