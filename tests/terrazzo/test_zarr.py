"""Exports as Zarr hold the numbers of the GeoTIFF, for xarray and for GDAL."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray
from affine import Affine
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.errors import NameTaken
from terrazzo.export import folders
from terrazzo.export.folders import export_zarr, write_zarr
from terrazzo.export.order import parse_order
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.conftest import CLEAN, program

BOX = ("14.95", "45.75", "15.05", "45.8")
"""Beyond the edge of the data, so that there is nodata."""


@pytest.fixture(scope="module")
def exported(sample_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarr")
    asked = ["export", "--store", str(sample_store), "--bbox", *BOX, "--bands", "B04,B08", "-o"]
    for name in ("a.tif", "a.zarr"):
        done = CliRunner().invoke(cli, [*asked, str(folder / name)])
        assert done.exit_code == 0, done.output
    return folder


def test_xarray_reads_the_numbers_of_the_geotiff_with_its_place(exported):
    assert sorted(os.listdir(exported)) == [
        "a.lock.json",
        "a.tif",
        "a.zarr",
        "a.zarr.lock.json",
        "a_date.tif",
        "a_quality.tif",
    ]
    cube = xarray.open_dataset(exported / "a.zarr", engine="zarr", decode_coords="all")
    assert set(cube.data_vars) == {"B04", "B08", "quality", "date"}
    with rasterio.open(exported / "a.tif") as tif:
        stored = tif.read(masked=True)
        assert (cube.rio.crs, cube.rio.transform()) == (tif.crs, tif.transform)
    assert stored.mask.any()
    for values, band in zip(stored, ("B04", "B08"), strict=True):
        expected = np.where(values.mask, np.nan, values.data * 1e-4)
        np.testing.assert_allclose(cube[band].values, expected, rtol=1e-12)


def test_gdal_reads_them_too(exported, tmp_path):
    """Debian's reads Zarr 2, and knows no 3."""
    out = tmp_path / "b.tif"
    command = [program("gdal_translate", "gdal-bin"), "-q", f'ZARR:"{exported / "a.zarr"}":/B08', str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN)
    assert done.returncode == 0, done.stderr
    with rasterio.open(out) as read, rasterio.open(exported / "a.tif") as tif:
        assert (read.crs, read.transform, read.nodata) == (tif.crs, tif.transform, tif.nodata)
        np.testing.assert_array_equal(read.read(1), tif.read(2))


def test_chunks_without_data_are_not_written(exported):
    about = json.loads((exported / "a.zarr/B04/.zarray").read_text())
    assert about["fill_value"] == json.loads((exported / "a.zarr/B04/.zattrs").read_text())["_FillValue"]
    assert about["fill_value"] == -32768


def test_a_folder_is_replaced_only_when_asked(exported, sample_store):
    asked = [
        "export",
        "--store",
        str(sample_store),
        "--bbox",
        *BOX,
        "--bands",
        "B04",
        "--format",
        "zarr",
        "-o",
    ]
    refused = CliRunner().invoke(cli, [*asked, str(exported / "a.zarr")])
    assert refused.exit_code != 0
    assert "--overwrite" in str(refused.exception) + refused.output
    named = CliRunner().invoke(cli, [*asked, str(exported / "a.tif"), "--overwrite"])
    assert ".zarr" in str(named.exception) + named.output


def test_xarray_reads_reflectance_of_numbers_with_an_offset(exported, sample_store):
    asked = ["export", "--store", str(sample_store), "--bbox", *BOX, "--bands", "B04"]
    path = exported / "shifted.zarr"
    done = CliRunner().invoke(cli, [*asked, "--dtype", "uint16", "-o", str(path)])
    assert done.exit_code == 0, done.output
    shifted = xarray.open_dataset(path, engine="zarr").B04.values
    plain = xarray.open_dataset(exported / "a.zarr", engine="zarr").B04.values
    np.testing.assert_allclose(shifted, plain, atol=1e-9)


def test_the_compression_is_the_one_asked_for(order, tmp_path):
    done = order("a.zarr", "--compression", "zstd")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "a.zarr/B04/.zarray").read_text())["compressor"]["id"] == "zstd"
    assert "deflate, zstd, none" in order("b.zarr", "--compression", "lzw").output


@pytest.fixture
def raster(tmp_path):
    """Writes a GeoTIFF of a zone, a band a name, which hold their number."""

    def write(file, names):
        profile = {"driver": "GTiff", "width": 3, "height": 2, "dtype": "int16", "crs": "EPSG:32633"}
        profile |= {"count": len(names), "transform": Affine(10, 0, 500000, 0, -10, 5000000), "nodata": -1}
        with rasterio.open(tmp_path / file, "w", **profile) as out:
            for number, name in enumerate(names, 1):
                out.set_band_description(number, name)
                out.write(np.full((2, 3), number, "int16"), number)
        return tmp_path / file

    return write


