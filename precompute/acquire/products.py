"""Finds Sentinel-2 products: STAC Items with local assets, SAFE folders and zips."""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from terrazzo.bands import BANDS
from terrazzo.errors import MissingBand, ProductError, UnreadableAsset
from terrazzo.grid import mgrs_epsg

COMMON = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge1": "B05",
    "rededge2": "B06",
    "rededge3": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "cirrus": "B10",
    "swir16": "B11",
    "swir22": "B12",
}
OTHERS = {
    "scl": "SCL",
    "cloud": "CLDPRB",
    "cld": "CLDPRB",
    "classi": "CLASSI",
    "detector_footprint": "DETFOO",
    "granule_metadata": "granule_metadata",
    "product_metadata": "product_metadata",
    "cams": "cams",
    "ecmwf": "ecmwf",
}
EXTRAS = ("SCL", "CLDPRB", "DETFOO", "granule_metadata", "product_metadata")
"""Assets that a scene is made of besides its bands, where the product has them."""
SWIR = ("B11", "B12")
"""They tell clouds from snow and roofs, and over these only they are dark enough to tell the offset."""
L1C_EXTRAS = ("B8A", "B09", "B10", "CLASSI", "cams", "ecmwf")
"""The same of an L1C product, which tell of the air and of clouds."""
OWN = "asset:"
"""Before the key of an asset that is named by the user."""
PRODUCT_NAME = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<start>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d{2}[A-Z]{3})_(?P<generated>\d{8}T\d{6})"
)


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
        claims: what the Item says of the offset (`boa_offset_applied`, `raster_offset`).
        href: where the product comes from.
        sun: mean zenith and azimuth in degrees, if the metadata tell.
        named: path by the Item's own key, of all assets that lie on this machine.
    """

    id: str
    level: str
    platform: str
    mgrs: str
    epsg: int
    datetime: datetime
    datatake: str
    baseline: str
    relative_orbit: int
    generated: datetime
    assets: Mapping[str, str]
    item: str
    claims: Mapping[str, Any]
    href: str
    sun: tuple[float, float] | None
    named: Mapping[str, str] = field(default_factory=dict)

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
        replaced: by another processing of the same pass and tile; nothing is missing then.
    """

    name: str
    reason: str
    replaced: bool = False


@dataclass(frozen=True)
class Found:
    """Products of a folder and what could not be read."""

    products: tuple[Product, ...]
    left_out: tuple[LeftOut, ...]


def find_products(source: Path) -> Found:
    """Reads every STAC Item, SAFE folder and zip at or below a path.

    Raises:
        UnreadableAsset: the path does not exist.
    """
    # Here, because safe.py builds on this module.
    from precompute.acquire.safe import find_safes, product_from_safe

    if not source.exists():
        raise UnreadableAsset(f"{source} does not exist; name a folder of STAC Items, SAFE folders or zips")
    products, left_out = [], []
    for safe in find_safes(source):
        try:
            products.append(product_from_safe(safe))
        except ProductError as error:
            left_out.append(LeftOut(safe.name, str(error)))
    if source.is_dir():
        files = sorted(f for f in source.rglob("*.json") if ".SAFE" not in str(f.relative_to(source)))
    else:
        files = [source] if source.suffix == ".json" else []
    for file in files:
        try:
            document = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            left_out.append(LeftOut(file.name, f"not readable as JSON ({error}); fetch the Item again"))
            continue
        if not isinstance(document, dict) or document.get("type") != "Feature" or "assets" not in document:
            continue
        try:
            products.append(product_from_item(document, file))
        except ProductError as error:
            left_out.append(LeftOut(str(document.get("id", file.name)), str(error)))
    return Found(tuple(products), tuple(left_out))


def product_from_item(item: Mapping[str, Any], path: Path) -> Product:
    """The product a STAC Item of any of the archives describes.

    Raises:
        ProductError: the Item does not say which tile, pass or satellite it is.
    """
    p = item.get("properties", {})
    name = PRODUCT_NAME.search(str(p.get("s2:product_uri", ""))) or PRODUCT_NAME.search(
        str(item.get("id", ""))
    )
    tile = _tile(p, name)
    if tile is None or not p.get("datetime"):
        raise ProductError(f"{item.get('id')}: the Item names no MGRS tile or no datetime; is it Sentinel-2?")
    platform = "S2" + str(p.get("platform", name["platform"] if name else "")).upper()[-1:]
    if platform not in ("S2A", "S2B", "S2C"):
        raise ProductError(f"{item.get('id')}: platform {p.get('platform')!r} is not Sentinel-2A, B or C")
    when = _time(p["datetime"])
    level = name["level"] if name else ("L1C" if "l1c" in str(item.get("collection", "")).lower() else "L2A")
    orbit = p.get("sat:relative_orbit", name["orbit"] if name else None)
    if orbit is None:
        raise ProductError(f"{item.get('id')}: neither sat:relative_orbit nor a product name tells the orbit")
    start = name["start"] if name else when.strftime("%Y%m%dT%H%M%S")
    baseline = str(
        p.get("s2:processing_baseline", p.get("processing:version", name["baseline"] if name else ""))
    )
    generated = p.get("s2:generation_time") or (
        name["generated"] if name else p.get("created", p["datetime"])
    )
    local = _local(item["assets"], path.parent)
    return Product(
        id=str(item["id"]),
        level=level,
        platform=platform,
        mgrs=tile,
        epsg=mgrs_epsg(tile),
        datetime=when,
        datatake=f"{platform}_{start}_R{int(orbit):03d}",
        baseline=baseline.replace(".", "").rjust(4, "0"),
        relative_orbit=int(orbit),
        generated=_time(generated),
        assets={name: local[key] for name, key in choose_assets(local).items()},
        item=str(path),
        claims=_claims(item),
        href=_self_link(item),
        sun=_sun(p),
        named=local,
    )


