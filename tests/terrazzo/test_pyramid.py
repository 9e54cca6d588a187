"""Low zooms come from the pyramid: the same picture as from the scenes, without reading a scene."""

import shutil
from dataclasses import replace

import morecantile
import numpy as np
import pytest

from terrazzo.bands import NODATA
from terrazzo.errors import TooLarge
from terrazzo.mosaic import plan as plan_module
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.pyramid import INDEX, read_pyramid
from terrazzo.mosaic.request import PixelRequest
from terrazzo.precompute.versions.pyramid import write_pyramid
from terrazzo.store import Store
from terrazzo.version import open_version, version_key
from tests.golden.make import STORE as GOLDEN

pytestmark = pytest.mark.slow
TMS = morecantile.tms.get("WebMercatorQuad")
REQUEST = PixelRequest(("B04", "B08"))


@pytest.fixture(scope="module")
def baked(sample_store):
    return Engine(open_version(Store(sample_store), "mosaic"), Blocks())


@pytest.fixture(scope="module")
def merged(sample_store, tmp_path_factory):
    """The same version without its pyramid."""
    root = tmp_path_factory.mktemp("bare") / "store"
    shutil.copytree(sample_store, root)
    version = open_version(Store(root), "mosaic")
    (root / version_key("mosaic", version.name, INDEX)).unlink()
    return Engine(version, Blocks())


def middle(engine, zoom):
    b = engine.version.bounds
    tile = TMS.tile((b.left + b.right) / 2, (b.bottom + b.top) / 2, zoom)
    return tile.x, tile.y, zoom


def test_where_the_pyramid_takes_over_nothing_changes(baked, merged):
    part = read_pyramid(baked.version.store, "mosaic", baked.version.name)["all", 32633]
    for zoom in range(5, 14):
        tile = middle(baked, zoom)
        target = tile_target(TMS, *tile)
        level, used = baked.planner._level(target, 32633, part)
        a, b = (e.tile(REQUEST, TMS, *tile) for e in (baked, merged))
        if used is None or level == part.level:
            for name in ("values", "provenance", "quality"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            continue
        both = (a.values != NODATA) & (b.values != NODATA)
        # Averages of merged pixels stand for merged averages.
        off = np.abs(a.values[both].astype(int) - b.values[both])
        assert np.median(off) <= 10, zoom
        assert (a.values == NODATA).mean() == pytest.approx((b.values == NODATA).mean(), abs=0.01)
    assert used is None
    assert baked.planner._level(tile_target(TMS, *middle(baked, 8)), 32633, part)[1] is not None


def test_low_zooms_read_no_scene(sample_store, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(sample_store, root)
    for raster in [*root.glob("scenes/*/*/*/*/*.tif"), *root.glob("mosaics/mosaic/weights/*/*.tif")]:
        raster.unlink()
    engine = Engine(open_version(Store(root), "mosaic"), Blocks())
    for zoom in (0, 3, 6, 8):
        image = engine.tile(REQUEST, TMS, *middle(engine, zoom))
        assert not image.problems
        seen = image.values[0] != NODATA
        assert seen.any(), zoom
        assert (image.provenance[seen] >= 0).all()


def test_low_zooms_count_all_scenes(baked, merged):
    part = read_pyramid(baked.version.store, "mosaic", baked.version.name)["all", 32633]
    alike = []
    for zoom in (0, 2, 5, 7, 8, 9, 10):
        target = tile_target(TMS, *middle(baked, zoom))
        image = baked.render(baked.select(REQUEST), target, count_to=ALL)
        seen = image.values[0] != NODATA
        assert not image.problems
        assert seen.any()
        assert image.count[seen].min() >= 1, zoom
        if baked.planner._level(target, 32633, part) == (part.level, part):
            whole = merged.render(merged.select(REQUEST), target, count_to=ALL)
            alike.append((image.count == whole.count).all())
    assert alike
    assert all(alike)


@pytest.mark.parametrize(
    "other",
    [{"method": "median"}, {"normalize": False}, {"orbit": 79}, {"snow": "keep"}, {"max_cloud": 20.0}],
)
def test_what_is_asked_otherwise_is_merged_from_scenes(baked, merged, other):
    request = replace(REQUEST, **other)
    tile = middle(baked, 8)
    a, b = (e.tile(request, TMS, *tile) for e in (baked, merged))
    np.testing.assert_array_equal(a.values, b.values)


def test_too_many_scenes_for_one_picture_are_refused_with_what_to_do(baked, monkeypatch):
    monkeypatch.setattr(plan_module, "MOST_SCENES", 3)
    # An engine that has planned nothing yet.
    fresh = Engine(baked.version, baked.blocks)
    with pytest.raises(TooLarge, match=r"10 scenes .* zoom in"):
        fresh.tile(replace(REQUEST, method="median"), TMS, *middle(baked, 8))
    assert (baked.tile(REQUEST, TMS, *middle(baked, 8)).values != NODATA).any()


def test_a_mosaic_says_from_which_pixels_on_its_pyramid_is_read(tmp_path):
    """Where it takes over pixels are those of the scenes; keys of tiles tell the two ways apart."""
    store = Store(shutil.copytree(GOLDEN, tmp_path / "store"))
    name = open_version(store, "mosaic").name
    plain = Engine(open_version(Store(GOLDEN), "mosaic"), Blocks())
    lock = version_key("mosaic", name, "lock.json")
    store.write_json(lock, store.read_json(lock) | {"mosaic_toml": "pyramid_from = 40\n"})
    write_pyramid(store, open_version(store, "mosaic"))
    deep = Engine(open_version(store, "mosaic"), Blocks())
    levels = []
    for zoom in (9, 10, 11, 13):
        target = tile_target(TMS, *middle(deep, zoom))
        engines = (deep, plain)
        hashes = [e.content_hash(e.select(REQUEST), target) for e in engines]
        (planned,) = deep.planner.zones(deep.select(REQUEST), target)
        levels.append((planned.level, planned.part is not None))
        assert (hashes[0] == hashes[1]) == (planned.part is None)
        if planned.level <= 2:
            a, b = (e.tile(REQUEST, TMS, *middle(deep, zoom)).values for e in engines)
            np.testing.assert_array_equal(a, b)
    assert levels == [(4, True), (3, True), (2, True), (0, False)]
