"""The gain fields of a zone: its scenes' strips put together, solved band by band, cut tile by tile."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo import gains
from terrazzo.bands import stored_factor
from terrazzo.edges import DEPTH, EDGES, LEAST_SHARE, SEGMENTS, strips_from_table
from terrazzo.grid import PixelBox
from terrazzo.mosaic.warp import places
from terrazzo.precompute.normalize import solve
from terrazzo.precompute.normalize.across import AcrossTask
from terrazzo.precompute.work.executor import ALONE, Crew
from terrazzo.scene import Scene
from terrazzo.store import Store

HAZY_SHARE = 0.2
"""What a strip that is seen through haze counts, a clear one being 1."""
NEW_LAND, DARK = 0.3, 0.05
"""Share of the reference's near infrared, and reflectance added to that, by which a strip differs as only new land does: air hardly reaches it.
Such a strip is compared in no band; what is half as new counts half, about."""
NEW_LAND_BAND = "B08"
"""The band that shows new land."""


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
class Compared:
    """What the comparison of a period's scenes with its reference gave.

    Attributes:
        clarity: mean haze weight of each scene's clear pixels, by scene id.
        differences: key of each scene's strips, by scene id.
        across: strips of scenes on tiles of other zones than their own, that are measured.
    """

    clarity: Mapping[str, float]
    differences: Mapping[str, str]
    across: Sequence[AcrossTask] = ()


def solve_zone(
    store: Store,
    scenes: Sequence[Scene],
    compared: Compared,
    kept: Mapping[str, TileGains],
    *,
    beside: Sequence[Scene] = (),
    free_level: bool = True,
    crew: Crew = ALONE,
) -> dict[str, TileGains]:
    """Gains of the scenes of a zone, by MGRS tile.

    Tiles of other zones that overlap it are solved along with it, so that either zone finds what both agree on, without
    knowing the other's result; only its own gains are kept.

    Args:
        kept: tiles whose gains stay as they are, of all zones; they hold the others in place.
        beside: scenes of other zones.
        free_level: False fits each scene to the reference itself, not to what the scenes agree on.
    """
    sources = _sources(store, scenes[0].epsg, (*scenes, *beside), compared, kept)
    spacing = store.config.pixel * store.config.window
    tasks = [_BandTask(store.url, tuple(sources), b, free_level, spacing) for b in store.config.bands]
    solved = {s.band: s for s in crew.do(_solve_band, tasks, "gains", lambda t: t.band)}
    # Workers end in any order; the bands of corners stand as in the store.
    by_band = {b: solved[b] for b in store.config.bands}
    return {
        mgrs: _tile_gains([(i, s) for i, s in enumerate(sources) if s.scene.mgrs == mgrs], by_band)
        for mgrs in sorted({s.mgrs for s in scenes} - set(kept))
    }


def _sources(
    store: Store,
    epsg: int,
    scenes: Sequence[Scene],
    compared: Compared,
    kept: Mapping[str, TileGains],
) -> list["_StripSource"]:
    """The scenes with strips in a zone: those to be solved, and the kept ones that they touch."""
    measured: dict[str, list[AcrossTask]] = defaultdict(list)
    for t in compared.across:
        measured[t.scene.id].append(t)
    sources = [
        _StripSource(
            s,
            store.grid(s.epsg).window_range(s.box),
            compared.differences[s.id],
            compared.clarity[s.id],
            kept.get(s.mgrs),
            _strips_across(store, measured[s.id]),
        )
        for s in scenes
    ]
    free = {(s.scene.epsg, s.windows) for s in sources if s.kept is None and s.lies_in(epsg)}
    # Strips that no scene to be solved shares hold nothing in place: of a large zone only the tiles around are read.
    return [s for s in sources if (s.lies_in(epsg) if s.kept is None else any(s.shares(*f) for f in free))]


def _tile_gains(
    members: Sequence[tuple[int, "_StripSource"]], by_band: Mapping[str, "_BandFields"]
) -> TileGains:
    """The gains of a tile's scenes, numbered as the fields of each band are."""
    wide = reduce(PixelBox.union, (source.windows for _, source in members))
    shape = (len(members), len(by_band), wide.height + 1, wide.width + 1)
    gain, offset, near = np.empty(shape), np.empty(shape), {}
    for k, (i, source) in enumerate(members):
        for j, solved in enumerate(by_band.values()):
            field = solved.fields[i]
            gain[k, j], offset[k, j] = (_spread(v, source.windows, wide) for v in (field.gain, field.offset))
        used = np.any([solved.used[i] for solved in by_band.values()], axis=0)
        near[source.scene.id] = _near(used, source.windows, wide)
    return TileGains(
        wide,
        tuple(source.scene.id for _, source in members),
        np.moveaxis(gains.encode(gain, offset), 0, 1),
        {
            "residual": {
                source.scene.id: {b: _number(solved.fields[i].rms) for b, solved in by_band.items()}
                for i, source in members
            },
            "measured": {i: np.packbits(v).tobytes().hex() for i, v in near.items()},
            "clamped": int(((gain < gains.GAIN_LIMITS[0]) | (gain > gains.GAIN_LIMITS[1])).sum()),
        },
    )


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
class _Across:
    """Where a scene's strips on another zone's grid lie, and the windows they are of."""

    epsg: int
    windows: PixelBox
    differences: tuple[str, ...]


