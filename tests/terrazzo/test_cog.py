"""COGs hold what was written, at every level, and are valid for strict readers."""

import resource
from collections import Counter

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rio_cogeo import cog_validate

from terrazzo.cog import reduce_average, reduce_mode, reduce_weight, write_cog

pytestmark = pytest.mark.pythons

HERE = Affine(60, 0, 499980, 0, -60, 5100000)
SMALL = arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 1, 2, 255]))


def write(path, array, **options):
    settings = {"nodata": None, "overview": "average", "levels": 3} | options
    write_cog(path, array, HERE, "EPSG:32633", **settings)


def test_a_raster_comes_back_with_its_place_scale_and_name(tmp_path):
    array = np.random.default_rng(0).integers(-500, 9000, (512, 320)).astype(np.int16)
    array[:100, :50] = -32768
    write(tmp_path / "a.tif", array, nodata=-32768, scale=1e-4, description="B02", tags={"NOTE": "a<b & c"})
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.read(1) == array).all()
        assert dataset.transform == HERE
        assert dataset.crs.to_epsg() == 32633
        assert dataset.nodata == -32768
        assert dataset.scales == (1e-4,)
        assert dataset.descriptions == ("B02",)
        assert dataset.tags()["NOTE"] == "a<b & c"
        assert dataset.overviews(1) == [2, 4, 8]
        assert dataset.compression.name == "zstd"
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]


def test_levels_are_the_reductions_of_the_level_below(tmp_path):
    array = np.random.default_rng(1).integers(0, 3, (256, 256)).astype(np.uint8)
    write(tmp_path / "w.tif", array, overview="weight")
    for level in range(3):
        array = reduce_weight(array, None)
        with rasterio.open(tmp_path / "w.tif", overview_level=level) as dataset:
            assert (dataset.read(1) == array).all()


@given(SMALL)
def test_a_weight_overview_is_clear_only_where_all_below_is(array):
    above = reduce_weight(array, None)
    for (row, col), value in np.ndenumerate(above):
        below = array[2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        if (below == 0).all():
            assert value == 0
        elif (below <= 1).any():
            assert value == 1
        else:
            assert value == round(float(below.mean()))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_one_cloudy_pixel_is_a_last_resort_at_every_overview(levels):
    """A pixel above it was called clear from the second overview on, because the 1 of the first was averaged with clear ones."""
    array = np.full((32, 32), 200, np.uint8)
    array[5, 9] = 0
    for _ in range(levels):
        array = reduce_weight(array, None)
    assert array[5 >> levels, 9 >> levels] == 1
    assert (array == 1).sum() == 1


@given(SMALL)
def test_a_class_overview_is_the_commonest_class(array):
    above = reduce_mode(array, None)
    for (row, col), value in np.ndenumerate(above):
        counts = Counter(array[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel().tolist())
        assert counts[int(value)] == max(counts.values())


def test_an_average_overview_ignores_pixels_without_data():
    array = np.array([[-32768, 10, 5, 6], [20, -32768, 5, 6]], np.int16)
    assert reduce_average(array, -32768).tolist() == [[15, 6]]
    assert reduce_average(np.full((2, 2), -32768, np.int16), -32768).tolist() == [[-32768]]


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    """The system refuses to make any file larger than 4 kB."""
    array = np.random.default_rng(2).integers(0, 255, (512, 512)).astype(np.uint8)
    write(tmp_path / "old.tif", array)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"old\.tif: File too large; is the disk full"):
            write(tmp_path / "old.tif", 255 - array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["old.tif"]
    with rasterio.open(tmp_path / "old.tif") as dataset:
        assert (dataset.read(1) == array).all()


def test_gdal_refuses_each_block_that_is_not_what_was_written(tmp_path):
    """The checksum is ZSTD's own, so that every program that reads the file looks at it."""
    write(tmp_path / "a.tif", np.arange(256 * 256, dtype=np.int16).reshape(256, 256), levels=0)
    whole = (tmp_path / "a.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as dataset:
        start, size = (
            int(dataset.get_tag_item(f"BLOCK_{n}_0_0", "TIFF", bidx=1)) for n in ("OFFSET", "SIZE")
        )
    for place in range(start, start + size, 7):
        data = bytearray(whole)
        data[place] ^= 16
        (tmp_path / "b.tif").write_bytes(data)
        with (
            rasterio.open(tmp_path / "b.tif") as dataset,
            pytest.raises(rasterio.errors.RasterioError),
        ):
            dataset.read(1)


def test_sides_must_halve(tmp_path):
    with pytest.raises(ValueError, match="cannot be halved"):
        write(tmp_path / "a.tif", np.zeros((100, 64), np.uint8))
