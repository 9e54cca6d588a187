"""How scenes fade towards their own outline where every scene counts: where a swath ends, a method that weighs all dates would draw a line."""

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from terrazzo.grid import Grid, PixelBox
from terrazzo.scene import Scene, read_item
from terrazzo.store import Store

REACH = 5000.0
"""Metres from its outline at which a scene counts whole: half of what tiles of one pass overlap."""
SPACING = 16
"""Pixels between places at which the distance is measured, at most; between them it is interpolated."""


def fade(store: Store, scene: Scene, grid: Grid, box: PixelBox) -> NDArray[np.float32]:
    """(row, col) 0–1, smoothstep of the distance to the scene's outline over `REACH`; 0 beyond it.

    Args:
        grid: the grid at the level of the box.

    Raises:
        NotFound, ReadFailure: the scene's Item cannot be read.
    """
    polygon = outline(store, scene)
    west, south, east, north = grid.bounds(box)
    step = min(SPACING, 2 ** int(np.log2(max(REACH / 4 / grid.pixel, 1))))
    middle = shapely.Point((west + east) / 2, (south + north) / 2)
    farthest = np.hypot(east - west, north - south) / 2 + 2 * step * grid.pixel
    if polygon.contains(middle) and shapely.distance(polygon.boundary, middle) >= REACH + farthest:
        return np.ones(box.shape, np.float32)
    # Places lie on multiples of their spacing, and each pixel is summed by itself: none depends on how the picture is cut.
    rows, cols = (
        np.arange(first // step, -(-last // step) + 1) * step
        for first, last in ((box.row0, box.row1), (box.col0, box.col1))
    )
    x0, _, _, y0 = grid.bounds(PixelBox(0, 0, 1, 1))
    x, y = np.meshgrid(x0 + cols * grid.pixel, y0 - rows * grid.pixel)
    far = shapely.distance(polygon.boundary, shapely.points(x, y))
    far = np.where(shapely.contains_xy(polygon, x, y), far, 0).astype(np.float32)
    distance = _between(_between(far, rows, box.row0, box.row1).T, cols, box.col0, box.col1).T
    share = np.minimum(distance / np.float32(REACH), np.float32(1))
    return np.asarray(share * share * (3 - 2 * share), np.float32)


@lru_cache(maxsize=4096)
def outline(store: Store, scene: Scene) -> shapely.Geometry:
    """The outline of a scene's data in its own coordinate system, as its Item has it."""
    degrees = shapely.geometry.shape(read_item(store, scene)["geometry"])
    to_zone = Transformer.from_crs(4326, scene.epsg, always_xy=True)
    polygon = shapely.transform(degrees, lambda xy: np.stack(to_zone.transform(xy[:, 0], xy[:, 1]), -1))
    shapely.prepare(polygon)
    return polygon


def _between(
    values: NDArray[np.float32], places: NDArray[np.int64], start: int, stop: int
) -> NDArray[np.float32]:
    """(pixel, …) values at the middles of pixels, linear between those at (place, …)."""
    at = (np.arange(start, stop) + 0.5 - places[0]) / (places[1] - places[0])
    before = at.astype(int)
    share = (at - before).astype(np.float32)[:, None]
    return np.asarray(values[before] * (1 - share) + values[before + 1] * share, np.float32)
