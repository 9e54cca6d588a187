"""From requested pixels to places on a zone's grid, and back: one resampling for every interface.

Places are computed for each pixel's centre alone, and the overview level comes from the resolution at one
fixed place of the mosaic. So a pixel's value depends on where it is and how large, never on the tile, box or
file it was asked with; GDAL's warp, whose kernels are scaled by the chunk, does not promise that.

The projection is computed exactly on a lattice that is fixed in the coordinate system asked for, a power of two
wide, and linearly between: one pixel's place is the same in every tile. Its error is checked, not guessed.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from terrazzo.config import Resampling
from terrazzo.crs import check_place, crs_of, transform
from terrazzo.errors import InvalidRequest
from terrazzo.grid import SNAP, Bounds, Grid, PixelBox
from terrazzo.mosaic import gather_kernels


@dataclass(frozen=True)
class Target:
    """Pixels asked for: a rectangle of a coordinate system, north up.

    Attributes:
        crs: anything pyproj understands, as text.
        bounds: outer rectangle in its units, x before y.
    """

    crs: str
    bounds: Bounds
    height: int
    width: int

    @property
    def resolution(self) -> tuple[float, float]:
        """Pixel width and height in the units of the coordinate system."""
        b = self.bounds
        return (b.right - b.left) / self.width, (b.top - b.bottom) / self.height

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(col,) x and (row,) y of the pixels' centres."""
        dx, dy = self.resolution
        x = np.asarray(self.bounds.left + (np.arange(self.width) + 0.5) * dx, np.float64)
        y = np.asarray(self.bounds.top - (np.arange(self.height) + 0.5) * dy, np.float64)
        return x, y

    def outline(self, steps: int = 21) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates along the rectangle's edges and across its middle."""
        t = np.linspace(0, 1, steps)
        x = self.bounds.left + t * (self.bounds.right - self.bounds.left)
        y = self.bounds.bottom + t * (self.bounds.top - self.bounds.bottom)
        grid_x, grid_y = np.meshgrid(x, y)
        return grid_x.ravel(), grid_y.ravel()


@dataclass(frozen=True, eq=False)
class Points:
    """Places asked for at full resolution, as an image of one row; (n,) coordinates."""

    crs: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def resolution(self) -> None:
        """Points have none: they are read at full resolution."""
        return None

    @property
    def shape(self) -> tuple[int, int]:
        return 1, len(self.x)


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """A transformation between coordinate systems, x before y.

    Raises:
        InvalidRequest: one of them is unknown, there is no way between them, or none that knows their datums.
    """
    return transform(crs_of(source), crs_of(target))


@lru_cache(maxsize=4096)
def level_of(
    crs: str,
    resolution: tuple[float, float],
    place: tuple[float, float],
    grid: Grid,
    deepest: int,
) -> int:
    """Overview level for a resolution: pixels of the grid are at most 1.2 times as large as those asked for.

    Args:
        place: longitude and latitude at which the resolution is compared.
        deepest: the coarsest level there is.
    """
    lon, lat = place
    check_place(crs, lon, lat)
    x, y = transformer("EPSG:4326", crs).transform(lon, lat)
    dx, dy = resolution[0] / 2, resolution[1] / 2
    to_zone = transformer(crs, f"EPSG:{grid.epsg}")
    east = to_zone.transform([x - dx, x + dx, x, x], [y, y, y - dy, y + dy])
    (x0, x1, x2, x3), (y0, y1, y2, y3) = east
    size = max(math.hypot(x1 - x0, y1 - y0), math.hypot(x3 - x2, y3 - y2))
    if not math.isfinite(size) or size <= 0:
        raise InvalidRequest(f"the mosaic's area cannot be transformed to {crs}")
    return int(np.clip(math.floor(math.log2(size / grid.pixel) + 0.26), 0, deepest))


