"""Which pixels an area covers and by how much, and statistics of values weighted by that."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.operation import Operation
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray
from rasterio.features import rasterize

from terrazzo.mosaic.warp import Target
from terrazzo.statistics.question import Rule

MEASURES = ("count", "mean", "std", "min", "max")
"""What `summaries` tells before the quantiles."""
STATS = ("count", "mean", "stdev", "min", "max")
"""The same in exactextract's words."""


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
        rule: `exact` weighs each pixel by the share that is covered; `centre` takes those whose middle lies inside, whole.
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
        place = Affine(dx, 0, left + col0 * dx, 0, -dy, top - row0 * dy)
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


def summaries(
    values: NDArray[np.float32],
    polygons: NDArray[np.object_],
    covered: Cover,
    target: Target,
    quantiles: Sequence[float],
    rule: Rule,
) -> NDArray[np.float64]:
    """(area, channel, 5 + quantile) `MEASURES` and quantiles of areas, NaN but for the count where there are no values.

    By the exact rule they are exactextract's: the count is the sum of shares, the deviation that of the population, quantiles lie
    on the line through the n distinct values x_k, sorted, at (k − 1) w_k + (n − 1) Σ_{i<k} w_i, rounded to float32. By the centre rule they are numpy's.

    Args:
        values: (channel, row, col) float32 of the target, NaN without data.
        covered: of the same polygons.
    """
    if rule == "exact":
        return _summed(values, polygons, target, quantiles)
    out = np.full((len(polygons), len(values), len(MEASURES) + len(quantiles)), np.nan)
    for i, (start, stop) in enumerate(pairwise(covered.starts)):
        for c, channel in enumerate(values.reshape(len(values), -1)[:, covered.cells[start:stop]]):
            held = channel[np.isfinite(channel)].astype(np.float64)
            out[i, c, 0] = held.size
            if held.size:
                out[i, c, 1:5] = held.mean(), held.std(), held.min(), held.max()
                out[i, c, 5:] = np.quantile(held, quantiles)
    return out


def _summed(
    values: NDArray[np.float32], polygons: NDArray[np.object_], target: Target, quantiles: Sequence[float]
) -> NDArray[np.float64]:
    b = target.bounds
    channels = [
        NumPyRasterSource(v, b.left, b.bottom, b.right, b.top, name=str(c)) for c, v in enumerate(values)
    ]
    asked = [*((name, {}) for name in STATS), *(("quantile", {"q": repr(float(q))}) for q in quantiles)]
    operations = [
        Operation(stat, f"{c}_{i}", channel, None, arguments)
        for c, channel in enumerate(channels)
        for i, (stat, arguments) in enumerate(asked)
    ]
    sums = exact_extract(channels, _Polygons(polygons), operations)
    rows = [[feature["properties"][o.name] for o in operations] for feature in sums]
    return np.array(rows, np.float64).reshape(len(polygons), len(values), len(asked))
