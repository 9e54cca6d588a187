"""At a thousand places of a world on its own grid, account, tile, point, export and the products' files agree."""

from functools import cache

import numpy as np
import pytest
import rasterio

from terrazzo.errors import OutsideCoverage
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.explain import explain
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.world.sky import View
from tests.world.worlds import FOUR, Weather, make_world

METHODS = ("feather", "first", "median", "mean", "robust")
PLACES = 1000
WEATHER = Weather(gain=0.3, offset=0.005, haze=0.05, ramp=0.04, cloud=0.25, missed=0.02, swath=0.7)


class Ground:
    """A mosaic of 10 m bands under slanting views, and its products."""

    def __init__(self, folder):
        self.products = folder / "p"
        make_world(self.products, weather=WEATHER, view=View(tilt=(0.2, 1.3e-6)))
        done, _ = precompute(self.products, folder / "s", recipe=Recipe("scl"))
        self.engine = Engine(done.version, Blocks())
        self.grid = done.version.store.grid(done.version.zones[0])
        scenes = self.engine.select(PixelRequest(FOUR)).entries
        self.box = scenes[0].scene.box
        self.bounds = self.grid.bounds(self.box)
        self.product = cache(self._product)

    def _product(self, scene):
        """(band, row, col) numbers of a product, and its box."""
        numbers = []
        for band in FOUR:
            with rasterio.open(self.products / scene / f"{band}.tif") as dataset:
                numbers.append(dataset.read(1))
                box = self.grid.box_from_bounds(*dataset.bounds)
        return np.stack(numbers), box

    def exported(self, selection, folder):
        """(band, row, col) of an export over the box."""
        request = selection.request
        raw = {"bbox": list(self.bounds), "bbox_crs": f"EPSG:{self.grid.epsg}", "bands": list(FOUR)}
        order = parse_order({**raw, "method": request.method}, self.engine.version)
        path = folder / f"{request.method}.tif"
        for _ in export(self.engine, order, path):
            pass
        with rasterio.open(path) as dataset:
            assert dataset.bounds == pytest.approx(tuple(self.bounds))
            return dataset.read()


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    ground = Ground(tmp_path_factory.mktemp("places"))
    yield ground
    ground.engine.blocks.close()


@pytest.mark.parametrize("method", METHODS)
def test_account_tile_point_export_and_product_agree_to_the_last_digit(ground, method, tmp_path):
    engine, box, grid = ground.engine, ground.box, ground.grid
    selection = engine.select(PixelRequest(FOUR, method=method))
    tile = engine.render(selection, Target(f"EPSG:{grid.epsg}", ground.bounds, *box.shape)).values
    file = ground.exported(selection, tmp_path)
    np.testing.assert_array_equal(tile, file)
    random = np.random.default_rng([11, METHODS.index(method)])
    rows = random.integers(box.row0, box.row1, PLACES // len(METHODS))
    cols = random.integers(box.col0, box.col1, PLACES // len(METHODS))
    x, y = (cols + 0.5) * grid.pixel, grid.origin_y - (rows + 0.5) * grid.pixel
    lons, lats = transformer(f"EPSG:{grid.epsg}", "EPSG:4326").transform(x, y)
    nearest = engine.select(PixelRequest(FOUR, method=method, resampling="nearest"))
    points = engine.points(nearest, "EPSG:4326", lons, lats).values[:, 0]
    told_of = 0
    for i, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        here = file[:, row - box.row0, col - box.col0].tolist()
        assert points[:, i].tolist() == here
        if here == [-32768] * len(FOUR):
            with pytest.raises(OutsideCoverage):
                explain(engine, nearest, float(lons[i]), float(lats[i]))
            continue
        told = explain(engine, nearest, float(lons[i]), float(lats[i]))
        assert (told.row, told.col) == (row, col)
        assert list(told.values) == here
        numbers, at = ground.product(told.chosen.scene.id)
        true = numbers[:, row - at.row0, col - at.col0].astype(int)
        for step, number in zip(told.path, true, strict=True):
            assert abs(step.count - number) <= 1
            assert abs(step.count_undone - number) <= 1
        told_of += 1
    assert told_of > 0.8 * len(rows)
