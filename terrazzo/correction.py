"""The correction of a scene as it is stored: from the product's counts to reflectance, and the way back.

toa = (count + offset) · 1e-4;  y = xa·toa − xb;  rho = y / (1 + xc·y);  over land: rho · factor

The four coefficients lie on coarse nodes, per band and detector (detectors look in different directions), and are
bilinear between them. Products that are corrected for the atmosphere already have xa = 1, xb = xc = 0.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.checks import understood
from terrazzo.grid import Grid, PixelBox, pixel_ratio
from terrazzo.scene import OWNER, owner_of

XA, XB, XC, FACTOR = range(4)
"""Planes of `Coefficients.values`."""
PLANES = ("xa", "xb", "xc", "factor")


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of one band.

    Attributes:
        left, top, step: map coordinates of node (0, 0) and the spacing, metres.
        detectors: (d,) uint8 numbers of the detectors; others get the mean of all.
        values: (plane, d, row, col) float32 at the nodes, planes as in `PLANES`.
    """

    left: float
    top: float
    step: float
    detectors: NDArray[np.uint8]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Correction:
    """What was done to a scene's numbers.

    Attributes:
        offset: counts added to the product's numbers.
        detector: (row, col) uint8 detector on the mask grid.
        bands: coefficients by band; of a band without only the offset was added.
    """

    offset: int
    detector: NDArray[np.uint8]
    bands: Mapping[str, Coefficients]


def read_correction(data: bytes, key: str) -> Correction:
    """The correction stored in a correction.npz, whose arrays bear the checksums of their ZIP file.

    Args:
        key: of the file in its store.

    Raises:
        Damaged: it is cut off, not what was written, or that of another scene.
    """
    with understood("correction.npz"), np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        owner, folder = str(arrays[OWNER]) if OWNER in arrays else "", owner_of(key)
        if owner and folder and owner != folder:
            raise ValueError(f"it belongs to {owner}: put the right file back, or compute the scene again")
        return _correction({name: arrays[name] for name in arrays.files})


def _correction(arrays: Mapping[str, NDArray[Any]]) -> Correction:
    bands = {}
    for name in arrays:
        band = name.removesuffix("_detectors")
        if band == name or band == "view":
            continue
        left, top, step = (float(v) for v in arrays["nodes"])
        shape = arrays[f"{band}_factor" if f"{band}_factor" in arrays else f"{band}_xa"].shape
        planes = [
            arrays[f"{band}_{plane}"]
            if f"{band}_{plane}" in arrays
            else np.full(shape, 1 if plane in ("xa", "factor") else 0, np.float32)
            for plane in PLANES
        ]
        bands[band] = Coefficients(left, top, step, arrays[f"{band}_detectors"], np.stack(planes))
    return Correction(int(arrays["offset"]), arrays["detector"], bands)


def correction_arrays(correction: Correction) -> dict[str, NDArray[np.generic]]:
    """The arrays of a correction.npz; planes that change nothing are left out."""
    arrays: dict[str, NDArray[np.generic]] = {
        "offset": np.array(correction.offset, np.int32),
        "detector": correction.detector,
    }
    for band, c in correction.bands.items():
        arrays[f"{band}_detectors"] = c.detectors
        arrays["nodes"] = np.array([c.left, c.top, c.step])
        air = bool((c.values[XA] != 1).any() or c.values[XB].any() or c.values[XC].any())
        arrays |= {f"{band}_{p}": v for p, v in zip(PLANES, c.values, strict=True) if air or p == "factor"}
    return arrays