def _strips_across(store: Store, tasks: Iterable[AcrossTask]) -> tuple[_Across, ...]:
    """The strips of one scene by zone."""
    zones: dict[int, _Across] = {}
    for t in tasks:
        windows = reduce(PixelBox.union, (store.grid(t.epsg).window_range(box) for box in t.boxes))
        known = zones.get(t.epsg, _Across(t.epsg, windows, ()))
        zones[t.epsg] = _Across(t.epsg, known.windows.union(windows), (*known.differences, t.key))
    return tuple(zones.values())


@dataclass(frozen=True)
class _StripSource:
    """A scene: its windows, where its strips lie, and its gains if they stay as they are."""

    scene: Scene
    windows: PixelBox
    differences: str
    clarity: float
    kept: TileGains | None
    across: tuple[_Across, ...]

    def lies_in(self, epsg: int) -> bool:
        """Whether it was measured on the grid of a zone, its own or another."""
        return epsg in (self.scene.epsg, *(a.epsg for a in self.across))

    def shares(self, epsg: int, windows: PixelBox) -> bool:
        """Whether it was measured on some of the windows of a zone."""
        measured = ((self.scene.epsg, self.windows), *((a.epsg, a.windows) for a in self.across))
        return any(e == epsg and not w.intersection(windows).empty for e, w in measured)


@dataclass(frozen=True)
class _BandTask:
    store_url: str
    sources: tuple[_StripSource, ...]
    band: str
    free_level: bool
    spacing: float


@dataclass(frozen=True)
class _BandFields:
    """A band's fields by scene, and of each the (wy, wx) windows that have a strip to be compared by."""

    band: str
    fields: tuple[solve.Field, ...]
    used: tuple[NDArray[np.bool_], ...]


def _solve_band(task: _BandTask) -> _BandFields:
    """The gain fields of all scenes of one band."""
    store = Store(task.store_url)
    numbers = _Numbers.of(task.sources)
    parts = [_observed(store, s, i, task.band, numbers) for i, s in enumerate(task.sources)]
    obs = _joined(parts)
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
    compared = []
    for part, (rows, cols) in zip(parts, shapes, strict=True):
        used = np.zeros((rows - 1, cols - 1), bool)
        used[np.divmod(part.corners[:, 0], cols)] = True
        compared.append(used)
    return _BandFields(task.band, tuple(solved), tuple(compared))


