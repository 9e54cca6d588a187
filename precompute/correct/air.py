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
WATER_SPREAD = 0.2
"""Uncertainty of the water vapour from B8A and B09, g/cm²."""
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


@dataclass(frozen=True)
class Height:
    """Elevation of the ground.

    Attributes:
        metres: (row, col) at the nodes of the angle grids.
        origin: who says so.
        pressure_spread: how far the pressure may be off for it, hPa.
    """

    metres: Array
    origin: str
    pressure_spread: float


@dataclass(frozen=True)
class _Known:
    """What is known of a quantity without the image: a value, where it came from, and how wrong it may be."""

    value: float
    origin: str
    spread: float


def see_air(
    toa: Numbers,
    land: NDArray[np.bool_],
    place: tuple[float, float, float],
    angles: Angles,
    *,
    satellite: str,
    models: Mapping[str, float],
    elevation: Height | None,
) -> SeenAir:
    """The air over a scene.

    Args:
        toa: top of the atmosphere, B02, B04, B08, B12, and B8A and B09 where there are.
        land: (row, col) clear land.
        place: left, top and pixel size of the numbers in metres.
        models: what weather models say: `aot`, `water_vapour`, `ozone`, `pressure` (at sea level).
        elevation: None takes the scene to lie at the sea.
    """
    shape = angles.sun_zenith.shape
    known = {name: _known(name, models) for name in DEFAULTS}
    warnings = []
    if elevation is None:
        warnings.append("no elevation given (--dem): the whole scene is taken to lie at sea level")
        pressure = np.full(shape, known["pressure"].value)
        pressed = (f"{known['pressure'].origin}, sea level", 100.0)
    else:
        pressure = pressure_at(elevation.metres, known["pressure"].value)
        spread = float(np.hypot(known["pressure"].spread, elevation.pressure_spread))
        pressed = (f"{known['pressure'].origin}, {elevation.origin}", spread)
    ozone = np.full(shape, known["ozone"].value)
    cells = _cells(angles, ozone, pressure)
    scene = _Scene(
        toa, land, _blocks(angles, place, land.shape), cells, shape, REACH_M / angles.step, satellite
    )
    water, watered = _water_vapour(scene, known["water_vapour"], known["aot"].value)
    aot, hazed = _aerosol(scene, known["aot"], water)
    sources = {
        "aot": Source(float(aot.mean()), *hazed),
        "water_vapour": Source(float(water.mean()), *watered),
        "ozone": Source(float(ozone.mean()), known["ozone"].origin, known["ozone"].spread),
        "pressure": Source(float(pressure.mean()), *pressed),
    }
    return SeenAir(AirGrid(aot, water, ozone, pressure), sources, tuple(warnings))


@dataclass(frozen=True)
class _Scene:
    """What the image is asked with.

    Attributes:
        blocks: pixels of each cell, row by row; `cells` the same cells' geometry, `shape` their rows and columns.
        reach: over which what cells say is averaged, in cells.
    """

    toa: Numbers
    land: NDArray[np.bool_]
    blocks: Sequence[Block]
    cells: Cells
    shape: tuple[int, ...]
    reach: float
    satellite: str


def _known(name: str, models: Mapping[str, float]) -> _Known:
    """What a weather model says, else what is assumed; within what the table covers."""
    value, spread = DEFAULTS[name]
    if name in models:
        return _Known(_within(name, models[name]), "weather model in the product", FROM_MODELS[name])
    return _Known(_within(name, value), "default", spread)


def _water_vapour(scene: _Scene, known: _Known, aot: float) -> tuple[Array, tuple[str, float]]:
    """Water vapour at the nodes, what it was taken from, and its uncertainty: B8A and B09, blended with a weather model."""
    if not {"B8A", "B09"} <= set(scene.toa.bands):
        return np.full(scene.shape, known.value), (known.origin, known.spread)
    bright = _medians(scene.toa, ("B8A", "B09"), [scene.land[b] for b in scene.blocks], scene.blocks)
    seen = retrieve_water_vapour(
        bright["B8A"], bright["B09"], scene.cells, np.full(len(bright["B8A"]), aot), satellite=scene.satellite
    ).reshape(scene.shape)
    if not np.isfinite(seen).any():
        return np.full(scene.shape, known.value), (known.origin, known.spread)
    origin, spread = "B8A and B09 of the product", WATER_SPREAD
    # An assumption has no weight beside an observation.
    if known.origin != "default":
        own, model = WATER_SPREAD**-2, known.spread**-2
        seen = (own * seen + model * known.value) / (own + model)
        origin, spread = f"{origin}, blended with: {known.origin}", (own + model) ** -0.5
    smooth, _ = spread_between_cells(seen, np.full(scene.shape, spread), scene.reach)
    return np.where(np.isfinite(smooth), smooth, np.nanmean(seen)), (origin, spread)


def _aerosol(scene: _Scene, known: _Known, water: Array) -> tuple[Array, tuple[str, float]]:
    """Aerosol optical thickness at the nodes, what it was taken from, and its uncertainty."""
    toa, land = scene.toa, scene.land
    dark = []
    for block in scene.blocks:
        red, nir, swir = (toa.block(b, block) for b in ("B04", "B08", "B12"))
        dark.append(purest(red, land[block] & dark_vegetation(red, nir, swir)))
    medians = _medians(toa, ("B02", "B04", "B12"), dark, scene.blocks)
    has_vegetation = np.isfinite(medians["B12"])
    if not has_vegetation.any():
        return np.full(scene.shape, known.value), (known.origin, known.spread)
    mean, spread = retrieve_aot(
        medians,
        scene.cells,
        water.ravel(),
        np.full(len(has_vegetation), known.value),
        np.full(len(has_vegetation), known.spread),
        satellite=scene.satellite,
    )
    mean = np.where(has_vegetation, mean, np.nan).reshape(scene.shape)
    smooth, _ = spread_between_cells(mean, spread.reshape(scene.shape), scene.reach)
    origin = f"dark vegetation in {has_vegetation.mean():.0%} of the cells, blended with: {known.origin}"
    return np.where(np.isfinite(smooth), smooth, np.nanmean(mean)), (
        origin,
        float(spread[has_vegetation].mean()),
    )


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
