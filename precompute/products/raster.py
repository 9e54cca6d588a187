"""Brings an asset onto the zone grid: unchanged where it lies on it, with one resampling where it does not."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from terrazzo.errors import UnreadableAsset, WrongGrid
from terrazzo.grid import Bounds, Grid, PixelBox
from terrazzo.precompute.products.files import open_raster
from terrazzo.precompute.products.form import PLAIN, Form, in_counts
from terrazzo.precompute.products.product import Told

Kind = Literal["reflectance", "classes"]
ROWS = 1024
"""Rows that are read at a time."""
MOST_PIXELS = 500_000_000
"""Of a raster that is read: a tile at 10 m has 121 million."""
SATURATED = 65535
"""Count of a pixel that was too bright to measure."""


class Placed(NamedTuple):
    """Pixels on a grid, and what was done to bring them there.

    Attributes:
        saturated: (row, col) pixels that took part of a saturated one, and those beside it; None without any.
    """

    array: NDArray[np.generic]
    lineage: str
    saturated: NDArray[np.bool_] | None = None


class _Place(NamedTuple):
    """Where a raster lies: `turned` ones have the south first, and their transform is that of the turned array."""

    transform: Affine
    bounds: Bounds
    turned: bool


def asset_grid(path: str, epsg: int, told: Told | None = None) -> tuple[Bounds, float]:
    """Bounds and pixel size of an asset.

    Args:
        told: what the Item says of the asset, where the file says nothing.

    Raises:
        UnreadableAsset: it cannot be opened, or claims more pixels than any product has.
        WrongGrid: it is not in the zone its tile lies in, or nothing says where it lies.
    """
    with _opened(path) as dataset:
        place = _place(dataset, epsg, told)
        return place.bounds, abs(place.transform.a)


def _place(dataset: rasterio.DatasetReader, epsg: int, told: Told | None) -> _Place:
    path = dataset.name
    if dataset.width * dataset.height > MOST_PIXELS:
        raise UnreadableAsset(f"{path} claims {dataset.width} × {dataset.height} pixels; do not use it")
    if dataset.crs is not None and dataset.crs.to_epsg() != epsg:
        raise WrongGrid(
            f"{path} is in {dataset.crs}, its tile lies in EPSG:{epsg};"
            " fetch the product as the archive delivers it, without warping"
        )
    transform = dataset.transform
    if transform.is_identity:
        transform = _told_transform(dataset, told)
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


def _told_transform(dataset: rasterio.DatasetReader, told: Told | None) -> Affine:
    """The place that the Item tells of a file without one; its shape may be that of a finer original."""
    if told and told.transform and told.shape and min(told.shape) > 0:
        rows, cols = told.shape[0] / dataset.height, told.shape[1] / dataset.width
        if rows == cols:
            return Affine(*told.transform) @ Affine.scale(cols, rows)
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
    told: Told | None = None,
) -> Placed:
    """Reads an asset's first band onto the pixels of a box; 0 where it has none.

    Args:
        kind: `reflectance` is resampled bilinearly over valid pixels (float32 then), `classes` by nearest
            neighbour.
        off: metres by which the asset's ground lies too far east and north; undone by the resampling.
        form: how the file writes reflectance; it comes as counts of 1e-4.
        told: what the Item says of the asset, where the file says nothing.

    Raises:
        UnreadableAsset: the file is missing, truncated or not a raster.
        WrongGrid: it is in another coordinate system, or nothing says where it lies.
    """
    with _opened(path) as dataset:
        place = _place(dataset, grid.epsg, told)
        own = grid.box_from_bounds(*place.bounds)
        pixel = abs(place.transform.a)
        plain = kind == "classes" or form.plain
        at_home = pixel == grid.pixel and grid.bounds(own) == place.bounds and off == (0.0, 0.0)
        try:
            if at_home and not place.turned and plain:
                array = _placed(dataset, own, box)
                return Placed(array, "as delivered", _saturated(array, kind))
            source = dataset.read(1)
            if not plain:
                source = in_counts(source, _valid(dataset, form), form)
        except RasterioError as error:
            raise UnreadableAsset(f"{path} is damaged ({error}); fetch the product again") from None
    if place.turned:
        source = source[::-1]
    how = "as delivered" if plain else f"brought to counts of 1e-4 ({form.told})"
    if at_home:
        array = np.zeros(box.shape, source.dtype)
        common = own.intersection(box)
        if not common.empty:
            array[common.within(box)] = source[common.within(own)]
        return Placed(array, how, _saturated(array, kind))
    bright = _saturated(source, kind)
    if bright is not None:
        source = np.where(source == SATURATED, 0, source)
    out = np.zeros(box.shape, np.float32 if kind == "reflectance" else source.dtype)
    transform = Affine.translation(-off[0], -off[1]) @ place.transform

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

    warp(source.astype(out.dtype), out, Resampling.bilinear if kind == "reflectance" else Resampling.nearest)
    near = None
    if bright is not None:
        flags = np.zeros(box.shape, np.uint8)
        warp(bright.astype(np.uint8), flags, Resampling.max if pixel < grid.pixel else Resampling.nearest)
        near = flags > 0
    how = "bilinear over valid pixels" if kind == "reflectance" else "nearest"
    how += "" if plain else f", brought to counts of 1e-4 ({form.told})"
    moved = "" if off == (0.0, 0.0) else f", moved by {-off[0]:.1f} m east and {-off[1]:.1f} m north"
    return Placed(out, f"resampled once from {pixel:g} m to {grid.pixel:g} m, {how}{moved}", near)


def _saturated(counts: NDArray[np.generic], kind: Kind) -> NDArray[np.bool_] | None:
    """Saturated pixels and those beside them; None without any."""
    if kind == "classes" or counts.dtype != np.uint16 or not (bright := counts == SATURATED).any():
        return None
    grown: NDArray[np.bool_] = ndimage.binary_dilation(bright, np.ones((3, 3), bool))
    return grown


def _valid(dataset: rasterio.DatasetReader, form: Form) -> NDArray[np.bool_] | None:
    """Pixels that the file's own mask or alpha lets through; None where it has none."""
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags or MaskFlags.alpha in flags:
        return np.asarray(dataset.read_masks(1) > 0)
    return None


