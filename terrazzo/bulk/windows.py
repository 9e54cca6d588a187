"""The pixels of an export: an area grown outward to a grid, its division into files, and of files into windows."""

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from rasterio.windows import Window as RasterWindow

from terrazzo.bulk.area import Area
from terrazzo.crs import DEGREES, crs_of, in_units
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds, Grid, PixelBox, is_utm
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Chosen
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target, box_around, places, transformer
from terrazzo.request.boxes import in_one_piece
from terrazzo.version import Entry, Version

WINDOW = 1024
"""Side of the windows that are rendered one by one, in pixels."""
SMALLEST_WINDOW = 128
PREDICTED_WINDOW = 512
"""The same where holes are predicted: read twice as fine and turned, it still is one answer."""
BUDGET = 400 << 20
"""Bytes that the scenes of all windows in flight may take, where a method needs all scenes at once."""
FARTHEST = 2**31
"""Pixels from a grid's origin."""


class Sheet(NamedTuple):
    """One file of an export: its place in the division, and its pixels."""

    row: int
    col: int
    target: Target


def native_crs(version: Version, lon: float) -> str:
    """The UTM zone of a mosaic whose middle lies nearest to a longitude."""

    def away(epsg: int) -> float:
        return abs((lon - ((epsg % 100) * 6 - 183) + 180) % 360 - 180)

    return f"EPSG:{min(version.zones, key=away)}"


def require_positive(resolution: float) -> None:
    """Checks a pixel size.

    Raises:
        InvalidRequest: it is not above 0.
    """
    if not resolution > 0:
        raise InvalidRequest(f"resolution={resolution:g}: above 0")


def export_target(
    version: Version, area: Area, crs: str | None = None, resolution: float | None = None
) -> Target:
    """The pixels of an export: the area's box, grown outward to whole pixels of the grid anchored at the origin.

    Args:
        crs: coordinate system of the files, canonical; by default the mosaic's UTM zone nearest to the area.
        resolution: pixel size in units of `crs`, by default the store's pixel.

    Raises:
        InvalidRequest: a coordinate system is unknown, or the area has no place in it.
    """
    left, bottom, right, top = area.bounds
    if crs is None:
        centre = transformer(area.crs, DEGREES).transform((left + right) / 2, (bottom + top) / 2)
        crs = native_crs(version, centre[0])
    to_file = transformer(area.crs, crs)
    in_one_piece(area.bounds, area.crs, crs)
    if area.crs != crs:
        x, y = np.meshgrid(np.linspace(left, right, 22), np.linspace(bottom, top, 22))
        x, y = map(np.asarray, to_file.transform(x.ravel(), y.ravel()))
        left, bottom, right, top = (float(v) for v in (x.min(), y.min(), x.max(), y.max()))
    if not all(np.isfinite((left, bottom, right, top))):
        raise InvalidRequest(
            f"the area cannot be transformed to {crs}; use the mosaic's UTM zone, or a code such as EPSG:3857"
        )
    size = in_units(crs, version.store.config.pixel) if resolution is None else resolution
    require_positive(size)
    if max(map(abs, (left, bottom, right, top))) / size > FARTHEST:
        raise InvalidRequest(f"resolution {size:g}: too fine for a place so far from the origin of {crs}")
    code = crs_of(crs).to_epsg()
    if code is not None and is_utm(code):
        grid = Grid(code, size, version.store.config.window)
        box = _at_least_one(grid.box_from_bounds(left, bottom, right, top))
        return Target(crs, grid.bounds(box), box.height, box.width)
    box = _at_least_one(_outward(left, bottom, right, top, size))
    snapped = Bounds(box.col0 * size, -box.row1 * size, box.col1 * size, -box.row0 * size)
    return Target(crs, snapped, box.height, box.width)


def _at_least_one(box: PixelBox) -> PixelBox:
    return PixelBox(box.row0, box.col0, max(box.row1, box.row0 + 1), max(box.col1, box.col0 + 1))


def _outward(left: float, bottom: float, right: float, top: float, size: float) -> PixelBox:
    near = 1e-6
    return PixelBox(
        int(np.floor(-top / size + near)),
        int(np.floor(left / size + near)),
        int(np.ceil(-bottom / size - near)),
        int(np.ceil(right / size - near)),
    )


