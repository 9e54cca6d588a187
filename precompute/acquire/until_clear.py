"""Fetches no more than it takes: products by what they add of clear observations, until each place has enough.

Places are squares of about 5 km. What a product here shows clear is measured where it is a scene of the store already, by
its mask; of the others it is expected: the share that the archive's metadata do not call cloud, the same in all of a
product. So a second run after `precompute` mends what the first expected too much of.
"""

import heapq
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from terrazzo.bands import CLEAR
from terrazzo.config import ALL, Period, read_config
from terrazzo.precompute.acquire.fetch import Plan, Wanted, gigabytes
from terrazzo.precompute.products.passes import outline
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.products.values import mapping, number
from terrazzo.scene import MASK, Scene, list_scenes
from terrazzo.store import Store

PLACE = 5_120.0
"""Metres of a place's side: a window of 512 px of 10 m."""
METRES = 111_320.0
"""Of a degree of latitude."""
LEAST = 0.05
"""Clear observations that a product must add to a place it covers, on average, to be worth its bytes."""
FINE = 8
"""Samples of a mask to a side of a place."""
EVER = Period(ALL, date.min, date.max)


@dataclass(frozen=True)
class Enough:
    """What is needed, and what is there.

    Attributes:
        clear: observations that every place shall have in every period.
        periods: of the mosaic; one that is open where it names none.
        store: None where there is none yet.
        scenes: of the store, by the name of their product.
        follow: of each tile the newest product, and all newer than those that are here, come in any case.
    """

    clear: int
    periods: tuple[Period, ...]
    store: Store | None
    scenes: dict[str, Scene]
    follow: bool = False


def needed(clear: int, store: Store | None, mosaic: str, *, follow: bool = False) -> Enough:
    """What a mosaic needs, for so many clear observations."""
    if store is None:
        return Enough(clear, (EVER,), None, {}, follow)
    periods = tuple(p for p in read_config(store, mosaic).periods if not p.members)
    scenes = {s.id: s for s in list_scenes(store)}
    return Enough(clear, periods or (EVER,), store, scenes, follow)


def places(area: shapely.Geometry) -> NDArray[np.float64]:
    """(place, 2) longitude and latitude of the middles of places that an area holds; at least one."""
    west, south, east, north = area.bounds
    rows = max(1, round((north - south) * METRES / PLACE))
    cols = max(1, round((east - west) * METRES * np.cos(np.radians((south + north) / 2)) / PLACE))
    lat = south + (np.arange(rows) + 0.5) * (north - south) / rows
    lon = west + (np.arange(cols) + 0.5) * (east - west) / cols
    grid = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    inside = grid[shapely.intersects_xy(area, grid[:, 0], grid[:, 1])]
    if len(inside):
        return np.asarray(inside)
    point = shapely.point_on_surface(area)
    return np.array([[point.x, point.y]])


def expected(item: Any, where: NDArray[np.float64]) -> NDArray[np.float64]:
    """(place,) chance that a product shows a place clear, by its metadata; 0 where its outline, if any, does not reach."""
    geometry = outline(item.get("geometry"))
    clear = 1 - min(100.0, number(mapping(item.get("properties")).get("eo:cloud_cover")) or 0) / 100
    if geometry is None:
        return np.full(len(where), clear)
    return np.asarray(clear * shapely.intersects_xy(geometry, where[:, 0], where[:, 1]))


