"""Finds the products of a folder, and chooses which of them a mosaic uses."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrazzo.bands import BANDS
from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.precompute.products.items import product_from_item
from terrazzo.precompute.products.product import LeftOut, Product
from terrazzo.precompute.products.safe import find_safes, holds_product, product_from_safe
from terrazzo.precompute.products.validation import validated

ITEMS = (".json", ".geojson")


@dataclass(frozen=True)
class Found:
    """Products of a folder and what could not be read."""

    products: tuple[Product, ...]
    left_out: tuple[LeftOut, ...]


def find_products(source: Path) -> Found:
    """Reads every STAC Item, SAFE folder and zip at or below a path; names that begin with a dot are not looked at.

    Items may lie in ItemCollections; SAFE folders and zips are known by what is in them, whatever they are called.

    Raises:
        UnreadableAsset: the path does not exist.
    """
    if not source.exists():
        raise UnreadableAsset(f"{source} does not exist; name a folder of STAC Items, SAFE folders or zips")
    safes = list(find_safes(source))
    read = [_read_safe(safe) for safe in safes]
    for file in _documents(source, {s for s in safes if s.is_dir()}):
        read += _read_document(file)
    products = tuple(p for p in read if isinstance(p, Product))
    return Found(products, tuple(p for p in read if isinstance(p, LeftOut)))


def _read_safe(path: Path) -> Product | LeftOut:
    out = validated(path.name, lambda: product_from_safe(path))
    if isinstance(out, LeftOut) and not path.is_dir() and not holds_product(path):
        return LeftOut(path.name, "passed over: no Sentinel-2 product in this zip", bad=False)
    return out


def _documents(source: Path, safes: Collection[Path]) -> Iterator[Path]:
    """The JSON files at or below a path that lie in no SAFE."""
    if not source.is_dir():
        if source.suffix.lower() in ITEMS:
            yield source
        return
    for entry in sorted(source.iterdir()):
        if entry.name.startswith(".") or entry in safes:
            continue
        if entry.is_dir() or entry.suffix.lower() in ITEMS:
            yield from _documents(entry, safes)


def _read_document(file: Path) -> list[Product | LeftOut]:
    """The products of an Item or an ItemCollection; of anything else why it is passed over."""
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return [LeftOut(file.name, f"not readable as JSON ({error}); fetch the Item again")]
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        items = document.get("features")
        items = items if isinstance(items, list) else []
    else:
        items = [document]
    are_items = [isinstance(i, dict) and i.get("type") == "Feature" and "assets" in i for i in items]
    if not any(are_items):
        return [LeftOut(file.name, "passed over: neither a STAC Item nor an ItemCollection", bad=False)]
    return [
        _read_item(item, file)
        if is_item
        else LeftOut(f"{file.name}, feature {place}", "it is no STAC Item; fetch it again, or take it out")
        for place, (item, is_item) in enumerate(zip(items, are_items, strict=True))
    ]


def _read_item(item: Mapping[str, Any], file: Path) -> Product | LeftOut:
    known = item.get("id")

    def read() -> Product:
        product = product_from_item(item, file)
        if not BANDS.keys() & product.assets.keys():
            raise ProductError(
                f"{product.id}: none of its images lies on this machine; fetch them with terrazzo acquire"
                if item["assets"]
                else f"{product.id} has no assets; fetch the Item again"
            )
        return product

    return validated(known if isinstance(known, str) and known else file.name, read)


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
            bad=False,
        )
        for p in products
        if p.level not in keep
    ]
    return [p for p in products if p.level in keep], others
