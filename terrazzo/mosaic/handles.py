"""Reads boxes of rasters through GDAL, with a bounded set of kept-open datasets: what the tests compare the engine with."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from terrazzo.errors import ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.raster import read_open

KEPT = 512
"""Handles kept open."""
FORGET = 30.0
"""Seconds after which a file that could not be read is tried again."""
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "VSI_CACHE": "TRUE",
}


class Handles:
    """Open datasets by path and level, least recently used closed first; safe to share between threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._open: OrderedDict[tuple[str, int], rasterio.DatasetReader] = OrderedDict()
        self._broken: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def read(
        self, path: str, level: int, covers: PixelBox, box: PixelBox, fill: float
    ) -> NDArray[np.generic]:
        """Pixels of a box from overview `level` (0: full resolution) of a raster.

        Args:
            covers, box: on the grid of that level.

        Raises:
            ReadFailure: the file is missing or damaged; for a while it is not tried again.
        """
        if box.intersection(covers).empty:
            return np.full(box.shape, fill)
        with self._lock:
            failed = self._broken.get(path)
        if failed and time.monotonic() - failed[0] < FORGET:
            raise ReadFailure(failed[1])
        try:
            with self._handle(path, level) as dataset:
                return read_open(dataset.read, dataset.dtypes[0], covers, box, fill)
        except RasterioError as error:
            message = f"{path.rsplit('/', 3)[-3:]}: {error}"
            with self._lock:
                self._broken[path] = (time.monotonic(), message)
            raise ReadFailure(message) from None

    def close(self) -> None:
        """Closes all handles."""
        with self._lock:
            for dataset in self._open.values():
                dataset.close()
            self._open.clear()

    @contextmanager
    def _handle(self, path: str, level: int) -> Iterator[rasterio.DatasetReader]:
        key = (path, level)
        with self._lock:
            dataset = self._open.pop(key, None)
        if dataset is None:
            options = {"overview_level": level - 1} if level else {}
            with rasterio.Env(**GDAL_OPTIONS):
                dataset = rasterio.open(path, driver="GTiff", **options)
        # A dataset taken from the table belongs to this thread until it is put back: two threads that want
        # the same file at the same time open it twice, neither waits for the other.
        try:
            yield dataset
        finally:
            self._keep(key, dataset)

    def _keep(self, key: tuple[str, int], opened: rasterio.DatasetReader) -> None:
        with self._lock:
            old = self._open.pop(key, None)
            self._open[key] = opened
            dropped = [old] if old else []
            while len(self._open) > self._kept:
                dropped.append(self._open.popitem(last=False)[1])
        for dataset in dropped:
            dataset.close()
