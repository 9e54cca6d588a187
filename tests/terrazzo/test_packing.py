"""A file joined from packed windows holds their pixels, and means or picks of them, at every level, whatever the packing."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from rio_cogeo import cog_validate

from terrazzo.bulk.windows import windows
from terrazzo.export.files import Band, Raster, write_cog
from terrazzo.export.packing import Packing, level_count, whole_levels, write_window
from terrazzo.export.pieces import BLOCKS, layer_file, piece_name
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import Target

pytestmark = pytest.mark.pythons

HEIGHT, WIDTH = 1333, 2605
NODATA = {"int16": -32768, "uint16": 0, "uint8": 255, "float32": float("nan")}
FAR = 1024
"""Column from which the made picture holds no data at all, in its upper part."""


def made(dtype, bands=3):
    rng = np.random.default_rng(1)
    smooth = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 200 + rng.integers(
        0, 50, (bands, HEIGHT, WIDTH)
    )
    values = (smooth / 7 if dtype == "float32" else smooth).astype(dtype)
    if dtype == "int16":
        values -= 100
    empty = rng.random((HEIGHT, WIDTH)) < 0.2
    empty[:1024, FAR:] = True
    values[:, empty] = NODATA[dtype]
    return values


def written(folder, values, compression, side, *, smooth=True):
    bands = tuple(Band(f"b{n}", 0.5, 1.0) for n in range(len(values)))
    kind = Raster(None, bands, values.dtype.name, NODATA[values.dtype.name], smooth)
    target = Target(
        "EPSG:32633", Bounds(500_000, 5_000_000 - 10 * HEIGHT, 500_000 + 10 * WIDTH, 5_000_000), HEIGHT, WIDTH
    )
    packing, levels, held = Packing(compression, kind.nodata, smooth), level_count(target.shape), {}
    for window, _ in windows(target, side):
        rows, cols = window.toslices()
        part = values[:, rows, cols]
        if there(part).any():
            held[window] = folder / piece_name(window)
            write_window(layer_file(held[window], None, BLOCKS), part, packing, side, levels)
    assert len(held) < len(list(windows(target, side)))
    write_cog(kind, target, held, folder / "a.tif", {"ATTRIBUTION": "a & b"}, (), compression, side)
    return folder / "a.tif"


def there(values):
    return np.isfinite(values) if values.dtype.kind == "f" else values != NODATA[values.dtype.name]


def half(values):
    """The plain statement: the mean of what is there of each 2 × 2 pixels, rounded half to even."""
    bands, rows, cols = values.shape
    wide = np.full((bands, rows + rows % 2, cols + cols % 2), np.nan)
    wide[:, :rows, :cols] = np.where(there(values), values, np.nan)
    quads = np.stack([wide[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    count = np.isfinite(quads).sum(axis=0)
    mean = np.nansum(quads, axis=0) / np.maximum(count, 1)
    if values.dtype.kind != "f":
        mean = np.rint(mean)
    return np.where(count > 0, mean, NODATA[values.dtype.name]).astype(values.dtype)


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw", "none"])
@pytest.mark.parametrize(
    ("dtype", "side"), [("int16", 1024), ("float32", 512), ("uint16", 256), ("uint8", 128)]
)
def test_every_level_comes_back_as_it_was_made(tmp_path, compression, dtype, side):
    values = made(dtype)
    path = written(tmp_path, values, compression, side)
    assert cog_validate(path, strict=True) == (True, [], [])
    with rasterio.open(path) as file:
        assert (file.descriptions, file.scales, file.tags()["ATTRIBUTION"]) == (
            ("b0", "b1", "b2"),
            (0.5,) * 3,
            "a & b",
        )
        assert file.compression == (
            None if compression == "none" else rasterio.enums.Compression(compression.upper())
        )
        levels = len(file.overviews(1))
        assert file.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(file.read(), values)
    for level in range(levels):
        values = half(values)
        with rasterio.open(path, overview_level=level) as file:
            if dtype == "float32":
                np.testing.assert_allclose(file.read(), values, rtol=1e-5)
            else:
                np.testing.assert_array_equal(file.read(), values)


def test_a_file_past_two_gigabytes_is_a_big_tiff(tmp_path):
    kind = Raster(None, (Band("b"),), "int16", -32768, True)
    side = 33_000
    target = Target(
        "EPSG:32633", Bounds(300_000, 5_000_000 - 10 * side, 300_000 + 10 * side, 5_000_000), side, side
    )
    packing, window = Packing("deflate", -32768, True), Window(31 * 1024, 32 * 1024, 1024, side - 32 * 1024)
    values = np.arange(window.height * window.width, dtype=np.int16).reshape(1, window.height, window.width)
    write_window(layer_file(tmp_path / "w", None, BLOCKS), values, packing, 1024, level_count(target.shape))
    write_cog(kind, target, {window: tmp_path / "w"}, tmp_path / "a.tif", {}, (), "deflate", 1024)
    assert (tmp_path / "a.tif").read_bytes()[2] == 43
    assert cog_validate(tmp_path / "a.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read(window=window) == values).all()
        assert (file.read(window=Window(0, 0, 2048, 2048)) == -32768).all()


def test_overviews_of_classes_are_picks(tmp_path):
    values = made("uint8", bands=1)
    path = written(tmp_path, values, "deflate", 1024, smooth=False)
    for level in range(3):
        with rasterio.open(path, overview_level=level) as file:
            np.testing.assert_array_equal(file.read(), values[:, :: 2 ** (level + 1), :: 2 ** (level + 1)])


def test_a_mean_is_never_taken_for_no_data():
    block = np.array([[[4, 6], [4, 6]]], np.int16)
    assert Packing("deflate", 5, True).halved(block)[0, 0, 0] == 6
    apart = np.array([[[-0.25, 0.25], [-0.25, 0.25]]], np.float32)
    mean = Packing("deflate", 0, True).halved(apart)[0, 0, 0]
    assert 0 < mean < 1e-30


@pytest.mark.parametrize(("side", "levels", "whole"), [(1024, 5, 2), (1024, 1, 1), (512, 3, 1), (256, 3, 0)])
def test_levels_are_packed_in_the_window_where_its_blocks_are_whole(side, levels, whole):
    assert whole_levels(side, levels) == whole


@pytest.mark.parametrize(("shape", "levels"), [((1, 512), 1), ((513, 3), 2), ((5490, 5490), 5)])
def test_a_file_has_overviews_until_one_block_is_enough(shape, levels):
    assert level_count(shape) == levels