def one_level(products: Sequence[Product], before: Collection[str]) -> tuple[list[Product], list[LeftOut]]:
    """Products of one level: two ways through the atmosphere do not measure the same.

    Args:
        before: levels of the mosaic so far, which go on being those; without any, the level of most products,
            L2A where there are as many of both.
    """
    count = Counter(p.level for p in products)
    keep = set(before) or {max(sorted(count, reverse=True), key=lambda level: count[level], default="L2A")}
    others = [
        LeftOut(
            p.id,
            f"it is {p.level}, the mosaic is made of {' and '.join(sorted(keep))}: another atmospheric correction"
            " (--mix-levels takes both, --mosaic NAME makes another mosaic)",
        )
        for p in products
        if p.level not in keep
    ]
    return [p for p in products if p.level in keep], others


def newest_processing(products: Sequence[Product]) -> tuple[list[Product], list[LeftOut]]:
    """One product for each datatake and tile: the newest baseline, then the newest generation."""
    best: dict[tuple[str, str], Product] = {}
    left_out = []
    for product in sorted(products, key=lambda q: (q.baseline, q.generated, q.id)):
        key = (product.datatake, product.mgrs)
        if key in best and best[key].id != product.id:
            older = best[key]
            left_out.append(
                LeftOut(
                    older.id,
                    f"an older processing (N{older.baseline}) of {product.id} (N{product.baseline})",
                    replaced=True,
                )
            )
        best[key] = product
    return sorted(best.values(), key=lambda q: q.id), left_out


def _self_link(item: Mapping[str, Any]) -> str:
    given = {link.get("rel"): link.get("href") for link in item.get("links", [])}
    return given.get("self") or f"urn:terrazzo:product:{item['id']}"


def _sun(p: Mapping[str, Any]) -> tuple[float, float] | None:
    """Mean sun as the archives write it: the view extension, Copernicus' zenith, Planetary Computer's."""
    azimuth = p.get("view:sun_azimuth", p.get("s2:mean_solar_azimuth"))
    zenith = p.get("s2:mean_solar_zenith")
    if "view:sun_elevation" in p:
        zenith = 90 - float(p["view:sun_elevation"])
    return None if zenith is None or azimuth is None else (float(zenith), float(azimuth))


def _tile(p: Mapping[str, Any], name: re.Match[str] | None) -> str | None:
    if "grid:code" in p:
        return str(p["grid:code"]).removeprefix("MGRS-")
    if "s2:mgrs_tile" in p:
        return str(p["s2:mgrs_tile"])
    return name["tile"] if name else None


def _time(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _local(assets: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Paths of the assets that lie on this machine, by the Item's own key."""
    addresses = {k: urlparse(str(a["href"])) for k, a in assets.items()}
    return {k: str((folder / a.path).resolve()) for k, a in addresses.items() if a.scheme in ("", "file")}


def choose_assets(assets: Mapping[str, Any]) -> dict[str, str]:
    """Key of the asset for each band or role an Item has.

    Of several copies the one nearest the band's native resolution, of a COG and a JP2 the COG.
    """
    found: dict[str, tuple[tuple[int, bool], str]] = {}
    for key in assets:
        name = asset_name(key)
        if name is None:
            continue
        resolution = re.search(r"_(\d+)m$", key)
        native = BANDS[name].resolution if name in BANDS else 20
        away = (abs(int(resolution[1]) - native) if resolution else 0, key.endswith("-jp2"))
        if name not in found or away < found[name][0]:
            found[name] = (away, key)
    return {name: key for name, (_, key) in found.items()}


def asset_name(key: str) -> str | None:
    """The band or role of an asset's key in any of the archives: `red`, `red-jp2`, `B04`, `B04_10m` → `B04`."""
    plain = re.sub(r"(-jp2|_\d+m)$", "", key)
    return (
        COMMON.get(plain)
        or OTHERS.get(plain.lower().replace("-", "_"))
        or (plain if plain in BANDS else None)
    )


def _claims(item: Mapping[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    p = item.get("properties", {})
    for key in ("earthsearch:boa_offset_applied", "s2:boa_offset_applied"):
        if key in p:
            claims["boa_offset_applied"] = bool(p[key])
    for key, asset in item["assets"].items():
        if asset_name(key) in ("B02", "B03", "B04"):
            for band in (*asset.get("raster:bands", ()), *asset.get("bands", ()), asset):
                offset = band.get("offset", band.get("raster:offset"))
                if offset is not None:
                    claims["raster_offset"] = float(offset)
    return claims
