"""The rasters of a store's scenes on boxes of their grids."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA, stored_factor
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.scene import MASK, Scene
from terrazzo.store import Store

AT_ONCE = 64
"""Rasters of an object store that are read at the same time; files of a folder are read one after the other."""
KEPT = 32 << 20
"""Bytes of decoded blocks that are kept: neighbouring boxes share those on their border only."""


class Rasters:
    """Reads rasters of scenes; a context that lets go of them when it ends."""

    def __init__(self, store: Store) -> None:
        self._store, self._blocks = store, Blocks(KEPT)
        self._readers = ThreadPoolExecutor(1 if store.root is not None else AT_ONCE)

    def __enter__(self) -> "Rasters":
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._blocks.close()

    def band(self, scene: Scene, band: str, box: PixelBox) -> NDArray[np.int16]:
        """(row, col) stored reflectance of a band on a box of its grid, `NODATA` beyond the scene.

        Raises:
            ReadFailure: the file is missing or damaged.
        """
        covers = scene.box.coarser(stored_factor(band))
        values = self._blocks.read(self._store, scene.band_key(band), 0, covers, box, NODATA)
        return values.astype(np.int16, copy=False)

    def classes(self, scene: Scene, box: PixelBox) -> NDArray[np.uint8]:
        """(row, col) classes of a scene on a box of the mask grid, 0 beyond it."""
        covers = scene.box.coarser(self._store.mask_factor)
        return self._blocks.read(self._store, scene.key(MASK), 0, covers, box, 0).astype(np.uint8, copy=False)

    def weight(self, scene: Scene, key: str, box: PixelBox) -> NDArray[np.uint8]:
        """(row, col) weight of a scene, of the raster `key`, on a box of the mask grid, 0 beyond it."""
        covers = scene.box.coarser(self._store.mask_factor)
        return self._blocks.read(self._store, key, 0, covers, box, 0).astype(np.uint8, copy=False)

    def together(self, reads: Iterable[Callable[[], NDArray[Any]]]) -> list[NDArray[Any]]:
        """What several reads give, in their order."""
        return list(self._readers.map(lambda read: read(), reads))
