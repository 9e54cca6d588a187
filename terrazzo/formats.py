"""The formats of answers and files, one entry each: names, media types, drivers, and where each is offered.

A new format of pictures is an entry here. One of numbers needs its writer too: `terrazzo.server.render` has those of
answers, `terrazzo.export` those of files.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Interface = Literal["tile", "wmts", "export", "table", "account", "beside"]
"""The interface that offers a format: tiles and boxes, WMTS, exports, tables, explanations of pixels, files beside exports."""


LOSSLESS = 100
"""Quality at which a format that can keeps every pixel."""


class Format(NamedTuple):
    """A format.

    Attributes:
        name: ending of addresses and files.
        interfaces: the interfaces that offer it.
        driver: of Pillow for pictures that are answered at once, of GDAL for files; empty where the writer is our own.
        is_picture: whether it holds colours instead of numbers.
        aliases: other endings that mean the same.
        settings: options of the driver.
        has_quality: whether the driver takes a quality from 1 to 100.
        lossless: options that keep every pixel, of a format that is lossy else.
        transparent: whether it knows transparency.
        conformance: name of its class in OGC API – Tiles.
        is_text: whether answers are worth packing.
    """

    name: str
    media: str
    interfaces: tuple[Interface, ...]
    driver: str = ""
    is_picture: bool = False
    aliases: tuple[str, ...] = ()
    settings: Mapping[str, Any] = {}
    has_quality: bool = False
    lossless: Mapping[str, Any] | None = None
    transparent: bool = True
    conformance: str = ""
    is_text: bool = False

    def options(self, quality: int) -> dict[str, Any]:
        """Options of the driver for a quality from 1 to `LOSSLESS`."""
        if self.lossless is not None and quality == LOSSLESS:
            return {**self.lossless}
        return {**self.settings, **({"quality": quality} if self.has_quality else {})}


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            "png",
            "image/png",
            ("tile", "wmts"),
            "PNG",
            is_picture=True,
            settings={"compress_level": 1},
            conformance="png",
        ),
        Format(
            "jpg",
            "image/jpeg",
            ("tile", "wmts"),
            "JPEG",
            is_picture=True,
            aliases=("jpeg",),
            has_quality=True,
            transparent=False,
            conformance="jpeg",
        ),
        # Of lossless WebP `quality` says how long the encoder tries.
        Format(
            "webp",
            "image/webp",
            ("tile",),
            "WEBP",
            is_picture=True,
            lossless={"lossless": True, "quality": 20, "method": 2},
            settings={"method": 2},
            has_quality=True,
        ),
        Format(
            "tif",
            "image/tiff; application=geotiff",
            ("tile", "export"),
            "GTiff",
            aliases=("tiff",),
            conformance="tiff",
        ),
        Format("npy", "application/x-npy", ("tile",)),
        Format(
            "gpkg",
            "application/geopackage+sqlite3",
            ("export",),
            "GPKG",
            is_picture=True,
            settings={"TILING_SCHEME": "GoogleMapsCompatible"},
        ),
        Format(
            "mbtiles",
            "application/vnd.sqlite3",
            ("export",),
            "MBTILES",
            is_picture=True,
            settings={"TYPE": "baselayer"},
        ),
        # Converted from MBTiles.
        Format(
            "pmtiles",
            "application/vnd.pmtiles",
            ("export",),
            "MBTILES",
            is_picture=True,
            settings={"TYPE": "baselayer"},
        ),
        Format("parquet", "application/vnd.apache.parquet", ("table",)),
        Format("csv", "text/csv", ("table",), is_text=True),
        Format("html", "text/html", ("account",), is_text=True),
        Format("json", "application/json", ("account",), is_text=True),
        Format("txt", "text/plain", ("account",), is_text=True),
        Format("vrt", "application/x-vrt", ("beside",), is_text=True),
    )
}
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
"""Media type of the GeoTIFFs of stores and exports."""
GEOJSON = "application/geo+json"


def offered(interface: Interface) -> dict[str, Format]:
    """The formats of an interface by name, the default first."""
    return {name: f for name, f in FORMATS.items() if interface in f.interfaces}


def media_of_file(name: str) -> str:
    """Media type of an export's file by its name."""
    if name.endswith(".lock.json"):
        return FORMATS["json"].media
    ending = name.rpartition(".")[2].lower()
    own = {"tif": COG, "tiff": COG, "json": GEOJSON}
    return own.get(ending) or FORMATS[ending].media


def format_of(name: str, interface: Interface) -> Format | None:
    """The format of an interface for an ending or a media type, in any case; None if it has none."""
    low = name.lower()
    return next((f for f in offered(interface).values() if low in (f.name, f.media, *f.aliases)), None)
