"""Runs the whole chain on small worlds, and reads what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from io import StringIO
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rich.console import Console

from terrazzo.bands import NODATA, stored_factor
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.precompute.pipeline import Options, Run, run
from terrazzo.precompute.work.steps import Step
from terrazzo.scene import Scene
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import Entry, Version, open_version
from tests.world.worlds import FOUR


@dataclass(frozen=True)
class Chain:
    """A store with a published version, and the products it was made of."""

    folder: Path
    store: Store

    @property
    def version(self) -> Version:
        """The current version."""
        return open_version(self.store, "mosaic")

    @property
    def box(self) -> PixelBox:
        """The pixels of the first zone that its scenes cover, whole windows; of a large one the middle."""
        whole = reduce(PixelBox.union, (e.scene.box for e in self.entries))
        n = self.store.config.window
        row, col = (whole.row0 + whole.row1) // 2 // n, (whole.col0 + whole.col1) // 2 // n
        return whole.intersection(PixelBox((row - 4) * n, (col - 4) * n, (row + 4) * n, (col + 4) * n))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Entries of the first zone in the version's first period."""
        version = self.version
        found = version.entries(next(iter(version.periods)))
        return tuple(e for e in found if e.scene.epsg == version.zones[0])


def precompute(
    folder: Path | Sequence[Path],
    store: Path,
    *,
    bands: tuple[str, ...] = FOUR,
    pixel: float = 10.0,
    window: int = 64,
    only: Step | None = None,
    **options: object,
) -> tuple[Run, str]:
    """Runs the chain in this process; returns what the run did and what it printed."""
    made = create_store(store, StoreConfig(pixel, 2 * pixel, window, bands))
    text = StringIO()
    folders = [folder] if isinstance(folder, Path) else list(folder)
    chosen = replace(Options(workers=1), **options)  # type: ignore[arg-type]
    done = run(folders, made, "mosaic", chosen, only=only, console=Console(file=text, width=500))
    return done, text.getvalue()


def native(version: Version, box: PixelBox, epsg: int, **request: object) -> Image:
    """Pixels of a box of a zone's grid, one to one; the request names what it does not want as default."""
    grid = version.store.grid(epsg)
    target = Target(f"EPSG:{epsg}", grid.bounds(box), *box.shape)
    asked = PixelRequest(**{"bands": version.bands, **request})  # type: ignore[arg-type]
    engine = Engine(version, Blocks())
    try:
        return engine.render(engine.select(asked), target)
    finally:
        engine.blocks.close()


def stored(store: Store, scene: Scene, name: str, box: PixelBox | None = None) -> NDArray[np.generic]:
    """A raster of a scene over a box of the zone grid, repeated to its pixels."""
    with rasterio.open(store.raster_path(scene.key(f"{name}.tif"))) as dataset:
        array = dataset.read(1)
    factor = store.mask_factor if name == "mask" else stored_factor(name)
    whole = array.repeat(factor, axis=0).repeat(factor, axis=1)
    return whole if box is None else on_box(whole, scene, box, NODATA)


def on_box(array: NDArray[np.generic], scene: Scene, box: PixelBox, fill: int) -> NDArray[np.generic]:
    """An array over a scene's box, on another box."""
    out = np.full(box.shape, fill, array.dtype)
    common = scene.box.intersection(box)
    if not common.empty:
        out[common.within(box)] = array[common.within(scene.box)]
    return out


def weight_of(store: Store, entry: Entry) -> NDArray[np.uint8]:
    """A scene's weight over its box, repeated to the pixels of the zone grid."""
    with rasterio.open(store.raster_path(entry.weight_key)) as dataset:
        array = dataset.read(1)
    return array.repeat(store.mask_factor, axis=0).repeat(store.mask_factor, axis=1)


ROOT_DOCS = Path(__file__).parent.parent / "docs"
"""Where the documentation lies."""
