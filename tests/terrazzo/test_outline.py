"""Scenes fade towards the outline of their data where days weigh."""

import numpy as np
import pytest
from scipy import ndimage

from terrazzo.bands import MaskClass
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic.outline import REACH, fade
from terrazzo.scene import Scene
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.chain import stored

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(sample_store) -> tuple[Store, Scene, Grid]:
    """A scene of the sample, its store and its zone's grid."""
    store = Store(sample_store)
    version = open_version(store, "mosaic")
    scene = version.entries(next(iter(version.periods)))[0].scene
    return store, scene, store.grid(scene.epsg)


def test_a_scene_fades_by_the_distance_to_where_its_data_end(seen: tuple[Store, Scene, Grid]) -> None:
    store, scene, grid = seen
    there = stored(store, scene, "mask") != MaskClass.NODATA
    away = ndimage.distance_transform_edt(np.pad(there, 1))[1:-1, 1:-1] * grid.pixel
    share = np.minimum(away / REACH, 1)
    faded = fade(store, scene, grid, scene.box)
    # The outline is simplified to within four pixels of the mask.
    slack = 1.5 * (4 * grid.pixel * store.mask_factor + 16 * grid.pixel) / REACH
    assert np.abs(faded - share * share * (3 - 2 * share)).max() < slack
    assert (faded[away > REACH + 1500] == 1).all()


def test_no_pixel_fades_by_how_the_picture_is_cut(seen: tuple[Store, Scene, Grid]) -> None:
    store, scene, grid = seen
    whole = fade(store, scene, grid, scene.box)
    rng = np.random.default_rng(5)
    for _ in range(10):
        row, col = (int(rng.integers(0, n - 60)) for n in scene.box.shape)
        height, width = (int(n) for n in rng.integers(1, 60, 2))
        row0, col0 = scene.box.row0 + row, scene.box.col0 + col
        part = PixelBox(row0, col0, row0 + height, col0 + width)
        assert (fade(store, scene, grid, part) == whole[part.within(scene.box)]).all()
