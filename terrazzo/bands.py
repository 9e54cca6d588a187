"""Bands, mask classes, reflectance encoding and the named styles."""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

NODATA = -32768
"""Value of a reflectance pixel without data."""
SCALE = 1e-4
"""Reflectance of one count."""
RENDER = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
"""STAC's extension that says how assets are drawn."""


class SpectralBand(NamedTuple):
    """One band of the MultiSpectral Instrument.

    `centre_nm` are the centroids of S2A, S2B and S2C from ESA's spectral responses v4.0
    (COPE-GSEG-EOPG-TN-15-0007), `width_nm` the full width at half maximum of S2A. `also` are other common names that
    archives use.
    """

    name: str
    common: str
    resolution: int
    centre_nm: tuple[float, float, float]
    width_nm: float
    also: tuple[str, ...] = ()


BANDS: dict[str, SpectralBand] = {
    b.name: b
    for b in (
        SpectralBand("B01", "coastal", 60, (442.7, 442.2, 444.2), 20),
        SpectralBand("B02", "blue", 10, (492.7, 492.3, 489.0), 65),
        SpectralBand("B03", "green", 10, (559.8, 558.9, 560.6), 35),
        SpectralBand("B04", "red", 10, (664.6, 664.9, 666.5), 30),
        SpectralBand("B05", "rededge071", 20, (704.1, 703.8, 707.1), 14, ("rededge1",)),
        SpectralBand("B06", "rededge075", 20, (740.5, 739.1, 741.1), 14, ("rededge2",)),
        SpectralBand("B07", "rededge078", 20, (782.8, 779.7, 784.7), 19, ("rededge3",)),
        SpectralBand("B08", "nir", 10, (832.8, 832.9, 834.6), 105),
        SpectralBand("B8A", "nir08", 20, (864.7, 864.0, 865.6), 21),
        SpectralBand("B09", "nir09", 60, (945.1, 943.2, 947.2), 19),
        SpectralBand("B10", "cirrus", 60, (1373.5, 1376.9, 1372.2), 29),
        SpectralBand("B11", "swir16", 20, (1613.7, 1610.4, 1612.0), 90),
        SpectralBand("B12", "swir22", 20, (2202.4, 2185.7, 2191.3), 174),
    )
}
FOUR = tuple(b.name for b in BANDS.values() if b.resolution == 10)
"""The bands of 10 m."""
DEFAULT_BANDS = tuple(b.name for b in BANDS.values() if b.resolution < 60)
"""What new stores hold."""
BY_COMMON_NAME = {name: b.name for b in BANDS.values() for name in (b.common, *b.also)}


def stored_factor(band: str) -> int:
    """Pixels of the zone grid to a side of a stored pixel: 1 for 10 m bands, 2 for the others."""
    return 1 if BANDS[band].resolution == 10 else 2


class MaskClass(IntEnum):
    """Values of mask.tif."""

    NODATA = 0
    LAND = 1
    WATER = 2
    SNOW = 3
    CLOUD = 4
    THIN_CLOUD = 5
    SHADOW = 6
    DEFECTIVE = 7
    TERRAIN_SHADOW = 8


PALETTE = {
    MaskClass.LAND: (120, 160, 90),
    MaskClass.WATER: (60, 110, 190),
    MaskClass.SNOW: (230, 240, 255),
    MaskClass.CLOUD: (255, 255, 255),
    MaskClass.THIN_CLOUD: (255, 200, 120),
    MaskClass.SHADOW: (90, 70, 120),
    MaskClass.DEFECTIVE: (255, 0, 255),
    MaskClass.TERRAIN_SHADOW: (60, 60, 60),
}
"""Colour of each class, RGB, in pictures and in mask files."""
CLOUDED = (MaskClass.CLOUD, MaskClass.THIN_CLOUD, MaskClass.SHADOW)
SCORE_NODATA = 255
"""What a scene's clear score has without data."""
CLEAR = (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW, MaskClass.TERRAIN_SHADOW)


class Style(NamedTuple):
    """A named way to show a mosaic: bands or an expression over them, stretched to 0–255.

    `rescale` is in reflectance (or index units), one pair for all channels.
    """

    name: str
    title: str
    bands: tuple[str, ...]
    expression: str | None
    rescale: tuple[float, float]
    colormap: str | None = None
    gamma: float = 1.0


STYLES: dict[str, Style] = {
    s.name: s
    for s in (
        Style("natural", "Natural colour", ("B04", "B03", "B02"), None, (0.0, 0.25), gamma=1.6),
        Style("infrared", "Colour infrared", ("B08", "B04", "B03"), None, (0.0, 0.45), gamma=1.4),
        Style("agriculture", "Agriculture", ("B11", "B08", "B02"), None, (0.0, 0.45), gamma=1.3),
        Style("ndvi", "Vegetation index", ("B08", "B04"), "(B08-B04)/(B08+B04)", (-0.2, 0.9), "rdylgn"),
        Style("ndwi", "Water index", ("B03", "B08"), "(B03-B08)/(B03+B08)", (-0.8, 0.8), "brbg"),
        Style("nir", "Near infrared", ("B08",), None, (0.0, 0.5)),
    )
}


def renders(bands: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The styles that these bands can show, as STAC's render extension describes them and TiTiler draws them.

    `rescale` is in stored numbers, a pair for each channel; an expression names its assets by their place: b1, b2, ….
    """
    have = set(bands)
    return {s.name: _render(s) for s in STYLES.values() if have.issuperset(s.bands)}


def _render(style: Style) -> dict[str, Any]:
    places = {name: f"b{place}" for place, name in enumerate(style.bands, 1)}
    if style.expression:
        # A ratio, the same of stored numbers as of reflectance.
        names = re.compile("|".join(places))
        drawn: dict[str, Any] = {
            "expression": names.sub(lambda m: places[m[0]], style.expression),
            "rescale": [list(style.rescale)],
        }
    else:
        drawn = {"rescale": [[round(v / SCALE) for v in style.rescale]] * len(style.bands)}
    if style.colormap:
        drawn["colormap_name"] = style.colormap
    if style.gamma != 1:
        drawn["color_formula"] = f"gamma {'RGB'[: len(style.bands)]} {style.gamma:g}"
    return {"title": style.title, "assets": list(style.bands), **drawn}