def places(
    crs: str, xy: tuple[NDArray[Any], NDArray[Any]], grid: Grid, level: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of coordinates on a level of a zone grid, projected exactly; NaN where there is none.

    In pixels of the level from the grid's origin.
    """
    x, y = transformer(crs, f"EPSG:{grid.epsg}").transform(*xy)
    p = grid.pixel * 2**level
    rows, cols = (grid.origin_y - np.asarray(y)) / p, np.asarray(x) / p
    bad = ~(np.isfinite(rows) & np.isfinite(cols))
    return np.where(bad, np.nan, rows), np.where(bad, np.nan, cols)


@lru_cache(maxsize=256)
def _code(crs: str) -> int | None:
    code: int | None = crs_of(crs).to_epsg()
    return code


def own_box(where: Target | Points, grid: Grid, level: int) -> PixelBox | None:
    """The box of a level of a zone grid whose pixels are those asked for, so that nothing is to be warped; else None."""
    if isinstance(where, Points) or _code(where.crs) != grid.epsg:
        return None
    p, b = grid.pixel * 2**level, where.bounds
    edges = ((grid.origin_y - b.top) / p, b.left / p, (grid.origin_y - b.bottom) / p, b.right / p)
    box = PixelBox(*map(round, edges))
    fits = box.shape == where.shape and all(abs(e - v) < SNAP for e, v in zip(edges, box, strict=True))
    return box if fits else None


LATTICE_ERROR = 0.001
"""Pixels of the level by which a place between lattice nodes may be off."""
COARSEST, FINEST = 12, 3
"""Binary logarithms of the lattice's widest and closest mesh, in pixels of the level."""


@lru_cache(maxsize=1024)
def lattice(crs: str, grid: Grid, level: int, area: Bounds) -> float | None:
    """The widest mesh of nodes, in units of `crs`, between which linear places stay within `LATTICE_ERROR`.

    Args:
        area: degrees; where the error is checked, in 25 meshes.

    Returns:
        None where the projection is an identity or bends too much: places are then projected one by one.
    """
    if _code(crs) == grid.epsg:
        return None
    lon, lat = np.meshgrid(np.linspace(area.left, area.right, 5), np.linspace(area.bottom, area.top, 5))
    x, y = transformer("EPSG:4326", crs).transform(lon.ravel(), lat.ravel())
    x0, y0 = np.asarray(x), np.asarray(y)
    rows, cols = places(crs, (x0, y0), grid, level)
    h = max(1e-9, float(np.nanmax(np.abs(x0))) * 1e-7)
    rows_h, cols_h = places(crs, (x0 + h, y0), grid, level)
    metres = np.nanmedian(np.hypot(rows_h - rows, cols_h - cols)) / h
    if not np.isfinite(metres) or metres <= 0:
        return None
    unit = -math.log2(metres)
    corner = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    inner = np.array([0.5, 0.5, 0.25, 0.75, 0.0]), np.array([0.5, 0.25, 0.5, 0.75, 0.5])
    for power in range(COARSEST, FINEST - 1, -1):
        step = 2.0 ** math.floor(power + unit)
        k, m = np.floor(y0 / step), np.floor(x0 / step)
        at = [
            places(crs, ((m[:, None] + u) * step, (k[:, None] + v) * step), grid, level)
            for v, u in (corner, inner)
        ]
        v, u = inner
        weights = np.stack([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u])
        error = max(float(np.max(np.abs(at[0][n] @ weights - at[1][n]))) for n in (0, 1))
        if error <= LATTICE_ERROR:
            return step
    return None


def locate(
    where: Target | Points, grid: Grid, level: int, area: Bounds
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of each pixel's centre on a level of a zone grid; NaN outside `area` and where there is none.

    Args:
        area: degrees that hold all data; nothing is computed beyond.
    """
    step = lattice(where.crs, grid, level, area)
    if isinstance(where, Points):
        if step is None:
            rows, cols = places(where.crs, (where.x, where.y), grid, level)
        else:
            rows, cols = _between(where, grid, level, step)
        return rows[None], cols[None]
    x, y = where.axes()
    limits = extent(where.crs, area)
    i0, i1 = np.searchsorted(-y, [-limits.top, -limits.bottom])
    j0, j1 = np.searchsorted(x, [limits.left, limits.right])
    x, y = x[j0:j1], y[i0:i1]
    whole = (
        np.full((2, *where.shape), np.nan) if (len(y), len(x)) != where.shape else np.empty((2, *where.shape))
    )
    if not (len(x) and len(y)):
        return whole[0], whole[1]
    inside = (slice(i0, i1), slice(j0, j1))
    if _code(where.crs) == grid.epsg:
        p = grid.pixel * 2**level
        whole[0][inside], whole[1][inside] = (grid.origin_y - y[:, None]) / p, x / p
        return whole[0], whole[1]
    if step is None:
        whole[0][inside], whole[1][inside] = places(where.crs, tuple(np.meshgrid(x, y)), grid, level)  # type: ignore[arg-type]
        return whole[0], whole[1]
    m = np.arange(math.floor(x[0] / step), math.floor(x[-1] / step) + 2)
    k = np.arange(math.floor(y[-1] / step), math.floor(y[0] / step) + 2)
    nodes = places(where.crs, tuple(np.meshgrid(m * step, k * step)), grid, level)  # type: ignore[arg-type]
    gather_kernels.between_nodes(
        x, y, float(m[0]), float(k[0]), step, *nodes, whole[0][inside], whole[1][inside]
    )
    return whole[0], whole[1]


def _between(
    where: Points, grid: Grid, level: int, step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As the kernel of the same purpose, for scattered places: the four nodes of each."""
    k, m = np.floor(where.y / step), np.floor(where.x / step)
    fy, fx = where.y / step - k, where.x / step - m
    nodes = []
    corners = [
        places(where.crs, ((m + u) * step, (k + v) * step), grid, level) for v in (0, 1) for u in (0, 1)
    ]
    for n in (0, 1):
        left, right = ((1 - fy) * corners[u][n] + fy * corners[2 + u][n] for u in (0, 1))
        nodes.append((1 - fx) * left + fx * right)
    return nodes[0], nodes[1]


def may_touch(target: Target, grid: Grid, level: int, covered: PixelBox) -> bool:
    """Whether a target can reach a box of a zone grid: False only where it surely does not."""
    b = target.bounds
    x, y = np.meshgrid([b.left, (b.left + b.right) / 2, b.right], [b.bottom, (b.bottom + b.top) / 2, b.top])
    rows, cols = places(target.crs, (x.ravel(), y.ravel()), grid, level)
    if not np.isfinite(rows).all():
        return True
    box = box_around(rows, cols)
    assert box is not None
    # Edges bend: by far less than a quarter of a tile, where tiles are small enough to be distinguished.
    return not box.grown(8 + max(box.shape) // 4).intersection(covered).empty


@lru_cache(maxsize=1024)
def extent(crs: str, area: Bounds) -> Bounds:
    """The rectangle of a coordinate system around an area in degrees; unbounded where it cannot be computed."""
    t = np.linspace(0, 1, 21)
    lon, lat = np.meshgrid(
        area.left + t * (area.right - area.left), area.bottom + t * (area.top - area.bottom)
    )
    x, y = map(np.asarray, transformer("EPSG:4326", crs).transform(lon, lat))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return Bounds(-math.inf, -math.inf, math.inf, math.inf)
    # What bends between the samples is far less than a twentieth of the side.
    dx, dy = 0.05 * np.ptp(x), 0.05 * np.ptp(y)
    return Bounds(float(x.min() - dx), float(y.min() - dy), float(x.max() + dx), float(y.max() + dy))


def box_around(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> PixelBox | None:
    """The pixels that bilinear interpolation at these places reads; None when no place is known."""
    r0, r1, c0, c1 = gather_kernels.extremes(np.atleast_2d(rows), np.atleast_2d(cols))
    if r0 > r1:
        return None
    return PixelBox(
        math.floor(r0 - 0.5), math.floor(c0 - 0.5), math.floor(r1 + 0.5) + 1, math.floor(c1 + 0.5) + 1
    )


def gather(
    values: NDArray[np.int16],
    box: PixelBox,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    nodata: int,
    resampling: Resampling,
) -> NDArray[np.int16]:
    """(band, row, col) values at places of a grid.

    Bilinear: the mean of the four pixels around a place by distance, pixels without data left out and the
    others' shares raised; no data where the nearest pixel has none, so that data neither grow nor darken.

    Args:
        values: (band, row, col) int16 over `box`.
        rows, cols: places in pixels from the grid's origin, NaN where there is none.
    """
    out = np.full((len(values), *rows.shape), nodata, np.int16)
    # Places without data are NaN, which no kernel takes for inside.
    at = (rows, cols, float(box.row0), float(box.col0))
    if resampling == "nearest":
        gather_kernels.gather_nearest(values, *at, out)
    else:
        gather_kernels.gather_bilinear(values, *at, nodata, out)
    return out
