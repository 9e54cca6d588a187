"""Shadows of hills: a wall of known height, and what a scene's mask makes of them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from terrazzo.bands import MaskClass
from terrazzo.precompute.clouds.terrain import terrain_shadow
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.scene.make import ingest
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import MASK, read_item
from terrazzo.store import StoreConfig, create_store
from tests.precompute.scene.test_l1c import LEFT, SIDE, TOP, write_safe

PIXEL = 20.0


def direction(azimuth: float) -> tuple[float, float]:
    return -np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))


@pytest.mark.parametrize("azimuth", [0, 30, 45, 100, 150, 200, 225, 290, 359])
@pytest.mark.parametrize("zenith", [30, 60, 75])
def test_a_tower_throws_its_shadow_as_far_as_its_height_says(azimuth: float, zenith: float) -> None:
    """A block of 5 × 5 pixels, 300 m high, on a plain."""
    elevation = np.zeros((201, 201), np.float32)
    elevation[98:103, 98:103] = 300
    dark = terrain_shadow(elevation, PIXEL, zenith, azimuth)
    down, right = direction(azimuth)
    length = 300 * np.tan(np.radians(zenith)) / PIXEL
    rows, cols = np.indices(elevation.shape) - 100
    along, across = -(rows * down + cols * right), rows * right - cols * down
    inside = (np.abs(across) < 1.5) & (along > 4.5) & (along < length - 3)
    outside = (np.abs(across) > 5.5) | (along < -5.5) | (along > length + 5.5)
    assert dark[inside].all()
    assert not dark[outside].any()


def test_a_slope_steeper_than_the_sun_is_high_lies_in_its_own_shadow() -> None:
    """A ridge from west to east, 45° on both sides; the sun stands south, 30° high."""
    elevation = np.repeat((1000 - np.abs(np.arange(-50, 51)) * PIXEL)[:, None], 40, axis=1)
    dark = terrain_shadow(elevation, PIXEL, 60, 180)
    assert dark[5:49].all()
    assert not dark[52:].any()


def test_the_sun_overhead_throws_no_shadow() -> None:
    elevation = np.random.default_rng(1).uniform(0, 100, (30, 30))
    assert not terrain_shadow(elevation, 1000.0, 0.0, 0.0).any()


def test_a_hill_outside_the_scene_throws_its_shadow_into_it(tmp_path: Path) -> None:
    """The sun stands at 40° from the zenith in the southeast (150°); a wall 500 m high stands just south of the scene: its
    shadow reaches 500 · tan 40° · cos 30° = 363 m north of it."""
    safe = write_safe(tmp_path / "products")
    store = create_store(
        str(tmp_path / "store"),
        StoreConfig(pixel=10.0, mask_pixel=20.0, window=256, bands=("B02", "B04", "B08")),
    )
    (product,) = find_products(safe.parent).products
    elevation = np.full((400, 400), 300, np.float32)
    south = TOP - SIDE
    elevation[209:212] = 800
    with rasterio.open(
        tmp_path / "dem.tif", "w", driver="GTiff", width=400, height=400, count=1, dtype="float32",
        crs="EPSG:32632", transform=from_origin(LEFT - 5000, south + 200 * 30 + 270, 30, 30),
    ) as dem:  # fmt: skip
        dem.write(elevation, 1)
    plain = ingest(product, store, Recipe("model"))
    shaded = ingest(product, store, Recipe("model", dem=tmp_path / "dem.tif"))
    assert "terrain shadow not tested" in read_item(store, plain)["properties"]["processing:lineage"]
    assert "not tested" not in read_item(store, shaded)["properties"]["processing:lineage"]
    with rasterio.open(store.raster_path(shaded.key(MASK))) as mask:
        rows, cols = rasterio.transform.rowcol(
            mask.transform, np.full(3, LEFT + SIDE / 2), [south + 20, south + 60, south + 400]
        )
        classes = mask.read(1)[rows, cols]
    assert list(classes == MaskClass.TERRAIN_SHADOW) == [True, True, False]
