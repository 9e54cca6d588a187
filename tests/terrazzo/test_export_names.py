"""An export writes the names it is given and replaces nothing unasked; what lies beside its files tells of them truly."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.crs import DEGREES
from terrazzo.errors import InvalidRequest
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from tests.terrazzo.extensions import check_extensions

SMALL = ("15.9", "45.75", "15.95", "45.8")
WIDE = ("15.2", "45.8", "16.0", "46.2")


@pytest.fixture
def run(sample_store, tmp_path, monkeypatch):
    """Runs `terrazzo export` over a small box, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*more, box=SMALL):
        fixed = ["export", "--store", str(sample_store), "--bbox", *box, "--bands", "B04", "--extras", "none"]
        return CliRunner().invoke(cli, [*fixed, *more])

    return run


@pytest.mark.parametrize("name", ["s2.2022.tif", "a.tiff", "B.TIF", "a.gpkg"])
def test_the_name_that_is_given_is_written(run, name):
    more = () if name.endswith("gpkg") else ("--compression", "zstd")
    fixed = run(*more, "-o", name) if more else _picture(run, name)
    assert fixed.exit_code == 0, fixed.output
    assert sorted(os.listdir()) == sorted(
        [name, f"{name if name.endswith('gpkg') else Path(name).stem}.lock.json"]
    )


def _picture(run, name):
    # Pictures have no extras.
    asked = ["export", "--store", os.environ["STORE"], "--bbox", *SMALL, "-o", name]
    return CliRunner().invoke(cli, asked)


@pytest.fixture(autouse=True)
def store_in_environment(sample_store, monkeypatch):
    monkeypatch.setenv("STORE", str(sample_store))


@pytest.mark.parametrize("name", ["s2.2022", "a.jp2", "a.zip", "a", "a.vrt"])
def test_a_name_of_another_kind_is_refused_with_those_there_are(run, name):
    refused = run("-o", name)
    assert refused.exit_code == 1
    assert ".tif, .tiff" in refused.output
    assert os.listdir() == []


def test_two_names_that_differ_behind_a_dot_are_two_files(run):
    assert run("-o", "s2.2022.tif").exit_code == run("-o", "s2.2023.tif").exit_code == 0
    assert {"s2.2022.tif", "s2.2023.tif"} <= set(os.listdir())


@pytest.mark.parametrize("there", ["a.tif", "a.lock.json"])
def test_what_is_there_is_replaced_only_when_asked(run, there):
    Path(there).write_text("mine")
    refused = run("-o", "a.tif")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.output
    assert os.listdir() == [there]
    assert Path(there).read_text() == "mine"
    assert run("-o", "a.tif", "--overwrite").exit_code == 0
    with rasterio.open("a.tif") as file:
        assert file.count == 1


def test_a_stopped_export_may_go_on_over_its_own_files(engine, tmp_path):
    """Of a divided export the first square is there when it is stopped."""
    raw = {"bbox": tuple(map(float, WIDE)), "bands": ["B04"], "extras": "none", "split": 512}
    order = parse_order(raw, engine.version)
    steps = export(engine, order, tmp_path / "a", overwrite=False)
    while not list(tmp_path.glob("a_*.tif")):
        next(steps)
    steps.close()
    list(export(engine, order, tmp_path / "a", overwrite=False))
    assert (tmp_path / "a.vrt").exists()
    with pytest.raises(InvalidRequest, match="exists; name another"):
        list(export(engine, order, tmp_path / "a", overwrite=False))


def test_a_geopackages_layer_has_the_exports_name(run):
    _picture(run, "forest.2025.gpkg")
    with closing(sqlite3.connect("forest.2025.gpkg")) as file:
        assert file.execute("SELECT table_name, identifier FROM gpkg_contents").fetchall() == [
            ("forest.2025", "forest.2025")
        ]


