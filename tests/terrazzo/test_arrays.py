"""Lazy arrays hold what `terrazzo export` writes, read no pixel before it is needed, and name what cannot be read."""

import pickle
import shutil

import numpy as np
import odc.geo.xr  # noqa: F401  # adds .odc to arrays
import pytest
import rasterio
import rioxarray  # noqa: F401  # adds .rio to arrays
import xarray
from click.testing import CliRunner

import terrazzo
from terrazzo.arrays import Backend
from terrazzo.cli import cli
from terrazzo.errors import InvalidRequest, NotFound, StoreError
from terrazzo.store import Store
from tests.server.test_serve import serving

BOX = "15.95,45.8,16.05,45.86"
QUESTIONS = (
    {},
    {"bands": "B08,B04", "datetime": "2023-08-15", "method": "first", "normalize": "off"},
    {"expression": "(B08-B04)/(B08+B04)", "method": "median"},
    {"bands": "B03", "crs": "EPSG:3857", "resolution": "75", "resampling": "nearest"},
    {"bands": "B02", "crs": "EPSG:4326", "baseline": "2023-08-10"},
    {"bands": "B02", "stage": "raw", "datetime": "2023-08-15"},
    {"bands": "B02", "stage": "mask", "datetime": "2023-08-15"},
)


def exported(store, folder, question):
    """(band, row, col) of an export as floats, and its dataset's profile."""
    numbers = [] if question.get("stage") in ("raw", "mask") else ["--dtype", "float32"]
    options = [part for name, value in question.items() for part in (f"--{name.replace('_', '-')}", value)]
    file = folder / "e.tif"
    result = CliRunner().invoke(
        cli,
        [
            "export",
            "--store",
            str(store),
            "--bbox",
            BOX,
            "-o",
            str(file),
            "--extras",
            "none",
            *numbers,
            *options,
        ],
    )
    assert result.exit_code == 0, result.output
    with rasterio.open(file) as dataset:
        return dataset.read(masked=True).astype(np.float32).filled(np.nan), dataset.profile


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_value_and_place_is_that_of_an_export(sample_store, tmp_path, question):
    values, profile = exported(sample_store, tmp_path, question)
    array = terrazzo.open(sample_store, bbox=BOX, chunks=50, **question)
    assert array.dims == ("time", "band", "y", "x")
    assert np.isfinite(values).any()
    np.testing.assert_array_equal(array.values[0], values)
    assert array.rio.transform().almost_equals(profile["transform"], 1e-9)
    assert array.rio.crs == profile["crs"]
    assert array.odc.geobox.shape == values.shape[1:]


def test_any_part_is_that_part_of_the_whole(sample_store):
    lazy = terrazzo.open(sample_store, bbox=BOX, chunks=None, datetime=["2023-08-10", "2023-08-15"])
    whole = lazy.values
    assert not np.array_equal(whole[0], whole[1], equal_nan=True)
    for part in (
        np.s_[1, 2, 10:50:7, -1],
        np.s_[:, ::-1, ::-3, 5:6],
        np.s_[:, :, 20:20, :],
        np.s_[0, [3, 0], 7, 2:60:11],
    ):
        np.testing.assert_array_equal(lazy[part].values, whole[part])
    np.testing.assert_array_equal(lazy.isel(x=[9, 2], band=0).values, whole[:, 0][..., [9, 2]])


def test_a_server_gives_what_its_store_gives(sample_store, tmp_path):
    with serving(sample_store, "--no-worker", TERRAZZO_STATE=str(tmp_path)) as (_, address):
        for question in QUESTIONS:
            near = terrazzo.open(sample_store, bbox=BOX, **question)
            far = terrazzo.open(address, bbox=BOX, chunks=64, **question)
            xarray.testing.assert_identical(far.drop_vars("spatial_ref"), near.drop_vars("spatial_ref"))
            assert far.rio.crs == near.rio.crs
        with pytest.raises(NotFound, match="mosaic"):
            terrazzo.open(address, "elsewhere")


def test_opening_reads_no_pixel_and_a_scene_that_cannot_be_read_is_named(sample_store, tmp_path):
    store = Store(shutil.copytree(sample_store, tmp_path / "store"))
    for key in [k for k in store.list() if k.endswith("B04.tif")]:
        store.delete(key)
    array = terrazzo.open(store.url, bbox=BOX, bands="B04", datetime="2023-08-15")
    with pytest.warns(RuntimeWarning, match=r"left out .*20230815"):
        assert np.isnan(array.values).all()


def test_times_are_periods_days_or_intervals_and_stand_with_their_first_day(sample_store):
    array = terrazzo.open(
        sample_store, datetime=[np.datetime64("2023-08-13"), "all", "2023-08-14/2023-08-20"], bands="B02"
    )
    assert [str(t)[:10] for t in array.time.values] == ["2023-08-13", "2023-08-10", "2023-08-14"]
    assert array.datetime.values.tolist() == ["2023-08-13", "all", "2023-08-14/2023-08-20"]
    assert terrazzo.open(sample_store).datetime.values.tolist() == ["all"]


def test_xarray_opens_a_store_by_itself(sample_store):
    assert Backend().guess_can_open(str(sample_store))
    assert not Backend().guess_can_open("x.nc")
    dataset = xarray.open_dataset(sample_store, bbox=BOX, bands="B02", chunks={"y": 40})
    named = xarray.open_dataset(str(sample_store), engine="terrazzo", bbox=BOX, bands=["B02"])
    xarray.testing.assert_identical(dataset.load(), named.load())
    assert dataset.mosaic.attrs["version"] == terrazzo.open(sample_store).version


def test_another_process_can_read_an_array(sample_store):
    array = terrazzo.open(sample_store, bbox=BOX, bands="B02", chunks=40)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).values, array.values)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"bands": "B99"}, InvalidRequest),
        ({"colour": "red"}, InvalidRequest),
        ({"datetime": "2019-01"}, InvalidRequest),
        ({"datetime": []}, InvalidRequest),
        ({"resolution": -1}, InvalidRequest),
        ({"crs": "EPSG:31275"}, InvalidRequest),
        ({"key": "tz_1"}, InvalidRequest),
        ({"version": "ffffffffffff"}, NotFound),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_opened(sample_store, asked, error):
    with pytest.raises(error):
        terrazzo.open(sample_store, **{"bbox": BOX, **asked})


def test_a_folder_that_is_no_store_is_named(tmp_path):
    with pytest.raises(StoreError) as error:
        terrazzo.open(tmp_path)
    assert str(tmp_path) in error.value.whole
