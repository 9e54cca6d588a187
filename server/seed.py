"""Fills the tile cache beforehand: what is in it already, also from an earlier version, is not made again."""

import os
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from urllib.parse import parse_qsl

import click
from morecantile import Tile, TileMatrixSet

from terrazzo.errors import InvalidRequest, StoreError, TerrazzoError
from terrazzo.formats import Format
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import tile_target
from terrazzo.request.boxes import box_of
from terrazzo.request.parameters import PICTURE
from terrazzo.request.parse import joined
from terrazzo.server.answer import PicturePlan, PictureRequest, planned, rendered
from terrazzo.server.cache import TileCache
from terrazzo.server.grids import Grids
from terrazzo.server.mosaics import Mosaics
from terrazzo.server.request import parse_ask, parse_format
from terrazzo.server.settings import Settings

AHEAD = 64
"""Tiles planned before they are waited for."""


@dataclass(frozen=True)
class Seeded:
    """What a run did, in tiles, and the first reason why one was refused."""

    version: str
    rendered: int
    there: int
    empty: int
    refused: int
    problem: str | None


def seeded(
    settings: Settings,
    mosaic: str,
    tms: str,
    bbox: tuple[float, float, float, float] | None,
    zooms: range,
    form: str,
    query: str,
) -> Seeded:
    """Makes the tiles of a box that the cache lacks, and shows how far it is.

    Args:
        bbox: west, south, east, north in degrees; None for all of the mosaic.

    Raises:
        StoreError: the cache cannot be used.
        NotFound, InvalidRequest: there is no such mosaic or tile matrix set, or the query makes no sense.
    """
    cache = TileCache(settings.cache_dir, settings.cache_size)
    if not cache.works:
        raise StoreError(f"no tile cache in {settings.cache_dir}: name a folder that can be written")
    mosaics = Mosaics.of(settings)
    engine = mosaics.engine(mosaic)
    matrix = Grids(settings.tms).find(engine.version, tms)
    if not matrix.minzoom <= zooms[0] <= zooms[-1] <= matrix.maxzoom:
        raise InvalidRequest(f"{tms} has zooms {matrix.minzoom} to {matrix.maxzoom} for this mosaic")
    ask = parse_ask(
        joined(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)), PICTURE), engine.version
    )
    picture_format = parse_format(form)
    box = box_of(Bounds(*bbox), coverage=engine.version.bounds) if bbox else engine.version.bounds
    counts: Counter[str] = Counter()
    problem: str | None = None

    def warmed(tile: Tile) -> str:
        request = PictureRequest(engine, ask, tile_target(matrix, *tile, matrix.tileMatrices[0].tileWidth))
        plan = planned(request, picture_format)
        return _kept(cache, plan, picture_format)

    with (
        ThreadPoolExecutor(settings.threads or os.cpu_count()) as pool,
        click.progressbar(length=_count(matrix, box, zooms), label=f"version {engine.version.name}") as bar,
    ):
        waiting: deque[Future[str]] = deque()
        tiles = matrix.tiles(*box, list(zooms))
        while True:
            waiting.extend(pool.submit(warmed, t) for t in islice(tiles, AHEAD - len(waiting)))
            if not waiting:
                break
            try:
                counts[waiting.popleft().result()] += 1
            except TerrazzoError as error:
                counts["refused"] += 1
                problem = problem or str(error)
            bar.update(1)
    mosaics.close()
    done = {name: counts[name] for name in ("rendered", "there", "empty", "refused")}
    return Seeded(engine.version.name, **done, problem=problem)


def _kept(cache: TileCache, plan: PicturePlan, form: Format) -> str:
    if plan.is_empty:
        return "empty"
    if cache.kept(plan.key) is not None:
        return "there"
    value, keep = rendered(plan, form)
    if keep:
        cache.keep(plan.key, value)
    return "rendered"


def _count(matrix: TileMatrixSet, box: tuple[float, float, float, float], zooms: range) -> int:
    total = 0
    for zoom in zooms:
        first = matrix.tile(box[0], box[3], zoom)
        last = matrix.tile(box[2], box[1], zoom)
        total += (last.x - first.x + 1) * (last.y - first.y + 1)
    return total
