"""A file joined from packed windows holds their pixels, and means or picks of them, at every level, whatever the packing."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.windows import Window
from rio_cogeo import cog_validate

from terrazzo.bulk.windows import windows
from terrazzo.export.files import Band, Raster, write_cog
from terrazzo.export.packing import (
    Packing,
    Stretch,
    level_count,
    whole_levels,
    with_margin,
    write_window,
)
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
    packing, held = Packing(compression, kind.nodata, smooth), {}
    for window, _ in windows(target, side):
        rows, cols = with_margin(window, target.shape, side).toslices()
        part = values[:, rows, cols]
        if there(part).any():
            held[window] = folder / piece_name(window)
            path = layer_file(held[window], None, BLOCKS)
            write_window(path, part, window, packing, side, target.shape)
    assert len(held) < len(list(windows(target, side)))
    write_cog(kind, target, held, folder / "a.tif", {"ATTRIBUTION": "a & b"}, (), compression, side)
    return folder / "a.tif"


def there(values):
    return np.isfinite(values) if values.dtype.kind == "f" else values != NODATA[values.dtype.name]


def stretch(below):
    """(n, below) shares of the pixels below that an axis of half as many, rounded up, lies on; rows sum to 1."""
    ends = np.arange(-(-below // 2) + 1) * below / -(-below // 2)
    low, high = np.arange(below), np.arange(below) + 1
    parts = np.minimum(ends[1:, None], high) - np.maximum(ends[:-1, None], low)
    shares = np.where(parts > 1e-9, parts, 0)
    return shares / shares.sum(axis=1, keepdims=True)


def half(values):
    """The plain statement: the mean of what is there of the ground below, each pixel by its share of it."""
    down, across = stretch(values.shape[1]), stretch(values.shape[2]).T
    count = down @ there(values) @ across
    total = down @ np.where(there(values), values, 0).astype(float) @ across
    mean = total / np.where(count > 0, count, 1)
    if values.dtype.kind != "f":
        mean = np.rint(mean)
    return np.where(count > 1e-9, mean, NODATA[values.dtype.name]).astype(values.dtype)


def by_gdal(values, levels, path, how):
    """GDAL's own overviews of an array, the finest first."""
    form = {
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype.name,
    }
    nodata = NODATA[values.dtype.name]
    with rasterio.open(path, "w", driver="GTiff", nodata=nodata, transform=Affine(10, 0, 0, 0, -10, 0), **form) as file:  # fmt: skip
        file.write(values)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2**k for k in range(1, levels)], how)
    found = []
    for level in range(levels - 1):
        with rasterio.open(path, overview_level=level) as file:
            found.append(file.read())
    return found


