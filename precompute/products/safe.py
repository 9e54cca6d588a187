"""Products as ESA packs them: SAFE folders, and zips of them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from terrazzo.bands import BANDS, FOUR
from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.grid import mgrs_epsg
from terrazzo.precompute.products.files import read_xml, zip_member, zip_members
from terrazzo.precompute.products.product import PRODUCT_NAME, Product

IMAGE = re.compile(r"IMG_DATA/(?:R\d+m/)?\w+_(?P<name>B\d\w|SCL)(?:_(?P<resolution>\d+)m)?\.jp2$")
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
    """SAFE folders and zips with a product's name at or below a path, not those inside a SAFE."""
    if PRODUCT_NAME.match(source.name) and (source.suffix == ".zip" or source.is_dir()):
        yield source
    elif source.is_dir():
        for entry in sorted(source.iterdir()):
            if entry.is_dir() or entry.suffix == ".zip":
                yield from find_safes(entry)


def product_from_safe(path: Path) -> Product:
    """The product in a SAFE folder or a zip of one.

    Raises:
        ProductError: its name or content is not that of a Sentinel-2 L1C or L2A product.
    """
    name = PRODUCT_NAME.match(path.name)
    if name is None:
        raise ProductError(f"{path.name} is not named like a Sentinel-2 product; give it its name back")
    assets = _assets(path)
    if "product_metadata" not in assets or "granule_metadata" not in assets:
        raise UnreadableAsset(f"{path} has no MTD_MSI{name['level']}.xml or no MTD_TL.xml; fetch it again")
    metadata = read_xml(assets["product_metadata"])
    _require_ten_thousand(metadata, path)
    granule = read_xml(assets["granule_metadata"])
    zenith, azimuth = (
        granule.findtext(".//Mean_Sun_Angle/ZENITH_ANGLE"),
        granule.findtext(".//Mean_Sun_Angle/AZIMUTH_ANGLE"),
    )
    sensed = granule.findtext(".//SENSING_TIME")
    platform = name["platform"]
    return Product(
        id=path.name.removesuffix(".zip").removesuffix(".SAFE"),
        level=name["level"],
        platform=platform,
        mgrs=name["tile"],
        epsg=mgrs_epsg(name["tile"]),
        datetime=datetime.fromisoformat(sensed) if sensed else _time(name["start"]),
        datatake=f"{platform}_{name['start']}_R{name['orbit']}",
        baseline=name["baseline"],
        relative_orbit=int(name["orbit"]),
        generated=_time(name["generated"]),
        assets=assets,
        item=str(path),
        claims={},
        href=f"urn:terrazzo:product:{name[0]}",
        sun=(float(zenith), float(azimuth)) if zenith and azimuth else None,
    )


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
    texts = [(name, root.findtext(f".//{tag}"), unit, origin) for name, tag, unit, origin in fields]
    return {
        name: {"mean": round(float(text) * unit, 4), "origin": origin, "uncertainty": None}
        for name, text, unit, origin in texts
        if text
    }


def _assets(path: Path) -> dict[str, str]:
    if path.suffix == ".zip":
        members = {m: zip_member(path, m) for m in zip_members(path)}
    else:
        members = {p.relative_to(path).as_posix(): str(p.resolve()) for p in path.rglob("*") if p.is_file()}
    found: dict[str, tuple[int, str]] = {}
    for member, where in members.items():
        image = IMAGE.search(member)
        if image:
            band, resolution = image["name"], int(image["resolution"] or 0)
            native = BANDS[band].resolution if band in BANDS else 20
            away = abs(resolution - native) if resolution else 0
            if band not in found or away < found[band][0]:
                found[band] = (away, where)
        quality = QUALITY.search(member)
        if quality and quality["band"] in FOUR:
            found[f"{quality['kind']}_{quality['band']}"] = (0, where)
        for pattern, role in OTHERS:
            if pattern.search(member):
                found[role] = (0, where)
    return {role: where for role, (_, where) in sorted(found.items())}


def _require_ten_thousand(metadata: Element, path: Path) -> None:
    for tag in ("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE"):
        value = metadata.findtext(f".//{tag}")
        if value and float(value) != 10_000:
            raise ProductError(f"{path.name}: {value} counts make a reflectance of 1; only 10000 is known")


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
