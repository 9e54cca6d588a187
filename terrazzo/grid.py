"""Zone grids, windows and the boxes of pixels they cover.

The pixels of one UTM zone form one grid: columns count east from x = 0, rows count south from the zone's
origin (y = 0 in the north, y = 10 000 000 in the south), so indices may be negative. Windows are squares
of that grid, anchored to the same origin and never to a product.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from affine import Affine

from terrazzo.errors import WrongGrid

SNAP = 1e-6
"""Fraction of a pixel within which a coordinate counts as lying on a pixel border."""


class Bounds(NamedTuple):
    """A rectangle in the units of its coordinate system."""

    left: float
    bottom: float
    right: float
    top: float


class PixelBox(NamedTuple):
    """Half-open box of grid pixels: rows [row0, row1), columns [col0, col1)."""

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def height(self) -> int:
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        return self.col1 - self.col0

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def empty(self) -> bool:
        return self.row1 <= self.row0 or self.col1 <= self.col0

    def intersection(self, other: "PixelBox") -> "PixelBox":
        """The common pixels; `empty` when there are none."""
        return PixelBox(
            max(self.row0, other.row0),
            max(self.col0, other.col0),
            min(self.row1, other.row1),
            min(self.col1, other.col1),
        )

    def union(self, other: "PixelBox") -> "PixelBox":
        """The smallest box that holds both."""
        return PixelBox(
            min(self.row0, other.row0),
            min(self.col0, other.col0),
            max(self.row1, other.row1),
            max(self.col1, other.col1),
        )

    def grown(self, pixels: int) -> "PixelBox":
        """The box with a rim of `pixels` on every side."""
        return PixelBox(self.row0 - pixels, self.col0 - pixels, self.row1 + pixels, self.col1 + pixels)

    def within(self, outer: "PixelBox") -> tuple[slice, slice]:
        """Row and column slices of this box in an array that covers `outer`."""
        return (
            slice(self.row0 - outer.row0, self.row1 - outer.row0),
            slice(self.col0 - outer.col0, self.col1 - outer.col0),
        )

    def coarser(self, factor: int) -> "PixelBox":
        """The box on a grid whose pixels are `factor` times as large, rounded outward."""
        return PixelBox(
            self.row0 // factor, self.col0 // factor, -(-self.row1 // factor), -(-self.col1 // factor)
        )


class Window(NamedTuple):
    """Index of a window of the zone grid; wy grows south, wx east; both may be negative."""

    wy: int
    wx: int


@dataclass(frozen=True)
class Grid:
    """The pixel grid of one UTM zone.

    Attributes:
        epsg: 32601–32660 or 32701–32760.
        pixel: pixel size in metres.
        window: window side in pixels.
    """

    epsg: int
    pixel: float
    window: int

    def __post_init__(self) -> None:
        if not is_utm(self.epsg):
            raise WrongGrid(f"EPSG:{self.epsg} is not a UTM zone on WGS 84 (EPSG:326xx or EPSG:327xx)")

    @property
    def origin_y(self) -> float:
        """Northing of row 0 in metres."""
        return 10_000_000.0 if self.epsg >= 32700 else 0.0

    def box_from_bounds(self, left: float, bottom: float, right: float, top: float) -> PixelBox:
        """The pixels that a rectangle in metres touches."""
        p, y = self.pixel, self.origin_y
        return PixelBox(
            math.floor((y - top) / p + SNAP),
            math.floor(left / p + SNAP),
            math.ceil((y - bottom) / p - SNAP),
            math.ceil(right / p - SNAP),
        )

    def bounds(self, box: PixelBox) -> Bounds:
        """The outer rectangle of a box in metres."""
        p, y = self.pixel, self.origin_y
        return Bounds(box.col0 * p, y - box.row1 * p, box.col1 * p, y - box.row0 * p)

    def transform(self, box: PixelBox) -> Affine:
        """The affine transform of an array that covers a box."""
        b = self.bounds(box)
        return Affine(self.pixel, 0.0, b.left, 0.0, -self.pixel, b.top)

    def window_box(self, window: Window) -> PixelBox:
        """The pixels of a window."""
        n = self.window
        return PixelBox(window.wy * n, window.wx * n, (window.wy + 1) * n, (window.wx + 1) * n)

    def window_range(self, box: PixelBox) -> PixelBox:
        """The windows a box touches, as a box of window indices."""
        return box.coarser(self.window)

    def windows(self, box: PixelBox) -> Iterator[Window]:
        """The windows a box touches, row by row."""
        r = self.window_range(box)
        for wy in range(r.row0, r.row1):
            for wx in range(r.col0, r.col1):
                yield Window(wy, wx)

    def pad(self, box: PixelBox) -> PixelBox:
        """The box grown outward to whole windows."""
        r, n = self.window_range(box), self.window
        return PixelBox(r.row0 * n, r.col0 * n, r.row1 * n, r.col1 * n)

    def scaled(self, factor: int) -> "Grid":
        """The grid whose pixels are `factor` times as large; windows cover the same ground.

        Raises:
            ValueError: `factor` does not divide the window.
        """
        if self.window % factor:
            raise ValueError(f"{factor} does not divide a window of {self.window} px")
        return Grid(self.epsg, self.pixel * factor, self.window // factor)


def pixel_ratio(rows: int, others: int) -> tuple[int, int]:
    """How many pixels of one array lie side by side in a pixel of another of the same area: (of the first in the second, of the second in the first).

    Args:
        rows, others: rows of the first array and of the second. A band and its mask have equal pixels, or one's are a multiple of the other's.

    Returns:
        At least 1 each; both are 1 for pixels of one size.
    """
    return max(rows // others, 1), max(others // rows, 1)


def is_utm(epsg: int) -> bool:
    """Whether a code names a WGS 84 UTM zone."""
    return epsg // 100 in (326, 327) and 1 <= epsg % 100 <= 60


def zone_name(epsg: int) -> str:
    """`33N`, `19S`: the name of a zone's folder in the store."""
    return f"{epsg % 100:02d}{'S' if epsg >= 32700 else 'N'}"


def zone_epsg(name: str) -> int:
    """The code of a zone's name, `33N` → 32633."""
    return {"N": 32600, "S": 32700}[name[-1]] + int(name[:-1])


def mgrs_epsg(tile: str) -> int:
    """The UTM zone of a Sentinel-2 tile, `33TWL` → 32633.

    Raises:
        WrongGrid: `tile` is no MGRS tile name.
    """
    zone, band = tile[:-3], tile[-3:-2]
    if not (tile[:-3].isdigit() and 1 <= int(zone) <= 60 and band in "CDEFGHJKLMNPQRSTUVWX" and band):
        raise WrongGrid(f"{tile!r} is not an MGRS tile name such as 33TWL")
    return (32600 if band >= "N" else 32700) + int(zone)
