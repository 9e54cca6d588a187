"""A mosaic whose level is another composite's: `reference = "external"`."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from terrazzo.bands import NODATA
from terrazzo.config import parse_config
from terrazzo.errors import StoreError
from terrazzo.export.order import parse_order
from terrazzo.export.run import Exported, export
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.precompute.normalize.external import read_composite
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.versions.rebuild import rebuild
from terrazzo.raster import reflectance
from terrazzo.store import Store, StoreConfig, create_store
from tests.chain import native, precompute
from tests.world.worlds import FOUR, Weather, make_world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scenes that all lie 6 % too high or more, and a composite of the truth."""
    base = tmp_path_factory.mktemp("external")
    made = make_world(
        base / "p", seed=1, pixel=60.0, size=(192, 240), dates=4, weather=Weather(gain=0.03, haze=0.01)
    )
    (land,) = made.land.values()
    precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"), normalize=False)
    return base, land


def write_composite(path, land, bands=FOUR):
    place = land.place
    profile = {
        "driver": "GTiff", "count": len(bands), "height": place.box.height, "width": place.box.width, "dtype": "int16",
        "nodata": -32768, "crs": f"EPSG:{place.epsg}", "transform": place.grid.transform(place.box),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.rint(land.rho * 1e4).astype(np.int16)[: len(bands)])
        file.scales = (1e-4,) * len(bands)
        for i, band in enumerate(bands, 1):
            file.set_band_description(i, band)


def test_scenes_take_the_level_of_the_composite(world):
    base, land = world
    error, level, names = {}, {}, set()
    write_composite(base / "last.tif", land)
    for reference in ("own", "external", "own"):
        text = (
            f'reference = "external"\nreference_file = "{base}/last.tif"\n' if reference == "external" else ""
        )
        Store(base / "s").write_bytes("mosaics/mosaic/mosaic.toml", text.encode())
        done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
        if (reference, "robust") in error:
            # Back at its own level, the mosaic is the version it was.
            assert done.version.name in names
        names.add(done.version.name)
        inner = PixelBox(*land.place.box).grown(-8)
        truth = land.rho[:, *inner.within(land.place.box)]
        for method in ("robust", "kriging"):
            rho = reflectance(native(done.version, inner, 32633, method=method, resampling="nearest").values)
            error[reference, method] = np.sqrt(np.nanmean((rho - truth) ** 2, axis=(1, 2)))
            level[reference, method] = np.abs(np.nanmedian((rho - truth) / truth, axis=(1, 2)))
    assert len(names) == 2
    for method in ("robust", "kriging"):
        assert (error["external", method] < error["own", method]).all(), error
        # The day that `kriging` shows has the composite's level, not that of its own scenes.
        assert (level["external", method] < 0.005).all(), level


def test_a_composite_without_a_band_is_refused_by_name(world):
    base, land = world
    write_composite(base / "three.tif", land, FOUR[:3])
    text = f'reference = "external"\nreference_file = "{base}/three.tif"\n'
    Store(base / "s").write_bytes("mosaics/mosaic/mosaic.toml", text.encode())
    with pytest.raises(StoreError, match="no band named B08"):
        precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))


@pytest.mark.parametrize(
    ("scale", "crs", "told"),
    [(1.0, "EPSG:32633", "is no reflectance"), (1e-4, None, "has no coordinate system")],
)
def test_a_composite_without_scale_or_place_is_refused(tmp_path, scale, crs, told):
    store = create_store(tmp_path / "s", StoreConfig(60.0, 120.0, 64, FOUR))
    box = PixelBox(0, 0, 64, 64)
    profile = {
        "driver": "GTiff", "count": 1, "height": 64, "width": 64, "dtype": "int16", "crs": crs,
        "transform": store.grid(32633).transform(box),
    }  # fmt: skip
    with rasterio.open(tmp_path / "c.tif", "w", **profile) as file:
        file.write(np.full((1, 64, 64), 1234, np.int16))
        file.scales = (scale,)
        file.set_band_description(1, "B04")
    with pytest.raises(StoreError, match=told):
        read_composite(str(tmp_path / "c.tif"), "B04", store, 32633, box)


def test_a_glint_of_the_composite_stays_bright(tmp_path):
    store = create_store(tmp_path / "s", StoreConfig(60.0, 120.0, 64, FOUR))
    box, values = PixelBox(0, 0, 64, 64), np.full((1, 64, 64), 0.1, np.float32)
    values[:, 20:30, 20:30] = 5
    profile = {
        "driver": "GTiff", "count": 1, "height": 64, "width": 64, "dtype": "float32", "crs": "EPSG:32633",
        "transform": store.grid(32633).transform(box),
    }  # fmt: skip
    with rasterio.open(tmp_path / "c.tif", "w", **profile) as file:
        file.write(values)
        file.set_band_description(1, "B04")
    found = read_composite(str(tmp_path / "c.tif"), "B04", store, 32633, box)
    assert (found[22:28, 22:28] == 32767).all()
    assert found[0, 0] == 1000