def measured(store: Store, scene: Scene, where: NDArray[np.float64]) -> NDArray[np.float64]:
    """(place,) share of each place that a scene's mask calls clear."""
    x, y = Transformer.from_crs(4326, scene.epsg, always_xy=True).transform(where[:, 0], where[:, 1])
    with rasterio.open(store.raster_path(scene.key(MASK)), driver="GTiff") as dataset:
        step = max(1, round(PLACE / FINE / dataset.res[0]))
        shape = (-(-dataset.height // step), -(-dataset.width // step))
        clear = np.isin(dataset.read(1, out_shape=shape), [int(c) for c in CLEAR])
        left, top = dataset.bounds.left, dataset.bounds.top
        across, down = dataset.width * dataset.res[0] / shape[1], dataset.height * dataset.res[1] / shape[0]
    half = (np.arange(FINE) - (FINE - 1) / 2) * PLACE / FINE
    cols = np.floor((np.asarray(x)[:, None] + half - left) / across).astype(int)
    rows = np.floor((top - np.asarray(y)[:, None] + half) / down).astype(int)
    inside = (rows >= 0) & (rows < shape[0]), (cols >= 0) & (cols < shape[1])
    seen = clear[rows.clip(0, shape[0] - 1)[:, :, None], cols.clip(0, shape[1] - 1)[:, None, :]]
    share: NDArray[np.float64] = (seen & inside[0][:, :, None] & inside[1][:, None, :]).mean(axis=(1, 2))
    return share


def choose(
    chances: NDArray[np.float64], sizes: Sequence[int], have: NDArray[np.float64], clear: int
) -> list[int]:
    """Products in the order in which they add most clear observations a byte, until every place has enough.

    Greedy, which for gains that only shrink is within 1 − 1/e of the best choice (Nemhauser, Wolsey, Fisher 1978).

    Args:
        chances: (product, place) 0–1.
        have: (place,) clear observations that are there.
    """
    have = np.minimum(have, clear)

    def gain(i: int) -> float:
        return float((np.minimum(have + chances[i], clear) - have).sum())

    waiting = [(-gain(i) / max(1, sizes[i]), i) for i in range(len(sizes))]
    heapq.heapify(waiting)
    chosen = []
    while waiting and (have < clear).any():
        _, i = heapq.heappop(waiting)
        now = gain(i)
        if now < LEAST * max(1, (chances[i] > 0).sum()):
            continue
        if waiting and -now / max(1, sizes[i]) > waiting[0][0]:
            heapq.heappush(waiting, (-now / max(1, sizes[i]), i))
            continue
        chosen.append(i)
        have = np.minimum(have + chances[i], clear)
    return chosen


def thinned(planned: Plan, here: Sequence[Product | Scene], area: shapely.Geometry, enough: Enough) -> Plan:
    """The plan with what is needed, and a note on what that saves; what is here already is still followed.

    Of a tile with no more passes than are asked for clear, none is left: who asks for a day gets that day.

    Args:
        here: products of the folder, and scenes that count as such.
    """
    where = places(area)
    there = [(p.datetime.date(), _seen(p, where, enough)) for p in here]
    known = {(p.datatake, p.mgrs) for p in here}
    keep = {i for i, w in enumerate(planned.wanted) if w.candidates[0].key in known}
    if enough.follow:
        keep |= newer(planned.wanted, here)
    for period in enough.periods:
        members = [
            i for i, w in enumerate(planned.wanted) if _in(period, w.candidates[0].product.datetime.date())
        ]
        have = sum((seen for day, seen in there if _in(period, day)), np.zeros(len(where)))
        chances = [expected(planned.wanted[i].candidates[0].item, where) for i in members]
        if members:
            chosen = choose(np.stack(chances), [planned.wanted[i].size for i in members], have, enough.clear)
            keep |= {members[k] for k in chosen} | _few(planned.wanted, members, here, period, enough.clear)
    kept = tuple(w for i, w in enumerate(planned.wanted) if i in keep)
    return replace(planned, wanted=kept, notes=(*planned.notes, *_saved(planned.wanted, kept, enough.clear)))


def newer(wanted: Sequence[Wanted], here: Sequence[Product | Scene]) -> set[int]:
    """Which products are newer than all of their tile that are here; where none is, the newest of the tile."""
    latest: dict[str, datetime] = {}
    for product in here:
        latest[product.mgrs] = max(product.datetime, latest.get(product.mgrs, product.datetime))
    newer, newest = set[int](), dict[str, int]()
    for i, product in enumerate(w.candidates[0].product for w in wanted):
        if product.mgrs not in latest:
            first = newest.setdefault(product.mgrs, i)
            if product.datetime > wanted[first].candidates[0].product.datetime:
                newest[product.mgrs] = i
        elif product.datetime > latest[product.mgrs]:
            newer.add(i)
    return newer | set(newest.values())


def _few(
    wanted: Sequence[Wanted],
    members: Sequence[int],
    here: Sequence[Product | Scene],
    period: Period,
    clear: int,
) -> set[int]:
    """Members of tiles that have no more passes in a period, with those that are here, than shall be clear."""
    tiles = {i: wanted[i].candidates[0].key for i in members}
    passes = {*tiles.values(), *((p.datatake, p.mgrs) for p in here if _in(period, p.datetime.date()))}
    count = Counter(tile for _, tile in passes)
    return {i for i, (_, tile) in tiles.items() if count[tile] <= clear}


def _saved(wanted: Sequence[Wanted], kept: Sequence[Wanted], clear: int) -> list[str]:
    spared = len(wanted) - len(kept)
    size = sum(w.size for w in wanted) - sum(w.size for w in kept)
    if not spared:
        return []
    return [
        f"{spared} of {len(wanted)} products ({gigabytes(size)}) are not needed for {clear} clear observations"
        " of every place (--until-clear 0 takes all)"
    ]


def _in(period: Period, day: date) -> bool:
    return period.holds(day, day)


def _seen(product: Product | Scene, where: NDArray[np.float64], enough: Enough) -> NDArray[np.float64]:
    scene = enough.scenes.get(product.id)
    if scene is not None and enough.store is not None:
        return measured(enough.store, scene, where)
    if isinstance(product, Product) and product.item.endswith(("json", "JSON")):
        return expected(_item_of(product), where)
    return np.zeros(len(where))


def _item_of(product: Product) -> Mapping[str, Any]:
    """The Item that a product was read from, alone in its file or one of a collection."""
    with open(product.item) as file:
        document = mapping(json.load(file))
    features = document.get("features")
    items = [mapping(i) for i in features] if isinstance(features, list) else [document]
    return next((i for i in items if i.get("id") == product.id), {})
