"""Which pixels an area covers and by how much, and statistics of values weighted by that."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray
from rasterio.features import rasterize

from terrazzo.mosaic.warp import Target
from terrazzo.statistics.question import Rule

MEASURES = ("count", "mean", "std", "min", "max")
"""The columns of `summaries` before the quantiles."""

ASIDE = 1e-6
"""Share of a pixel by which middles lie further south when polygons are filled, so that none lies on a horizontal edge: GDAL gives such
a pixel to both polygons of the edge (findings/gdal-rasterizes-shared-edges-twice.sh)."""


class Cover(NamedTuple):
    """Pixels of areas, one area behind the other.

    Attributes:
        starts: (n + 1,) where each area's pixels begin.
        cells: (k,) row · width + column in the target.
        shares: (k,) share of the pixel that the area covers, above 0, up to 1.
    """

    starts: NDArray[np.int64]
    cells: NDArray[np.int64]
    shares: NDArray[np.float64]

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) sum of shares · values of each area; `values` (k,) are those of `cells`."""
        behind = np.concatenate([[0.0], np.cumsum(self.shares * values)])
        return np.asarray(np.diff(behind[self.starts]))


def cover(polygons: NDArray[np.object_], target: Target, rule: Rule) -> Cover:
    """The pixels of polygons in a target's coordinates.

    Args:
        rule: `exact` weighs each pixel by the share that is covered; `centre` takes those whose middle lies inside, whole. A middle
            on the edge of two polygons counts for one of them, the western or the southern.
    """
    weights = list((_exact if rule == "exact" else _centred)(polygons, target))
    sizes = [len(cells) for cells, _ in weights]
    return Cover(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([cells for cells, _ in weights]).astype(np.int64),
        np.concatenate([shares for _, shares in weights]).astype(np.float64),
    )


def _exact(polygons: NDArray[np.object_], target: Target) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    b = target.bounds
    # Only the grid matters: a raster without memory.
    grid = NumPyRasterSource(np.broadcast_to(np.uint8(0), target.shape), b.left, b.bottom, b.right, b.top)
    for feature in exact_extract(grid, _Polygons(polygons), ["cell_id", "coverage"]):
        cells, shares = feature["properties"]["cell_id"], feature["properties"]["coverage"]
        yield cells[shares > 0], shares[shares > 0]


def _centred(polygons: NDArray[np.object_], target: Target) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    dx, dy = target.resolution
    left, top = target.bounds.left, target.bounds.top
    for polygon in polygons:
        west, south, east, north = polygon.bounds
        row0, col0 = max(0, int((top - north) // dy)), max(0, int((west - left) // dx))
        row1, col1 = (
            min(target.height, int((top - south) // dy) + 1),
            min(target.width, int((east - left) // dx) + 1),
        )
        place = Affine(dx, 0, left + col0 * dx, 0, -dy, top - (row0 + ASIDE) * dy)
        inside = rasterize([polygon], (max(1, row1 - row0), max(1, col1 - col0)), transform=place)
        rows, cols = np.nonzero(inside)
        yield (rows + row0) * target.width + cols + col0, np.ones(len(rows))


class _Polygon(Feature):  # type: ignore[misc]
    def __init__(self, wkb: bytes) -> None:
        super().__init__()
        self._wkb = wkb

    def geometry(self) -> bytes:
        return self._wkb

    def fields(self) -> list[str]:
        return []


class _Polygons(FeatureSource):  # type: ignore[misc]
    def __init__(self, polygons: NDArray[np.object_]) -> None:
        super().__init__()
        self._wkb = shapely.to_wkb(polygons)

    def count(self) -> int:
        return len(self._wkb)

    def __iter__(self) -> Iterator[_Polygon]:
        return map(_Polygon, self._wkb)

    def srs_wkt(self) -> None:
        return None


def summaries(values: NDArray[np.float32], covered: Cover, quantiles: Sequence[float]) -> NDArray[np.float64]:
    """(area, channel, 5 + quantile) `MEASURES` and quantiles of areas, NaN but for the count where there are no values.

    The count is the sum of shares, the deviation that of the population. Quantiles lie on the line through an area's n pixels,
    sorted by value x_k and then by share w_k, at (k − 1) w_k + (n − 1) Σ_{i<k} w_i; of whole pixels that is numpy's quantile.
    exactextract's takes all pixels of one value for one: its median of 99 zeros and a one is 0.5.

    Args:
        values: (channel, row, col) float32 of the target, NaN without data.
        covered: of the target's pixels.
    """
    areas = np.repeat(np.arange(len(covered.starts) - 1), np.diff(covered.starts))
    out = np.full((len(covered.starts) - 1, len(values), len(MEASURES) + len(quantiles)), np.nan)
    out[..., 0] = 0
    for c, channel in enumerate(values.reshape(len(values), -1)):
        x = channel[covered.cells]
        held = np.isfinite(x)
        order = np.lexsort((covered.shares[held], x[held], areas[held]))
        area, w = areas[held][order], covered.shares[held][order]
        here, starts = np.unique(area, return_index=True)
        if here.size:
            out[here, c] = _in_order(x[held][order].astype(np.float64), w, starts, quantiles)
    return out


def _in_order(
    x: NDArray[np.float64], w: NDArray[np.float64], starts: NDArray[np.int64], quantiles: Sequence[float]
) -> NDArray[np.float64]:
    """(area, 5 + quantile) of values in the order of areas and quantiles, each area from one start to the next."""
    sizes = np.diff(starts, append=len(x))
    own = np.repeat(np.arange(len(starts)), sizes)
    total = np.add.reduceat(w, starts)
    mean = np.add.reduceat(w * x, starts) / total
    deviation = np.sqrt(np.add.reduceat(w * (x - mean[own]) ** 2, starts) / total)
    before = np.cumsum(w) - w
    places = (np.arange(len(x)) - starts[own]) * w + (sizes[own] - 1) * (before - before[starts][own])
    # From 0 to 1 in each area, and a whole number apart: one search does for all areas.
    places = places / np.where(sizes > 1, (sizes - 1) * total, 1)[own]
    apart = own + places
    columns = [total, mean, deviation, x[starts], x[starts + sizes - 1]]
    for quantile in quantiles:
        left = np.clip(
            np.searchsorted(apart, np.arange(len(starts)) + quantile, "right") - 1, starts, starts + sizes - 1
        )
        right = np.minimum(left + 1, starts + sizes - 1)
        gap = places[right] - places[left]
        share = np.clip((quantile - places[left]) / np.where(gap > 0, gap, 1), 0, 1)
        columns.append(x[left] + share * (x[right] - x[left]))
    return np.stack(columns, axis=1)
