"""Normalizes the scenes of one period: reference, weights, differences, gains; each step skips what is there."""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from scipy import ndimage

from precompute import executor
from precompute.normalize import composite, solve
from terrazzo import PIXELS, gains
from terrazzo.bands import NODATA, SCALE, MaskClass, stored_factor
from terrazzo.cells import digest
from terrazzo.cog import write_cog
from terrazzo.edges import DEPTH, Strips, strip_medians, strip_table, strips_from_table
from terrazzo.errors import StoreError
from terrazzo.grid import Grid, PixelBox
from terrazzo.raster import read_box
from terrazzo.scene import MASK, STRIPS, Scene
from terrazzo.store import Store

RAMP = 1500.0
"""Metres from the next unusable pixel at which a pixel weighs in full."""
CHUNK = 1024
"""Side in pixels of the squares, whole windows, in which the reference is made; bounds its memory."""
HALO = 8
"""Rim of mask pixels that smoothing, opening and dilation reach over."""
LEAST_SHARE = 0.25
"""Share of a strip that must be comparable for it to count."""
SEEN = (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW, MaskClass.TERRAIN_SHADOW)
"""Classes that a mosaic may show."""


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
class Normalized:
    """The normalization of a period.

    Attributes:
        weights: key and content hash of each scene's weight raster, by scene id.
        haze: mean haze weight over the scene's clear pixels, by scene id.
        gains: by MGRS tile; empty without normalization.
    """

    ref_id: str
    weights: dict[str, tuple[str, str]]
    haze: dict[str, float]
    gains: dict[str, TileGains] = field(default_factory=dict)


def normalize_period(
    store: Store,
    mosaic_id: str,
    scenes: Sequence[Scene],
    *,
    previous: Normalized | None = None,
    solve_gains: bool = True,
    workers: int = 1,
    console: Console | None = None,
) -> Normalized:
    """Makes reference, weights and gains of a period's scenes.

    Args:
        previous: the last version's normalization. Scenes of tiles that have no new scene keep their
            weights and gains, and the others are solved against them.
        solve_gains: False stops after the weights.

    Raises:
        OSError: the store's disk is full.
    """
    kept = _kept(scenes, previous)
    dirty = [s for s in scenes if s.id not in kept]
    ref_id = _reference_id(scenes, store)
    base = f"mosaics/{mosaic_id}"
    result = Normalized(
        ref_id,
        {i: previous.weights[i] for i in kept} if previous else {},
        {i: previous.haze[i] for i in kept} if previous else {},
        {m: g for m, g in previous.gains.items() if set(g.scene_ids) <= kept} if previous else {},
    )
    if not dirty:
        return result
    tasks = list(_chunks(store, scenes, dirty, f"{base}/references/{ref_id}"))
    _all(
        executor.run(
            _reference_chunk,
            tasks,
            workers=workers,
            label="reference",
            name=_ChunkTask.__str__,
            console=console,
        )
    )
    weigh = [
        _SceneTask(
            store.url,
            s,
            f"{base}/references/{ref_id}",
            f"{base}/weights/{ref_id}",
            f"{base}/differences/{ref_id}",
            tuple(t.id for t in scenes),
        )
        for s in dirty
    ]
    for outcome in _all(
        executor.run(
            _weigh_scene, weigh, workers=workers, label="weights", name=lambda t: t.scene.id, console=console
        )
    ):
        result.weights[outcome.id] = (outcome.key, outcome.hash)
        result.haze[outcome.id] = outcome.haze
    if solve_gains:
        for epsg in sorted({s.epsg for s in dirty}):
            zone = [s for s in scenes if s.epsg == epsg]
            result.gains.update(_solve_zone(store, zone, kept, previous, result, base, workers, console))
    return result