@dataclass(frozen=True)
class _Numbers:
    """Numbers the strips of several zones.

    Attributes:
        wholes: all windows, by zone; first: number of the first strip, by zone.
    """

    wholes: Mapping[int, PixelBox]
    first: Mapping[int, int]

    @classmethod
    def of(cls, sources: Sequence[_StripSource]) -> "_Numbers":
        """Of the strips that scenes have on their own and on other grids."""
        wholes: dict[int, PixelBox] = {}
        for s in sources:
            for epsg, windows in ((s.scene.epsg, s.windows), *((a.epsg, a.windows) for a in s.across)):
                wholes[epsg] = wholes.get(epsg, windows).union(windows)
        sizes = [w.height * w.width * len(EDGES) * SEGMENTS for w in wholes.values()]
        return cls(wholes, dict(zip(wholes, np.cumsum([0, *sizes]).tolist(), strict=False)))

    def at(self, epsg: int, windows: PixelBox, strips: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
        """Of strips (wy, wx, edge, segment) of a box of windows."""
        whole, (wy, wx, edge, segment) = self.wholes[epsg], strips
        place = (wy + windows.row0 - whole.row0, wx + windows.col0 - whole.col0, edge, segment)
        return self.first[epsg] + np.ravel_multi_index(place, (*whole.shape, len(EDGES), SEGMENTS))


def _joined(parts: Sequence[solve.Observations]) -> solve.Observations:
    return solve.Observations(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(solve.Observations)}
    )


def _observed(
    store: Store, source: _StripSource, number: int, band: str, numbers: _Numbers
) -> solve.Observations:
    """A scene's strips of one band that can be compared; those of kept scenes with their gains applied."""
    # The near infrared decides for every band whether the land is the same; its strips lie in the same file.
    bands = tuple(dict.fromkeys((band, NEW_LAND_BAND)))
    read = _read_strips(store, (source.differences,), source.windows, bands)
    (m, d, count, hazy), window = read[0], store.config.window
    if source.kept is not None:
        gain, offset = (v[None] for v in _kept_corners(store, source, band))
        place = (source.windows, source.kept.windows, gain, offset, window)
        m, d = (v[..., 0] for v in _with_gains(m[..., None], d[..., None], *place))
    full = _strip_pixels(band, window)
    same = _same_land(read[-1])
    at = np.nonzero((count >= LEAST_SHARE * full) & (same > 0))
    wy, wx, edge, segment = at
    m_at, d_at, n_at, hazy_at = (v[at] for v in (m, d, count, hazy))
    own = solve.Observations(
        scene=np.full(len(wy), number),
        strip=numbers.at(source.scene.epsg, source.windows, at),
        corners=_corners(wy, wx, source.windows),
        hats=solve.strip_hats(window, DEPTH)[edge, segment],
        m=m_at.astype(float),
        r=(m_at - d_at).astype(float),
        weight=np.minimum(n_at / full, 1) * source.clarity * np.where(hazy_at, HAZY_SHARE, 1) * same[at],
    )
    if not source.across:
        return own
    return _joined([own, *(_observed_across(store, source, a, number, band, numbers) for a in source.across)])


def _same_land(strips: "_StripsRead") -> NDArray[np.float64]:
    """(wy, wx, edge, segment) 0–1 how far a scene shows the reference's land, by the near infrared (Tukey's biweight); 1 where it is not known."""
    m, d, count, _ = strips
    away = np.abs(d) / (NEW_LAND * (np.maximum(m - d, 0) + DARK))
    return np.where(count > 0, np.maximum(1 - away**2, 0) ** 2, 1.0)