def corrected(
    counts: NDArray[np.generic],
    land: NDArray[np.bool_],
    detector: NDArray[np.uint8],
    correction: Correction,
    band: str,
    grid: Grid,
    box: PixelBox,
) -> NDArray[np.int16]:
    """Reflectance of a box, scale 1e-4, `NODATA` where a count is 0; negative values are kept.

    Args:
        counts: (row, col) numbers of the product, integer or float32.
        land, detector: (row, col) on the same pixels, or on ones that are twice or half as large; the factor is applied where `land`.
    """
    lines, slot, places = _placed(correction, band, grid, box)
    out = np.empty(box.shape, np.int16)
    steps = pixel_ratio(len(counts), len(land))
    air = bool((lines[..., XA] != 1).any() or lines[..., XB].any() or lines[..., XC].any())
    _forward(counts, np.float32(correction.offset), (land, slot[detector], *steps), air, lines, places, out)
    return out


def counts(
    values: NDArray[np.int16] | NDArray[np.float32],
    classes: NDArray[np.uint8],
    detector: NDArray[np.uint8],
    correction: Correction,
    band: str,
    grid: Grid,
    box: PixelBox,
) -> NDArray[np.int16]:
    """The product's numbers of a box, exact to ±1 on the scene's own grid; `NODATA` stays.

    Args:
        values: (row, col) corrected reflectance, scale 1e-4.
        classes, detector: (row, col) on the same pixels.
    """
    lines, slot, places = _placed(correction, band, grid, box)
    out = np.empty(box.shape, np.int16)
    _backward(values, correction.offset, classes == MaskClass.LAND, detector, slot, lines, *places, out)
    return out


Places = tuple[float, float, float, float]


def _placed(
    correction: Correction, band: str, grid: Grid, box: PixelBox
) -> tuple[NDArray[np.float32], NDArray[np.int64], Places]:
    """Coefficients as (node row, d + 1, node col, plane), the place of each detector number in them, and where
    the box's pixels lie between the nodes: first row, rows a pixel, first column, columns a pixel."""
    c = correction.bands.get(band)
    if c is None:
        neutral = np.zeros((2, 1, 2, 4), np.float32)
        neutral[..., [XA, FACTOR]] = 1
        return neutral, np.zeros(256, np.int64), (0.0, 0.0, 0.0, 0.0)
    slot = np.full(256, len(c.detectors), np.int64)
    slot[c.detectors] = np.arange(len(c.detectors))
    values = np.concatenate([c.values, c.values.mean(axis=1, keepdims=True)], axis=1)
    left, _, _, top = grid.bounds(box)
    step = grid.pixel / c.step
    row0, col0 = (c.top - top) / c.step + step / 2, (left - c.left) / c.step + step / 2
    return np.ascontiguousarray(values.transpose(2, 1, 3, 0)), slot, (row0, step, col0, step)