def _kept(scenes: Sequence[Scene], previous: Normalized | None) -> set[str]:
    """Scenes of tiles whose set of scenes is the same as in the last version."""
    if previous is None:
        return set()
    before: dict[str, set[str]] = {m: set(g.scene_ids) for m, g in previous.gains.items()}
    now: dict[str, set[str]] = defaultdict(set)
    for s in scenes:
        now[s.mgrs].add(s.id)
    return {s.id for s in scenes if before.get(s.mgrs) == now[s.mgrs] and _rev(previous, s) == s.rev}


def _rev(previous: Normalized, scene: Scene) -> str | None:
    key = previous.weights.get(scene.id)
    return Path(key[0]).stem.removeprefix(f"{scene.id}-") if key else None


def _reference_id(scenes: Sequence[Scene], store: Store) -> str:
    text = json.dumps([sorted((s.id, s.rev) for s in scenes), PIXELS, CHUNK])
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _all(outcomes: Any) -> list[Any]:
    """The results of all tasks; the first error once all have run."""
    done = list(outcomes)
    for outcome in done:
        if outcome.error is not None:
            raise outcome.error
    return [o.result for o in done]


# --- reference -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ChunkTask:
    store_url: str
    epsg: int
    windows: PixelBox
    scenes: tuple[Scene, ...]
    key: str
    order: tuple[str, ...]

    def __str__(self) -> str:
        return f"EPSG:{self.epsg} window {self.windows.row0},{self.windows.col0}"