def _observed_across(
    store: Store, source: _StripSource, across: _Across, number: int, band: str, numbers: _Numbers
) -> solve.Observations:
    """The same of a scene's strips on another zone's grid; its corners are those of its own."""
    ((m, d, count, _),) = _read_strips(store, across.differences, across.windows, (band,))
    window, full = store.config.window, _strip_pixels(band, store.config.window)
    at = np.nonzero(count >= LEAST_SHARE * full)
    wy, wx, edge, segment = at
    middle = solve.strip_middles(window, DEPTH)[edge, segment]
    grid, size = store.grid(across.epsg), window * store.config.pixel
    x = (across.windows.col0 + wx + middle[:, 1]) * size
    y = grid.origin_y - (across.windows.row0 + wy + middle[:, 0]) * size
    rows, cols = places(f"EPSG:{across.epsg}", (x, y), store.grid(source.scene.epsg), 0)
    medians, reference = m[at].astype(float), (m - d)[at].astype(float)
    if source.kept is not None:
        gain, offset = (
            gains.at(v, source.kept.windows, rows, cols, window) for v in _kept_corners(store, source, band)
        )
        medians = gain * medians + offset
    box = source.windows
    down = np.clip(rows / window - box.row0, 0, box.height)
    right = np.clip(cols / window - box.col0, 0, box.width)
    wy, wx = (np.minimum(v, n - 1).astype(int) for v, n in ((down, box.height), (right, box.width)))
    return solve.Observations(
        scene=np.full(len(wy), number),
        strip=numbers.at(across.epsg, across.windows, at),
        corners=_corners(wy, wx, box),
        hats=solve.bilinear(down - wy, right - wx),
        m=medians,
        r=reference,
        weight=np.minimum(count[at] / full, 1) * source.clarity,
    )


class _StripsRead(NamedTuple):
    """A band's strips, each (wy, wx, edge, segment)."""

    median: NDArray[np.float32]
    difference: NDArray[np.float32]
    count: NDArray[np.int32]  # type: ignore[assignment]
    hazy: NDArray[np.bool_]


def _read_strips(
    store: Store, keys: Sequence[str], windows: PixelBox, bands: tuple[str, ...]
) -> list[_StripsRead]:
    """The strips of some bands.

    Raises:
        Damaged: a file has changed since it was written.
    """
    # Strips that earlier releases measured, and those across zones, have no column `hazy`: they are all clear.
    columns = ["wy", "wx", "edge", "segment", "band", "d", "m", "n", "hazy"]
    tables = [store.read_table(key, columns, [("band", "in", bands)]) for key in keys]
    # Where tiles overlap a strip was measured with each of them, and is the same in both.
    table = pa.concat_tables(tables, promote_options="permissive")
    d = strips_from_table(table, windows, bands, ("d", "n"))
    m = strips_from_table(table, windows, bands, ("m", "n")).median
    hazy = np.zeros(m.shape, bool)
    if all("hazy" in t.column_names for t in tables):
        hazy = strips_from_table(table, windows, bands, ("hazy", "n")).median == 1
    return [
        _StripsRead(m[..., k], d.median[..., k], d.count[..., k], hazy[..., k]) for k in range(len(bands))
    ]


def _kept_corners(
    store: Store, source: _StripSource, band: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ny + 1, nx + 1) gain and offset of a scene whose gains stay."""
    assert source.kept is not None
    tile, k = source.kept, store.config.bands.index(band)
    gain, offset = gains.decode(tile.corners[tile.scene_ids.index(source.scene.id)])
    return gain[k], offset[k]


def _corners(wy: NDArray[np.int64], wx: NDArray[np.int64], windows: PixelBox) -> NDArray[np.int64]:
    """(strip, 4) numbers of the corners NW, NE, SW, SE of windows of a box."""
    across = windows.width + 1
    corner = wy * across + wx
    return np.stack([corner, corner + 1, corner + across, corner + across + 1], axis=1)


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
        return np.asarray(np.einsum("byxk,esk->yxesb", four, hats))

    # A median of pixels that are changed linearly changes as they do, so that no pixel is read again.
    new = (m * at_strips(gain) + at_strips(offset)).astype(np.float32)
    return new, new - (m - d)
