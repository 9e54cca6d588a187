"""Reads the product that a STAC Item of any of the archives describes."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from terrazzo.bands import BANDS, BY_COMMON_NAME
from terrazzo.errors import ProductError
from terrazzo.grid import mgrs_epsg
from terrazzo.precompute.products.links import without_query
from terrazzo.precompute.products.product import PRODUCT_NAME, Declared, Product
from terrazzo.precompute.products.tiles import tile_name
from terrazzo.precompute.products.values import mapping, missing, moment, number, text

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
NAME_OF_A_FOLDER = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
BAND_IN_NAME = re.compile(r"(?<![^_.-])(B\d[\dA])(?![^_.-])")
"""Bands in the name of a file: `B02.tif`, `T33TWL_20230815T095031_B8A_20m.jp2`."""
PLATFORM = re.compile(r"s(?:entinel)?[- _]?2([a-d]?)", re.IGNORECASE)
FIRST_REVOLUTION = {"S2A": 2, "S2B": -27, "S2C": 29}
"""What takes a satellite's absolute orbit to its relative one less 1, modulo 143."""
MOVED = {"S2A": 2025}
"""Year in which a satellite left its orbit: from then on the relative orbit no longer follows from its count."""


def product_from_item(item: Mapping[str, Any], path: Path) -> Product:
    """The product a STAC Item of any of the archives describes.

    A null, NaN or value of another type counts as missing; the product's name is read instead.

    Raises:
        ProductError: the Item does not say which tile, pass, level or satellite it is, or contradicts itself.
    """
    p, assets = mapping(item.get("properties")), _assets(item)
    known = _id(item)
    names = (text(p.get(key)) or "" for key in ("s2:product_uri", "sentinel:product_id"))
    name = next((m for n in (*names, known) if (m := PRODUCT_NAME.search(n))), None)
    local = _local(assets, path.parent)
    here = choose_assets(local)
    chosen = here if BANDS.keys() & here.keys() else choose_assets(assets)
    images = [assets[key] for role, key in chosen.items() if role in BANDS] or list(assets.values())
    if images and all(_is_zarr(a) for a in images):
        raise ProductError(_no_zarr(known))
    _require_own_images(assets, chosen, known)
    when = moment(p.get("datetime"), f"{known}: its datetime") or moment(
        p.get("start_datetime"), f"{known}: its start_datetime"
    )
    tile = _tile(p, name, known)
    if tile is None or when is None:
        raise ProductError(f"{known}: the Item names no MGRS tile or no datetime; is it Sentinel-2?")
    platform = _platform(p, name, known)
    orbit = _orbit(p, name, platform, when)
    start = name["start"] if name else _datatake_start(p) or when.strftime("%Y%m%dT%H%M%S")
    generated = moment(p.get("s2:generation_time"), f"{known}: its s2:generation_time")
    if generated is None:
        generated = (
            moment(name["generated"], known) if name else moment(p.get("created"), f"{known}: its created")
        )
    return Product(
        id=known,
        level=_level(p, name, item, known),
        platform=platform,
        mgrs=tile,
        epsg=mgrs_epsg(tile),
        datetime=when,
        datatake=f"{platform}_{start}_R{orbit:03d}",
        baseline=_baseline(p, name),
        relative_orbit=orbit,
        generated=generated or when,
        assets={name: local[key] for name, key in here.items()},
        item=str(path),
        claims=_claims(p, assets, chosen, known),
        href=_self_link(item, known),
        sun=_sun(p),
        named=local,
        declared=_declared(p, assets, chosen, local, known),
        outline=mapping(item.get("geometry")) or None,
        strip=name["generated"] if name else "",
    )


def _id(item: Mapping[str, Any]) -> str:
    known = text(item.get("id"))
    if known is None or len(known.encode()) > 200 or not NAME_OF_A_FOLDER.fullmatch(known):
        raise ProductError(f"its id {item.get('id')!r} cannot be the name of a folder; correct the Item")
    return known


