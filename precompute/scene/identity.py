"""What a scene is made of: the product as it is used, checksums of its files, and the revision that follows."""

import hashlib
import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from terrazzo import PIXELS
from terrazzo.bands import BANDS, FOUR
from terrazzo.errors import MissingBand, Uncorrectable
from terrazzo.precompute.clouds.model import model_hash
from terrazzo.precompute.correct.retrieve import RETRIEVAL
from terrazzo.precompute.correct.table import load_table
from terrazzo.precompute.products.elevation import node_elevation
from terrazzo.precompute.products.files import checksum
from terrazzo.precompute.products.form import Form, declared_offset, read_forms
from terrazzo.precompute.products.product import EXTRAS, L1C_EXTRAS, OWN, SWIR, Declared, Product
from terrazzo.precompute.products.quality import quality_roles
from terrazzo.precompute.products.raster import asset_grid, require_one_place
from terrazzo.precompute.scene.prepare import scene_angles
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import scene_prefix
from terrazzo.store import Store


def as_used(product: Product, store: Store) -> Product:
    """The product, with what its files say of the offset, and B8A in B08's place where it has images of 20 m and 60 m alone.

    Raises:
        MissingBand: B08 is missing, and the store's pixels are finer than B8A's.
        ProductError: its files say an offset that no product carries.
        UnreadableAsset: one of them cannot be opened.
    """
    product = _with_stand_in(product, store)
    said = declared_offset(_images(product, store))
    return product if said is None else replace(product, claims={**product.claims, "file_offset": said})


def _with_stand_in(product: Product, store: Store) -> Product:
    if product.level != "L2A" or "B08" in product.assets or "B8A" not in product.assets:
        return product
    if store.config.pixel < BANDS["B8A"].resolution:
        raise MissingBand(
            f"{product.id} has no B08, as products with images of 20 m and 60 m alone: fetch its images of 10 m, or make a"
            " store of 20 m (--pixel 20), where B8A takes the place of B08"
        )
    note = "no B08 in the product: B8A, a narrower near infrared, is in its place"
    assets = {**product.assets, "B08": product.assets["B8A"]}
    declared = {**product.declared, **({"B08": product.declared["B8A"]} if "B8A" in product.declared else {})}
    return replace(product, assets=assets, declared=declared, notes=(*product.notes, note))


def identity(product: Product, store: Store, recipe: Recipe) -> tuple[dict[str, str], str, str]:
    """Checksums of a product's files, the revision they determine, and the scene's folder.

    Raises:
        ProductError: a file that is needed is missing, or a band lies elsewhere than another.
    """
    product = as_used(product, store)
    if product.level == "L1C" and "B12" not in product.assets:
        raise Uncorrectable(
            f"{product.id} is L1C without B12, from which the aerosol is retrieved: no atmospheric correction;"
            " fetch B12, or use the L2A product"
        )
    wanted = (*store.config.bands, *FOUR, *(("B12",) if product.level == "L1C" else ()))
    needed = [product.asset(b) for b in dict.fromkeys(wanted)]
    if recipe.mask.startswith(OWN):
        needed.append(product.asset(recipe.mask))
    also = (*EXTRAS, *SWIR, *quality_roles(product.assets), *(L1C_EXTRAS if product.level == "L1C" else ()))
    extras = [product.assets[a] for a in also if a in product.assets and product.assets[a] not in needed]
    require_one_place(_images(product, store), product.epsg, declared_of(product))
    checksums = {Path(p).name: checksum(p) for p in (*needed, *extras)}
    rev = _revision(product, checksums, store, recipe)
    return checksums, rev, scene_prefix(product.epsg, product.mgrs, product.id, rev)


def _revision(product: Product, checksums: dict[str, str], store: Store, recipe: Recipe) -> str:
    """12 hexadecimal digits over what determines the scene's pixels."""
    forms = {Path(path).name: form for path, form in forms_of(product, store).items()}
    air: dict[str, Any] = {}
    if product.level == "L1C":
        air |= {"table": load_table().hash, "retrieval": RETRIEVAL}
    if product.level == "L1C" or recipe.dem:
        air["elevation"] = _elevation(product, store, recipe)
    text = json.dumps(
        {
            **air,
            "product": product.id,
            "sources": checksums,
            "claims": dict(product.claims),
            "baseline": product.baseline,
            "grid": [store.config.pixel, store.config.mask_pixel, store.config.window, store.config.bands],
            "mask": recipe.mask,
            "brdf": recipe.brdf,
            **({"forms": {n: repr(f) for n, f in forms.items()}} if forms else {}),
            "shift": astuple(recipe.shift) if recipe.shift else None,
            "model": model_hash(product.level),
            "pixels": PIXELS,
        },
        sort_keys=True,
    )
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _elevation(product: Product, store: Store, recipe: Recipe) -> list[list[float]] | None:
    """Whole metres at the nodes of the angle grids, None at sea level."""
    if recipe.dem is None:
        return None
    grid = store.grid(product.epsg)
    box = grid.pad(
        grid.box_from_bounds(*asset_grid(product.asset("B02"), product.epsg, product.declared.get("B02"))[0])
    )
    heights: list[list[float]] = np.rint(
        node_elevation(recipe.dem, scene_angles(product, grid, box), product.epsg)
    ).tolist()
    return heights


def declared_of(product: Product) -> dict[str, Declared]:
    """What the Item says of each image, by path."""
    return {product.assets[role]: t for role, t in product.declared.items() if role in product.assets}


def forms_of(product: Product, store: Store) -> dict[str, Form]:
    """How each image writes reflectance that does not do it as ESA does, by path.

    Raises:
        ProductError: one holds no reflectance.
    """
    return read_forms(_images(product, store), declared_of(product))


def _images(product: Product, store: Store) -> dict[str, str]:
    """Paths of the images that a scene is made of, by band."""
    wanted = {*store.config.bands, *FOUR, *SWIR}
    if product.level == "L1C":
        wanted |= BANDS.keys() & set(L1C_EXTRAS)
    return {band: product.assets[band] for band in sorted(wanted) if band in product.assets}
