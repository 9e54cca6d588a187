"""Finds the products of a folder, and chooses which of them a mosaic uses."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.precompute.products.items import product_from_item
from terrazzo.precompute.products.product import LeftOut, Product
from terrazzo.precompute.products.safe import find_safes, product_from_safe


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