def levels_of(values, levels, packing):
    """Our overviews of an array, the finest first, each of the one before."""
    found = []
    for _ in range(levels - 1):
        axes = [Stretch(n, 0, -(-n // 2), 0) for n in values.shape[1:]]
        values = packing.reduced(values, *axes)
        found.append(values)
    return found


@settings(max_examples=60)
@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 2**31))
def test_overviews_of_every_size_are_gdals_average_within_rounding(rows, cols, seed):
    """GDAL weighs by the same shares, in single precision, and rounds halves up."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-300, 10_000, (1, rows, cols), dtype=np.int16)
    values[rng.random(values.shape) < 0.05] = -32768
    folder = Path("/vsimem")
    levels = min(4, max(rows, cols).bit_length())
    ours = levels_of(values, levels, Packing("deflate", -32768, True))
    below = values
    for level, mine in enumerate(ours):
        # Each from our level before, so that only one rounding lies between.
        (theirs,) = by_gdal(below, 2, folder / f"{seed}_{level}.tif", Resampling.average)
        assert theirs.shape == mine.shape
        assert np.array_equal(theirs == -32768, mine == -32768)
        assert np.abs(theirs.astype(int) - mine).max(initial=0) <= 1
        below = mine


def test_every_length_is_covered_once_by_the_shares_of_its_overview():
    """In whole numbers, so exactly; and in any part, with any margin."""
    for size in range(1, 2001):
        _require_covered(size)


def _require_covered(size):
    whole = Stretch(size, 0, -(-size // 2), 0)
    at, shares = whole.shares()
    covered = np.zeros(size + 3)
    for k in range(shares.shape[1]):
        np.add.at(covered, at + k, shares[:, k])
    assert (covered[:size] == covered[0]).all()
    assert not covered[size:].any()
    part = Stretch(size, whole.length // 3, whole.length, 0)
    first, last = part.needed()
    assert first == at[part.start]
    assert last == size


def test_windows_make_the_overviews_of_the_whole(tmp_path):
    """Sides odd on every level: what windows pack with their margins is what all pixels at once make."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 5000, (1, 2047, 3075), dtype=np.int16)
    shape, packing = values.shape[1:], Packing("deflate", -32768, True)
    whole = levels_of(values, level_count(shape), packing)
    kind = Raster(None, (Band("b"),), "int16", -32768, True)
    target = Target("EPSG:32633", Bounds(0, 0, 10 * shape[1], 10 * shape[0]), *shape)
    for side in (1024, 512, 256):
        held = {}
        for window, _ in windows(target, side):
            rows, cols = with_margin(window, shape, side).toslices()
            held[window] = tmp_path / f"{side}_{piece_name(window)}"
            write_window(
                layer_file(held[window], None, BLOCKS), values[:, rows, cols], window, packing, side, shape
            )
        path = tmp_path / f"{side}.tif"
        write_cog(kind, target, held, path, {}, (), "deflate", side)
        for level, expected in enumerate(whole):
            with rasterio.open(path, overview_level=level) as file:
                np.testing.assert_array_equal(file.read(), expected)


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
                np.testing.assert_allclose(file.read(), values, rtol=1e-5, equal_nan=True)
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
    write_window(layer_file(tmp_path / "w", None, BLOCKS), values, window, packing, 1024, target.shape)
    write_cog(kind, target, {window: tmp_path / "w"}, tmp_path / "a.tif", {}, (), "deflate", 1024)
    assert (tmp_path / "a.tif").read_bytes()[2] == 43
    assert cog_validate(tmp_path / "a.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read(window=window) == values).all()
        assert (file.read(window=Window(0, 0, 2048, 2048)) == -32768).all()


def test_overviews_of_classes_are_picks(tmp_path):
    values = made("uint8", bands=1)
    path = written(tmp_path, values, "deflate", 1024, smooth=False)
    for level, expected in enumerate(by_gdal(values, 4, tmp_path / "gdal.tif", Resampling.nearest)):
        with rasterio.open(path, overview_level=level) as file:
            np.testing.assert_array_equal(file.read(), expected)


def test_a_mean_is_never_taken_for_no_data():
    block = np.array([[[4, 6], [4, 6]]], np.int16)
    assert levels_of(block, 2, Packing("deflate", 5, True))[0][0, 0, 0] == 6
    apart = np.array([[[-0.25, 0.25], [-0.25, 0.25]]], np.float32)
    mean = levels_of(apart, 2, Packing("deflate", 0, True))[0][0, 0, 0]
    assert 0 < mean < 1e-30


@pytest.mark.parametrize(("side", "levels", "whole"), [(1024, 5, 2), (1024, 1, 1), (512, 3, 1), (256, 3, 0)])
def test_levels_are_packed_in_the_window_where_its_blocks_are_whole(side, levels, whole):
    assert whole_levels(side, levels) == whole


@pytest.mark.parametrize(("shape", "levels"), [((1, 512), 1), ((513, 3), 2), ((5490, 5490), 5)])
def test_a_file_has_overviews_until_one_block_is_enough(shape, levels):
    assert level_count(shape) == levels
