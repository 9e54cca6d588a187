"""Looks at an eighth of a product's resolution first, so that what is cloud all over is not decoded, masked and stored."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.windows import from_bounds
from scipy import ndimage

from terrazzo.bands import FOUR
from terrazzo.config import MosaicConfig
from terrazzo.errors import ProductError, WrongGrid
from terrazzo.grid import Bounds, Grid, PixelBox
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.products.form import PLAIN, Form, image, in_counts, masked
from terrazzo.precompute.products.numbers import Numbers
from terrazzo.precompute.products.product import OWN, SWIR, LeftOut, Product
from terrazzo.precompute.products.raster import asset_grid, read_on_grid
from terrazzo.precompute.products.validation import guarded
from terrazzo.precompute.scene.counts import L1C_BANDS, lowered, offset_of
from terrazzo.precompute.scene.identity import as_used, forms_of
from terrazzo.precompute.scene.looks import Looks
from terrazzo.precompute.scene.make import known_scene
from terrazzo.precompute.scene.many import Task
from terrazzo.precompute.scene.prepare import scene_angles
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.work.executor import default_workers
from terrazzo.scene import class_shares
from terrazzo.store import Store

COARSE = 80.0
"""Metres of the pixels looked at: an eighth of the finest bands, which COGs keep as an overview and JP2 as a resolution level."""
COARSEST_BANDS = 20.0
"""Metres of the finest band from which a product is so small that the look would cost as much as the scene."""
FEWEST = 1000
"""Pixels with data below which a look proves nothing: 2.5 × 2.5 km."""

_Rank = tuple[float, str]
"""Share of cloud and name of a product: of a place and time the least is kept."""
CLEAR: _Rank = (-1.0, "")
"""Of all that are kept whatever else there is."""
NOTHING: Mapping[str, str | None] = {}


class Triaged(NamedTuple):
    """What a look at products leaves to do.

    Attributes:
        kept: products that scenes are made of.
        clouded: those that show next to nothing but cloud.
    """

    kept: list[Task]
    clouded: list[LeftOut]


def triage(
    tasks: Sequence[Task],
    looks: Looks,
    ready: Sequence[Product],
    most: float,
    revs: Mapping[str, str | None] = NOTHING,
) -> Triaged:
    """Sorts out products whose part of the mosaic's area is cloud and shadow, by our own mask.

    Of a tile and period without any other product the least cloudy one is kept: there it is the best observation. What is
    kept is the same however the products are divided among machines.

    Args:
        looks: what is known of the run's products; those of other machines are looked at where a place's best is to be known.
        ready: products whose scenes are there already.
        most: per cent of cloud and shadow up to which a product is kept; 100 keeps all and looks at none.
        revs: revisions of the scenes that the products would become, by id; looks at products without one are not kept.
    """
    if most >= 100 or not tasks:
        return Triaged(list(tasks), [])
    config = looks.config

    def look(task: Task) -> float | None:
        return _share(task, looks, revs.get(task[0].id))

    def best(rivals: Sequence[Task]) -> _Rank:
        return _best(rivals, looks, most)

    with ThreadPoolExecutor(default_workers()) as pool:
        shares = list(pool.map(look, tasks))
        ranks = [(_place(p, config), _rank(s, most, p.id)) for (p, _), s in zip(tasks, shares, strict=True)]
        first = {_place(p, config): CLEAR for p in ready}
        for place, rank in ranks:
            first[place] = min(rank, first.get(place, rank))
        rivals, mine = defaultdict(list), {p.id for p in (*ready, *(t[0] for t in tasks))}
        for task in (t for t in looks.tasks if t[0].id not in mine):
            place = _place(task[0], config)
            if first.get(place, CLEAR) != CLEAR:
                rivals[place].append(task)
        for place, rank in zip(rivals, pool.map(best, rivals.values()), strict=True):
            first[place] = min(rank, first[place])
    keep = [rank == CLEAR or rank == first[place] for place, rank in ranks]
    clouded = [
        LeftOut(p.id, f"{100 * (s or 0):.1f} % of what it shows of the area is cloud or shadow", bad=False)
        for (p, _), s, kept in zip(tasks, shares, keep, strict=True)
        if not kept
    ]
    return Triaged([t for t, kept in zip(tasks, keep, strict=True) if kept], clouded)


def _rank(share: float | None, most: float, product: str) -> _Rank:
    return CLEAR if share is None or 100 * share <= most else (share, product)


def _share(task: Task, looks: Looks, rev: str | None) -> float | None:
    """The share of a product, from an earlier look if one is known."""
    product, recipe = task
    share = looks.share(product.id, rev) if rev else None
    if share is None:
        share = cloud_share(product, recipe, looks.store, looks.config.bounds)
        if rev and share is not None:
            looks.add(product.id, rev, share)
    return share


def _best(tasks: Sequence[Task], looks: Looks, most: float) -> _Rank:
    """The rank of the best of other machines' products, as far as it matters: the first that is clear ends the search."""
    least = (math.inf, "")
    for product, recipe in tasks:
        known = known_scene(product, looks.store, recipe)
        if known.scene is not None:
            return CLEAR
        least = min(least, _rank(_share((product, recipe), looks, known.rev), most, product.id))
        if least == CLEAR:
            return CLEAR
    return least