def sheets(target: Target, side: int | None) -> list[Sheet]:
    """The files of an export: squares of a grid anchored at the origin, cut to the target; one for `side` None."""
    if side is None:
        return [Sheet(0, 0, target)]
    dx, dy = target.resolution
    row0, col0 = round(-target.bounds.top / dy), round(target.bounds.left / dx)
    rows, cols = _cuts(row0, target.height, side), _cuts(col0, target.width, side)
    return [
        Sheet(i, j, part_of(target, r0, c0, r1 - r0, c1 - c0))
        for i, (r0, r1) in enumerate(rows)
        for j, (c0, c1) in enumerate(cols)
    ]


def sheet_count(target: Target, side: int | None) -> int:
    """How many files `sheets` makes, without making them."""
    if side is None:
        return 1
    dx, dy = target.resolution
    row0, col0 = round(-target.bounds.top / dy), round(target.bounds.left / dx)
    rows, cols = (
        (start % side + length - 1) // side + 1
        for start, length in ((row0, target.height), (col0, target.width))
    )
    return int(rows * cols)


def _cuts(start: int, length: int, side: int) -> list[tuple[int, int]]:
    """Parts of a line that begins at `start` of a grid, cut at multiples of `side`."""
    inner = range((start // side + 1) * side - start, length, side)
    edges = [0, *inner, length]
    return list(pairwise(edges))


def part_of(target: Target, row: int, col: int, height: int, width: int) -> Target:
    """A rectangle of a target's pixels."""
    dx, dy = target.resolution
    left, top = target.bounds.left, target.bounds.top
    bounds = Bounds(left + col * dx, top - (row + height) * dy, left + (col + width) * dx, top - row * dy)
    return Target(target.crs, bounds, height, width)


def windows(target: Target, side: int = WINDOW) -> Iterator[tuple[RasterWindow, Target]]:
    """The parts of a target, row by row, each with its place in the whole."""
    for row in range(0, target.height, side):
        for col in range(0, target.width, side):
            height, width = min(side, target.height - row), min(side, target.width - col)
            yield RasterWindow(col, row, width, height), part_of(target, row, col, height, width)


def window_side(selection: Selection, workers: int, *, compares: bool = False) -> int:
    """Side of the windows that keeps memory bounded, whatever the number of scenes and bands.

    Args:
        selection: where it is widened by the scenes that predict its holes, with these.
        compares: whether the scenes are compared, which takes all of them at once with any method.
    """
    predicts = selection.request.fill == "predict"
    side = PREDICTED_WINDOW if predicts else WINDOW
    if selection.request.method in ("first", "feather") and not (compares or predicts):
        return side
    deep: dict[str, int] = {}
    for entry in selection.entries:
        deep[entry.scene.mgrs] = deep.get(entry.scene.mgrs, 0) + 1
    # A window sees two tiles deep at most, values and their working copies in 4 bytes.
    layers = 2 * max(deep.values(), default=1) * len(selection.request.bands) * 8
    while side > SMALLEST_WINDOW and layers * side * side * (workers + 1) > BUDGET:
        side //= 2
    return side


def touching(engine: Engine, chosen: Chosen, target: Target) -> tuple[Entry, ...]:
    """The scenes of a measure whose squares reach into a target; none where one of two selections has none."""
    touched = []
    for selection in (chosen.selection, chosen.baseline):
        if selection is not None:
            touched.append(reaching(engine, engine.planner.holding(selection).entries, target))
            if not touched[-1]:
                return ()
    return tuple({e.scene.id: e for entries in touched for e in entries}.values())


def reaching(engine: Engine, entries: Collection[Entry], target: Target) -> tuple[Entry, ...]:
    """Of some scenes those whose squares reach into a target, in their order."""
    inside = set()
    for epsg in engine.version.zones:
        grid = engine.version.store.grid(epsg)
        box = box_around(*places(target.crs, target.outline(), grid, 0))
        for entry in entries:
            if entry.scene.epsg == epsg and box and not entry.scene.box.intersection(box).empty:
                inside.add(entry.scene.id)
    return tuple(e for e in entries if e.scene.id in inside)
