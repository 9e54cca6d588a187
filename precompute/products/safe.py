"""Products as ESA packs them: SAFE folders, and zips of them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element

from terrazzo.bands import BANDS, FOUR
from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.grid import mgrs_epsg
from terrazzo.precompute.products.files import read_xml, zip_member, zip_members
from terrazzo.precompute.products.product import PRODUCT_NAME, Product
from terrazzo.precompute.products.tiles import tile_name
from terrazzo.precompute.products.values import moment, number

IMAGE = re.compile(r"IMG_DATA/(?:R\d+m/)?\w+_(?P<name>B\d\w|SCL)(?:_(?P<resolution>\d+)m)?\.(?:jp2|tif)$")
"""Planetary Computer's copies are GeoTIFFs."""
METADATA = re.compile(r"MTD_MSIL(1C|2A)\.xml")
NO_ZIP = {
    ".json",
    ".geojson",
    ".tif",
    ".tiff",
    ".jp2",
    ".xml",
    ".gml",
    ".png",
    ".jpg",
    ".txt",
    ".md",
    ".csv",
    ".nc",
    ".html",
}
SENSED_WITHIN = timedelta(hours=2)
"""Between the start of a pass, which names have, and a tile."""
OTHERS = (
    (re.compile(r"GRANULE/[^/]+/MTD_TL\.xml$"), "granule_metadata"),
    (re.compile(r"MTD_MSIL(1C|2A)\.xml$"), "product_metadata"),
    (re.compile(r"QI_DATA/MSK_CLDPRB_20m\.jp2$"), "CLDPRB"),
    (re.compile(r"QI_DATA/MSK_CLASSI_B00\.jp2$"), "CLASSI"),
    (re.compile(r"QI_DATA/\w*MSK_DETFOO_(?:\w+_)?B02(?:_\w+)?\.(?:jp2|gml)$"), "DETFOO"),
    (re.compile(r"AUX_DATA/AUX_CAMSFO\w*$"), "cams"),
    (re.compile(r"AUX_DATA/AUX_ECMWFT\w*$"), "ecmwf"),
)


QUALITY = re.compile(
    r"QI_DATA/\w*MSK_(?P<kind>QUALIT|DEFECT|TECQUA)_(?:\w+_)?(?P<band>B\d\w)(?:_\w+)?\.(?:jp2|gml)$"
)
"""Since baseline 04.00 one raster a band, before it polygons in several files."""


def find_safes(source: Path) -> Iterator[Path]:
    """SAFE folders and zips of them at or below a path, whatever they are called; not those inside a SAFE.

    A folder is one by what is in it, or by `.SAFE` at its end: folders with an Item's assets have products' names too.
    """
    if source.is_dir():
        whole = (source / "GRANULE").is_dir() and any(METADATA.fullmatch(p.name) for p in source.iterdir())
        if whole or source.suffix.upper() == ".SAFE":
            yield source
            return
        for entry in sorted(source.iterdir()):
            if not entry.name.startswith("."):
                yield from find_safes(entry)
    elif _is_zip(source):
        yield source


def _is_zip(path: Path) -> bool:
    """Whether a file is a zip or is called like one of a product; other files are recognized by their ending."""
    if path.suffix.lower() in NO_ZIP:
        return False
    if path.suffix.lower() == ".zip":
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def holds_product(path: Path) -> bool:
    """Whether a zip is that of a product, damaged or not."""
    if PRODUCT_NAME.search(path.name):
        return True
    try:
        return any(METADATA.search(member) for member in zip_members(path))
    except ProductError:
        return True


def product_from_safe(path: Path) -> Product:
    """The product in a SAFE folder or a zip of one.

    Raises:
        ProductError: it holds no Sentinel-2 L1C or L2A product, or not all of one.
    """
    members = _members(path)
    assets = _choose(members)
    if "product_metadata" not in assets or "granule_metadata" not in assets:
        raise UnreadableAsset(
            f"{path} has no MTD_MSIL1C.xml or MTD_MSIL2A.xml, or no MTD_TL.xml: it is no whole Sentinel-2 product;"
            " fetch it again"
        )
    metadata = read_xml(assets["product_metadata"])
    name = _name(path, members, metadata)
    _require_ten_thousand(metadata, path)
    granule = read_xml(assets["granule_metadata"])
    sensed = granule.findtext(".//SENSING_TIME")
    platform, tile = name["platform"], tile_name(name["tile"])
    zone = granule.findtext(".//HORIZONTAL_CS_CODE")
    if zone and zone.strip() != f"EPSG:{mgrs_epsg(tile)}":
        raise ProductError(
            f"{path.name}: its tile {tile} does not lie in {zone}, which its metadata name; fetch it again"
        )
    when = moment(sensed, f"{path.name}: its SENSING_TIME") or _time(name["start"])
    if abs(when - _time(name["start"])) > SENSED_WITHIN:
        raise ProductError(f"{path.name}: sensed at {sensed}, its name says {name['start']}; fetch it again")
    return Product(
        id=name[0],
        level=name["level"],
        platform=platform,
        mgrs=tile,
        epsg=mgrs_epsg(tile),
        datetime=when,
        datatake=f"{platform}_{name['start']}_R{name['orbit']}",
        baseline=name["baseline"] or _baseline(metadata),
        relative_orbit=int(name["orbit"]),
        generated=_time(name["generated"]),
        assets=assets,
        item=str(path),
        claims={},
        href=f"urn:terrazzo:product:{name[0]}",
        sun=_mean_sun(granule),
        strip=name["generated"],
    )


