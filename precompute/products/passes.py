"""Which products are the same ground seen in the same pass: of a reprocessed one the newest is used, of parts all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.features import shapes

from terrazzo.precompute.products.files import open_raster
from terrazzo.precompute.products.product import USER_MADE, LeftOut, Product

COVERED = 0.95
"""Share of a product's ground that newer ones of its pass hold when they replace it; parts of a pass overlap by less."""
LOOK = 256
"""Rows and columns of the picture in which the ground is looked at."""


def order_of(product: Product, user_made: bool = False) -> tuple[str, Any, str]:
    """Sorts products of one pass and tile, the newest last; what a user made comes before all that ESA did."""
    baseline = "" if product.baseline == USER_MADE and not user_made else product.baseline
    return baseline, product.generated, product.id


def newest_processing(
    products: Sequence[Product], user_made: bool = False
) -> tuple[list[Product], list[LeftOut]]:
    """The products of each pass and tile whose ground no newer one holds.

    A pass over a tile may come in parts, one a datastrip or station, of the same baseline: all of them are used.

    Args:
        user_made: a baseline N9999 is the newest of all, else the oldest.
    """
    groups: dict[tuple[str, str], list[Product]] = {}
    for product in sorted(products, key=lambda q: order_of(q, user_made), reverse=True):
        group = groups.setdefault((product.datatake, product.mgrs), [])
        if all(product.id != other.id for other in group):
            group.append(product)
    kept, left_out = [], []
    for group in groups.values():
        newest, *older = group
        parts = [newest]
        for product in older:
            if _replaced(product, parts):
                left_out.append(LeftOut(product.id, _reason(product, newest), bad=False))
            else:
                parts.append(product)
        kept += parts
    return sorted(kept, key=lambda q: q.id), left_out


def _reason(product: Product, newest: Product) -> str:
    if product.baseline == USER_MADE != newest.baseline:
        return f"made by a user, and ESA's own {newest.id} is here (--user-made takes it)"
    return f"an older processing (N{product.baseline}) of {newest.id} (N{newest.baseline})"


def _replaced(product: Product, parts: Sequence[Product]) -> bool:
    """Whether newer products hold a product's ground, by their pixels where these can be read, else by their outlines."""
    grounds = [_ground(p) for p in (product, *parts)]
    if any(g is None for g in grounds):
        return all(not other_ground(product, p) for p in parts)
    own, *others = (g for g in grounds if g is not None)
    return covered_share(own, others) >= COVERED


def covered_share(ground: shapely.Geometry, others: Sequence[shapely.Geometry]) -> float:
    """Share of a ground that others hold; 1 of none at all."""
    if ground.is_empty:
        return 1.0
    return float(shapely.intersection(ground, shapely.union_all(list(others))).area / ground.area)


def _ground(product: Product) -> shapely.Geometry | None:
    """Where B02 has pixels, in metres of the zone; None where it cannot be read."""
    try:
        with open_raster(product.assets["B02"]) as dataset:
            shape = tuple(min(LOOK, n) for n in dataset.shape)
            there: NDArray[np.bool_] = dataset.read_masks(1, out_shape=shape) > 0
            there &= dataset.read(1, out_shape=shape) != 0
            transform = dataset.transform @ rasterio.Affine.scale(
                dataset.width / shape[1], dataset.height / shape[0]
            )
    except (RasterioError, KeyError, ValueError):
        return None
    polygons = shapes(there.astype(np.uint8), there, transform=transform)
    return shapely.union_all([shapely.geometry.shape(g) for g, _ in polygons])


def other_ground(a: Product, b: Product) -> bool:
    """Whether two products of one pass and tile are parts of it, by their metadata.

    Of one baseline, made at different moments: parts, since ESA makes each ground once a baseline; of two baselines,
    parts where their outlines hardly overlap.
    """
    if a.baseline == b.baseline:
        return bool(a.strip and b.strip) and a.strip != b.strip
    shapes = [outline(p.outline) for p in (a, b)]
    if any(s is None or s.is_empty for s in shapes):
        return False
    first, second = (s for s in shapes if s is not None)
    smaller = min(first.area, second.area)
    return bool(smaller > 0 and shapely.intersection(first, second).area < 0.5 * smaller)


def outline(geometry: Mapping[str, Any] | None) -> shapely.Geometry | None:
    """An Item's geometry; None where it has none that can be read."""
    if not geometry:
        return None
    try:
        outline: shapely.Geometry = shapely.make_valid(shapely.geometry.shape(geometry))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    return outline if outline.geom_type in ("Polygon", "MultiPolygon", "GeometryCollection") else None