def _chunks(store: Store, scenes: Sequence[Scene], dirty: Sequence[Scene], folder: str) -> Any:
    """The squares of windows that scenes to be weighed cover, anchored to the zone's origin."""
    n = store.config.window
    side = _chunk_side(n)
    wanted = {(s.epsg, wy // side, wx // side) for s in dirty for wy, wx in store.grid(s.epsg).windows(s.box)}
    order = tuple(s.id for s in scenes)
    for epsg, cy, cx in sorted(wanted):
        whole = PixelBox(cy * side, cx * side, (cy + 1) * side, (cx + 1) * side)
        box = PixelBox(*(v * n for v in whole)).grown(HALO * store.mask_factor)
        here = tuple(s for s in scenes if s.epsg == epsg and not s.box.intersection(box).empty)
        covered = store.grid(epsg).window_range(here[0].box)
        for s in here[1:]:
            covered = covered.union(store.grid(epsg).window_range(s.box))
        key = f"{_chunk_prefix(folder, epsg, cy, cx)}/reference.npz"
        yield _ChunkTask(store.url, epsg, whole.intersection(covered), here, key, order)


def _chunk_side(window: int) -> int:
    """Windows to a side of a chunk."""
    return max(1, CHUNK // window)


def _chunk_prefix(folder: str, epsg: int, cy: int, cx: int) -> str:
    return f"{folder}/{epsg}/{cy}_{cx}"


def _reference_chunk(task: _ChunkTask) -> None:
    store = Store(task.store_url)
    if store.exists(task.key):
        return
    mask_grid = store.mask_grid(task.epsg)
    n, f = store.config.window, store.mask_factor
    box = PixelBox(*(v * n for v in task.windows))
    wide = box.coarser(f).grown(HALO)
    date = np.unique([s.datatake for s in task.scenes], return_inverse=True)[1]
    fine = PixelBox(*(v * f for v in wide))
    read = {
        b: np.stack([_reflectance(store, s, b, fine) for s in task.scenes]) for b in ("B02", "B04", "B08")
    }
    blue, red, nir = (_thinned(read[b], f) for b in ("B02", "B04", "B08"))
    reach = int(np.ceil(RAMP / mask_grid.pixel)) + 1
    classes = [_classes(store, s, wide.grown(reach)) for s in task.scenes]
    around = (slice(reach, -reach), slice(reach, -reach))
    distance = np.stack([distance_weight(np.isin(c, SEEN), mask_grid.pixel)[around] for c in classes])
    shadow = np.stack([c[around] == MaskClass.SHADOW for c in classes])
    clear = np.stack([np.isin(c[around], SEEN) for c in classes]) & np.isfinite(blue)
    stack = composite.Stack(blue, red, nir, clear, distance, date)
    stack = stack._replace(clear=clear | composite.steady(stack))
    weights = composite.date_weights(stack)
    usable = np.where(stack.clear, np.maximum(stack.weight, 1e-3), 0).astype(np.float32)
    reference = np.stack(
        [
            composite.weighted_median(composite.by_date(v, usable, date), weights)
            for v in (stack.blue, stack.red, stack.nir)
        ]
    )
    out = np.stack(
        [
            composite.outliers(b, r, x, reference)
            for b, r, x in zip(stack.blue, stack.red, stack.nir, strict=True)
        ]
    )
    keep = stack.clear & ~out
    least = _least_hazy(composite.hot(blue, red), keep, shadow)
    numbers = np.array([task.order.index(s.id) for s in task.scenes] + [-1])
    inner = (slice(HALO, -HALO), slice(HALO, -HALO))
    inner_fine = (slice(HALO * f, -HALO * f), slice(HALO * f, -HALO * f))
    counts = {}
    for band in store.config.bands:
        values = (
            read[band][:, *inner_fine]
            if band in read
            else np.stack(
                [_reflectance(store, s, band, box.coarser(stored_factor(band))) for s in task.scenes]
            )
        )
        counts[band] = _reference_band(values, usable[:, *inner], weights[:, *inner], date)
    # All that the mask calls clear counts: what the outlier rules leave of a hazy scene looks as clear as the best.
    seen = stack.clear[:, *inner]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        windows=np.array(task.windows),
        scenes=np.array([s.id for s in task.scenes]),
        keep=np.packbits(keep[:, *inner], axis=-1),
        least=numbers[least[inner]].astype(np.int32),
        hot=composite.hot(reference[0], reference[1])[inner],
        clear=seen.sum(axis=(1, 2)),
        haze=(weights[date][:, *inner] * seen).sum(axis=(1, 2)),
        **counts,
    )
    store.write_bytes(task.key, buffer.getvalue())


def _least_hazy(
    hot: NDArray[np.float32], keep: NDArray[np.bool_], shadow: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(row, col) scene that shows where none is kept, −1 elsewhere: the least hazy one out of shadow."""
    known = np.isfinite(hot)
    # Shadow has the lowest HOT of all, so that it comes after every cloud.
    hazy = np.where(known, hot + 10 * shadow, np.inf)
    return np.where(keep.any(axis=0) | ~known.any(axis=0), -1, hazy.argmin(axis=0))


def _reference_band(
    values: NDArray[np.float32],
    usable: NDArray[np.float32],
    weights: NDArray[np.float32],
    date: NDArray[np.int64],
) -> NDArray[np.int16]:
    """The reference of a band on its stored grid, int16.

    Args:
        values: (scene, row, col) reflectance on that grid.
        usable, weights: (scene, …) and (date, …) on the mask grid.
    """
    ratio = (values.shape[1] // usable.shape[1], usable.shape[1] // values.shape[1])
    u, w = (_matched(a, ratio) for a in (usable, weights))
    rho = composite.weighted_median(composite.by_date(values, u, date), w)
    return np.where(np.isfinite(rho), np.rint(np.nan_to_num(rho) / SCALE), NODATA).astype(np.int16)


def _matched(array: NDArray[Any], ratio: tuple[int, int]) -> NDArray[Any]:
    """(…, row, col) array of the mask grid on a band's grid: repeated or thinned."""
    finer, coarser = ratio
    if finer > 1:
        return array.repeat(finer, axis=-2).repeat(finer, axis=-1)
    return array[..., ::coarser, ::coarser] if coarser > 1 else array


def _reflectance(store: Store, scene: Scene, band: str, box: PixelBox) -> NDArray[np.float32]:
    """A band's reflectance on a box of its stored grid, NaN without data."""
    covers = scene.box.coarser(stored_factor(band))
    values = read_box(store.raster_path(scene.band_key(band)), covers, box, NODATA)
    return np.where(values == NODATA, np.nan, values * np.float32(SCALE)).astype(np.float32)


def _thinned(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """(…, row, col) means of factor × factor pixels, NaN where one of them is."""
    if factor == 1:
        return values
    *first, h, w = values.shape
    cut = values.reshape(*first, h // factor, factor, w // factor, factor)
    return np.asarray(cut.mean(axis=(-3, -1)), np.float32)


def _classes(store: Store, scene: Scene, box: PixelBox) -> NDArray[np.uint8]:
    covers = scene.box.coarser(store.mask_factor)
    return read_box(store.raster_path(scene.key(MASK)), covers, box, 0).astype(np.uint8)


def distance_weight(usable: NDArray[np.bool_], pixel: float) -> NDArray[np.float32]:
    """min(d / RAMP, 1), d the distance in metres to the nearest unusable pixel."""
    if usable.all():
        return np.ones(usable.shape, np.float32)
    d = ndimage.distance_transform_edt(usable) * pixel
    return np.minimum(d / RAMP, 1).astype(np.float32)


# --- weights and differences -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _SceneTask:
    store_url: str
    scene: Scene
    references: str
    weights: str
    differences: str
    order: tuple[str, ...]


@dataclass(frozen=True)
class _Weighed:
    id: str
    key: str
    hash: str
    haze: float


def _weigh_scene(task: _SceneTask) -> _Weighed:
    """Writes a scene's weight raster and its strips' differences to the reference."""
    store, scene = Store(task.store_url), task.scene
    grid, mask_grid = store.grid(scene.epsg), store.mask_grid(scene.epsg)
    key = f"{task.weights}/{scene.id}-{scene.rev}.tif"
    note = f"{task.weights}/{scene.id}-{scene.rev}.json"
    if store.exists(note):
        known = store.read_json(note)
        return _Weighed(scene.id, key, known["hash"], known["haze"])
    box = scene.box.coarser(store.mask_factor)
    keep, least, reference_hot = (
        np.zeros(box.shape, bool),
        np.zeros(box.shape, bool),
        np.full(box.shape, np.nan, np.float32),
    )
    reference = {
        b: np.full(scene.box.coarser(stored_factor(b)).shape, np.nan, np.float32) for b in store.config.bands
    }
    number = task.order.index(scene.id)
    seen, clear_haze = 0, 0.0
    for windows, arrays in _chunks_over(store, scene, grid, task.references):
        at = PixelBox(*(v * mask_grid.window for v in windows)).intersection(box)
        chunk = PixelBox(*(v * mask_grid.window for v in windows))
        row = arrays["scenes"].tolist().index(scene.id)
        seen += int(arrays["clear"][row])
        clear_haze += float(arrays["haze"][row])
        bits = np.unpackbits(arrays["keep"][row], axis=-1, count=chunk.width).astype(bool)
        keep[at.within(box)] = bits[at.within(chunk)]
        least[at.within(box)] = (arrays["least"] == number)[at.within(chunk)]
        reference_hot[at.within(box)] = arrays["hot"][at.within(chunk)]
        for band, whole in reference.items():
            f = stored_factor(band)
            covers = scene.box.coarser(f)
            side = grid.window // f
            there = PixelBox(*(v * side for v in windows))
            common = there.intersection(covers)
            values = arrays[band][common.within(there)]
            whole[common.within(covers)] = np.where(values == NODATA, np.nan, values * np.float32(SCALE))
    rho = {b: _reflectance(store, scene, b, scene.box.coarser(stored_factor(b))) for b in reference}
    blue, red = (_thinned(rho[b], store.mask_factor) for b in ("B02", "B04"))
    excess = composite.smoothed(composite.hot(blue, red) - reference_hot)
    # Where there is no reference nothing says that the scene is hazy.
    haze = np.where(np.isfinite(excess), composite.haze_weight(np.nan_to_num(excess)), 1).astype(np.float32)
    raw = np.rint(255 * distance_weight(keep, mask_grid.pixel) * haze)
    weight = np.where(keep, np.maximum(raw, 2), least).astype(np.uint8)
    clarity = clear_haze / seen if seen else 0.0
    _write_weight(store, scene, weight, key)
    tables = []
    for band in store.config.bands:
        tables.append(_difference(scene, grid, band, rho[band], weight, reference[band]))
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(tables, promote_options="permissive"), buffer, compression="zstd")
    store.write_bytes(_difference_key(task.differences, scene), buffer.getvalue())
    digested = digest(weight.tobytes()).hex()
    store.write_json(note, {"hash": digested, "haze": clarity})
    return _Weighed(scene.id, key, digested, clarity)


def _chunks_over(store: Store, scene: Scene, grid: Grid, folder: str) -> Iterator[tuple[PixelBox, Any]]:
    """The chunks of the reference a scene lies in: their windows and arrays."""
    r, side = grid.window_range(scene.box), _chunk_side(grid.window)
    for cy in range(r.row0 // side, -(-r.row1 // side)):
        for cx in range(r.col0 // side, -(-r.col1 // side)):
            data = store.read_bytes(f"{_chunk_prefix(folder, scene.epsg, cy, cx)}/reference.npz")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                yield PixelBox(*map(int, arrays["windows"])), arrays


def _write_weight(store: Store, scene: Scene, weight: NDArray[np.uint8], key: str) -> None:
    grid = store.mask_grid(scene.epsg)
    temporary = store.scratch() / Path(key).name
    write_cog(
        temporary,
        weight,
        grid.transform(scene.box.coarser(store.mask_factor)),
        f"EPSG:{scene.epsg}",
        nodata=None,
        overview="weight",
        levels=grid.window.bit_length() - 1,
        description="weight",
    )
    store.publish_file(temporary, key)


def _difference(
    scene: Scene,
    grid: Grid,
    band: str,
    rho: NDArray[np.float32],
    weight: NDArray[np.uint8],
    reference: NDArray[np.float32],
) -> pa.Table:
    f = stored_factor(band)
    ratio = (rho.shape[0] // weight.shape[0], weight.shape[0] // rho.shape[0])
    usable = _matched(weight, ratio) >= 2
    d, n = strip_medians(
        np.where(usable, rho - reference, np.nan).astype(np.float32), grid.window // f, DEPTH // f
    )
    m, _ = strip_medians(
        np.where(usable & np.isfinite(reference), rho, np.nan).astype(np.float32),
        grid.window // f,
        DEPTH // f,
    )
    windows = grid.window_range(scene.box)
    table = strip_table(Strips(windows, d[..., None], n[..., None]), (band,), ("d", "n"))
    medians = strip_table(Strips(windows, m[..., None], n[..., None]), (band,), ("m", "n"))
    return table.append_column("m", medians.column("m"))


def _difference_key(folder: str, scene: Scene) -> str:
    return f"{folder}/{scene.mgrs}/{scene.id}-{scene.rev}.parquet"


# --- gains -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """Strips of all scenes of a zone on its common rectangle of windows.

    m, d: (scene, wy, wx, edge, segment, band) float32; n: int32.
    """

    windows: PixelBox
    m: NDArray[np.float32]
    d: NDArray[np.float32]
    n: NDArray[np.int32]


def _solve_zone(
    store: Store,
    scenes: Sequence[Scene],
    kept: set[str],
    previous: Normalized | None,
    result: Normalized,
    base: str,
    workers: int,
    console: Console | None,
) -> dict[str, TileGains]:
    """Gains of the scenes of a zone that are not kept."""
    bands = store.config.bands
    window = store.config.window
    measured = _measured(store, scenes, kept, previous, result, base)
    clarity = np.array([result.haze[s.id] for s in scenes])
    free = np.array([s.id not in kept for s in scenes])
    tasks = [
        _BandTask(measured, k, band, clarity, free, window, store.config.pixel * window)
        for k, band in enumerate(bands)
    ]
    solved = _all(
        executor.run(
            _solve_band, tasks, workers=workers, label="gains", name=lambda t: t.band, console=console
        )
    )
    by_band = {s.band: s for s in solved}
    out: dict[str, TileGains] = {}
    for mgrs in sorted({s.mgrs for s, f in zip(scenes, free, strict=True) if f}):
        members = [(i, s) for i, s in enumerate(scenes) if s.mgrs == mgrs]
        r = store.grid(scenes[0].epsg).window_range(members[0][1].box)
        for _, s in members[1:]:
            r = r.union(store.grid(s.epsg).window_range(s.box))
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
                "clamped": int(((gain < gains.GAIN_LIMITS[0]) | (gain > gains.GAIN_LIMITS[1])).sum()),
            },
        )
    return out


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


def _measured(
    store: Store,
    scenes: Sequence[Scene],
    kept: set[str],
    previous: Normalized | None,
    result: Normalized,
    base: str,
) -> _Measured:
    """Reads the strips of all scenes; those of kept scenes with their gains applied."""
    bands = store.config.bands
    grid = store.grid(scenes[0].epsg)
    r = grid.window_range(scenes[0].box)
    for s in scenes[1:]:
        r = r.union(grid.window_range(s.box))
    parts = []
    for s in scenes:
        folder = Path(result.weights[s.id][0]).parent.name
        data = store.read_bytes(_difference_key(f"{base}/differences/{folder}", s))
        table = pq.read_table(io.BytesIO(data))
        d = strips_from_table(table, r, bands, ("d", "n"))
        m = strips_from_table(table, r, bands, ("m", "n")).median
        if s.id in kept and previous is not None:
            m = _with_gains(m, d.median, r, previous.gains[s.mgrs], s.id, grid.window)
            parts.append((m[0], m[1], d.count))
        else:
            parts.append((m, d.median, d.count))
    m_all, d_all, n_all = (np.stack(p) for p in zip(*parts, strict=True))
    return _Measured(r, m_all, d_all, n_all)


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
    f = stored_factor(task.band)
    m, d, n = (v[..., task.k] for v in (task.measured.m, task.measured.d, task.measured.n))
    full = (task.window // f // 2) * (DEPTH // f)
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
        weight=np.minimum(n[at] / full, 1) * task.clarity[scene],
    )
    scenes = len(task.clarity)
    gain, offset = np.ones((scenes, *shape)), np.zeros((scenes, *shape))
    rms = np.full(scenes, np.nan)
    if not len(scene):
        return _BandGains(task.band, gain, offset, rms)
    prior = solve.prior_width(task.clarity, task.band)
    _, u = solve.solve_joint(obs, scenes=scenes, shape=shape, prior=prior, free=task.free)
    goal = solve.target(obs.r, u[obs.strip])
    for i in np.flatnonzero(task.free):
        o = scene == i
        gain[i], offset[i], rms[i] = solve.solve_scene(
            obs.m[o], goal[o], obs.weight[o], obs.corners[o], obs.hats[o], shape=shape, spacing=task.spacing
        )
    return _BandGains(task.band, gain, offset, rms)


def strips_of(store: Store, scene: Scene) -> Strips:
    """The clear-pixel strips a scene was made with, on its own windows."""
    table = pq.read_table(io.BytesIO(store.read_bytes(scene.key(STRIPS))))
    return strips_from_table(table, store.grid(scene.epsg).window_range(scene.box), store.config.bands)


def require_bands(store: Store) -> None:
    """Checks that a store holds the bands that haze is told by.

    Raises:
        StoreError: B02, B04 or B08 is missing.
    """
    missing = {"B02", "B04", "B08"} - set(store.config.bands)
    if missing:
        raise StoreError(
            f"normalization needs B02, B04 and B08; the store lacks {', '.join(sorted(missing))}: make one with them"
        )
