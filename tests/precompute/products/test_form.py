"""Pixels are what the file says: whatever way reflectance is written, the same comes out, or the reason why not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from terrazzo.errors import ProductError, UnreadableAsset, WrongGrid
from terrazzo.grid import Grid
from terrazzo.precompute import sample
from terrazzo.precompute.products.form import BRIGHTEST, read_forms
from terrazzo.precompute.products.product import Declared
from terrazzo.precompute.products.raster import Images, asset_grid
from tests.world.jp2 import ground, write_jp2

EPSG, PIXEL, SIDE = 32633, 20.0, 40
GRID = Grid(EPSG, PIXEL, 8)
LEFT, TOP = 560_000.0, 5_080_000.0
BOX = GRID.box_from_bounds(LEFT, TOP - SIDE * PIXEL, LEFT + SIDE * PIXEL, TOP)
PLACE = Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP)
RHO = np.random.default_rng(3).uniform(0.01, 0.5, (SIDE, SIDE)).round(4)
RHO[5, 5:9] = [-0.004, -0.0001, 0.0002, 1.2]
GONE = np.zeros((SIDE, SIDE), bool)
GONE[:, :4] = GONE[20, 20] = True


def write(path: Path, values: np.ndarray, **given: Any) -> str:
    mask, declared = given.pop("mask", None), {"crs": f"EPSG:{EPSG}", "transform": PLACE, **given}
    scale = declared.pop("scale", None)
    alpha = declared.pop("alpha", None)
    layers = [values] if alpha is None else [values, alpha]
    profile = {
        "driver": "GTiff",
        "height": SIDE,
        "width": SIDE,
        "count": len(layers),
        "dtype": values.dtype.name,
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, **declared) as dataset,
    ):
        if alpha is not None:
            dataset.colorinterp = [rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha]
        for k, layer in enumerate(layers, 1):
            dataset.write(layer, k)
        if mask is not None:
            dataset.write_mask(mask)
        if scale is not None:
            dataset.scales = [scale]
    return str(path)


def read(path: str, declared: Declared | None = None, grid: Grid = GRID) -> tuple[np.ndarray, int, Any]:
    """Counts on the grid, what was added to them in reading, and what else was read."""
    given = {path: declared} if declared else {}
    images = Images(Path("."), (0.0, 0.0), read_forms({"B02": path}, given), given)
    box = grid.box_from_bounds(*GRID.bounds(BOX))
    placed = images.read(path, grid, box, "reflectance")
    return placed.array, images.lift, placed


def reflectance(path: str, declared: Declared | None = None) -> np.ndarray:
    counts, lift, _ = read(path, declared)
    return np.where(counts == 0, np.nan, (counts.astype(float) - lift) * 1e-4)


def stored(kind: str, gone: float) -> np.ndarray:
    """The truth as counts of 1e-4, or as reflectance, of a data type, with a number for no data."""
    values = RHO if np.dtype(kind).kind == "f" else np.rint(RHO * 10_000)
    if np.dtype(kind).kind == "u":
        values = np.maximum(values, 1)
    return np.where(GONE, gone, values).astype(kind)


TRUTH = np.where(GONE, np.nan, RHO)
ABOVE_ZERO = np.maximum(TRUTH, 1e-4)
FORMS = {
    "uint16": (lambda p: write(p, stored("uint16", 0), nodata=0), None, ABOVE_ZERO),
    "uint16, nothing declared": (lambda p: write(p, stored("uint16", 0)), None, ABOVE_ZERO),
    "uint16, 65535 is no data": (lambda p: write(p, stored("uint16", 65535), nodata=65535), None, ABOVE_ZERO),
    "uint16, the Item says 65535": (lambda p: write(p, stored("uint16", 65535)), Declared(nodata=65535.0), ABOVE_ZERO),
    "uint16 with a mask": (lambda p: write(p, stored("uint16", 777), mask=~GONE), None, ABOVE_ZERO),
    "uint16 with alpha": (lambda p: write(p, stored("uint16", 777), alpha=np.where(GONE, 0, 65535).astype("uint16")), None, ABOVE_ZERO),
    "int16": (lambda p: write(p, stored("int16", -32768), nodata=-32768), None, TRUTH),
    "int16, nothing declares -9999": (lambda p: write(p, stored("int16", -9999)), None, TRUTH),
    "int16, -32768 beside a declared -9999": (lambda p: write(p, stored("int16", -32768), nodata=-9999), None, TRUTH),
    "float32, nothing declares -9999": (lambda p: write(p, stored("float32", -9999)), None, TRUTH),
    "int16, 0 is no data": (lambda p: write(p, stored("int16", 0), nodata=0), None, TRUTH),
    "int16 with a mask": (lambda p: write(p, stored("int16", 0), mask=~GONE), None, TRUTH),
    "int32": (lambda p: write(p, stored("int32", -9999), nodata=-9999), None, TRUTH),
    "float32 reflectance, NaN": (lambda p: write(p, stored("float32", np.nan), nodata=float("nan")), None, TRUTH),
    "float32 reflectance, undeclared NaN": (lambda p: write(p, stored("float32", np.nan)), None, TRUTH),
    "float32, -9999": (lambda p: write(p, stored("float32", -9999), nodata=-9999), None, TRUTH),
    "float32 reflectance, the Item says 1e-4": (lambda p: write(p, stored("float32", 0)), Declared(scale=1e-4), TRUTH),
    "float64 counts": (lambda p: write(p, np.where(GONE, 0, RHO * 10_000)), None, TRUTH),
    "scale 5e-5 in the Item": (lambda p: write(p, stored("uint16", 0) * np.uint16(2)), Declared(scale=5e-5), ABOVE_ZERO),
    "scale 5e-5 in the file": (lambda p: write(p, stored("uint16", 0) * np.uint16(2), scale=5e-5), None, ABOVE_ZERO),
    "scale 5e-5 in the file, the Item says 1e-4": (lambda p: write(p, stored("uint16", 0) * np.uint16(2), scale=5e-5), Declared(scale=1e-4), ABOVE_ZERO),
    "scale 1e-4 in both": (lambda p: write(p, stored("uint16", 0), scale=1e-4), Declared(scale=1e-4), ABOVE_ZERO),
    "south first": (lambda p: write(p, stored("uint16", 0)[::-1], nodata=0, transform=Affine(PIXEL, 0, LEFT, 0, PIXEL, TOP - SIDE * PIXEL)), None, ABOVE_ZERO),
    "south first, float": (lambda p: write(p, stored("float32", np.nan)[::-1], transform=Affine(PIXEL, 0, LEFT, 0, PIXEL, TOP - SIDE * PIXEL)), None, TRUTH),
    "no CRS": (lambda p: write(p, stored("uint16", 0), crs=None), None, ABOVE_ZERO),
    "no CRS, the Item has it": (lambda p: write(p, stored("uint16", 0), crs=None), Declared(epsg=EPSG), ABOVE_ZERO),
    "a CRS without a name": (lambda p: write(p, stored("uint16", 0), crs='LOCAL_CS["unnamed",UNIT["metre",1]]'), None, ABOVE_ZERO),
    "a CRS without a code": (lambda p: write(p, stored("uint16", 0), crs="+proj=utm +zone=33 +datum=WGS84"), None, ABOVE_ZERO),
    "float64, no data past float32": (lambda p: write(p, stored("float64", -1.7e308), nodata=-1.7e308), None, TRUTH),
    "no transform, the Item has it": (lambda p: write(p, stored("uint16", 0), transform=Affine.identity()), Declared(shape=(SIDE, SIDE), transform=tuple(PLACE)[:6]), ABOVE_ZERO),
    "no transform, the Item has a finer file's": (lambda p: write(p, stored("uint16", 0), transform=Affine.identity()), Declared(shape=(2 * SIDE, 2 * SIDE), transform=(PIXEL / 2, 0, LEFT, 0, -PIXEL / 2, TOP)), ABOVE_ZERO),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_reflectance_comes_out_however_it_is_written(form, tmp_path):
    make, declared, truth = FORMS[form]
    found = reflectance(make(tmp_path / "B02.tif"), declared)
    assert np.array_equal(np.isnan(found), np.isnan(truth))
    assert np.nanmax(np.abs(found - truth)) <= 0.6e-4


REFUSED = {
    "a picture": (lambda p: write(p, (stored("uint16", 0) // 50).astype("uint8")), None, "without a scale"),
    "a picture with the scale of the bands": (lambda p: write(p, (stored("uint16", 0) // 20).astype("uint8")), Declared(scale=1e-4), "uint8 with a scale of 0.0001: a picture"),
    "a signed picture": (lambda p: write(p, (stored("uint16", 0) // 50).astype("int8")), None, "without a scale"),
    "a scale of 1": (lambda p: write(p, stored("uint16", 0)), Declared(scale=1.0), "reflectance of .*correct raster:scale"),
    "a scale of 0": (lambda p: write(p, stored("uint16", 0)), Declared(scale=0.0), "scale of 0"),
    "a scale below 0": (lambda p: write(p, stored("uint16", 0)), Declared(scale=-1e-4), "scale of -0.0001"),
    "float of another unit": (lambda p: write(p, stored("float32", 0) * np.float32(100)), None, "brightest pixels"),
    "complex numbers": (lambda p: write(p, stored("float32", 0).astype("complex64")), None, "no image of B02"),
    "no transform": (lambda p: write(p, stored("uint16", 0), transform=Affine.identity()), None, "where it lies"),
    "turned": (lambda p: write(p, stored("uint16", 0), transform=PLACE @ Affine.rotation(5)), None, "turned or mirrored"),
    "mirrored": (lambda p: write(p, stored("uint16", 0), transform=Affine(-PIXEL, 0, LEFT, 0, -PIXEL, TOP)), None, "mirrored"),
    "another zone": (lambda p: write(p, stored("uint16", 0), crs="EPSG:32634"), None, "EPSG:32634"),
    "no CRS, the Item says another zone": (lambda p: write(p, stored("uint16", 0), crs=None), Declared(epsg=32634), "Item says EPSG:32634.*tile lies in EPSG:32633"),
    "far away": (lambda p: write(p, stored("uint16", 0), transform=Affine(PIXEL, 0, 9e6, 0, -PIXEL, TOP)), None, "does not lie in a UTM zone"),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_reflectance_or_has_no_place_is_refused_with_the_reason(form, tmp_path):
    make, declared, reason = REFUSED[form]
    path = make(tmp_path / "B02.tif")
    with pytest.raises((ProductError, UnreadableAsset, WrongGrid), match=reason):
        reflectance(path, declared)


def test_one_signed_band_lifts_all_so_that_one_offset_is_theirs(tmp_path):
    paths = {
        "B02": write(tmp_path / "B02.tif", stored("uint16", 0), nodata=0),
        "B08": write(tmp_path / "B08.tif", stored("int16", -32768), nodata=-32768),
    }
    images = Images(tmp_path, (0.0, 0.0), read_forms(paths, {}))
    for band, truth in (("B02", ABOVE_ZERO), ("B08", TRUTH)):
        counts = images.read(paths[band], GRID, BOX, "reflectance").array
        found = np.where(counts == 0, np.nan, (counts.astype(float) - images.lift) * 1e-4)
        np.testing.assert_allclose(found, truth, atol=0.6e-4)


def test_saturated_pixels_take_no_part_in_resampling_and_their_neighbours_are_flagged(tmp_path):
    counts = np.full((SIDE, SIDE), 3000, np.uint16)
    counts[20, 20] = 65535
    path = write(tmp_path / "B02.tif", counts, nodata=0)
    fine = Grid(EPSG, PIXEL / 2, 8)
    values, _, placed = read(path, grid=fine)
    assert set(np.unique(values)) <= {0, 3000}
    rows, cols = np.nonzero(placed.saturated)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (38, 43, 38, 43)
    same, _, at_home = read(path)
    assert same[20, 20] == 65535
    assert at_home.saturated.sum() == 9
    clean, _, none = read(write(tmp_path / "B03.tif", np.minimum(counts, 3000), nodata=0))
    assert none.saturated is None
    assert (clean == 3000).all()


def test_bounds_of_a_file_with_the_south_first_are_those_of_the_ground(tmp_path):
    path = write(
        tmp_path / "B02.tif", stored("uint16", 0)[::-1], transform=Affine(PIXEL, 0, LEFT, 0, PIXEL, TOP - 800)
    )
    bounds, pixel = asset_grid(path, EPSG)
    assert (tuple(bounds), pixel) == ((LEFT, TOP - 800, LEFT + 800, TOP), PIXEL)


def test_a_jp2_that_ends_too_early_is_refused_however_many_threads_decode(tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_NUM_THREADS", "4")
    path = write_jp2(tmp_path / "B02.jp2", ground((160, 160)), metres=PIXEL, tile=32, corner=(LEFT, TOP))
    content, side = path.read_bytes(), 160 * PIXEL
    path.write_bytes(content[: len(content) // 2])
    box = GRID.box_from_bounds(LEFT, TOP - side, LEFT + side, TOP)
    with pytest.raises(UnreadableAsset, match="fetch the product again"):
        Images(Path("."), (0.0, 0.0)).read(str(path), GRID, box, "reflectance")


def test_real_scenes_lie_within_the_brightness_that_is_believed():
    for path in sample.path().glob("*/B0[248].tif"):
        with rasterio.open(path) as dataset:
            values = dataset.read(1)
        assert BRIGHTEST[0] * 5 < np.percentile(values[values > 0], 99) * 1e-4 < BRIGHTEST[1] / 2
