"""The reference that scenes of a period are compared with, and what that comparison leaves of each, square by square.

A square of whole windows, a chunk, is anchored to the zone's origin and done by one process: what it needs of its
surroundings is read with it, so that no pixel depends on how the squares are cut.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import rasterize
from scipy import ndimage

from terrazzo.bands import NODATA, SCALE, MaskClass, stored_factor
from terrazzo.bulk.windowed import windowed
from terrazzo.grid import Grid, PixelBox
from terrazzo.places import PLACES, square_prefix, windows_of_square
from terrazzo.precompute.normalize import composite
from terrazzo.precompute.normalize.distance import RAMP, distance_weight
from terrazzo.precompute.normalize.external import read_composite
from terrazzo.precompute.normalize.rasters import Rasters
from terrazzo.scene import Scene
from terrazzo.store import Store
from terrazzo.thinning import thinned

AROUND = 500.0
"""Metres of the square around a pixel in which clear ground proves that no cloud lies over all."""
HALO = 8
"""Rim of mask pixels that smoothing, opening and dilation reach over."""
SEEN = (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW, MaskClass.TERRAIN_SHADOW)
"""Classes that a mosaic may show."""
NEAR = ("B02", "B04", "B08")
"""Bands that scenes are compared in."""
MOST_PIXELS = 8 << 20
"""Pixels of all scenes together that are compared at once: bounds the memory where many dates lie in a square."""
LEAST_PART = 64
"""Side in pixels of the smallest part of a square: whole bytes of packed bits, and whole pixels of every band."""


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
        haze_base: (index, row, col) `composite.indices` of the reference.
        clear, haze: (scene,) pixels the mask calls clear, and the sum of their haze weights.
        remembered: (scene,) pixels that the mask flags and the dates remember as ground.
    """

    windows: PixelBox
    scenes: list[str]
    keep: NDArray[np.uint8]
    hazy: NDArray[np.uint8]
    least: NDArray[np.int32]
    haze_base: NDArray[np.float32]
    clear: NDArray[np.int64]
    haze: NDArray[np.float64]
    remembered: NDArray[np.int64]


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
    side = windows_of_square(n)
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
            square_prefix(folder, epsg, cy, cx),
            order,
            cut,
            external,
        )