def test_a_gap_in_one_band_of_the_composite_stays_out_of_that_band(tmp_path):
    store = create_store(tmp_path / "s", StoreConfig(60.0, 120.0, 64, FOUR))
    box, grid = PixelBox(0, 0, 64, 64), store.grid(32633)
    values = np.full((2, 64, 64), 1000, np.int16)
    values[0, :, 20:30] = 0
    profile = {
        "driver": "GTiff", "count": 2, "height": 64, "width": 64, "dtype": "int16", "crs": "EPSG:32633", "nodata": 0,
        # Half a pixel off the grid, so that neighbours are interpolated.
        "transform": grid.transform(box) @ Affine.translation(0.5, 0),
    }  # fmt: skip
    with rasterio.open(tmp_path / "c.tif", "w", **profile) as file:
        file.write(values)
        file.scales = (1e-4, 1e-4)
        for i, band in enumerate(("B04", "B03"), 1):
            file.set_band_description(i, band)
    found = read_composite(str(tmp_path / "c.tif"), "B04", store, 32633, box)
    assert set(np.unique(found)) == {NODATA, 1000}
    assert (found[:, 23:28] == NODATA).all()


def test_a_version_of_another_level_is_computed_again_with_that_composite_only(world, tmp_path):
    base, land = world
    write_composite(tmp_path / "last.tif", land)
    text = f'reference = "external"\nreference_file = "{tmp_path}/last.tif"\n'
    Store(base / "s").write_bytes("mosaics/mosaic/mosaic.toml", text.encode())
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"), force=True)
    lock = base / f"s/mosaics/mosaic/versions/{done.version.name}/lock.json"
    made = rebuild(lock, [base / "p"], str(tmp_path / "again"), "mosaic")
    assert made.version.name == done.version.name
    land.rho[:] *= 0.9
    write_composite(tmp_path / "last.tif", land)
    land.rho[:] /= 0.9
    with pytest.raises(StoreError, match="put that one there"):
        rebuild(lock, [base / "p"], str(tmp_path / "other"), "mosaic")
    assert not (tmp_path / "other").exists()


SEASONS = """
[[periods]]
name = "2022"
start = 2023-08-01
end = 2023-08-09
[[periods]]
name = "2023"
start = 2023-08-10
end = 2023-08-31
[[parents]]
name = "summers"
members = ["2022", "2023"]
"""
"""Two seasons; the simulator's passes are days apart, which nothing here depends on."""


def test_seasons_brought_to_the_composite_of_all_of_them_agree(tmp_path):
    weather = Weather(gain=0.04, haze=0.01)
    world = make_world(tmp_path / "p", seed=3, pixel=60.0, size=(192, 240), dates=4, weather=weather)
    (land,) = world.land.values()
    inner, recipe = PixelBox(*land.place.box).grown(-8), Recipe("scl")
    precompute(tmp_path / "p", tmp_path / "s", pixel=60.0, recipe=recipe, normalize=False)
    apart = {}
    for reference in ("own", "external"):
        file = tmp_path / "summers.tif"
        more = f'reference = "external"\nreference_file = "{file}"\n' if reference == "external" else ""
        Store(tmp_path / "s").write_bytes("mosaics/mosaic/mosaic.toml", (more + SEASONS).encode())
        done, _ = precompute(tmp_path / "p", tmp_path / "s", pixel=60.0, recipe=recipe, force=True)
        first, second = (
            reflectance(native(done.version, inner, 32633, datetime=name).values) for name in ("2022", "2023")
        )
        apart[reference] = np.abs(np.nanmedian(second - first, axis=(1, 2)))
        if reference == "own":
            engine = Engine(done.version, Blocks())
            order = parse_order(
                {
                    "bbox": list(land.place.grid.bounds(land.place.box)), "bbox_crs": "EPSG:32633",
                    "datetime": "summers", "extras": "none",
                },
                done.version,
            )  # fmt: skip
            assert isinstance(list(export(engine, order, file))[-1], Exported)
    assert (apart["external"] < 0.25 * apart["own"]).all(), apart


def test_the_two_entries_go_together():
    for text in ('reference = "external"', 'reference_file = "a.tif"'):
        with pytest.raises(StoreError, match="reference"):
            parse_config("m", text)
