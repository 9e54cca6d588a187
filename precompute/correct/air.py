"""The state of the air over a scene: each quantity from the best source there is, and where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.precompute.correct.atmosphere import OZONE, PRESSURE
from terrazzo.precompute.correct.factors import AirGrid
from terrazzo.precompute.correct.retrieve import (
    Cells,
    dark_vegetation,
    purest,
    retrieve_aot,
    retrieve_water_vapour,
    spread_between_cells,
)
from terrazzo.precompute.correct.table import RANGES
from terrazzo.precompute.products.angles import Angles
from terrazzo.precompute.products.numbers import Block, Numbers

Array = NDArray[np.float64]

DEFAULTS = {
    "aot": (0.15, 0.12),
    "water_vapour": (1.5, 1.0),
    "ozone": (OZONE, 0.04),
    "pressure": (PRESSURE, 10.0),
}
"""What is assumed where nothing is known, and how wrong it may be."""
FROM_MODELS = {"aot": 0.08, "water_vapour": 0.3, "ozone": 0.01, "pressure": 3.0}
"""Uncertainty of what weather models say."""
LEAST_PIXELS = 60
"""Of dark vegetation, or of clear land, for a cell to be asked."""
REACH_M = 7500.0
"""Over which what cells say is averaged."""


@dataclass(frozen=True)
class Source:
    """Where a quantity came from, for the Item."""

    mean: float
    origin: str
    uncertainty: float


@dataclass(frozen=True)
class SeenAir:
    """The air on the nodes of the angle grids, and the sources of its quantities by name."""

    grid: AirGrid
    sources: Mapping[str, Source]
    warnings: tuple[str, ...]

    def properties(self) -> dict[str, Any]:
        """As the Item records it."""
        return {
            name: {"mean": round(s.mean, 4), "origin": s.origin, "uncertainty": round(s.uncertainty, 4)}
            for name, s in self.sources.items()
        }


def see_air(
    toa: Numbers,
    land: NDArray[np.bool_],
    place: tuple[float, float, float],
    angles: Angles,
    *,
    satellite: str,
    models: Mapping[str, float],
    elevation: Array | None,
) -> SeenAir:
    """The air over a scene.

    Args:
        toa: top of the atmosphere, B02, B04, B08, B12, and B8A and B09 where there are.
        land: (row, col) clear land.
        place: left, top and pixel size of the numbers in metres.
        models: what weather models say: `aot`, `water_vapour`, `ozone`, `pressure` (at sea level).
        elevation: metres at the nodes, or None.
    """
    shape = angles.sun_zenith.shape
    known = {
        name: (models[name], "weather model in the product", FROM_MODELS[name])
        if name in models
        else (value, "default", spread)
        for name, (value, spread) in DEFAULTS.items()
    }
    sea_level, pressure_origin, pressure_spread = known["pressure"]
    warnings = []
    if elevation is None:
        warnings.append("no elevation given (--dem): the whole scene is taken to lie at sea level")
        pressure_origin, pressure_spread = f"{pressure_origin}, sea level", 100.0
        pressure = np.full(shape, sea_level)
    else:
        pressure_origin = f"{pressure_origin}, elevation given"
        pressure = pressure_at(elevation, sea_level)
    ozone = np.full(shape, _within("ozone", known["ozone"][0]))
    cells = _cells(angles, ozone, pressure)
    blocks = _blocks(angles, place, land.shape)
    prior, prior_origin, prior_spread = known["aot"]
    prior = _within("aot", prior)
    vapour, water_origin, water_spread = known["water_vapour"]
    water = np.full(shape, _within("water_vapour", vapour))
    if {"B8A", "B09"} <= set(toa.bands):
        bright = _medians(toa, ("B8A", "B09"), [land[b] for b in blocks], blocks)
        seen = retrieve_water_vapour(
            bright["B8A"], bright["B09"], cells, np.full(len(bright["B8A"]), prior), satellite=satellite
        ).reshape(shape)
        if np.isfinite(seen).any():
            smooth, _ = spread_between_cells(seen, np.full(shape, 0.2), REACH_M / angles.step)
            water = np.where(np.isfinite(smooth), smooth, np.nanmean(seen))
            water_origin, water_spread = "B8A and B09 of the product", 0.2
    dark = []
    for block in blocks:
        red, nir, swir = (toa.block(b, block) for b in ("B04", "B08", "B12"))
        dark.append(purest(red, land[block] & dark_vegetation(red, nir, swir)))
    medians = _medians(toa, ("B02", "B04", "B12"), dark, blocks)
    told = np.isfinite(medians["B12"])
    aot, aot_origin, aot_spread = np.full(shape, prior), prior_origin, prior_spread
    if told.any():
        mean, spread = retrieve_aot(
            medians,
            cells,
            water.ravel(),
            np.full(len(told), prior),
            np.full(len(told), prior_spread),
            satellite=satellite,
        )
        mean = np.where(told, mean, np.nan).reshape(shape)
        smooth, _ = spread_between_cells(mean, spread.reshape(shape), REACH_M / angles.step)
        aot = np.where(np.isfinite(smooth), smooth, np.nanmean(mean))
        aot_origin = f"dark vegetation in {told.mean():.0%} of the cells, blended with: {prior_origin}"
        aot_spread = float(spread[told].mean())
    grid = AirGrid(aot, water, ozone, pressure)
    sources = {
        "aot": Source(float(aot.mean()), aot_origin, aot_spread),
        "water_vapour": Source(float(water.mean()), water_origin, water_spread),
        "ozone": Source(float(ozone.mean()), *known["ozone"][1:]),
        "pressure": Source(float(pressure.mean()), pressure_origin, pressure_spread),
    }
    return SeenAir(grid, sources, tuple(warnings))


def pressure_at(elevation: Array, sea_level: float = PRESSURE) -> Array:
    """Pressure in hPa at an elevation in metres, International Standard Atmosphere, within what the table covers."""
    ratio = np.maximum(1 - 2.25577e-5 * np.clip(elevation, -430, 5600), 0.1) ** 5.25588
    return np.clip(sea_level * ratio, *RANGES["pressure"])


def _within(name: str, value: float) -> float:
    return float(np.clip(value, *RANGES[name]))


def _cells(angles: Angles, ozone: Array, pressure: Array) -> Cells:
    """A cell around each node of the angle grids, seen as all detectors of B04 see it in the mean."""
    views = list((angles.view.get("B04") or {}).values())
    east, north = np.mean(views, axis=0) if views else np.zeros((2, *angles.sun_zenith.shape))
    zenith = np.minimum(np.degrees(np.arctan(np.hypot(east, north))), RANGES["view_zenith"][1])
    relative = angles.sun_azimuth - np.degrees(np.arctan2(east, north))
    arrays = (angles.sun_zenith, zenith, relative, ozone, pressure)
    return Cells(*(a.ravel() for a in arrays))


def _blocks(angles: Angles, place: tuple[float, float, float], shape: tuple[int, int]) -> list[Block]:
    """The pixels nearest to each node, row by row."""
    left, top, pixel = place
    rows, cols = angles.sun_zenith.shape
    y = (top - angles.top) / pixel + (np.arange(rows + 1) - 0.5) * angles.step / pixel
    x = (angles.left - left) / pixel + (np.arange(cols + 1) - 0.5) * angles.step / pixel
    y, x = (np.clip(np.rint(v), 0, n).astype(int) for v, n in zip((y, x), shape, strict=True))
    return [(slice(y[i], y[i + 1]), slice(x[j], x[j + 1])) for i in range(rows) for j in range(cols)]


def _medians(
    toa: Numbers, bands: tuple[str, ...], usable: Sequence[NDArray[np.bool_]], blocks: Sequence[Block]
) -> dict[str, Array]:
    """Medians of bands over the usable pixels of each block; NaN where there are too few."""
    out = {b: np.full(len(blocks), np.nan) for b in bands}
    for i, (where, block) in enumerate(zip(usable, blocks, strict=True)):
        if where.sum() < LEAST_PIXELS:
            continue
        for b in bands:
            values = toa.block(b, block)[where]
            if np.isfinite(values).sum() >= LEAST_PIXELS:
                out[b][i] = np.nanmedian(values)
    return out
