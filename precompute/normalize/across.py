"""Measures scenes against the reference of another zone, where zones overlap: what ties the zones' gains together."""

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE, stored_factor
from terrazzo.edges import DEPTH, Strips, strip_medians, strip_table
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic import gather_kernels
from terrazzo.mosaic.warp import Target, box_around, gather, places, transformer
from terrazzo.precompute.normalize.rasters import Rasters
from terrazzo.precompute.normalize.reference import chunk_prefixes, read_reference, read_verdict
from terrazzo.scene import Scene
from terrazzo.store import Store

NEAR = 2
"""Zone numbers within which zones may overlap: two, for around Svalbard every second one is left out."""
MESH = 64
"""Pixels of the zone grid between places that are projected exactly; those between are off by less than a thousandth."""


@dataclass(frozen=True)
class AcrossTask:
    """A scene to be measured on the windows of a tile of another zone.

    Attributes:
        weight: key of the scene's weight raster.
        epsg, boxes: the tile's zone, and the pixels that its scenes cover.
        references: folder of the reference.
        key: where the strips go.
    """

    store_url: str
    scene: Scene
    weight: str
    epsg: int
    boxes: tuple[PixelBox, ...]
    references: str
    key: str


def across_tasks(
    store: Store,
    scenes: Sequence[Scene],
    tiles: Mapping[str, Sequence[Scene]],
    weights: Mapping[str, tuple[str, str]],
    references: str,
) -> Iterator[AcrossTask]:
    """Every scene that reaches into a tile of another zone.

    Args:
        scenes: all of a period; tiles: those of each tile that is to be solved.
        weights: key and hash of each scene's weight raster, by scene id.
    """
    for mgrs, own in sorted(tiles.items()):
        grid, boxes = store.grid(own[0].epsg), tuple(sorted({s.box for s in own}))
        whole = grid.window_range(reduce(PixelBox.union, boxes))
        for scene in scenes:
            if scene.epsg == grid.epsg:
                continue
            near = _reach(store.grid(scene.epsg), scene.box, grid)
            if not near.intersection(whole).empty and _reached(near, grid, boxes):
                weight, digest = weights[scene.id]
                key = f"{references}/across/{mgrs}/{scene.id}-{scene.rev}-{digest[:12]}.parquet"
                yield AcrossTask(store.url, scene, weight, grid.epsg, boxes, references, key)


@lru_cache(maxsize=65536)
def _reach(own: Grid, box: PixelBox, other: Grid) -> PixelBox:
    """The windows of another zone's grid that a box of pixels may reach; `empty` if none."""
    apart, nowhere = abs(own.epsg % 100 - other.epsg % 100), PixelBox(0, 0, 0, 0)
    if min(apart, 60 - apart) > NEAR:
        return nowhere
    bounds = transformer(f"EPSG:{own.epsg}", f"EPSG:{other.epsg}").transform_bounds(*own.bounds(box))
    if not all(math.isfinite(v) for v in bounds):
        return nowhere
    return other.window_range(other.box_from_bounds(*bounds))


def _reached(near: PixelBox, grid: Grid, boxes: Iterable[PixelBox]) -> list[PixelBox]:
    """What some windows of a grid share with those of each box of pixels, where they share any."""
    common = (near.intersection(grid.window_range(box)) for box in boxes)
    return [windows for windows in common if not windows.empty]


def measure_across(task: AcrossTask) -> None:
    """Writes medians and differences of a scene's strips on another zone's windows, if they are not there yet."""
    store = Store(task.store_url)
    if store.exists(task.key):
        return
    own, other = store.grid(task.scene.epsg), store.grid(task.epsg)
    reached = _reached(_reach(own, task.scene.box, other), other, task.boxes)
    near, n = reduce(PixelBox.union, reached), store.config.window
    boxes = (PixelBox(*(v * n for v in windows)) for windows in reached)
    prefixes = {p for box in boxes for p in chunk_prefixes(store, task.epsg, box, task.references)}
    tables = list[pa.Table]()
    with Rasters(store) as rasters:
        for prefix in sorted(prefixes):
            whole = read_verdict(store, prefix).windows
            windows = whole.intersection(near)
            if not windows.empty:
                tables += _measured(store, rasters, task, prefix, whole, windows)
    buffer = io.BytesIO()
    pq.write_table(
        pa.concat_tables(tables, promote_options="permissive"),
        buffer,
        compression="zstd",
        write_page_checksum=True,
    )
    store.write_bytes(task.key, buffer.getvalue())


def _measured(
    store: Store, rasters: Rasters, task: AcrossTask, prefix: str, whole: PixelBox, windows: PixelBox
) -> Iterator[pa.Table]:
    """The strips of some windows of a chunk, a table a band."""
    reference, scene, bands = read_reference(store, prefix), task.scene, store.config.bands
    f = store.mask_factor
    at = {k: _places(store, scene, task.epsg, windows, k) for k in {f, *map(stored_factor, bands)}}
    around = {k: box_around(*place) or PixelBox(0, 0, 0, 0) for k, place in at.items()}
    weight = rasters.weight(scene, task.weight, around[f])[None].astype(np.int16)
    for band in bands:
        k = stored_factor(band)
        rows, cols = (v * (k / f) for v in at[k])
        shown = gather(weight, around[f], rows, cols, 0, "nearest")[0] >= 2
        rho = gather(rasters.band(scene, band, around[k])[None], around[k], *at[k], NODATA, "bilinear")[0]
        side, depth = store.config.window // k, DEPTH // k
        cut = PixelBox(*(v * side for v in windows)).within(PixelBox(*(v * side for v in whole)))
        ref = reference[band][cut]
        both = shown & (rho != NODATA) & (ref != NODATA)
        m, r = (np.where(both, v * np.float32(SCALE), np.float32(np.nan)) for v in (rho, ref))
        d, count = strip_medians(m - r, side, depth)
        median, _ = strip_medians(m, side, depth)
        table = strip_table(Strips(windows, d[..., None], count[..., None]), (band,), ("d", "n"))
        medians = strip_table(Strips(windows, median[..., None], count[..., None]), (band,), ("m", "n"))
        yield table.append_column("m", medians.column("m"))


def _places(
    store: Store, scene: Scene, epsg: int, windows: PixelBox, factor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the pixels of some windows of another zone lie on a scene's own grid: rows and columns.

    Args:
        factor: pixels of the zone grid to a side of a pixel, of both grids.
    """
    n = store.config.window
    bounds = store.grid(epsg).bounds(PixelBox(*(v * n for v in windows)))
    target = Target(f"EPSG:{epsg}", bounds, windows.height * n // factor, windows.width * n // factor)
    x, y = target.axes()
    step = MESH * store.config.pixel
    east = np.arange(math.floor(x[0] / step), math.floor(x[-1] / step) + 2)
    north = np.arange(math.floor(y[-1] / step), math.floor(y[0] / step) + 2)
    mesh_x, mesh_y = np.meshgrid(east * step, north * step)
    nodes = places(target.crs, (mesh_x, mesh_y), store.grid(scene.epsg), factor.bit_length() - 1)
    rows, cols = np.empty((2, *target.shape))
    gather_kernels.between_nodes(x, y, float(east[0]), float(north[0]), step, *nodes, rows, cols)
    return rows, cols
