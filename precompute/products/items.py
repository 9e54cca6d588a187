"""Reads the product that a STAC Item of any of the archives describes."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from terrazzo.bands import BANDS
from terrazzo.errors import ProductError
from terrazzo.grid import mgrs_epsg
from terrazzo.precompute.products.product import PRODUCT_NAME, Product

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
