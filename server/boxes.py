"""The pixels of boxes that are answered at once."""

import math

import numpy as np

from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.request.boxes import in_one_piece

MOST_SIDE = 4096
"""Pixels of a side of a box that is answered at once."""
MAP_SIDE = 1024
"""Pixels of the longer side of a map whose size is not given."""


def box_target(
    engine: Engine,
    box: Bounds,
    crs: str,
    out: str | None = None,
    width: int | None = None,
    height: int | None = None,
    max_size: int | None = None,
) -> Target:
    """The pixels of a box: of a given size, or at full resolution of the answer's coordinate system.

    Args:
        width, height: of the answer in pixels; of one alone the other follows from the box's shape, rounded up as TiTiler does.
        max_size: of the longer side; it counts where neither is given, and only makes smaller.

    Raises:
        InvalidRequest: the box is too large to be answered at once.
    """
    zone = f"EPSG:{engine.version.zones[0]}"
    pixel = engine.version.store.config.pixel
    answer = out or crs
    in_one_piece(box, crs, answer)
    if answer != crs:
        box = Bounds(*transformer(crs, answer).transform_bounds(*box, densify_pts=21))
        if box.left > box.right:
            # PROJ's sign that a box in degrees crosses the antimeridian.
            box = box._replace(right=box.right + 360)
    if width is None or height is None:
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        to_zone = transformer(answer, zone)
        dx, dy = (box.right - box.left) / 2000, (box.top - box.bottom) / 2000
        (x0, x1, x2, x3), (y0, y1, y2, y3) = to_zone.transform([x - dx, x + dx, x, x], [y, y, y - dy, y + dy])
        across, up = np.hypot(x1 - x0, y1 - y0) * 1000, np.hypot(x3 - x2, y3 - y2) * 1000
        if not (np.isfinite(across) and np.isfinite(up)):
            raise InvalidRequest("bbox: the box lies outside the mosaic's zone")
        width, height = size_of(
            max(1, round(across / pixel)), max(1, round(up / pixel)), width, height, max_size
        )
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise InvalidRequest(
            f"bbox: {width} × {height} px; at most {MOST_SIDE} a side, or use `terrazzo export`"
        )
    return Target(answer, box, height, width)


def map_size(box: Bounds, width: int | None, height: int | None) -> tuple[int, int]:
    """Columns and rows of a map of a box in degrees, whose pixels are square on the ground unless both are given."""
    across = (box.right - box.left) * math.cos(math.radians((box.top + box.bottom) / 2))
    shape = across / (box.top - box.bottom)
    if width is None and height is None:
        width, height = (MAP_SIDE, None) if shape >= 1 else (None, MAP_SIDE)
    if width is None:
        width = max(1, round((height or 1) * shape))
    return width, height or max(1, round(width / shape))


def size_of(
    across: int, up: int, width: int | None = None, height: int | None = None, max_size: int | None = None
) -> tuple[int, int]:
    """Width and height of an answer by TiTiler's rules, from those at full resolution and what is asked for."""
    ratio = up / across
    if width and height:
        return width, height
    if width:
        return width, math.ceil(width * ratio)
    if height:
        return math.ceil(height / ratio), height
    if max_size is None or max(across, up) < max_size:
        return across, up
    return (math.ceil(max_size / ratio), max_size) if ratio > 1 else (max_size, math.ceil(max_size * ratio))
