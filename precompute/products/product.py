"""A Sentinel-2 product as an archive delivers it: tile, pass, level, and the paths of its files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime as Instant
from typing import Any

from terrazzo.bands import BANDS
from terrazzo.errors import MissingBand

EXTRAS = ("SCL", "CLDPRB", "DETFOO", "granule_metadata", "product_metadata")
"""Assets that a scene is made of besides its bands, where the product has them."""


SWIR = ("B11", "B12")
"""They distinguish clouds from snow and roofs, and over these only they are dark enough to decide the offset."""


L1C_EXTRAS = ("B8A", "B09", "B10", "CLASSI", "cams", "ecmwf")
"""The same of an L1C product, for the air and for clouds."""


OWN = "asset:"
"""Before the key of an asset that is named by the user."""


PRODUCT_NAME = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<start>\d{8}T\d{6})(?:_N(?P<baseline>\d{4}))?_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d{2}[A-Z]{3})_(?P<generated>\d{8}T\d{6})"
)
"""As ESA names products; Planetary Computer leaves the baseline out."""


USER_MADE = "9999"
"""Baseline of products that users made with ESA's software."""


@dataclass(frozen=True)
class Declared:
    """What an Item says of an asset's numbers, None where it says nothing.

    Attributes:
        scale: reflectance of a count.
        nodata: number of pixels without data.
        shape, transform: rows and columns, and the six coefficients of the affine transform, of the whole asset.
        epsg: code of the coordinate system.
    """

    scale: float | None = None
    nodata: float | None = None
    shape: tuple[int, int] | None = None
    transform: tuple[float, ...] | None = None
    epsg: int | None = None


@dataclass(frozen=True)
class Product:
    """A product as an archive delivers it.

    Attributes:
        level: `L1C` or `L2A`.
        platform: `S2A`, `S2B` or `S2C`.
        datatake: the same for all tiles of one pass, without the processing baseline.
        generated: when the archive processed it.
        assets: path by band or role (`B02`, `SCL`, `CLDPRB`, `DETFOO`, `granule_metadata`, …).
        item: path of the STAC Item or the SAFE.
        baseline: four digits; empty if unknown.
        relative_orbit: 1–143; 0 if unknown.
        claims: what Item (`boa_offset_applied`, `raster_offset`) and files (`file_offset`) say of the offset.
        href: where the product comes from.
        sun: mean zenith and azimuth in degrees, if the metadata have them.
        named: path by the Item's own key, of all assets that lie on this machine.
        declared: what the Item says of the numbers in an image, by band or role.
        outline: the Item's geometry in degrees.
        strip: distinguishes products of one pass over one tile: the time of ESA's processing in its name; empty without one.
        notes: what the user should know of how it was read.
    """

    id: str
    level: str
    platform: str
    mgrs: str
    epsg: int
    datetime: Instant
    datatake: str
    baseline: str
    relative_orbit: int
    generated: Instant
    assets: Mapping[str, str]
    item: str
    claims: Mapping[str, Any]
    href: str
    sun: tuple[float, float] | None
    named: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)
    outline: Mapping[str, Any] | None = None
    strip: str = ""
    notes: tuple[str, ...] = ()

    def asset(self, name: str) -> str:
        """Path of an asset, by band or role, or as `asset:KEY` by the Item's own key.

        Raises:
            MissingBand: the Item does not have it.
        """
        if name.startswith(OWN):
            return self._own(name.removeprefix(OWN))
        try:
            return self.assets[name]
        except KeyError:
            have = ", ".join(sorted(a for a in self.assets if a in BANDS))
            raise MissingBand(
                f"{self.id} has no {name} (it has {have}); fetch the band, or make a store without it:"
                f" --bands {','.join(sorted(a for a in self.assets if a in BANDS))}"
            ) from None

    def _own(self, key: str) -> str:
        if key in self.named:
            return self.named[key]
        have = ", ".join(sorted(self.named)) or "none: only STAC Items have named assets"
        raise MissingBand(
            f"{self.id} has no asset {key} on this machine (it has {have}); add it to the Item, or choose another --mask"
        )


@dataclass(frozen=True)
class LeftOut:
    """A product that is not used, and why.

    Attributes:
        bad: it should have been usable; what a newer processing replaces, or another level, is not bad.
    """

    name: str
    reason: str
    bad: bool = True
