"""The gain fields of a zone: its scenes' strips put together, solved band by band, cut tile by tile."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from scipy import ndimage

from precompute import executor
from precompute.executor import Workers
from precompute.normalize import solve
from terrazzo import gains
from terrazzo.bands import stored_factor
from terrazzo.edges import DEPTH, LEAST_SHARE, strips_from_table
from terrazzo.grid import PixelBox
from terrazzo.scene import Scene
from terrazzo.store import Store

HAZY_SHARE = 0.2
"""What a strip that is seen through haze counts, a clear one being 1."""


@dataclass(frozen=True)
class TileGains:
    """Gain corners of one MGRS tile.

    Attributes:
        windows: box of window indices whose corners these are.
        scene_ids: scene of each row.
        corners: (scene, 2, band, ny + 1, nx + 1) int16, see `terrazzo.gains.encode`.
        about: residuals and clamps, for the JSON beside the array.
    """

    windows: PixelBox
    scene_ids: tuple[str, ...]
    corners: NDArray[np.int16]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class _Measured:
    """Strips of all scenes of a zone on its common rectangle of windows.

    m, d: (scene, wy, wx, edge, segment, band) float32; n: int32; hazy: bool, not clear enough to be shown.
    """

    windows: PixelBox
    m: NDArray[np.float32]
    d: NDArray[np.float32]
    n: NDArray[np.int32]
    hazy: NDArray[np.bool_]


def solve_zone(
    store: Store,
    scenes: Sequence[Scene],
    clarity: Mapping[str, float],
    differences: Mapping[str, str],
    kept: Mapping[str, TileGains],
    *,
    free_level: bool = True,
    workers: Workers,
    console: Console | None,
) -> dict[str, TileGains]:
    """Gains of the scenes of a zone, by MGRS tile.

    Args:
        clarity: mean haze weight of each scene's clear pixels, by scene id.
        differences: key of each scene's strips, by scene id.
        kept: tiles whose gains stay as they are; they hold the others in place.
        free_level: False fits each scene to the reference itself, not to what the scenes agree on.
    """
    bands = store.config.bands
    window = store.config.window
    measured = _measured(store, scenes, differences, kept)
    clear = np.array([clarity[s.id] for s in scenes])
    free = np.array([s.mgrs not in kept for s in scenes])
    tasks = [
        _BandTask(measured, k, band, clear, free, free_level, window, store.config.pixel * window)
        for k, band in enumerate(bands)
    ]
    solved = executor.results(
        executor.run(
            _solve_band, tasks, workers=workers, label="gains", name=lambda t: t.band, console=console
        )
    )
    by_band = {s.band: s for s in solved}
    compared = _compared(measured, bands, window)
    out: dict[str, TileGains] = {}
    for mgrs in sorted({s.mgrs for s, f in zip(scenes, free, strict=True) if f}):
        members = [(i, s) for i, s in enumerate(scenes) if s.mgrs == mgrs]
        r = reduce(PixelBox.union, (store.grid(s.epsg).window_range(s.box) for _, s in members))
        y, x = r.row0 - measured.windows.row0, r.col0 - measured.windows.col0
        cut = (slice(y, y + r.height + 1), slice(x, x + r.width + 1))
        gain = np.stack([[by_band[b].gain[i][cut] for b in bands] for i, _ in members])
        offset = np.stack([[by_band[b].offset[i][cut] for b in bands] for i, _ in members])
        out[mgrs] = TileGains(
            r,
            tuple(s.id for _, s in members),
            np.moveaxis(gains.encode(gain, offset), 0, 1),
            {
                "residual": {s.id: {b: _number(by_band[b].rms[i]) for b in bands} for i, s in members},
                "measured": {
                    s.id: np.packbits(compared[i][cut][:-1, :-1]).tobytes().hex() for i, s in members
                },
                "clamped": int(((gain < gains.GAIN_LIMITS[0]) | (gain > gains.GAIN_LIMITS[1])).sum()),
            },
        )
    return out


def _compared(measured: _Measured, bands: Sequence[str], window: int) -> NDArray[np.bool_]:
    """(scene, wy + 1, wx + 1) windows that have, or lie beside one that has, a strip of any band to be compared by."""
    full = np.array([_strip_pixels(b, window) for b in bands])
    used = (measured.n >= LEAST_SHARE * full).any(axis=(3, 4, 5))
    near = ndimage.binary_dilation(used, np.ones((1, 3, 3)))
    return np.pad(near, ((0, 0), (0, 1), (0, 1)))


def _strip_pixels(band: str, window: int) -> int:
    """Pixels of a strip."""
    f = stored_factor(band)
    return (window // f // 2) * (DEPTH // f)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


def _measured(
    store: Store, scenes: Sequence[Scene], differences: Mapping[str, str], kept: Mapping[str, TileGains]
) -> _Measured:
    """Reads the strips of all scenes; those of kept scenes with their gains applied."""
    bands = store.config.bands
    grid = store.grid(scenes[0].epsg)
    r = reduce(PixelBox.union, (grid.window_range(s.box) for s in scenes))
    parts = []
    for s in scenes:
        table = pq.read_table(io.BytesIO(store.read_bytes(differences[s.id])))
        d = strips_from_table(table, r, bands, ("d", "n"))
        m = strips_from_table(table, r, bands, ("m", "n")).median
        # Strips that earlier releases measured are all clear.
        hazy = np.zeros(m.shape, bool)
        if "hazy" in table.column_names:
            hazy = strips_from_table(table, r, bands, ("hazy", "n")).median == 1
        compared = (m, d.median)
        if s.mgrs in kept:
            compared = _with_gains(m, d.median, r, kept[s.mgrs], s.id, grid.window)
        parts.append((*compared, d.count, hazy))
    return _Measured(r, *(np.stack(p) for p in zip(*parts, strict=True)))


def _with_gains(
    m: NDArray[np.float32],
    d: NDArray[np.float32],
    windows: PixelBox,
    tile: TileGains,
    scene_id: str,
    window: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Strip medians and differences of a scene after its gains: its reference m − d stays."""
    gain, offset = gains.decode(tile.corners[tile.scene_ids.index(scene_id)])
    hats = solve.strip_hats(window, DEPTH)
    y, x = np.indices((windows.height, windows.width))
    y = np.clip(y + windows.row0 - tile.windows.row0, 0, tile.windows.height - 1)
    x = np.clip(x + windows.col0 - tile.windows.col0, 0, tile.windows.width - 1)

    def at_strips(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        four = np.stack(
            [corners[:, y, x], corners[:, y, x + 1], corners[:, y + 1, x], corners[:, y + 1, x + 1]], -1
        )
        return np.einsum("byxk,esk->yxesb", four, hats)

    new = (m * at_strips(gain) + at_strips(offset)).astype(np.float32)
    return new, new - (m - d)


@dataclass(frozen=True)
class _BandTask:
    measured: _Measured
    k: int
    band: str
    clarity: NDArray[np.float64]
    free: NDArray[np.bool_]
    free_level: bool
    window: int
    spacing: float


@dataclass(frozen=True)
class _BandGains:
    """gain, offset: (scene, ny + 1, nx + 1); rms: (scene,) residual in reflectance."""

    band: str
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    rms: NDArray[np.float64]


def _solve_band(task: _BandTask) -> _BandGains:
    """Passes A and B of one band."""
    m, d, n = (v[..., task.k] for v in (task.measured.m, task.measured.d, task.measured.n))
    full = _strip_pixels(task.band, task.window)
    scene, wy, wx, edge, segment = np.nonzero(n >= LEAST_SHARE * full)
    at = (scene, wy, wx, edge, segment)
    shape = (task.measured.windows.height + 1, task.measured.windows.width + 1)
    corner = wy * shape[1] + wx
    obs = solve.Observations(
        scene=scene,
        strip=np.ravel_multi_index((wy, wx, edge, segment), n.shape[1:]),
        corners=np.stack([corner, corner + 1, corner + shape[1], corner + shape[1] + 1], axis=1),
        hats=solve.strip_hats(task.window, DEPTH)[edge, segment],
        m=m[at].astype(float),
        r=(m[at] - d[at]).astype(float),
        weight=np.minimum(n[at] / full, 1)
        * task.clarity[scene]
        * np.where(task.measured.hazy[..., task.k][at], HAZY_SHARE, 1),
    )
    scenes = len(task.clarity)
    gain, offset = np.ones((scenes, *shape)), np.zeros((scenes, *shape))
    rms = np.full(scenes, np.nan)
    if not len(scene):
        return _BandGains(task.band, gain, offset, rms)
    goal = obs.r
    if task.free_level:
        prior = solve.prior_width(task.clarity, task.band)
        _, u = solve.solve_joint(obs, scenes=scenes, shape=shape, prior=prior, free=task.free)
        goal = solve.target(obs.r, u[obs.strip])
    for i in np.flatnonzero(task.free):
        o = scene == i
        gain[i], offset[i], rms[i] = solve.solve_scene(
            obs.m[o], goal[o], obs.weight[o], obs.corners[o], obs.hats[o], shape=shape, spacing=task.spacing
        )
    return _BandGains(task.band, gain, offset, rms)
