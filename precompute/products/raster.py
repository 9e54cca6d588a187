"""Brings an asset onto the zone grid: unchanged where it lies on it, with one resampling where it does not."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.warp import Resampling, reproject

from terrazzo.errors import UnreadableAsset, WrongGrid
from terrazzo.grid import Bounds, Grid, PixelBox

Kind = Literal["reflectance", "classes"]
ROWS = 1024
"""Rows that are read at a time."""
MOST_PIXELS = 500_000_000
"""Of a raster that is read: a tile at 10 m has 121 million."""


class Placed(NamedTuple):
    """Pixels on a grid, and what was done to bring them there."""

    array: NDArray[np.generic]
    lineage: str


def asset_grid(path: str, epsg: int) -> tuple[Bounds, float]:
    """Bounds and pixel size of an asset.

    Raises:
        UnreadableAsset: it cannot be opened, or claims more pixels than any product has.
        WrongGrid: it is not in the zone its tile lies in.
    """
    with _opened(path) as dataset:
        if dataset.width * dataset.height > MOST_PIXELS:
            raise UnreadableAsset(f"{path} claims {dataset.width} × {dataset.height} pixels; do not use it")
        if dataset.crs is None or dataset.crs.to_epsg() != epsg:
            raise WrongGrid(
                f"{path} is in {dataset.crs or 'no coordinate system'}, its tile lies in EPSG:{epsg};"
                " fetch the product as the archive delivers it, without warping"
            )
        return Bounds(*dataset.bounds), abs(dataset.transform.a)


def read_on_grid(
    path: str, grid: Grid, box: PixelBox, kind: Kind, off: tuple[float, float] = (0.0, 0.0)
) -> Placed:
    """Reads an asset's first band onto the pixels of a box; 0 where it has none.

    Args:
        kind: `reflectance` is resampled bilinearly over valid pixels (float32 then), `classes` by nearest
            neighbour.
        off: metres by which the asset's ground lies too far east and north; undone by the resampling.

    Raises:
        UnreadableAsset: the file is missing, truncated or not a raster.
        WrongGrid: it is in another coordinate system.
    """
    bounds, pixel = asset_grid(path, grid.epsg)
    own = grid.box_from_bounds(*bounds)
    with _opened(path) as dataset:
        transform = dataset.transform
        try:
            if pixel == grid.pixel and grid.bounds(own) == bounds and off == (0.0, 0.0):
                return Placed(_placed(dataset, own, box), "as delivered")
            source = dataset.read(1)
        except RasterioError as error:
            raise UnreadableAsset(f"{path} is damaged ({error}); fetch the product again") from None
    out = np.zeros(box.shape, np.float32 if kind == "reflectance" else source.dtype)
    reproject(
        source.astype(out.dtype),
        out,
        src_transform=Affine.translation(-off[0], -off[1]) @ transform,
        src_crs=f"EPSG:{grid.epsg}",
        dst_transform=grid.transform(box),
        dst_crs=f"EPSG:{grid.epsg}",
        src_nodata=0,
        dst_nodata=0,
        resampling=Resampling.bilinear if kind == "reflectance" else Resampling.nearest,
    )
    how = "bilinear over valid pixels" if kind == "reflectance" else "nearest"
    moved = "" if off == (0.0, 0.0) else f", moved by {-off[0]:.1f} m east and {-off[1]:.1f} m north"
    return Placed(out, f"resampled once from {pixel:g} m to {grid.pixel:g} m, {how}{moved}")


class Images:
    """A product's images, read with `read_on_grid`. Those that are needed twice lie in a folder in between: decoding
    JP2 costs most of a scene's time, and all bands together do not fit in memory.

    Args:
        folder: a scratch folder of its own.
        off: as in `read_on_grid`.
    """

    def __init__(self, folder: Path, off: tuple[float, float]) -> None:
        self._folder = folder
        self.off = off
        self._kept: dict[tuple[str, float], tuple[Path, str]] = {}

    def read(self, path: str, grid: Grid, box: PixelBox, kind: Kind) -> Placed:
        """Reads an image that is needed once."""
        return read_on_grid(path, grid, box, kind, self.off)

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
        return rasterio.open(path)
    except RasterioError as error:
        raise UnreadableAsset(f"{path} cannot be opened ({error}); fetch the product again") from None