def chunk_prefixes(store: Store, epsg: int, box: PixelBox, folder: str) -> list[str]:
    """Where the chunks lie that a box of a zone's grid touches."""
    r, side = store.grid(epsg).window_range(box), windows_of_square(store.config.window)
    return [
        square_prefix(folder, epsg, cy, cx)
        for cy in range(r.row0 // side, -(-r.row1 // side))
        for cx in range(r.col0 // side, -(-r.col1 // side))
    ]


def read_verdict(store: Store, prefix: str) -> Verdict:
    """The verdict of a finished chunk."""
    arrays = store.read_arrays(f"{prefix}/verdict.npz.zst")
    return Verdict(
        PixelBox(*map(int, arrays["windows"])),
        arrays["scenes"].tolist(),
        *(arrays[n] for n in ("keep", "hazy", "least", "haze_base", "clear", "haze", "remembered")),
    )


def read_reference(store: Store, prefix: str) -> dict[str, NDArray[np.int16]]:
    """The reference of a finished chunk by band, on the bands' own grids, `NODATA` where there is none."""
    return store.read_arrays(f"{prefix}/reference.npz.zst")


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


class _ChunkPlace(NamedTuple):
    """Where a part of a chunk lies.

    Attributes:
        box: its pixels of the zone grid; wide: its mask pixels and the rim `HALO` around them.
        pixel: side of a mask pixel in metres, factor: in pixels of the zone grid.
    """

    box: PixelBox
    wide: PixelBox
    pixel: float
    factor: int

    @property
    def inner(self) -> tuple[slice, slice]:
        """The chunk in arrays of `wide`."""
        return slice(HALO, -HALO), slice(HALO, -HALO)

    @property
    def inner_fine(self) -> tuple[slice, slice]:
        """The chunk in arrays of `wide` on the zone grid."""
        rim = HALO * self.factor
        return slice(rim, -rim), slice(rim, -rim)


class _ChunkView(NamedTuple):
    """What the scenes of a chunk show, on its mask pixels and the rim.

    Attributes:
        stored: (scene, row, col) stored reflectance of `NEAR` on the zone grid, by band.
        seen: (scene, row, col) the mask lets a mosaic show the pixel; shadow: it is one.
        distance: (scene, row, col) 0–1 by the distance to what a mosaic may not show.
        around: (scene, row, col) share of what lies within `AROUND` that a mosaic may show.
        date: (scene,) number of the pass; moments: (date,) its first scene's time in seconds.
    """

    stored: dict[str, list[NDArray[np.int16]]]
    seen: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    distance: NDArray[np.float32]
    around: NDArray[np.float32]
    date: NDArray[np.int64]
    moments: NDArray[np.float64]


class _Judged(NamedTuple):
    """What the comparison leaves of scenes.

    Attributes:
        stack: of the scenes, clear where they are.
        usable: (scene, row, col) weight of a scene within its date; weights: (date, row, col) of a date.
        reference: (3, row, col) blue, red and near infrared that most dates agree on.
        keep, hazy: (scene, row, col) the scene may show; it may not, but shows the ground through haze.
        places: what the dates remember as ground.
    """

    stack: composite.Stack
    usable: NDArray[np.float32]
    weights: NDArray[np.float32]
    reference: NDArray[np.float32]
    keep: NDArray[np.bool_]
    hazy: NDArray[np.bool_]
    places: composite.GroundPlaces


def _make(store: Store, rasters: Rasters, chunk: Chunk) -> None:
    n = store.config.window
    box = PixelBox(*(v * n for v in chunk.windows))
    parts = _parts(box, len(chunk.scenes))
    compared = [_compare(store, rasters, chunk, part) for part in parts]

    def whole(name: str) -> NDArray[Any]:
        return _put_together(box, parts, [c.rasters[name] for c in compared])

    bands = {b: _put_together(box, parts, [c.reference[b] for c in compared]) for b in store.config.bands}
    _write(store, f"{chunk.prefix}/reference.npz.zst", bands)
    verdict = {
        "windows": np.array(chunk.windows),
        "scenes": np.array([s.id for s in chunk.scenes]),
        **{name: whole(name) for name in ("keep", "hazy", "least", "haze_base")},
        # Exact in any order: counts, and float32 of at least LEAST_WEIGHT summed in float64.
        **{name: np.sum([c.sums[name] for c in compared], axis=0) for name in compared[0].sums},
    }
    _write_places(store, chunk, box, {name: whole(name) for name in ("level", "alike", "flagged", "seen")})
    # Last: its presence says that the chunk is complete.
    _write(store, f"{chunk.prefix}/verdict.npz.zst", verdict)


def _parts(box: PixelBox, scenes: int) -> list[PixelBox]:
    """A box of pixels in halves of halves, until all scenes have no more than `MOST_PIXELS` in a part."""
    tall = box.height >= box.width
    half = (box.height if tall else box.width) // (2 * LEAST_PART) * LEAST_PART
    if scenes * box.height * box.width <= MOST_PIXELS or not half:
        return [box]
    row, col = (box.row0 + half, box.col1) if tall else (box.row1, box.col0 + half)
    first = PixelBox(box.row0, box.col0, row, col)
    second = PixelBox(row if tall else box.row0, box.col0 if tall else col, box.row1, box.col1)
    return [*_parts(first, scenes), *_parts(second, scenes)]


def _put_together(box: PixelBox, parts: Sequence[PixelBox], arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The array (…, row, col) of a box from those of its parts, on any coarser grid."""
    first = arrays[0]
    down, across = parts[0].height // first.shape[-2], parts[0].width // first.shape[-1]
    out = np.empty((*first.shape[:-2], box.height // down, box.width // across), first.dtype)
    for part, array in zip(parts, arrays, strict=True):
        row, col = (part.row0 - box.row0) // down, (part.col0 - box.col0) // across
        out[..., row : row + array.shape[-2], col : col + array.shape[-1]] = array
    return out


class _PartCompared(NamedTuple):
    """What the comparison leaves of a part of a chunk.

    Attributes:
        reference: by band, as in `read_reference`.
        rasters: the rasters of a `Verdict` and of `PLACES` (level in reflectance), by name.
        sums: the sums of a `Verdict` over the part, (scene,), by name.
    """

    reference: Mapping[str, NDArray[np.int16]]
    rasters: Mapping[str, NDArray[Any]]
    sums: Mapping[str, NDArray[Any]]


def _compare(store: Store, rasters: Rasters, chunk: Chunk, box: PixelBox) -> _PartCompared:
    """Compares what the scenes of a chunk show on a part of it."""
    f = store.mask_factor
    place = _ChunkPlace(box, box.coarser(f).grown(HALO), store.mask_grid(chunk.epsg).pixel, f)
    view = _look(store, rasters, chunk, place)
    judged = _judge(view, f)
    inner, stack = place.inner, judged.stack
    least = _least_hazy(composite.hot(stack.blue, stack.red), judged.keep, view.shadow)
    numbers = np.array([chunk.order.index(s.id) for s in chunk.scenes] + [-1])
    # All that the mask calls clear counts: what the outlier rules leave of a hazy scene looks as clear as the best.
    clear = stack.clear[:, *inner]
    return _PartCompared(
        _references(store, rasters, chunk, place, view, judged),
        {
            "keep": np.packbits(judged.keep[:, *inner], axis=-1),
            "hazy": np.packbits((judged.hazy & stack.clear & ~judged.keep)[:, *inner], axis=-1),
            "least": numbers[least[inner]].astype(np.int32),
            "haze_base": composite.indices(judged.reference[0], judged.reference[1])[:, *inner],
            **{name: getattr(judged.places, name)[inner] for name in ("level", "alike", "flagged", "seen")},
        },
        {
            "clear": clear.sum(axis=(1, 2)),
            "haze": (judged.weights[view.date][:, *inner] * clear).sum(axis=(1, 2), dtype=np.float64),
            "remembered": (clear & ~view.seen[:, *inner]).sum(axis=(1, 2)),
        },
    )


def _write_places(store: Store, chunk: Chunk, box: PixelBox, places: Mapping[str, NDArray[Any]]) -> None:
    """Writes what the dates of a chunk remember as ground; nothing where that is none."""
    level = places["level"]
    known = np.isfinite(level)
    if not known.any():
        return
    stored = np.full(level.shape, NODATA, np.int16)
    stored[known] = np.rint(level[known] / SCALE).astype(np.int16)
    counts = {name: places[name] for name in ("alike", "flagged", "seen")}
    of_mask = np.array(box.coarser(store.mask_factor))
    _write(store, f"{chunk.prefix}/{PLACES}", {"box": of_mask, "level": stored, **counts})


def _look(store: Store, rasters: Rasters, chunk: Chunk, place: _ChunkPlace) -> _ChunkView:
    """Reads what the scenes show; what is cut out of them is not there."""
    scenes, f, mask_grid = chunk.scenes, place.factor, store.mask_grid(chunk.epsg)
    reach = int(np.ceil(RAMP / place.pixel)) + 1
    around, farther = (slice(reach, -reach), slice(reach, -reach)), place.wide.grown(reach)
    fine = PixelBox(*(v * f for v in place.wide))
    arrays = rasters.together(
        [
            *(partial(rasters.band, s, b, fine) for b in NEAR for s in scenes),
            *(partial(rasters.classes, s, farther) for s in scenes),
        ]
    )
    *parts, classes = (arrays[i : i + len(scenes)] for i in range(0, len(arrays), len(scenes)))
    stored = dict(zip(NEAR, parts, strict=True))
    for number, scene in enumerate(scenes):
        if scene.id in chunk.cuts:
            gone = _burnt(chunk.cuts[scene.id], mask_grid, farther)
            classes[number] = np.where(gone, MaskClass.NODATA, classes[number]).astype(np.uint8)
            for values in stored.values():
                values[number][gone[around].repeat(f, axis=0).repeat(f, axis=1)] = NODATA
    passes, date = np.unique([s.datatake for s in scenes], return_inverse=True)
    return _ChunkView(
        stored,
        np.stack([np.isin(c[around], SEEN) for c in classes]),
        np.stack([c[around] == MaskClass.SHADOW for c in classes]),
        np.stack([distance_weight(np.isin(c, SEEN), place.pixel)[around] for c in classes]),
        np.stack([_shown_around(c, place.pixel)[around] for c in classes]),
        date,
        np.array([min(s.datetime.timestamp() for s in scenes if s.datatake == p) for p in passes]),
    )


def _shown_around(classes: NDArray[np.uint8], pixel: float) -> NDArray[np.float32]:
    """(row, col) share of the pixels with data in a square of `AROUND` metres that a mosaic may show."""
    side = round(AROUND / pixel) | 1
    shown, known = (
        ndimage.uniform_filter(at.astype(np.float32), side, mode="nearest")
        for at in (np.isin(classes, SEEN), classes != MaskClass.NODATA)
    )
    return np.asarray(shown / np.maximum(known, 1e-4))


def _judge(view: _ChunkView, factor: int) -> _Judged:
    """Compares scenes with what most dates agree on."""
    blue, red, nir = (
        np.stack([thinned(v, factor, NODATA) * np.float32(SCALE) for v in view.stored[b]]) for b in NEAR
    )
    stack = composite.Stack(blue, red, nir, view.seen & np.isfinite(blue), view.distance, view.date)
    places = composite.remembered(stack, view.around)
    stack = stack._replace(clear=stack.clear | places.shown)
    weights = composite.date_weights(stack)
    usable = np.where(stack.clear, np.maximum(stack.weight, 1e-3), 0).astype(np.float32)
    reference = np.stack(
        [
            composite.weighted_median(composite.by_date(v, usable, view.date), weights)
            for v in (stack.blue, stack.red, stack.nir)
        ]
    )
    scenes = list(zip(stack.blue, stack.red, stack.nir, strict=True))
    out = np.stack([composite.outliers(*bands, reference) for bands in scenes])
    lasting = composite.lasting(stack, reference, np.argsort(view.moments))
    # Without blue nothing can be compared; the other bands are shown on the mask's word.
    keep = (stack.clear & (~out | lasting)) | (view.seen & ~np.isfinite(blue))
    hazy = np.stack([composite.hazy(*bands, reference) for bands in scenes])
    return _Judged(stack, usable, weights, reference, keep, hazy, places)


def _references(
    store: Store, rasters: Rasters, chunk: Chunk, place: _ChunkPlace, view: _ChunkView, judged: _Judged
) -> dict[str, NDArray[np.int16]]:
    """The reference of a chunk by band, each on its own grid."""

    def observed(band: str) -> NDArray[np.int16] | None:
        if chunk.external is not None:
            return None
        if band in view.stored:
            return np.stack([v[place.inner_fine] for v in view.stored[band]])
        own = place.box.coarser(stored_factor(band))
        return np.stack(rasters.together([partial(rasters.band, s, band, own) for s in chunk.scenes]))

    def level(band: str, values: NDArray[np.int16] | None) -> NDArray[np.int16]:
        if values is None:
            return read_composite(str(chunk.external), band, store, chunk.epsg, place.box)
        usable, weights = (v[:, *place.inner] for v in (judged.usable, judged.weights))
        return composite.date_median(values, usable, weights, view.date)

    # The next band is read while one is merged: two are in memory.
    return dict(windowed(store.config.bands, observed, level, lambda _, reference: reference, ahead=1))


def _least_hazy(
    hot: NDArray[np.float32], keep: NDArray[np.bool_], shadow: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(row, col) scene that shows where none is kept, −1 elsewhere: the least hazy one out of shadow."""
    known = np.isfinite(hot)
    # Shadow has the lowest HOT of all, so that it comes after every cloud.
    hazy = np.where(known, hot + 10 * shadow, np.inf)
    return np.where(keep.any(axis=0) | ~known.any(axis=0), -1, hazy.argmin(axis=0))


def _burnt(cut: str, grid: Grid, box: PixelBox) -> NDArray[np.bool_]:
    """Pixels of a box of a grid that a GeoJSON geometry in degrees touches."""
    to_grid = Transformer.from_crs(4326, grid.epsg, always_xy=True)
    there = shapely.transform(
        shapely.from_geojson(cut), lambda xy: np.stack(to_grid.transform(xy[:, 0], xy[:, 1]), -1)
    )
    burnt = rasterize([there], box.shape, transform=grid.transform(box), all_touched=True)
    return np.asarray(burnt, bool)
