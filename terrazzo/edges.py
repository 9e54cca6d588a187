"""Edge strips of windows: their medians, as arrays, as tables, and as the edge dict.

A strip is `DEPTH` pixels deep along a window's northern, eastern, southern or western edge and split in two
segments, from west to east or from north to south.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.grid import PixelBox, pixel_ratio

EDGES = ("N", "E", "S", "W")
SEGMENTS = 2
DEPTH = 8
"""Depth of a strip in pixels of the zone grid."""
LEAST_SHARE = 0.25
"""Share of a strip that must be comparable for it to count."""


@dataclass(frozen=True)
class Strips:
    """Statistics of the strips of a rectangle of windows.

    Attributes:
        windows: box of window indices.
        median: (wy, wx, edge, segment, band) float32, NaN where no pixel counts.
        count: (wy, wx, edge, segment, band) int32 pixels that count.
    """

    windows: PixelBox
    median: NDArray[np.float32]
    count: NDArray[np.int32]


def strip_medians(
    values: NDArray[np.float32], window: int, depth: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Medians and counts of all strips of an array of whole windows.

    Args:
        values: (row, col) float32, NaN where a pixel does not count; sides are multiples of `window`.
        window: window side in pixels of this array, even.
        depth: strip depth in pixels of this array.

    Returns:
        median (wy, wx, edge, segment) float32 and count int32, edges in the order of `EDGES`.
    """
    return medians_of(list(cuts(values, window, depth)))


def clear_medians(
    values: NDArray[np.int16], clear: NDArray[np.bool_], window: int, depth: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The same of stored reflectance, where it is clear and has data.

    Args:
        values: (row, col) whole windows, `NODATA` without data.
        clear: (row, col) on the same pixels, or on ones that are twice or half as large.
    """
    strips = []
    for cut, usable in zip(
        cuts(values, window, depth), cuts_of_mask(clear, values.shape, window, depth), strict=True
    ):
        strips.append(np.where(usable & (cut != NODATA), cut * np.float32(SCALE), np.float32(np.nan)))
    return medians_of(strips)


def cuts_of_mask(
    mask: NDArray[np.bool_], shape: tuple[int, ...], window: int, depth: int
) -> Iterator[NDArray[np.bool_]]:
    """The strips that `cuts` gives of an array of a shape, of a mask on the same pixels or on ones twice or half as large."""
    finer, coarser = pixel_ratio(shape[0], len(mask))
    for cut in cuts(mask, window * coarser // finer, depth * coarser // finer):
        yield cut[:, :, ::coarser, ::coarser].repeat(finer, axis=2).repeat(finer, axis=3)


def cuts(array: NDArray[Any], window: int, depth: int) -> Iterator[NDArray[Any]]:
    """The strips (wy, wx, row, col) of each edge and segment."""
    ny, nx = array.shape[0] // window, array.shape[1] // window
    blocks = array.reshape(ny, window, nx, window).transpose(0, 2, 1, 3)
    half = window // 2
    for edge in EDGES:
        for start in (0, half):
            along = slice(start, start + half)
            yield {
                "N": blocks[:, :, :depth, along],
                "E": blocks[:, :, along, -depth:],
                "S": blocks[:, :, -depth:, along],
                "W": blocks[:, :, along, :depth],
            }[edge]


def medians_of(strips: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(wy, wx, edge, segment) medians and counts of what is not NaN in the strips that `cuts` gives."""
    ny, nx = strips[0].shape[:2]
    # Sorting puts NaN last, so the median lies at half the count: numpy's nanmedian is far slower.
    ordered = np.sort(np.stack([s.reshape(ny, nx, -1) for s in strips], axis=2), axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    take = np.take_along_axis
    pair = [
        take(ordered, np.minimum(i, ordered.shape[-1] - 1)[..., None], axis=-1)[..., 0] for i in (low, high)
    ]
    median = np.where(count > 0, (pair[0] + pair[1]) / 2, np.nan).astype(np.float32)
    shape = (ny, nx, len(EDGES), SEGMENTS)
    return median.reshape(shape), count.reshape(shape).astype(np.int32)


def strip_table(strips: Strips, bands: tuple[str, ...], names: tuple[str, str] = ("m", "n")) -> pa.Table:
    """Rows wy, wx, edge, segment, band, median and count of every strip that has pixels."""
    where = np.nonzero(strips.count)
    wy, wx, edge, segment, band = where
    return pa.table(
        {
            "wy": pa.array(wy + strips.windows.row0, pa.int32()),
            "wx": pa.array(wx + strips.windows.col0, pa.int32()),
            "edge": pa.array(np.array(EDGES)[edge]).dictionary_encode(),
            "segment": pa.array(segment, pa.int8()),
            "band": pa.array(np.array(bands)[band]).dictionary_encode(),
            names[0]: pa.array(strips.median[where], pa.float32()),
            names[1]: pa.array(strips.count[where], pa.int32()),
        }
    )


def strips_from_table(
    table: pa.Table, windows: PixelBox, bands: tuple[str, ...], names: tuple[str, str] = ("m", "n")
) -> Strips:
    """The strips of a table on a rectangle of windows; rows of other windows or bands are left out."""
    shape = (windows.height, windows.width, len(EDGES), SEGMENTS, len(bands))
    median, count = np.full(shape, np.nan, np.float32), np.zeros(shape, np.int32)
    columns = {n: table.column(n).to_numpy() for n in ("wy", "wx", "segment", *names)}
    edge = _codes(table.column("edge"), EDGES)
    band = _codes(table.column("band"), bands)
    wy, wx = columns["wy"] - windows.row0, columns["wx"] - windows.col0
    inside = (wy >= 0) & (wy < shape[0]) & (wx >= 0) & (wx < shape[1]) & (band >= 0)
    at = tuple(v[inside] for v in (wy, wx, edge, columns["segment"], band))
    median[at], count[at] = columns[names[0]][inside], columns[names[1]][inside]
    return Strips(windows, median, count)


def _codes(column: pa.ChunkedArray, order: tuple[str, ...]) -> NDArray[np.int64]:
    """The place of each name in an order; −1 of others."""
    places = pc.index_in(column.cast(pa.string()), value_set=pa.array(order, pa.string())).combine_chunks()
    return np.asarray(places.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