def cloud_share(product: Product, recipe: Recipe, store: Store, area: Bounds | None) -> float | None:
    """Share, 0–1, of cloud and shadow in what a product shows of an area; None where a look cannot decide.

    Args:
        area: west, south, east, north in degrees; None is all of the product.
    """
    try:
        with guarded(product.id):
            product = as_used(product, store)
            bounds, pixel = asset_grid(product.asset("B02"), product.epsg, product.declared.get("B02"))
            grid = replace(store.grid(product.epsg), pixel=COARSE)
            box = _inside(grid, bounds, area)
            if pixel > COARSEST_BANDS or box.empty or box.height * box.width < FEWEST:
                return None
            classes = _classes(product, recipe, store, grid, box)
    except ProductError:
        # The way to the scene meets the same and says what to do about it.
        return None
    counts = np.bincount(classes.ravel())
    if counts[1:].sum() < FEWEST:
        return None
    return class_shares(dict(enumerate(counts.tolist())))[1]


def _place(product: Product, config: MosaicConfig) -> tuple[str, ...]:
    """Where and when a product may be the only one: its tile and the periods that hold its day."""
    day = product.datetime.date()
    return product.mgrs, *(p.name for p in config.periods if not p.members and p.holds(day, day))


def _inside(grid: Grid, bounds: Bounds, area: Bounds | None) -> PixelBox:
    """The pixels that lie wholly in a product's image, and touch the area."""
    box = grid.box_from_bounds(*bounds).grown(-1)
    if area is None:
        return box
    there = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform_bounds(*area)
    return box.intersection(grid.box_from_bounds(*there)) if all(map(math.isfinite, there)) else box


def _classes(product: Product, recipe: Recipe, store: Store, grid: Grid, box: PixelBox) -> NDArray[np.uint8]:
    """(row, col) classes of a product's coarse pixels.

    Raises:
        ProductError: a file cannot be read, or nothing settles the offset.
    """
    if recipe.mask.startswith(OWN):
        own = read_on_grid(product.asset(recipe.mask), grid, box, "classes").array
        return np.asarray(own, np.uint8)
    numbers = _numbers(product, store, grid, box)
    extra: dict[str, Any] = {}
    if "SCL" in product.assets:
        # Overviews of classes may be means of their numbers: this one is read in full.
        extra["scl"] = read_on_grid(product.asset("SCL"), grid, box, "classes").array
    return mask_scene(
        numbers.rows,
        box.shape,
        numbers.bands,
        level=product.level,
        pixel=grid.pixel,
        sun=scene_angles(product, grid, box).mean_sun,
        choice=recipe.mask,  # type: ignore[arg-type]
        **extra,
    ).classes


def _numbers(product: Product, store: Store, grid: Grid, box: PixelBox) -> Numbers:
    """The bands for clouds on coarse pixels, and their offset."""
    forms = forms_of(product, store)
    more = SWIR + (L1C_BANDS if product.level == "L1C" else ())
    bands = (*FOUR, *(b for b in more if b in product.assets))
    counts = np.stack([_coarse(product.asset(b), grid, box, forms) for b in bands])
    # Means across the end of the data are lower than any ground is.
    there = ndimage.binary_erosion((counts[: len(FOUR)] > 0).all(axis=0))
    counts[: len(FOUR), ~there] = 0
    dark = len(FOUR) + sum(b in bands for b in SWIR)
    darkest = np.where(there, counts[:dark].min(axis=0), 0).astype(np.uint16)
    lift = max((f.lift for f in forms.values()), default=0)
    darkest = lowered(darkest, lift) if lift else darkest
    offset = offset_of(product, darkest, counts[len(FOUR) :], bands[len(FOUR) :])
    return Numbers(bands, counts, offset.value - lift)


def _coarse(path: str, grid: Grid, box: PixelBox, forms: Mapping[str, Form]) -> NDArray[np.uint16]:
    """(row, col) counts of an image's coarse pixels, 0 without data, from its overviews or resolution levels.

    Levels of a JP2 lie up to some pixels off: good enough to detect clouds, not to measure.
    """
    form = forms.get(path, PLAIN)
    with image(path) as dataset:
        if dataset.transform.is_identity or dataset.transform.e > 0:
            raise WrongGrid(f"{path} does not lie north up")
        window = from_bounds(*grid.bounds(box), dataset.transform)
        how = {"window": window, "out_shape": box.shape}
        values = dataset.read(1, resampling=Resampling.average, **how)
        valid = dataset.read_masks(1, **how) > 0 if masked(dataset) else None
    return values.astype(np.uint16) if form.plain else in_counts(values, valid, form)
