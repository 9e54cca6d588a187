"""The gain fields of a zone: its scenes' strips put together, solved band by band, cut tile by tile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from scipy import ndimage

from precompute import executor
from precompute.executor import Workers
from precompute.normalize import solve
from terrazzo import gains
from terrazzo.bands import stored_factor
from terrazzo.edges import DEPTH, EDGES, LEAST_SHARE, SEGMENTS, strips_from_table
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
    bands, window = store.config.bands, store.config.window
    sources = [
        _Source(s, store.grid(s.epsg).window_range(s.box), differences[s.id], clarity[s.id], kept.get(s.mgrs))
        for s in scenes
    ]
    free = {s.windows for s in sources if s.kept is None}
    # Strips that no scene to be solved shares hold nothing in place: of a large zone only the tiles around are read.
    sources = [s for s in sources if s.kept is None or any(not s.windows.intersection(w).empty for w in free)]
    tasks = [_BandTask(store.url, tuple(sources), b, free_level, store.config.pixel * window) for b in bands]
    solved = executor.results(
        executor.run(
            _solve_band, tasks, workers=workers, label="gains", name=lambda t: t.band, console=console
        )
    )
    by_band = {s.band: s for s in solved}
    out: dict[str, TileGains] = {}
    for mgrs in sorted({s.mgrs for s in scenes} - set(kept)):
        members = [(i, source) for i, source in enumerate(sources) if source.scene.mgrs == mgrs]
        r = reduce(PixelBox.union, (source.windows for _, source in members))
        gain, offset = (np.empty((len(members), len(bands), r.height + 1, r.width + 1)) for _ in range(2))
        compared = {}
        for k, (i, source) in enumerate(members):
            for j, band in enumerate(bands):
                found = by_band[band].fields[i]
                gain[k, j], offset[k, j] = (_spread(v, source.windows, r) for v in (found.gain, found.offset))
            used = np.any([by_band[b].fields[i].used for b in bands], axis=0)
            compared[source.scene.id] = _near(used, source.windows, r)
        out[mgrs] = TileGains(
            r,
            tuple(source.scene.id for _, source in members),
            np.moveaxis(gains.encode(gain, offset), 0, 1),
            {
                "residual": {
                    source.scene.id: {b: _number(by_band[b].fields[i].rms) for b in bands}
                    for i, source in members
                },
                "measured": {i: np.packbits(near).tobytes().hex() for i, near in compared.items()},
                "clamped": int(((gain < gains.GAIN_LIMITS[0]) | (gain > gains.GAIN_LIMITS[1])).sum()),
            },
        )
    return out


def _spread(corners: NDArray[np.float64], windows: PixelBox, wide: PixelBox) -> NDArray[np.float64]:
    """Values on a scene's corners on those of a wider box of windows; beyond them, the nearest."""
    y = np.clip(np.arange(wide.row0, wide.row1 + 1) - windows.row0, 0, windows.height)
    x = np.clip(np.arange(wide.col0, wide.col1 + 1) - windows.col0, 0, windows.width)
    return np.asarray(corners[np.ix_(y, x)])


def _near(used: NDArray[np.bool_], windows: PixelBox, wide: PixelBox) -> NDArray[np.bool_]:
    """(wy, wx) of a wider box: windows that have a strip to be compared by, or lie beside one that has."""
    out = np.zeros(wide.shape, bool)
    out[windows.within(wide)] = used
    return np.asarray(ndimage.binary_dilation(out, np.ones((3, 3))))