def _assets(item: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The assets that have an address."""
    assets = {k: mapping(a) for k, a in mapping(item.get("assets")).items()}
    return {k: a for k, a in assets.items() if text(a.get("href"))}


def _is_zarr(asset: Mapping[str, Any]) -> bool:
    return "zarr" in f"{asset.get('type')} {urlparse(str(asset['href'])).path}"


def _no_zarr(name: str) -> str:
    return (
        f"{name} is an EOPF Zarr product, and Zarr is not read: there is no image of B02 in it. Fetch the same pass as SAFE"
        " or JP2 (terrazzo acquire --archive cdse) or as COGs (--archive earth-search)"
    )


def _self_link(item: Mapping[str, Any], known: str) -> str:
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        href = text(mapping(link).get("href"))
        if mapping(link).get("rel") == "self" and href:
            return without_query(href)
    return f"urn:terrazzo:product:{known}"


def _platform(p: Mapping[str, Any], name: re.Match[str] | None, known: str) -> str:
    """`S2A`, `S2B` or `S2C`; of the product's name where the property is the constellation's or null."""
    given = text(p.get("platform"))
    match = PLATFORM.fullmatch(given) if given else None
    letter = match[1].upper() if match else ""
    named = name["platform"][-1] if name else ""
    if (given and not match) or (letter or named) not in ("A", "B", "C"):
        raise ProductError(f"{known}: platform {p.get('platform')!r} is not Sentinel-2A, B or C")
    if letter and named and letter != named:
        raise ProductError(
            f"{known}: its platform is {given}, its product name says S2{named}; correct the Item"
        )
    return f"S2{letter or named}"


def _level(p: Mapping[str, Any], name: re.Match[str] | None, item: Mapping[str, Any], known: str) -> str:
    if name:
        return name["level"]
    for value in (p.get("s2:product_type"), p.get("processing:level"), item.get("collection"), known):
        match = re.search(r"(?:L|Level-?|MSI)(1C|2A)", text(value) or "", re.IGNORECASE)
        if match:
            return f"L{match[1].upper()}"
    raise ProductError(
        f"{known}: neither name, product type nor collection says whether it is L1C or L2A; correct the Item"
    )


def _baseline(p: Mapping[str, Any], name: re.Match[str] | None) -> str:
    """Four digits, empty if unknown: from ESA's own name, else from the Item."""
    if name and name["baseline"]:
        return name["baseline"]
    for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        value = p.get(key)
        version = f"{value:05.2f}" if number(value) is not None else text(value) or ""
        match = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", version)
        if match:
            return match[1].rjust(2, "0") + match[2]
    return ""


def _orbit(p: Mapping[str, Any], name: re.Match[str] | None, platform: str, when: datetime) -> int:
    """The relative orbit, 1–143; from the count of orbits where nothing else has it; 0 if unknown."""
    orbit = number(p.get("sat:relative_orbit"))
    if orbit is None and name:
        orbit = float(name["orbit"])
    if orbit is None and when.year < MOVED.get(platform, 9999):
        absolute = number(p.get("sat:absolute_orbit"))
        match = re.fullmatch(r"GS2[A-D]_\d{8}T\d{6}_(\d{6})_N.*", text(_datatake(p)) or "")
        absolute = absolute or (float(match[1]) if match else None)
        orbit = None if absolute is None else (absolute + FIRST_REVOLUTION[platform]) % 143 + 1
    return int(orbit) if orbit is not None and orbit == int(orbit) and 1 <= orbit <= 143 else 0


def _datatake(p: Mapping[str, Any]) -> Any:
    return p.get("s2:datatake_id") or p.get("eopf:datatake_id")


def _datatake_start(p: Mapping[str, Any]) -> str | None:
    match = re.match(r"GS2[A-D]_(\d{8}T\d{6})_", text(_datatake(p)) or "")
    return match[1] if match else None


def _sun(p: Mapping[str, Any]) -> tuple[float, float] | None:
    """Mean sun as the archives write it: the view extension, Copernicus' zenith, Planetary Computer's."""
    azimuth, elevation = number(p.get("view:sun_azimuth")), number(p.get("view:sun_elevation"))
    azimuth = number(p.get("s2:mean_solar_azimuth")) if azimuth is None else azimuth
    zenith = number(p.get("s2:mean_solar_zenith")) if elevation is None else 90 - elevation
    return None if zenith is None or azimuth is None else (zenith, azimuth)


def _tile(p: Mapping[str, Any], name: re.Match[str] | None, known: str) -> str | None:
    code = next((t for key in ("grid:code", "s2:mgrs_tile") if (t := text(p.get(key)))), None) or _square(p)
    tile = tile_name(code) if code else None
    if tile and name and tile != name["tile"]:
        raise ProductError(
            f"{known}: its tile is {tile}, its product name says {name['tile']}; correct the Item"
        )
    return tile or (name["tile"] if name else None)


def _square(p: Mapping[str, Any]) -> str | None:
    """The tile in the three fields of the MGRS extension, or of the older one for Sentinel-2."""
    for prefix in ("mgrs", "sentinel"):
        zone, band, square = (
            number(p.get(f"{prefix}:utm_zone")),
            *(text(p.get(f"{prefix}:{k}")) for k in ("latitude_band", "grid_square")),
        )
        if zone and band and square:
            return f"{zone:.0f}{band}{square}"
    return None


def _local(assets: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Paths of the assets that lie on this machine, by the Item's own key; of other places of an asset those that are there."""
    paths = {}
    for key, asset in assets.items():
        first, *others = (_path(address, folder) for address in addresses(asset))
        path = first or next((p for p in others if p and p.exists()), None)
        if path is not None:
            paths[key] = str(path)
    return paths


def addresses(asset: Mapping[str, Any]) -> list[str]:
    """The address of an asset, and those that the Item names beside it (alternate assets)."""
    others = (text(mapping(other).get("href")) for other in mapping(asset.get("alternate")).values())
    return [str(asset["href"]), *(href for href in others if href)]


def _path(address: str, folder: Path) -> Path | None:
    """The file of an address on this machine; None for another."""
    url = urlparse(address)
    if url.scheme not in ("", "file") or not url.path or "\x00" in url.path:
        return None
    plain = folder / url.path
    return (plain if plain.exists() else folder / unquote(url.path)).resolve()


def choose_assets(assets: Mapping[str, Any]) -> dict[str, str]:
    """Key of the asset for each band or role an Item has.

    Of several copies the one nearest the band's native resolution, of a COG and a JP2 the COG.
    """
    best: dict[str, tuple[tuple[int, bool], str]] = {}
    for key in assets:
        name = asset_name(key)
        if name is None:
            continue
        resolution = re.search(r"_(\d+)m$", key)
        native = BANDS[name].resolution if name in BANDS else 20
        away = (abs(int(resolution[1]) - native) if resolution else 0, key.endswith("-jp2"))
        if name not in best or away < best[name][0]:
            best[name] = (away, key)
    return {name: key for name, (_, key) in best.items()}


def asset_name(key: str) -> str | None:
    """The band or role of an asset's key in any of the archives: `red`, `red-jp2`, `B04`, `B04_10m` → `B04`."""
    plain = re.sub(r"(-jp2|_\d+m)$", "", key)
    return (
        BY_COMMON_NAME.get(plain)
        or OTHERS.get(plain.lower().replace("-", "_"))
        or (plain if plain in BANDS else None)
    )


OF_ALL = ("raster:scale", "raster:offset", "nodata", "raster:nodata")
"""Properties of an Item that describe all of its assets."""


def _require_own_images(
    assets: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, str], known: str
) -> None:
    """Checks that each band has a file of its own, and none whose name is another band's.

    Raises:
        ProductError: else.
    """
    files: dict[str, str] = {}
    for band, key in chosen.items():
        if band not in BANDS:
            continue
        href = str(assets[key]["href"])
        path = unquote(urlparse(href).path)
        named = BAND_IN_NAME.findall(path.rpartition("/")[2])
        if named and band not in named:
            raise ProductError(
                f"{known}: its asset {key!r} is {band}, and its file {path.rpartition('/')[2]} is named {named[-1]}; correct the Item"
            )
        other = files.setdefault(href, band)
        if other != band:
            raise ProductError(
                f"{known}: {other} and {band} are one file, {without_query(href)}; correct the Item"
            )


def _layers(asset: Mapping[str, Any], p: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects of an asset and its Item's properties that may describe its numbers, the most special first."""
    for key in ("raster:bands", "bands"):
        layers = asset.get(key)
        yield from (mapping(v) for v in (layers if isinstance(layers, list) else ()))
    yield asset
    yield {key: p[key] for key in OF_ALL if key in p}


def _stated(asset: Mapping[str, Any], p: Mapping[str, Any], what: str, known: str) -> float | None:
    """A number that an asset, or the Item for all of them, says of its pixels.

    Raises:
        ProductError: it is stated and is no number.
    """
    for layer in _layers(asset, p):
        for key in (what, f"raster:{what}"):
            value = layer.get(key)
            if missing(value):
                continue
            converted = number(value)
            if converted is None:
                raise ProductError(f"{known}: {what} {value!r} of an asset is no number; correct the Item")
            return converted
    return None


def _claims(
    p: Mapping[str, Any], assets: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, str], known: str
) -> dict[str, Any]:
    """What the Item says of the offset: it is 0 or −0.1 of reflectance, which some write as −1000 counts.

    Raises:
        ProductError: it is anything else, or not the same in all bands.
    """
    claims: dict[str, Any] = {}
    for key in (f"{prefix}:boa_offset_applied" for prefix in ("earthsearch", "s2", "sentinel")):
        value = p.get(key)
        if missing(value):
            continue
        value = {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ProductError(f"{known}: {key} is {value!r}, neither true nor false; correct the Item")
        claims["boa_offset_applied"] = value
    stated = {_stated(assets[key], p, "offset", known) for name, key in chosen.items() if name in BANDS}
    # Of a float32, −0.1 is only nearly that.
    offsets = {-0.1 if o == -1000 or abs(o + 0.1) < 1e-6 else o for o in stated if o is not None}
    if len(offsets) > 1 or not offsets <= {0.0, -0.1}:
        raise ProductError(
            f"{known}: the Item says an offset of {', '.join(f'{o:g}' for o in sorted(offsets))}; products carry 0 or −0.1,"
            " the same in all bands. Correct the Item, or fetch it from another archive"
        )
    if offsets:
        claims["raster_offset"] = offsets.pop()
    return claims


def _declared(
    p: Mapping[str, Any],
    assets: Mapping[str, Mapping[str, Any]],
    chosen: Mapping[str, str],
    local: Mapping[str, str],
    known: str,
) -> dict[str, Declared]:
    """What the Item says of the numbers in its images, by band or role.

    Raises:
        ProductError: bands have different scales.
    """
    declared = {}
    for name, key in chosen.items():
        if key not in local:
            continue
        asset = assets[key]
        is_band = name in BANDS
        shape, transform = _place(asset, p)
        declared[name] = Declared(
            scale=_stated(asset, p, "scale", known) if is_band else None,
            nodata=_nodata(asset, p) if is_band else None,
            shape=(int(shape[0]), int(shape[1])) if shape and len(shape) == 2 else None,
            transform=transform[:6] if transform and len(transform) in (6, 9) else None,
            epsg=_epsg(asset) or _epsg(p),
        )
    scales = {t.scale for t in declared.values()} - {None}
    if len(scales) > 1:
        text_of = ", ".join(f"{s:g}" for s in sorted(s for s in scales if s is not None))
        raise ProductError(f"{known}: its bands have different scales ({text_of}); correct the Item")
    return declared


def _place(
    asset: Mapping[str, Any], p: Mapping[str, Any]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Shape and transform of an asset, else those of the Item for all; never one of each."""
    own = asset if asset.get("proj:shape") or asset.get("proj:transform") else p
    return _numbers(own.get("proj:shape")), _numbers(own.get("proj:transform"))


def _epsg(fields: Mapping[str, Any]) -> int | None:
    """The code in the projection extension's field of today, or in the older one."""
    code = re.fullmatch(r"EPSG:(\d{4,5})", text(fields.get("proj:code")) or "", re.IGNORECASE)
    older = number(fields.get("proj:epsg"))
    return int(code[1]) if code else int(older) if older else None


def _nodata(asset: Mapping[str, Any], p: Mapping[str, Any]) -> float | None:
    for layer in _layers(asset, p):
        for key in ("nodata", "raster:nodata"):
            value = layer.get(key)
            if value == "nan":
                return float("nan")
            if number(value) is not None:
                return number(value)
    return None


def _numbers(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = [number(v) for v in value]
    return None if None in numbers else tuple(v for v in numbers if v is not None)
