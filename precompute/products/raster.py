"""Brings an asset onto the zone grid: unchanged where it lies on it, with one resampling where it does not."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.transform import array_bounds
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window, from_bounds
from scipy import ndimage

from terrazzo.errors import UnreadableAsset, WrongGrid
from terrazzo.grid import Bounds, Grid, PixelBox
from terrazzo.precompute.products.form import PLAIN, SATURATED, Form, image, in_counts, is_lowest, masked
from terrazzo.precompute.products.product import Declared

Kind = Literal["reflectance", "classes"]
ROWS = 1024
"""Rows that are read at a time."""
SMALL = 0.5
"""Share of a mask up to which only the part that is needed is read."""
MOST_PIXELS = 500_000_000
"""Of a raster that is read: a tile at 10 m has 121 million."""


class Placed(NamedTuple):
    """Pixels on a grid, and what was done to bring them there.

    Attributes:
        saturated: (row, col) pixels that took part of a saturated one, and those beside it; None without any.
        lowest: whether the lowest count that there is occurs.
    """

    array: NDArray[np.generic]
    lineage: str
    saturated: NDArray[np.bool_] | None = None
    lowest: bool = False


class Clipped(NamedTuple):
    """(row, col) pixels with the lowest count in all bands: no data that were clipped to it."""

    there: NDArray[np.bool_]
    transform: Affine

    def on(self, transform: Affine, shape: tuple[int, ...], epsg: int) -> NDArray[np.bool_]:
        """The same on other pixels of the zone: those that hold one of them, or lie in one."""
        if (transform, shape) == (self.transform, self.there.shape):
            return self.there
        out = np.zeros(shape, np.uint8)
        reproject(
            self.there.astype(np.uint8),
            out,
            src_transform=self.transform,
            src_crs=f"EPSG:{epsg}",
            dst_transform=transform,
            dst_crs=f"EPSG:{epsg}",
            resampling=Resampling.max if abs(transform.a) > abs(self.transform.a) else Resampling.nearest,
        )
        return out > 0


class _Place(NamedTuple):
    """Where a raster lies: `turned` ones have the south first, and their transform is that of the turned array."""

    transform: Affine
    bounds: Bounds
    turned: bool


def asset_grid(path: str, epsg: int, declared: Declared | None = None) -> tuple[Bounds, float]:
    """Bounds and pixel size of an asset.

    Args:
        declared: what the Item says of the asset, where the file says nothing.

    Raises:
        UnreadableAsset: it cannot be opened, or claims more pixels than any product has.
        WrongGrid: it is not in the zone its tile lies in, or nothing says where it lies.
    """
    with image(path) as dataset:
        place = _place(dataset, epsg, declared)
        return place.bounds, abs(place.transform.a)


def require_one_place(paths: Mapping[str, str], epsg: int, declared: Mapping[str, Declared]) -> None:
    """Checks that bands of the same size and pixels begin at the same corner.

    Args:
        paths: by band.
        declared: what the Item says of each path.

    Raises:
        UnreadableAsset: a file cannot be opened.
        WrongGrid: a band lies elsewhere than another, or a file is not in the zone its tile lies in.
    """
    first: dict[tuple[float, int, int], tuple[str, Affine]] = {}
    for band, path in paths.items():
        with image(path) as dataset:
            transform = _place(dataset, epsg, declared.get(path)).transform
            pixel = abs(transform.a)
            other, its = first.setdefault((pixel, dataset.width, dataset.height), (band, transform))
        east, north = transform.c - its.c, transform.f - its.f
        if max(abs(east), abs(north)) > pixel / 100:
            raise WrongGrid(
                f"{path}: {band} lies {east:g} m east and {north:g} m north of {other}, and is as large; fetch the product as the"
                " archive delivers it"
            )


def _place(dataset: rasterio.DatasetReader, epsg: int, declared: Declared | None) -> _Place:
    path = dataset.name
    if dataset.width * dataset.height > MOST_PIXELS:
        raise UnreadableAsset(f"{path} claims {dataset.width} × {dataset.height} pixels; do not use it")
    # What GDAL calls a local system is one that the file does not name.
    is_named = bool(dataset.crs) and (dataset.crs.is_projected or dataset.crs.is_geographic)
    if not is_named and declared and declared.epsg not in (None, epsg):
        raise WrongGrid(
            f"{path} names no coordinate system, its Item says EPSG:{declared.epsg}, and its tile lies in EPSG:{epsg};"
            " fetch the product as the archive delivers it, without warping"
        )
    if is_named and dataset.crs.to_epsg() != epsg:
        raise WrongGrid(
            f"{path} is in {dataset.crs}, its tile lies in EPSG:{epsg};"
            " fetch the product as the archive delivers it, without warping"
        )
    transform = dataset.transform
    if transform.is_identity:
        transform = _declared_transform(dataset, declared)
    if (
        not all(map(math.isfinite, transform))
        or transform.b
        or transform.d
        or transform.a <= 0
        or not transform.e
    ):
        raise WrongGrid(f"{path} is turned or mirrored; fetch the product as the archive delivers it")
    turned = transform.e > 0
    if turned:
        transform = transform @ Affine.translation(0, dataset.height) @ Affine.scale(1, -1)
    bounds = Bounds(*array_bounds(dataset.height, dataset.width, transform))
    if not (
        -500_000 < bounds.left < bounds.right < 1_500_000
        and -500_000 < bounds.bottom < bounds.top < 10_500_000
    ):
        raise WrongGrid(f"{path} does not lie in a UTM zone ({tuple(bounds)}); fetch the product again")
    return _Place(transform, bounds, turned)


def _declared_transform(dataset: rasterio.DatasetReader, declared: Declared | None) -> Affine:
    """The place of a file without georeference, from the Item; its shape may be that of a finer original."""
    if declared and declared.transform and declared.shape and min(declared.shape) > 0:
        rows, cols = declared.shape[0] / dataset.height, declared.shape[1] / dataset.width
        if rows == cols:
            return Affine(*declared.transform) @ Affine.scale(cols, rows)
    raise WrongGrid(
        f"{dataset.name} has no transform, and the Item no proj:transform and proj:shape that fit it: nothing says where it"
        " lies; fetch the product again"
    )


def read_on_grid(
    path: str,
    grid: Grid,
    box: PixelBox,
    kind: Kind,
    off: tuple[float, float] = (0.0, 0.0),
    form: Form = PLAIN,
    declared: Declared | None = None,
    clipped: Clipped | None = None,
) -> Placed:
    """Reads an asset's first band onto the pixels of a box; 0 where it has none.

    Args:
        kind: `reflectance` is resampled bilinearly over valid pixels (float32 then), `classes` by nearest
            neighbour.
        off: metres by which the asset's ground lies too far east and north; undone by the resampling.
        form: how the file writes reflectance; it comes as counts of 1e-4.
        declared: what the Item says of the asset, where the file says nothing.
        clipped: pixels whose lowest count stands for no data.

    Raises:
        UnreadableAsset: the file is missing, truncated or not a raster.
        WrongGrid: it is in another coordinate system, or nothing says where it lies.
    """
    plain = kind == "classes" or form.plain
    how = "as delivered" if plain else f"brought to counts of 1e-4 ({form.description})"
    with image(path) as dataset:
        place = _place(dataset, grid.epsg, declared)
        own = grid.box_from_bounds(*place.bounds)
        pixel = abs(place.transform.a)
        at_home = pixel == grid.pixel and grid.bounds(own) == place.bounds and off == (0.0, 0.0)
        if at_home and not place.turned and plain:
            array = _placed(dataset, own, box)
            lowest = _without_clipped(array, form, kind, clipped, grid.transform(box), grid.epsg)
            return Placed(array, how, _saturated(array, kind), lowest)
        part = None if kind == "reflectance" or at_home else _part(dataset, place, grid.bounds(box), off)
        source, transform = _source(dataset, place, PLAIN if plain else form, part)
    lowest = _without_clipped(source, form, kind, clipped, transform, grid.epsg)
    if at_home:
        array = np.zeros(box.shape, source.dtype)
        common = own.intersection(box)
        if not common.empty:
            array[common.within(box)] = source[common.within(own)]
        return Placed(array, how, _saturated(array, kind), lowest)
    out, near = _resampled(source, Affine.translation(-off[0], -off[1]) @ transform, grid, box, kind)
    how = "bilinear over valid pixels" if kind == "reflectance" else "nearest"
    how += "" if plain else f", brought to counts of 1e-4 ({form.description})"
    moved = "" if off == (0.0, 0.0) else f", moved by {-off[0]:.1f} m east and {-off[1]:.1f} m north"
    east, south = place.bounds.left % grid.pixel, (grid.origin_y - place.bounds.top) % grid.pixel
    beside = (
        f", from pixels {east:g} m east and {south:g} m south of the store's" if pixel == grid.pixel else ""
    )
    lineage = f"resampled once from {pixel:g} m to {grid.pixel:g} m{beside}, {how}{moved}"
    return Placed(out, lineage, near, lowest)


def _source(
    dataset: rasterio.DatasetReader, place: _Place, form: Form, part: Window | None = None
) -> tuple[NDArray[np.generic], Affine]:
    """(row, col) the numbers of a file or a part of it, north first, as counts where its form is not ESA's own; and where
    they lie."""
    if part is not None:
        return dataset.read(1, window=part), dataset.window_transform(part)
    source = dataset.read(1)
    if not form.plain:
        source = in_counts(source, _valid(dataset), form)
    return np.asarray(source[::-1] if place.turned else source), place.transform


def _part(
    dataset: rasterio.DatasetReader, place: _Place, bounds: Bounds, off: tuple[float, float]
) -> Window | None:
    """The part of a mask that a small scene needs; None is all of it."""
    part = None if place.turned or dataset.transform.is_identity else window_of(dataset, bounds, off)
    small = part is not None and part.width * part.height < SMALL * dataset.width * dataset.height
    return part if small else None


def window_of(dataset: rasterio.DatasetReader, bounds: Bounds, off: tuple[float, float]) -> Window | None:
    """Rows and columns of a raster that bounds in its own coordinate system touch, and two more; None without any.

    Args:
        off: as in `read_on_grid`.
    """
    around = (bounds.left + off[0], bounds.bottom + off[1], bounds.right + off[0], bounds.top + off[1])
    asked = from_bounds(*around, dataset.transform)
    top, left = math.floor(asked.row_off) - 2, math.floor(asked.col_off) - 2
    bottom = math.ceil(asked.row_off + asked.height) + 2
    right = math.ceil(asked.col_off + asked.width) + 2
    top, left = max(top, 0), max(left, 0)
    bottom, right = min(bottom, dataset.height), min(right, dataset.width)
    return Window(left, top, right - left, bottom - top) if top < bottom and left < right else None


def _without_clipped(
    counts: NDArray[np.generic],
    form: Form,
    kind: Kind,
    clipped: Clipped | None,
    transform: Affine,
    epsg: int,
) -> bool:
    """Takes the lowest count for no data (in place) where that is so, and returns whether it occurs at all."""
    if kind == "classes" or counts.dtype.kind != "u":
        return False
    lowest = is_lowest(counts, form)
    if not lowest.any():
        return False
    if clipped is not None:
        counts[lowest & clipped.on(transform, counts.shape, epsg)] = 0
    return True


def _resampled(
    source: NDArray[np.generic], transform: Affine, grid: Grid, box: PixelBox, kind: Kind
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """Pixels of a box, resampled once, and those that a saturated one would have had a part in; None without any."""

    def warp(values: NDArray[np.generic], to: NDArray[np.generic], resampling: Resampling) -> None:
        reproject(
            values,
            to,
            src_transform=transform,
            src_crs=f"EPSG:{grid.epsg}",
            dst_transform=grid.transform(box),
            dst_crs=f"EPSG:{grid.epsg}",
            src_nodata=0,
            dst_nodata=0,
            resampling=resampling,
        )

    bright = _saturated(source, kind)
    if bright is not None:
        source = np.where(source == SATURATED, 0, source)
    out = np.zeros(box.shape, np.float32 if kind == "reflectance" else source.dtype)
    warp(source.astype(out.dtype), out, Resampling.bilinear if kind == "reflectance" else Resampling.nearest)
    if bright is None:
        return out, None
    flags = np.zeros(box.shape, np.uint8)
    finer = abs(transform.a) < grid.pixel
    warp(bright.astype(np.uint8), flags, Resampling.max if finer else Resampling.nearest)
    return out, flags > 0


def _saturated(counts: NDArray[np.generic], kind: Kind) -> NDArray[np.bool_] | None:
    """Saturated pixels and those beside them; None without any."""
    if kind == "classes" or counts.dtype != np.uint16 or not (bright := counts == SATURATED).any():
        return None
    grown: NDArray[np.bool_] = ndimage.binary_dilation(bright, np.ones((3, 3), bool))
    return grown


def _valid(dataset: rasterio.DatasetReader) -> NDArray[np.bool_] | None:
    """Pixels that the file's own mask or alpha lets through; None where it has none."""
    return np.asarray(dataset.read_masks(1) > 0) if masked(dataset) else None


