"""The reference that scenes of a period are compared with, and what that comparison leaves of each, square by square.

A square of whole windows, a chunk, is anchored to the zone's origin and done by one process: what it needs of its
surroundings is read with it, so that no pixel depends on how the squares are cut.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio
import shapely
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT

from terrazzo.bands import NODATA, SCALE, MaskClass, stored_factor
from terrazzo.bulk.windowed import windowed
from terrazzo.errors import StoreError
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic.kernels import weighted_median
from terrazzo.precompute.normalize import composite
from terrazzo.precompute.normalize.distance import RAMP, distance_weight
from terrazzo.precompute.normalize.rasters import Rasters
from terrazzo.scene import Scene
from terrazzo.store import Store
from terrazzo.thinning import thinned

CHUNK = 1024
"""Side in pixels of a chunk; bounds the memory."""
MOST_REFLECTANCE = 2.0
"""Median of a composite above which its numbers are no reflectance."""
HALO = 8
"""Rim of mask pixels that smoothing, opening and dilation reach over."""
SEEN = (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW, MaskClass.TERRAIN_SHADOW)
"""Classes that a mosaic may show."""


@dataclass(frozen=True)
class Chunk:
    """A square of windows of a zone to be done, and the scenes that lie in it.

    Attributes:
        cuts: GeoJSON geometry in degrees of what counts as no data, by scene.
    """

    store_url: str
    epsg: int
    windows: PixelBox
    scenes: tuple[Scene, ...]
    prefix: str
    order: tuple[str, ...]
    cuts: Mapping[str, str] = field(default_factory=dict)
    external: str | None = None

    def __str__(self) -> str:
        return f"EPSG:{self.epsg} window {self.windows.row0},{self.windows.col0}"


@dataclass(frozen=True)
class Verdict:
    """What the comparison leaves of the scenes in a chunk, on the mask grid.

    Attributes:
        windows: the chunk's windows.
        scenes: ids, in the order of the arrays.
        keep: (scene, row, col / 8) packed bits: the scene may show here.
        hazy: (scene, row, col / 8) packed bits: the scene may not show, but shows the ground through haze.
        least: (row, col) number in the period of the scene that shows where none is kept, −1 elsewhere.
        hot: (row, col) HOT of the reference.
        clear, haze: (scene,) pixels the mask calls clear, and the sum of their haze weights.
    """

    windows: PixelBox
    scenes: list[str]
    keep: NDArray[np.uint8]
    hazy: NDArray[np.uint8]
    least: NDArray[np.int32]
    hot: NDArray[np.float32]
    clear: NDArray[np.int64]
    haze: NDArray[np.float64]


def chunks(
    store: Store,
    scenes: Sequence[Scene],
    dirty: Sequence[Scene],
    folder: str,
    cuts: Mapping[str, str],
    external: str | None = None,
) -> Iterator[Chunk]:
    """The chunks that the scenes to be weighed, `dirty`, touch.

    Args:
        external: path of the composite that strips are compared with, instead of the scenes' own median.
    """
    n = store.config.window
    side = _side(n)
    wanted = {(s.epsg, wy // side, wx // side) for s in dirty for wy, wx in store.grid(s.epsg).windows(s.box)}
    order = tuple(s.id for s in scenes)
    for epsg, cy, cx in sorted(wanted):
        whole = PixelBox(cy * side, cx * side, (cy + 1) * side, (cx + 1) * side)
        box = PixelBox(*(v * n for v in whole)).grown(HALO * store.mask_factor)
        here = tuple(s for s in scenes if s.epsg == epsg and not s.box.intersection(box).empty)
        covered = reduce(PixelBox.union, (store.grid(epsg).window_range(s.box) for s in here))
        cut = {s.id: cuts[s.id] for s in here if s.id in cuts}
        yield Chunk(
            store.url,
            epsg,
            whole.intersection(covered),
            here,
            _prefix(folder, epsg, cy, cx),
            order,
            cut,
            external,
        )


def chunk_prefixes(store: Store, epsg: int, box: PixelBox, folder: str) -> list[str]:
    """Where the chunks lie that a box of a zone's grid touches."""
    r, side = store.grid(epsg).window_range(box), _side(store.config.window)
    return [
        _prefix(folder, epsg, cy, cx)
        for cy in range(r.row0 // side, -(-r.row1 // side))
        for cx in range(r.col0 // side, -(-r.col1 // side))
    ]


def read_verdict(store: Store, prefix: str) -> Verdict:
    """The verdict of a finished chunk."""
    arrays = _read(store, f"{prefix}/verdict.npz.zst")
    return Verdict(
        PixelBox(*map(int, arrays["windows"])),
        arrays["scenes"].tolist(),
        *(arrays[n] for n in ("keep", "hazy", "least", "hot", "clear", "haze")),
    )


def read_reference(store: Store, prefix: str) -> dict[str, NDArray[np.int16]]:
    """The reference of a finished chunk by band, on the bands' own grids, `NODATA` where there is none."""
    return _read(store, f"{prefix}/reference.npz.zst")


def _side(window: int) -> int:
    """Windows to a side of a chunk."""
    return max(1, CHUNK // window)


def _prefix(folder: str, epsg: int, cy: int, cx: int) -> str:
    return f"{folder}/{epsg}/{cy}_{cx}"


def _read(store: Store, key: str) -> dict[str, NDArray[Any]]:
    plain = pa.input_stream(pa.BufferReader(store.read_bytes(key)), compression="zstd").read()
    with np.load(io.BytesIO(plain), allow_pickle=False) as arrays:
        return {n: arrays[n] for n in arrays.files}


def _write(store: Store, key: str, arrays: dict[str, NDArray[Any]]) -> None:
    plain, packed = io.BytesIO(), pa.BufferOutputStream()
    np.savez(plain, **arrays)  # type: ignore[arg-type]
    # Level 1 of zstd packs at a tenth of the cost of savez_compressed's zlib.
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(plain.getbuffer())
    store.write_bytes(key, packed.getvalue().to_pybytes())


def is_done(store: Store, chunk: Chunk) -> bool:
    """Whether a chunk is complete."""
    return store.exists(f"{chunk.prefix}/verdict.npz.zst")


def make_chunk(chunk: Chunk) -> None:
    """Writes a chunk's reference and verdict, if they are not there yet."""
    store = Store(chunk.store_url)
    if not is_done(store, chunk):
        with Rasters(store) as rasters:
            _make(store, rasters, chunk)


def _make(store: Store, rasters: Rasters, chunk: Chunk) -> None:
    mask_grid = store.mask_grid(chunk.epsg)
    n, f = store.config.window, store.mask_factor
    box = PixelBox(*(v * n for v in chunk.windows))
    wide = box.coarser(f).grown(HALO)
    date = np.unique([s.datatake for s in chunk.scenes], return_inverse=True)[1]
    fine = PixelBox(*(v * f for v in wide))
    reach = int(np.ceil(RAMP / mask_grid.pixel)) + 1
    near, scenes = ("B02", "B04", "B08"), chunk.scenes
    found = rasters.together(
        [
            *(partial(rasters.band, s, b, fine) for b in near for s in scenes),
            *(partial(rasters.classes, s, wide.grown(reach)) for s in scenes),
        ]
    )
    *parts, classes = (found[i : i + len(scenes)] for i in range(0, len(found), len(scenes)))
    read = dict(zip(near, parts, strict=True))
    around = (slice(reach, -reach), slice(reach, -reach))
    for number, scene in enumerate(chunk.scenes):
        if scene.id in chunk.cuts:
            gone = _burnt(chunk.cuts[scene.id], mask_grid, wide.grown(reach))
            classes[number] = np.where(gone, MaskClass.NODATA, classes[number]).astype(np.uint8)
            for values in read.values():
                values[number][gone[around].repeat(f, axis=0).repeat(f, axis=1)] = NODATA
    blue, red, nir = (
        np.stack([thinned(v, f, NODATA) * np.float32(SCALE) for v in read[b]]) for b in ("B02", "B04", "B08")
    )
    distance = np.stack([distance_weight(np.isin(c, SEEN), mask_grid.pixel)[around] for c in classes])
    shadow = np.stack([c[around] == MaskClass.SHADOW for c in classes])
    seen = np.stack([np.isin(c[around], SEEN) for c in classes])
    clear = seen & np.isfinite(blue)
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
    first_seen = [
        min(s.datetime for s, n in zip(chunk.scenes, date, strict=True) if n == d) for d in np.unique(date)
    ]
    keep = stack.clear & (
        ~out | composite.lasting(stack, reference, np.argsort(np.array([t.timestamp() for t in first_seen])))
    )
    # Without blue nothing can be compared; the other bands are shown on the mask's word.
    keep |= seen & ~np.isfinite(blue)
    hazy = np.stack(
        [composite.hazy(b, r, x, reference) for b, r, x in zip(stack.blue, stack.red, stack.nir, strict=True)]
    )
    least = _least_hazy(composite.hot(blue, red), keep, shadow)
    numbers = np.array([chunk.order.index(s.id) for s in chunk.scenes] + [-1])
    inner = (slice(HALO, -HALO), slice(HALO, -HALO))
    inner_fine = (slice(HALO * f, -HALO * f), slice(HALO * f, -HALO * f))

    def observed(band: str) -> NDArray[np.int16] | None:
        if chunk.external is not None:
            return None
        if band in read:
            return np.stack([v[inner_fine] for v in read[band]])
        own = box.coarser(stored_factor(band))
        return np.stack(rasters.together([partial(rasters.band, s, band, own) for s in scenes]))

    def level(band: str, values: NDArray[np.int16] | None) -> NDArray[np.int16]:
        if values is None:
            return read_composite(str(chunk.external), band, store, chunk.epsg, box)
        return date_median(values, usable[:, *inner], weights[:, *inner], date)

    # The next band is read while one is merged: two are in memory.
    references = dict(windowed(store.config.bands, observed, level, lambda _, made: made, ahead=1))
    _write(store, f"{chunk.prefix}/reference.npz.zst", references)
    # All that the mask calls clear counts: what the outlier rules leave of a hazy scene looks as clear as the best.
    judged = stack.clear[:, *inner]
    verdict = {
        "windows": np.array(chunk.windows),
        "scenes": np.array([s.id for s in chunk.scenes]),
        "keep": np.packbits(keep[:, *inner], axis=-1),
        "hazy": np.packbits((hazy & stack.clear & ~keep)[:, *inner], axis=-1),
        "least": numbers[least[inner]].astype(np.int32),
        "hot": composite.hot(reference[0], reference[1])[inner],
        "clear": judged.sum(axis=(1, 2)),
        "haze": (weights[date][:, *inner] * judged).sum(axis=(1, 2), dtype=np.float64),
    }
    # Last: its presence says that the chunk is complete.
    _write(store, f"{chunk.prefix}/verdict.npz.zst", verdict)


def _least_hazy(
    hot: NDArray[np.float32], keep: NDArray[np.bool_], shadow: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(row, col) scene that shows where none is kept, −1 elsewhere: the least hazy one out of shadow."""
    known = np.isfinite(hot)
    # Shadow has the lowest HOT of all, so that it comes after every cloud.
    hazy = np.where(known, hot + 10 * shadow, np.inf)
    return np.where(keep.any(axis=0) | ~known.any(axis=0), -1, hazy.argmin(axis=0))


def date_median(
    values: NDArray[np.int16],
    usable: NDArray[np.float32],
    weights: NDArray[np.float32],
    date: NDArray[np.int64],
) -> NDArray[np.int16]:
    """(row, col) weighted, interpolated median of a band over dates; a date's scenes are averaged by weight before.

    Args:
        values: (scene, row, col) stored reflectance on the band's grid.
        usable: (scene, …) weight of each scene within its date, on the mask grid; 0 does not count.
        weights: (date, …) weight of each date, on the mask grid.
        date: (scene,) number of each scene's date.
    """
    finer, coarser = values.shape[1] // usable.shape[1], usable.shape[1] // values.shape[1]
    out = np.full(values.shape[1:], NODATA, np.int16)
    _date_median(values, usable, weights, date, max(finer, 1), max(coarser, 1), out)
    return out


@njit(cache=True, nogil=True)
def _date_median(values, usable, weights, date, finer, coarser, out):  # pragma: no cover
    scenes, rows, cols = values.shape
    dates = weights.shape[0]
    total, share = np.empty(dates, np.float64), np.empty(dates, np.float64)
    v, w = np.empty(dates, np.float64), np.empty(dates, np.float64)
    ordered = np.empty((2, dates), np.float64)
    for r in range(rows):
        y = r * coarser // finer
        for c in range(cols):
            x = c * coarser // finer
            total[:] = 0.0
            share[:] = 0.0
            for s in range(scenes):
                u = usable[s, y, x]
                if u > 0 and values[s, r, c] != NODATA:
                    total[date[s]] += u * values[s, r, c]
                    share[date[s]] += u
            n = 0
            for d in range(dates):
                if share[d] > 0 and weights[d, y, x] > 0:
                    v[n], w[n] = total[d] / share[d], weights[d, y, x]
                    n += 1
            if n:
                out[r, c] = np.int16(np.rint(weighted_median(v, w, n, ordered)))


def _burnt(cut: str, grid: Grid, box: PixelBox) -> NDArray[np.bool_]:
    """Pixels of a box of a grid that a GeoJSON geometry in degrees touches."""
    to_grid = Transformer.from_crs(4326, grid.epsg, always_xy=True)
    there = shapely.transform(
        shapely.from_geojson(cut), lambda xy: np.stack(to_grid.transform(xy[:, 0], xy[:, 1]), -1)
    )
    burnt = rasterize([there], box.shape, transform=grid.transform(box), all_touched=True)
    return np.asarray(burnt, bool)


def read_composite(path: str, band: str, store: Store, epsg: int, box: PixelBox) -> NDArray[np.int16]:
    """A band of another composite on a box of the zone grid at the band's own pixel, bilinear, `NODATA` beyond it.

    Raises:
        StoreError: the raster cannot be read, has no such band or no coordinate system, or holds no reflectance.
    """
    grid, f = store.grid(epsg), stored_factor(band)
    own = box.coarser(f)
    try:
        with rasterio.open(path) as file:
            if file.crs is None:
                raise StoreError(
                    f"reference {path} has no coordinate system: gdal_edit.py -a_srs gives it one"
                )
            if band not in file.descriptions:
                raise StoreError(
                    f"reference {path} has no band named {band}: its bands' descriptions name them"
                )
            number = file.descriptions.index(band) + 1
            scale, offset = file.scales[number - 1], file.offsets[number - 1]
            with WarpedVRT(
                file, crs=f"EPSG:{epsg}", transform=grid.transform(box) @ Affine.scale(f), height=own.height,
                width=own.width, resampling=Resampling.bilinear, dtype="float32", nodata=np.nan,
                # Else GDAL takes a pixel for valid where any band is, and mixes the gap of one band into its neighbours.
                UNIFIED_SRC_NODATA="NO",
            ) as warped:  # fmt: skip
                rho = warped.read(number) * scale + offset
    except RasterioError as error:
        raise StoreError(f"reference {path}: {error}") from None
    known = np.isfinite(rho)
    if known.any() and (middle := float(np.median(rho[known]))) > MOST_REFLECTANCE:
        raise StoreError(
            f"reference {path}, band {band}: {middle:g} is no reflectance; the file must tell its scale"
            " (gdal_edit.py -scale 0.0001, for counts of 1e-4)"
        )
    counts = np.clip(np.rint(np.where(known, rho, 0) / SCALE), -32767, 32767)
    return np.where(known, counts, NODATA).astype(np.int16)