def test_names_that_are_one_key_are_numbered(raster, tmp_path):
    first, second = raster("a.tif", ["B08-B04", "B08+B04", "x", "date"]), raster("b.tif", ["date"])
    write_zarr([first, second], tmp_path / "a.zarr")
    cube = xarray.open_dataset(tmp_path / "a.zarr", engine="zarr")
    read = {key: (variable.long_name, variable.values[0, 0]) for key, variable in cube.data_vars.items()}
    assert read == {
        "B08_B04": ("B08-B04", 1),
        "B08_B04_2": ("B08+B04", 2),
        "x_2": ("x", 3),
        "date": ("date", 4),
        "date_2": ("date", 1),
    }


def test_a_folder_that_failed_leaves_nothing_behind(raster, tmp_path):
    first, cut = raster("a.tif", ["B04"]), tmp_path / "cut.tif"
    cut.write_bytes(first.read_bytes()[:200])
    with pytest.raises(rasterio.errors.RasterioIOError):
        write_zarr([first, cut], tmp_path / "a.zarr")
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "cut.tif"]


@pytest.fixture
def order(sample_store, tmp_path):
    """Runs `terrazzo export` of the box into a new folder, which is beside what it yields."""

    def run(name, *more, bbox=BOX):
        asked = ["export", "--store", str(sample_store), "--bbox", *bbox, "--bands", "B04", *more]
        return CliRunner().invoke(cli, [*asked, "-o", str(tmp_path / name)])

    return run


def test_only_a_zarr_is_replaced_and_a_refusal_renders_nothing(order, tmp_path, monkeypatch):
    (tmp_path / "file.zarr").write_text("mine")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "letter.txt").write_text("mine")
    (tmp_path / "locked.zarr.lock.json").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for name, more in (("file", ["--overwrite"]), ("folder", ["--overwrite"]), ("locked", [])):
        refused = order(f"{name}.zarr", *more)
        assert isinstance(refused.exception, SystemExit), refused.exception
        assert f"{name}.zarr" in refused.output
        assert "px" not in refused.output
    assert sorted(tmp_path.rglob("*")) == before


def test_an_order_that_is_refused_leaves_nothing_behind(order, tmp_path):
    for more, bbox in (([], ("15.9", "45.0", "16.0", "45.1")), (["--datetime", "1999"], BOX)):
        assert order("a.zarr", *more, bbox=bbox).exit_code != 0
    assert os.listdir(tmp_path) == []


def test_an_export_that_is_stopped_after_its_folder_goes_on(sample_store, tmp_path, monkeypatch):
    engine = Engine(open_version(Store(str(sample_store)), "mosaic"), Blocks())
    ordered = parse_order({"bbox": " ".join(BOX), "bands": "B04"}, engine.version)
    remove = shutil.rmtree

    def stopped(path, **options):
        if path.suffix == ".rasters":
            raise KeyboardInterrupt
        remove(path, **options)

    monkeypatch.setattr("terrazzo.export.folders.shutil.rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(export_zarr(engine, ordered, tmp_path / "a.zarr"))
    monkeypatch.undo()
    assert (tmp_path / "a.zarr").is_dir()
    list(export_zarr(engine, ordered, tmp_path / "a.zarr"))
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "a.zarr.lock.json"]
    with pytest.raises(NameTaken):
        list(export_zarr(engine, ordered, tmp_path / "a.zarr"))


def test_floats_are_described_in_json_and_chunks_without_data_are_not_there(tmp_path):
    values = np.full((1024, 2048), np.nan, "float32")
    values[:, :1024] = 0.25
    profile = {"driver": "GTiff", "width": 2048, "height": 1024, "dtype": "float32", "count": 1}
    profile |= {"crs": "EPSG:32633", "transform": Affine(10, 0, 500000, 0, -10, 5000000), "nodata": np.nan}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as out:
        out.write(values, 1)
    write_zarr([tmp_path / "a.tif"], tmp_path / "a.zarr")

    def strict(name):
        raise AssertionError(name)

    for file in ("b1/.zattrs", ".zmetadata"):
        json.loads((tmp_path / "a.zarr" / file).read_text(), parse_constant=strict)
    assert [p.name for p in (tmp_path / "a.zarr" / "b1").glob("0.*")] == ["0.0"]
    read = xarray.open_dataset(tmp_path / "a.zarr", engine="zarr").b1.values
    np.testing.assert_array_equal(read, values)


def test_a_folder_that_could_not_be_written_is_written_from_the_rasters(sample_store, tmp_path, monkeypatch):
    engine = Engine(open_version(Store(str(sample_store)), "mosaic"), Blocks())
    ordered = parse_order({"bbox": " ".join(BOX), "bands": "B04"}, engine.version)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "_write_values", full)
    with pytest.raises(OSError, match="No space"):
        list(export_zarr(engine, ordered, tmp_path / "a.zarr"))
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".rasters"]
    monkeypatch.undo()
    monkeypatch.setattr(Engine, "render", full)
    *_, exported = export_zarr(engine, ordered, tmp_path / "a.zarr")
    assert exported.share > 0.4
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "a.zarr.lock.json"]