@njit(cache=True, nogil=True, inline="always")
def _between(position, nodes):  # pragma: no cover
    """Node before a position and the share of the next; constant beyond the ends."""
    x = min(max(position, 0.0), nodes - 1.0)
    i = min(int(x), nodes - 2)
    return i, np.float32(x - i)


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(counts, offset, ground, air, nodes, places, out):  # pragma: no cover
    """Runs of pixels between the same nodes and of one detector are computed side by side.

    `ground` holds land and slots, and by how much its pixels are larger and smaller than those of `counts`.
    """
    land, slots, finer, coarser = ground
    row0, drow, col0, dcol = places
    one, width = np.float32(1), counts.shape[1]
    node, share, below = np.empty(width, np.int64), np.empty(width, np.float32), np.empty(width, np.int64)
    is_land, ends, runs, before = np.empty(width, np.bool_), np.empty(width, np.int64), 0, -1
    for c in range(width):
        node[c], share[c] = _between(col0 + c * dcol, nodes.shape[2])
        below[c] = c * coarser // finer
    for r in range(counts.shape[0]):
        i, t = _between(row0 + r * drow, nodes.shape[0])
        line = nodes[i] * (one - t) + nodes[i + 1] * t
        y = r * coarser // finer
        if y != before:
            before, runs = y, 0
            for c in range(width):
                is_land[c] = land[y, below[c]]
                if c and (node[c] != node[c - 1] or slots[y, below[c]] != slots[y, below[c - 1]]):
                    ends[runs] = c
                    runs += 1
            ends[runs] = width
            runs += 1
        first = 0
        for k in range(runs):
            last = ends[k]
            at, d = node[first], slots[y, below[first]]
            run = (counts[r, first:last], is_land[first:last], share[first:last])
            _forward_run(run, offset, air, line[d, at], line[d, at + 1], out[r, first:last])
            first = last


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _forward_run(pixels, offset, air, left, right, out):  # pragma: no cover
    """Reflectance of pixels of one row between two nodes; without `air` only the factor changes."""
    counts, land, share = pixels
    one, scale, counted = np.float32(1), np.float32(SCALE), np.float32(1 / SCALE)
    least, most = np.float32(-32767), np.float32(32767)
    xa, xb, xc, factor = left[XA], left[XB], left[XC], left[FACTOR]
    more_xa, more_xb, more_xc, more = right[XA] - xa, right[XB] - xb, right[XC] - xc, right[FACTOR] - factor
    if air:
        for c in range(len(out)):
            s = share[c]
            rho = (xa + s * more_xa) * ((np.float32(counts[c]) + offset) * scale) - (xb + s * more_xb)
            rho /= one + (xc + s * more_xc) * rho
            rho *= (factor + s * more) if land[c] else one
            v = rho * counted
            v = min(max(v, least), most)
            out[c] = np.int16(np.rint(v)) if counts[c] > 0 else np.int16(NODATA)
    else:
        for c in range(len(out)):
            rho = (np.float32(counts[c]) + offset) * scale
            rho *= (factor + share[c] * more) if land[c] else one
            v = rho * counted
            v = min(max(v, least), most)
            out[c] = np.int16(np.rint(v)) if counts[c] > 0 else np.int16(NODATA)


@njit(cache=True, nogil=True, error_model="numpy")
def _backward(values, offset, land, detector, slot, nodes, row0, drow, col0, dcol, out):  # pragma: no cover
    one, scale, counted = np.float32(1), np.float32(SCALE), np.float32(1 / SCALE)
    for r in range(values.shape[0]):
        i, t = _between(row0 + r * drow, nodes.shape[0])
        line = nodes[i] * (one - t) + nodes[i + 1] * t
        for c in range(values.shape[1]):
            if values[r, c] == NODATA:
                out[r, c] = NODATA
                continue
            j, s = _between(col0 + c * dcol, nodes.shape[2])
            d = slot[detector[r, c]]
            xa = line[d, j, XA] + s * (line[d, j + 1, XA] - line[d, j, XA])
            xb = line[d, j, XB] + s * (line[d, j + 1, XB] - line[d, j, XB])
            xc = line[d, j, XC] + s * (line[d, j + 1, XC] - line[d, j, XC])
            rho = np.float32(values[r, c]) * scale
            if land[r, c]:
                rho /= line[d, j, FACTOR] + s * (line[d, j + 1, FACTOR] - line[d, j, FACTOR])
            toa = (rho / (one - xc * rho) + xb) / xa
            n = toa * counted - np.float32(offset)
            out[r, c] = np.int16(np.rint(min(max(n, np.float32(-32767)), np.float32(32767))))


def coefficients_at(
    correction: Correction, band: str, detector: int, grid: Grid, row: int, col: int
) -> tuple[float, float, float, float]:
    """xa, xb, xc and the factor of one pixel, as the equations at the top of this module use them."""
    lines, slot, (row0, _, col0, _) = _placed(correction, band, grid, PixelBox(row, col, row + 1, col + 1))
    i, t = _between(row0, lines.shape[0])
    j, s = _between(col0, lines.shape[2])
    line = lines[i, slot[detector]] * (1 - t) + lines[i + 1, slot[detector]] * t
    between = line[j] + s * (line[j + 1] - line[j])
    return float(between[XA]), float(between[XB]), float(between[XC]), float(between[FACTOR])
