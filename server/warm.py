"""Compiles what drawing pictures needs, so that a server's first pictures wait for no compiler."""

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.grid import Bounds, Grid
from terrazzo.mosaic import gather_kernels, overlay_kernels
from terrazzo.mosaic.layers import GainField, Layers
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.methods import METHODS
from terrazzo.mosaic.warp import Target, box_around, gather, locate
from terrazzo.server.png import png

SIDE = 16
"""Pixels to a side of what is drawn."""
PLACE = Bounds(1_669_792.0, 5_780_349.0, 1_669_952.0, 5_780_509.0)
"""Of that in web mercator: 160 m at 15° east, 46° north."""
AREA = Bounds(14.0, 45.0, 16.0, 47.0)
"""Degrees around it."""
EDGE = Bounds(14.99, 45.0, 15.0005, 47.0)
"""Degrees that end within it."""


def compile_kernels() -> None:
    """Draws small pictures in every way, by the functions that draw all others; numba keeps what it compiles for that."""
    values, weight = _scene()
    field = GainField(np.ones((2, len(values), 2, 2)), 0, 0, 512, 0, 0)
    for method in ("first", "feather"):
        layers = Layers(method, len(values), weight.shape)
        for part in layers.wanted(weight, 1, 0):
            layers.add(values, weight, part, 1, 0, 0, field)
        layers.full(0)
        picture = layers.merged()
    overlay_kernels.apply_gain(values, tuple(field), NODATA)
    for method in METHODS:
        merge(np.stack([values, values]), np.stack([weight, weight]), method)
    _warp(*picture)
    for bands in (1, 3):
        png(values[:bands], ((0.0, 1.0),), 1.0)


def _scene() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """(3, row, col) values and (row, col) weights, as they come from blocks."""
    for kind in (np.int16, np.uint8):
        # As the decoder gives them: read only.
        stored = np.frombuffer(bytes(SIDE**2 * np.dtype(kind).itemsize), kind).reshape(SIDE, SIDE)
        gather_kernels.undo_difference(stored, np.empty_like(stored))
    weight = np.empty((SIDE, SIDE), np.uint8)
    # Less than the whole, so that `feather` sums.
    gather_kernels.double_weight(np.full((SIDE // 2 + 2, SIDE // 2 + 2), 200, np.uint8), 2, 2, 1, weight)
    return np.ones((3, SIDE, SIDE), np.int16), weight


def _warp(values: NDArray[np.int16], provenance: NDArray[np.int16], count: NDArray[np.uint8]) -> None:
    """Brings a picture of a zone's grid to web mercator, and blends it with another zone's."""
    target, grid = Target("EPSG:3857", PLACE, SIDE, SIDE), Grid(32633, 10.0, 512)
    # At the edge of a mosaic places are a part of an array, which compiled code takes for another type.
    locate(target, grid, 0, EDGE)
    rows, cols = locate(target, grid, 0, AREA)
    box = box_around(rows, cols)
    assert box is not None
    at, quality = (float(box.row0), float(box.col0)), np.zeros(count.shape, np.uint16)
    layers = (provenance, count, quality)
    for resampling in ("nearest", "bilinear"):
        warped = gather(values, box, rows, cols, NODATA, resampling)
    new = [np.zeros(rows.shape, layer.dtype) for layer in layers]
    gather_kernels.gather_layers(*layers, rows, cols, *at, *new)
    trust, total = np.ones(rows.shape, np.int16), np.zeros(rows.shape)
    overlay_kernels.blend_zone((warped, *new), trust, True, NODATA, (warped.copy(), *new), total)