class Images:
    """A product's images, read with `read_on_grid`. Those that are needed twice lie in a folder in between: decoding
    JP2 costs most of a scene's time, and all bands together do not fit in memory.

    Args:
        folder: a scratch folder of its own.
        off: as in `read_on_grid`.
        forms: how each image writes reflectance, by path; as ESA does where none is named.
        declared: what the Item says of each image.
    """

    def __init__(
        self,
        folder: Path,
        off: tuple[float, float],
        forms: Mapping[str, Form] | None = None,
        declared: Mapping[str, Declared] | None = None,
    ) -> None:
        self._folder = folder
        self.off = off
        self._forms, self._declared = forms or {}, declared or {}
        self._clipped: Clipped | None = None
        self._kept: dict[tuple[str, float], tuple[Path, str]] = {}

    @property
    def lift(self) -> int:
        """Counts that were added to all reflectance so that what lies below zero stays."""
        return max((f.lift for f in self._forms.values()), default=0)

    def read(self, path: str, grid: Grid, box: PixelBox, kind: Kind) -> Placed:
        """Reads an image that is needed once."""
        form = self._forms.get(path, PLAIN)
        return read_on_grid(path, grid, box, kind, self.off, form, self._declared.get(path), self._clipped)

    def find_clipped(self, paths: Sequence[str], epsg: int) -> int:
        """Looks for pixels with the lowest count in all of some images of one resolution, takes them for no data from then on,
        and returns how many there are."""
        clipped: Clipped | None = None
        for path in paths:
            form = self._forms.get(path, PLAIN)
            with image(path) as dataset:
                place = _place(dataset, epsg, self._declared.get(path))
                counts, _ = _source(dataset, place, form)
            here = Clipped(is_lowest(counts, form), place.transform)
            if clipped is not None:
                here.there[...] &= clipped.on(place.transform, here.there.shape, epsg)
            clipped = here
            if not here.there.any():
                return 0
        self._clipped = clipped
        return int(clipped.there.sum()) if clipped else 0

    def keep_clipped(self) -> None:
        """Takes the lowest count for a number again."""
        self._clipped = None

    @property
    def mixed(self) -> bool:
        """Whether some images may hold numbers below zero and others not."""
        return len({f.signed for f in self._forms.values()}) > 1

    @property
    def plain(self) -> bool:
        """Whether all reflectance is written as ESA does."""
        return not self._forms

    def first(self, path: str, grid: Grid, box: PixelBox) -> Placed:
        """Reads reflectance and keeps it."""
        placed = self.read(path, grid, box, "reflectance")
        before = self._kept.get((path, grid.pixel))
        file = before[0] if before else self._folder / f"{len(self._kept)}.npy"
        try:
            np.save(file, placed.array)
        except OSError as error:
            raise OSError(f"cannot write {file}: {error}; is the disk full?") from error
        self._kept[path, grid.pixel] = file, placed.lineage
        return placed

    def again(self, path: str, grid: Grid, box: PixelBox) -> Placed:
        """Reflectance: what was kept, and what was not is read."""
        kept = self._kept.pop((path, grid.pixel), None)
        if kept is None:
            return self.read(path, grid, box, "reflectance")
        file, lineage = kept
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            # We wrote it a moment ago: the disk fails, not the product.
            raise OSError(f"cannot read {file}: {error}; does the disk fail?") from error
        file.unlink()
        return Placed(array, lineage)


def _placed(dataset: rasterio.DatasetReader, own: PixelBox, box: PixelBox) -> NDArray[np.generic]:
    """The pixels of a dataset that lies at `own` in a box, read some blocks of rows at a time."""
    out = np.zeros(box.shape, dataset.dtypes[0])
    common = own.intersection(box)
    if common.empty:
        return out
    step = dataset.block_shapes[0][0] * max(1, ROWS // dataset.block_shapes[0][0])
    (top, bottom), (left, right) = ((s.start, s.stop) for s in common.within(own))
    to_row, to_col = (s.start for s in common.within(box))
    for start in range(top - top % step, bottom, step):
        low, high = max(start, top), min(start + step, bottom)
        part = dataset.read(1, window=((low, high), (left, right)))
        out[to_row + low - top : to_row + high - top, to_col : to_col + right - left] = part
    return out