def _strip_pixels(band: str, window: int) -> int:
    """Pixels of a strip."""
    f = stored_factor(band)
    return (window // f // 2) * (DEPTH // f)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


@dataclass(frozen=True)
class _Source:
    """A scene: its windows, where its strips lie, and its gains if they stay as they are."""

    scene: Scene
    windows: PixelBox
    differences: str
    clarity: float
    kept: TileGains | None


@dataclass(frozen=True)
class _BandTask:
    store_url: str
    sources: tuple[_Source, ...]
    band: str
    free_level: bool
    spacing: float


@dataclass(frozen=True)
class _Field:
    """Gain and offset of a scene's band on its corners; used: (wy, wx) windows that have a strip to be compared by."""

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    used: NDArray[np.bool_]
    rms: float


@dataclass(frozen=True)
class _BandFields:
    band: str
    fields: tuple[_Field, ...]


def _solve_band(task: _BandTask) -> _BandFields:
    """The gain fields of all scenes of one band."""
    store = Store(task.store_url)
    whole = reduce(PixelBox.union, (s.windows for s in task.sources))
    parts = [_observed(store, s, i, task.band, whole) for i, s in enumerate(task.sources)]
    obs = solve.Observations(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(solve.Observations)}
    )
    shapes = [(s.windows.height + 1, s.windows.width + 1) for s in task.sources]
    # Scenes anchor each other's level; another composite's is free to be far from that of the clearest.
    clarity = np.array([s.clarity if task.free_level else 0.0 for s in task.sources])
    solved = solve.solve_fields(
        replace(obs, strip=np.unique(obs.strip, return_inverse=True)[1]),
        shapes=shapes,
        prior=solve.prior(clarity, task.band, task.spacing),
        free=np.array([s.kept is None for s in task.sources]),
        known=not task.free_level,
    )
    found = []
    for part, shape, field in zip(parts, shapes, solved, strict=True):
        used = np.zeros((shape[0] - 1, shape[1] - 1), bool)
        used[np.divmod(part.corners[:, 0], shape[1])] = True
        found.append(_Field(field.gain, field.offset, used, field.rms))
    return _BandFields(task.band, tuple(found))


def _observed(store: Store, source: _Source, number: int, band: str, whole: PixelBox) -> solve.Observations:
    """A scene's strips of one band that can be compared; those of kept scenes with their gains applied."""
    columns = ["wy", "wx", "edge", "segment", "band", "d", "m", "n", "hazy"]
    packed = pa.BufferReader(store.read_bytes(source.differences))
    # Strips that earlier releases measured have no column `hazy`: they are all clear.
    columns = [c for c in columns if c in pq.read_schema(packed).names]
    table = pq.read_table(packed, columns=columns, filters=[("band", "=", band)])
    d = strips_from_table(table, source.windows, (band,), ("d", "n"))
    m = strips_from_table(table, source.windows, (band,), ("m", "n")).median
    hazy = np.zeros(m.shape, bool)
    if "hazy" in columns:
        hazy = strips_from_table(table, source.windows, (band,), ("hazy", "n")).median == 1
    medians, differences, window = m, d.median, store.config.window
    if source.kept is not None:
        tile = source.kept
        chosen = gains.decode(tile.corners[tile.scene_ids.index(source.scene.id)])
        k = store.config.bands.index(band)
        gain, offset = (v[k : k + 1] for v in chosen)
        medians, differences = _with_gains(m, d.median, source.windows, tile.windows, gain, offset, window)
    full = _strip_pixels(band, window)
    at = np.nonzero(d.count[..., 0] >= LEAST_SHARE * full)
    wy, wx, edge, segment = at
    across = source.windows.width + 1
    corner = wy * across + wx
    m_at, d_at, n_at, hazy_at = (v[..., 0][at] for v in (medians, differences, d.count, hazy))
    place = (wy + source.windows.row0 - whole.row0, wx + source.windows.col0 - whole.col0, edge, segment)
    return solve.Observations(
        scene=np.full(len(wy), number),
        strip=np.ravel_multi_index(place, (*whole.shape, len(EDGES), SEGMENTS)),
        corners=np.stack([corner, corner + 1, corner + across, corner + across + 1], axis=1),
        hats=solve.strip_hats(window, DEPTH)[edge, segment],
        m=m_at.astype(float),
        r=(m_at - d_at).astype(float),
        weight=np.minimum(n_at / full, 1) * source.clarity * np.where(hazy_at, HAZY_SHARE, 1),
    )


def _with_gains(
    m: NDArray[np.float32],
    d: NDArray[np.float32],
    windows: PixelBox,
    grid: PixelBox,
    gain: NDArray[np.float64],
    offset: NDArray[np.float64],
    window: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Strip medians and differences of a scene after its gains: its reference m − d stays.

    Args:
        windows: of the strips; grid: of the corners.
        gain, offset: (band, ny + 1, nx + 1).
    """
    hats = solve.strip_hats(window, DEPTH)
    y, x = np.indices((windows.height, windows.width))
    y, x = y + windows.row0 - grid.row0, x + windows.col0 - grid.col0

    def at_strips(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        four = np.stack(
            [corners[:, y, x], corners[:, y, x + 1], corners[:, y + 1, x], corners[:, y + 1, x + 1]], -1
        )
        return np.einsum("byxk,esk->yxesb", four, hats)

    new = (m * at_strips(gain) + at_strips(offset)).astype(np.float32)
    return new, new - (m - d)