def test_an_item_gives_each_sheets_size_place_scale_and_offset(run):
    assert run("--split", "512", "-o", "sp", box=WIDE).exit_code == 0
    item = json.loads(Path("sp.json").read_text())
    check_extensions(item)
    sheets = {k: a for k, a in item["assets"].items() if a["href"].endswith(".tif")}
    assert len(sheets) > 1
    shapes = set()
    for asset in sheets.values():
        with rasterio.open(asset["href"]) as file:
            assert asset["proj:shape"] == list(file.shape)
            assert asset["proj:transform"] == pytest.approx(list(file.transform)[:6])
            assert (asset["bands"][0]["raster:scale"], asset["bands"][0]["raster:offset"]) == (1e-4, 0.0)
            shapes.add(file.shape)
    assert len(shapes) > 1
    with rasterio.open("sp.vrt") as file:
        assert item["properties"]["proj:shape"] == list(file.shape)


RESAMPLED, BETWEEN = (
    "resampled once from 120 m to 60 m",
    "interpolated between the store's pixels to the place",
)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), (RESAMPLED,)),
        (("--resolution", "240"), (RESAMPLED, "means of 4 x 4 of the store's pixels")),
        (("--crs", "EPSG:3035", "--resolution", "60"), (RESAMPLED, BETWEEN)),
        (("--crs", "EPSG:3035", "--resolution", "60", "--resampling", "nearest"), (RESAMPLED,)),
        (("--split", "512", "--crs", "EPSG:3035", "--resolution", "60"), (RESAMPLED, BETWEEN)),
    ],
)
def test_numbers_that_are_not_the_products_own_say_so(run, more, said):
    """The sample's products have pixels of 120 m, its store has 60 m."""
    done = run("--stage", "raw", *more, "-o", "raw" if "--split" in more else "raw.tif")
    assert done.exit_code == 0, done.output
    written = [p for p in os.listdir() if p.endswith((".tif", ".vrt"))]
    assert len(written) == (2 if "--split" in more else 1)
    for name in written:
        with rasterio.open(name) as file:
            lines = file.tags()["TERRAZZO_INTERPOLATED"].split("; ")
        for line in (RESAMPLED, "means of 4 x 4", BETWEEN):
            assert any(line in one for one in lines) == any(line in one for one in said), (name, lines)


def test_other_numbers_do_not(run):
    assert run("--crs", "EPSG:3035", "--resolution", "60", "-o", "a.tif").exit_code == 0
    with rasterio.open("a.tif") as file:
        assert "TERRAZZO_INTERPOLATED" not in file.tags()


def test_a_dry_run_reports_the_room_that_is_needed_meanwhile(run):
    told = run("--dry-run", box=WIDE)
    assert "MB of free disk space are needed meanwhile" in told.output


def test_a_file_without_a_coordinate_system_is_no_export(run, monkeypatch):
    """A system that GDAL cannot write is an error, and leaves no file."""
    monkeypatch.setattr("terrazzo.export.files.definition", lambda crs: "")
    failed = run("-o", "a.tif")
    assert failed.exit_code == 1
    assert not Path("a.tif").exists()


def test_a_file_lies_where_its_label_says_in_a_system_of_another_datum(run):
    assert run("--crs", "EPSG:31256", "-o", "a.tif").exit_code == 0
    with rasterio.open("a.tif") as file:
        assert file.crs.to_epsg() == 31256
        west, south, east, north = rasterio.warp.transform_bounds(file.crs, DEGREES, *file.bounds)
    assert (west, south) == pytest.approx((15.9, 45.75), abs=2e-3)
    assert (east, north) == pytest.approx((15.95, 45.8), abs=2e-3)


@pytest.mark.parametrize("code", ["31275", "3907"])
def test_a_deprecated_code_is_refused_with_its_successor(run, code):
    refused = run("--crs", f"EPSG:{code}", "-o", "a.tif")
    assert refused.exit_code == 1
    assert "use EPSG:8677" in refused.output


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept(sample_store, tmp_path):
    command = [Path(sys.executable).parent / "terrazzo", "export", "--store", sample_store, "--bbox", *WIDE]
    command += ["--resolution", "4", "-o", tmp_path / "a.tif"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".a-*.parts/0_0-*/*.done")):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    told = running.communicate()[1]
    (folder,) = tmp_path.glob(".a-*.parts")
    assert running.returncode != 0
    assert str(folder) in told
    assert "the same command goes on" in told