class Images:
    """A product's images, read with `read_on_grid`. Those that are needed twice lie in a folder in between: decoding
    JP2 costs most of a scene's time, and all bands together do not fit in memory.

    Args:
        folder: a scratch folder of its own.
        off: as in `read_on_grid`.
        forms: how each image writes reflectance, by path; as ESA does where none is named.
        told: what the Item says of each image.
    """

    def __init__(
        self,
        folder: Path,
        off: tuple[float, float],
        forms: Mapping[str, Form] | None = None,
        told: Mapping[str, Told] | None = None,
    ) -> None:
        self._folder = folder
        self.off = off
        self._forms, self._told = forms or {}, told or {}
        self._kept: dict[tuple[str, float], tuple[Path, str]] = {}

    @property
    def lift(self) -> int:
        """Counts that were added to all reflectance so that what lies below zero stays."""
        return max((f.lift for f in self._forms.values()), default=0)

    def read(self, path: str, grid: Grid, box: PixelBox, kind: Kind) -> Placed:
        """Reads an image that is needed once."""
        return read_on_grid(
            path, grid, box, kind, self.off, self._forms.get(path, PLAIN), self._told.get(path)
        )

    def first(self, path: str, grid: Grid, box: PixelBox) -> Placed:
        """Reads reflectance and keeps it."""
        placed = self.read(path, grid, box, "reflectance")
        file = self._folder / f"{len(self._kept)}.npy"
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
        array = np.load(file, allow_pickle=False)
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


def _opened(path: str) -> rasterio.DatasetReader:
    try:
        return open_raster(path)
    except (RasterioError, ValueError) as error:
        raise UnreadableAsset(f"{path} cannot be opened ({error}); fetch the product again") from None
