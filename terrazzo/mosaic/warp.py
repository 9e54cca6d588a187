"""From the pixels asked for to places on a zone's grid, and back: one resampling, the same whoever asks.

Places are computed for each pixel's centre alone, and the overview level comes from the resolution at one
fixed place of the mosaic. So a pixel's value depends on where it is and how large, never on the tile, box or
file it was asked with; GDAL's warp, whose kernels are scaled by the chunk, does not promise that.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from terrazzo.config import Resampling
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds, Grid, PixelBox
from terrazzo.mosaic import kernels


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

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(row, col) coordinates of the pixels' centres."""
        dx, dy = self.resolution
        x = self.bounds.left + (np.arange(self.width) + 0.5) * dx
        y = self.bounds.top - (np.arange(self.height) + 0.5) * dy
        return np.broadcast_to(x, (self.height, self.width)), np.broadcast_to(
            y[:, None], (self.height, self.width)
        )

    def outline(self, steps: int = 21) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates along the rectangle's edges and across its middle."""
        t = np.linspace(0, 1, steps)
        x = self.bounds.left + t * (self.bounds.right - self.bounds.left)
        y = self.bounds.bottom + t * (self.bounds.top - self.bounds.bottom)
        grid_x, grid_y = np.meshgrid(x, y)
        return grid_x.ravel(), grid_y.ravel()


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """A transformation between coordinate systems, x before y.

    Raises:
        InvalidRequest: one of them is unknown.
    """
    try:
        return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)
    except Exception as error:
        raise InvalidRequest(f"coordinate system {source!r}: {error}; use a code such as EPSG:3857") from None


def level_of(crs: str, resolution: tuple[float, float], place: tuple[float, float], grid: Grid) -> int:
    """Overview level for a resolution: pixels of the grid are at most 1.2 times as large as those asked for.

    Args:
        place: longitude and latitude at which the resolution is compared.
    """
    lon, lat = place
    x, y = transformer("EPSG:4326", crs).transform(lon, lat)
    dx, dy = resolution[0] / 2, resolution[1] / 2
    to_zone = transformer(crs, f"EPSG:{grid.epsg}")
    east = to_zone.transform([x - dx, x + dx, x, x], [y, y, y - dy, y + dy])
    (x0, x1, x2, x3), (y0, y1, y2, y3) = east
    size = max(math.hypot(x1 - x0, y1 - y0), math.hypot(x3 - x2, y3 - y2))
    if not math.isfinite(size) or size <= 0:
        raise InvalidRequest(f"the mosaic's area has no place in {crs}")
    deepest = grid.window.bit_length() - 1
    return int(np.clip(math.floor(math.log2(size / grid.pixel) + 0.26), 0, deepest))


def places(
    crs: str, xy: tuple[NDArray[Any], NDArray[Any]], grid: Grid, level: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of coordinates on a level of a zone grid, in pixels from its origin; NaN where none is."""
    x, y = transformer(crs, f"EPSG:{grid.epsg}").transform(*xy)
    p = grid.pixel * 2**level
    rows, cols = (grid.origin_y - np.asarray(y)) / p, np.asarray(x) / p
    bad = ~(np.isfinite(rows) & np.isfinite(cols))
    return np.where(bad, np.nan, rows), np.where(bad, np.nan, cols)


def box_around(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> PixelBox | None:
    """The pixels that bilinear interpolation at these places reads; None when no place is known."""
    known = np.isfinite(rows)
    if not known.any():
        return None
    r, c = rows[known], cols[known]
    return PixelBox(
        math.floor(r.min() - 0.5),
        math.floor(c.min() - 0.5),
        math.floor(r.max() + 0.5) + 1,
        math.floor(c.max() + 0.5) + 1,
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
    at = (np.nan_to_num(rows - box.row0, nan=-9.0), np.nan_to_num(cols - box.col0, nan=-9.0))
    if resampling == "nearest":
        kernels.gather_nearest(values, *at, out)
    else:
        kernels.gather_bilinear(values, *at, nodata, out)
    return out
