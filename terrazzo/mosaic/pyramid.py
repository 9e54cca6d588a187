"""The baked pyramid of a version: what low zooms show, merged and normalized beforehand.

One raster a band and layer for each period and zone, of the mosaic's default request without `fill=adjacent`, from overview level
`level` of the zone grid on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.errors import NotFound
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.store import Store
from terrazzo.version import version_key

INDEX = "pyramid/pyramid.json"
LAYERS = ("provenance", "count", "quality", "trust")
"""Rasters beside the bands, as the fields of `ZonePixels`."""
EMPTY = {"provenance": -1, "count": 0, "quality": 0, "trust": 0}


@dataclass(frozen=True)
class Part:
    """The pyramid of one period and zone.

    Attributes:
        level: of its finest pixels; `deepest` of its coarsest.
        box: pixels of that level that it covers.
    """

    prefix: str
    level: int
    deepest: int
    box: PixelBox

    def key(self, name: str) -> str:
        """Key of a band's or layer's raster."""
        return f"{self.prefix}/{name}.tif"

    def read(
        self, store: Store, blocks: Blocks, bands: tuple[str, ...], level: int, box: PixelBox
    ) -> tuple[NDArray[np.int16], dict[str, NDArray[Any]]]:
        """(band, row, col) values and the layers by name, over a box of a level.

        Raises:
            ReadFailure: a file is missing or damaged.
        """
        covers = self.box.coarser(2 ** (level - self.level))

        def raster(name: str, fill: int) -> NDArray[Any]:
            return blocks.read(store, self.key(name), level - self.level, covers, box, fill)

        if store.root is None:
            fills = dict.fromkeys(bands, NODATA) | EMPTY
            blocks.fetch([partial(raster, name, fill) for name, fill in fills.items()])
        values = np.stack([raster(b, NODATA).astype(np.int16, copy=False) for b in bands])
        return values, {name: raster(name, EMPTY[name]) for name in LAYERS}


def read_pyramid(store: Store, mosaic_id: str, version: str) -> Mapping[tuple[str, int], Part]:
    """The parts of a version's pyramid by period and zone; none in a version that was published without.

    Raises:
        Damaged: its index has changed since it was written.
    """
    try:
        index = store.read_json(version_key(mosaic_id, version, INDEX))
    except NotFound:
        return {}
    return {
        (p["period"], p["epsg"]): Part(
            part_prefix(mosaic_id, version, p["period"], p["epsg"]),
            p["level"],
            p["deepest"],
            PixelBox(*p["box"]),
        )
        for p in index["parts"]
    }


def part_prefix(mosaic_id: str, version: str, period: str, epsg: int) -> str:
    """The folder of a part."""
    return version_key(mosaic_id, version, f"pyramid/{period}/{epsg}")
