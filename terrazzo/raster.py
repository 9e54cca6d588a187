"""Reads boxes of pixels from open datasets, and stored numbers as reflectance; writes rasters that are proved to be whole."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from terrazzo.bands import NODATA, SCALE
from terrazzo.grid import PixelBox


def reflectance(values: NDArray[np.int16]) -> NDArray[np.float32]:
    """Reflectance of stored numbers, of the same shape; NaN where they are `NODATA`."""
    return np.where(values == NODATA, np.float32(np.nan), values * np.float32(SCALE)).astype(np.float32)


def read_open(
    read: Callable[..., NDArray[np.generic]], dtype: str, covers: PixelBox, box: PixelBox, fill: float
) -> NDArray[np.generic]:
    """(row, col) pixels of a box from a dataset that covers another box of the same grid.

    Args:
        read: of the open dataset.
        covers: the box of the whole dataset.
        box: the pixels wanted; those beyond the dataset get `fill`.
    """
    common = box.intersection(covers)
    if common == box:
        return read(1, window=_window(common, covers))
    out = np.full(box.shape, fill, dtype)
    if not common.empty:
        out[common.within(box)] = read(1, window=_window(common, covers))
    return out


class Writing:
    """A GeoTIFF that is written window by window, and read back when it is closed.

    GDAL keeps blocks until the file is closed, and says nothing of those that a full disk did not take.

    Attributes:
        dataset: for descriptions, tags, scales.
    """

    def __init__(self, path: Path, dataset: rasterio.io.DatasetWriter) -> None:
        self.path, self.dataset = path, dataset
        self._known: list[tuple[RasterWindow, int]] = []

    def write(
        self, values: NDArray[np.generic], window: RasterWindow, mask: NDArray[np.uint8] | None = None
    ) -> None:
        """Writes (band, row, col) pixels of a window, each window once.

        Raises:
            OSError: the disk does not take them.
        """
        with _on_disk(self.path), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            self.dataset.write(values, window=window)
            if mask is not None:
                self.dataset.write_mask(mask, window=window)
        self._known.append((window, zlib.crc32(np.ascontiguousarray(values).data)))

    def check(self) -> None:
        """Reads back what was written, once the file is closed.

        Raises:
            OSError: it is not what was written.
        """
        with _on_disk(self.path), rasterio.open(self.path) as dataset:
            if any(zlib.crc32(dataset.read(window=window).data) != known for window, known in self._known):
                raise OSError(f"cannot write {self.path}: other pixels came back; is the disk full?")


@contextmanager
def new_raster(path: Path, **profile: Any) -> Iterator[Writing]:
    """A GeoTIFF that is whole when the block ends.

    Raises:
        OSError: the disk does not take it.
    """
    with _on_disk(path), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        dataset = rasterio.open(path, "w", **profile)
    writing = Writing(path, dataset)
    with dataset:
        yield writing
    writing.check()


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Makes an error of the disk of what GDAL says of a file that it writes: what it was made of is not to blame."""
    try:
        yield
    except (RasterioError, SystemError) as error:
        raise OSError(f"cannot write {path}: {error}; is the disk full?") from error


def _window(box: PixelBox, covers: PixelBox) -> RasterWindow:
    return RasterWindow(box.col0 - covers.col0, box.row0 - covers.row0, box.width, box.height)