def _name(path: Path, members: Iterable[str], metadata: Element) -> re.Match[str]:
    """The product's name: of the file or folder, of the metadata, of the folder in the zip.

    Raises:
        ProductError: none of these is one.
    """
    for text in (path.name, metadata.findtext(".//PRODUCT_URI") or "", *members):
        name = PRODUCT_NAME.search(text)
        if name:
            return name
    raise ProductError(
        f"{path.name}: neither its name nor PRODUCT_URI in its metadata is that of a Sentinel-2 L1C or L2A product;"
        " give it its name back"
    )


def _baseline(metadata: Element) -> str:
    match = re.fullmatch(r"(\d\d)\.(\d\d)", (metadata.findtext(".//PROCESSING_BASELINE") or "").strip())
    return match[1] + match[2] if match else ""


def _mean_sun(granule: Element) -> tuple[float, float] | None:
    """Zenith and azimuth in degrees."""
    zenith, azimuth = (
        _float(granule.findtext(f".//Mean_Sun_Angle/{tag}")) for tag in ("ZENITH_ANGLE", "AZIMUTH_ANGLE")
    )
    return None if zenith is None or azimuth is None else (zenith, azimuth)


def mean_air(product: Product) -> dict[str, dict[str, object]]:
    """What the metadata of an L2A product say of the air that was taken out, means over the granule."""
    if "product_metadata" not in product.assets:
        return {}
    root = read_xml(product.assets["product_metadata"])
    method = root.findtext(".//AOT_RETRIEVAL_METHOD", "Sen2Cor")
    fields = (
        ("aot", "GRANULE_MEAN_AOT", 1.0, f"Sen2Cor, {method}"),
        ("water_vapour", "GRANULE_MEAN_WV", 1.0, "Sen2Cor"),
        ("ozone", "OZONE_VALUE", 0.001, f"Sen2Cor, {root.findtext('.//OZONE_SOURCE', 'unknown source')}"),
    )
    values = [(name, _float(root.findtext(f".//{tag}")), unit, origin) for name, tag, unit, origin in fields]
    return {
        name: {"mean": round(value * unit, 4), "origin": origin, "uncertainty": None}
        for name, value, unit, origin in values
        if value is not None
    }


def _float(text: str | None) -> float | None:
    """A finite number of a text that may be none."""
    try:
        return number(float(text or "nan"))
    except ValueError:
        return None


def _members(path: Path) -> dict[str, str]:
    """Where each file of a SAFE lies, by its name in it."""
    if path.is_dir():
        return {p.relative_to(path).as_posix(): str(p.resolve()) for p in path.rglob("*") if p.is_file()}
    return {m: zip_member(path, m) for m in zip_members(path)}


def _choose(members: Mapping[str, str]) -> dict[str, str]:
    """Path by band or role: of a band's images the one nearest its native resolution."""
    images: dict[str, tuple[int, str]] = {}
    for member, where in members.items():
        image = IMAGE.search(member)
        if image:
            band, resolution = image["name"], int(image["resolution"] or 0)
            native = BANDS[band].resolution if band in BANDS else 20
            away = abs(resolution - native) if resolution else 0
            if band not in images or away < images[band][0]:
                images[band] = (away, where)
        quality = QUALITY.search(member)
        if quality and quality["band"] in FOUR:
            images[f"{quality['kind']}_{quality['band']}"] = (0, where)
        for pattern, role in OTHERS:
            if pattern.search(member):
                images[role] = (0, where)
    return {role: where for role, (_, where) in sorted(images.items())}


def _require_ten_thousand(metadata: Element, path: Path) -> None:
    for tag in ("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE"):
        value = metadata.findtext(f".//{tag}")
        if value and value.strip() not in ("10000", "10000.0"):
            raise ProductError(
                f"{path.name}: {value} counts make a reflectance of 1; only 10000 is known. Fetch it again"
            )


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
