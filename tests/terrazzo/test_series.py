"""`terrazzo series`: an area day by day, without gaps."""

import json
import shutil

import numpy as np
import pytest
import rasterio
import xarray
from click.testing import CliRunner

from terrazzo.bands import NODATA
from terrazzo.cli import cli
from terrazzo.mosaic.origin import PREDICTED_DAY
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.waiting import held_by_another
from tests.world.worlds import Weather, make_world

DAYS = ("2023-08-08", "2023-08-10", "2023-08-12", "2023-08-14")
"""The second and the fourth have no pass: passes are five days apart, from the third of August on."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    base = tmp_path_factory.mktemp("series")
    make_world(
        base / "p", seed=5, pixel=60.0, size=(96, 96), dates=5, weather=Weather(cloud=0.3), phenology=0.5
    )
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    return base / "s", done.version


def run(world, *words):
    store, version = world
    box = [str(v) for v in version.bounds]
    given = [] if "--bbox" in words else ["--bbox", *box]
    asked = ["series", "--store", str(store), *given, "--bands", "B04,B08", "--every", "2"]
    return CliRunner().invoke(cli, [*asked, *map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def days(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "days"
    result = run(world, "--datetime", f"{DAYS[0]}/{DAYS[-1]}", "-o", out)
    assert result.exit_code == 0, result.output
    assert "4 of 4 days" in result.output
    return out


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_each_value_says_whether_it_was_seen_or_predicted(world, days):
    passes = {str(e.scene.datetime.date()) for e in world[1].entries("all")}
    for day in DAYS:
        values, bits = read(days / f"{day}.tif"), read(days / f"{day}_quality.tif")[0]
        seen_on, predicted = read(days / f"{day}_date.tif")[0], bits & PREDICTED > 0
        here = (values != NODATA).all(axis=0)
        assert here.mean() > 0.3
        assert ((seen_on == PREDICTED_DAY) == (predicted & here)).all()
        assert predicted[here].any()
        assert predicted[here].all() == (day not in passes), day


def test_the_lock_of_a_day_without_a_pass_names_the_scenes_it_is_predicted_from(world, days):
    lock = json.loads((days / f"{DAYS[1]}.lock.json").read_text())
    named = {scene["id"] for period in lock["periods"] for scene in period["scenes"]}
    assert named == {e.scene.id for e in world[1].entries("all")}


def test_a_series_that_was_stopped_goes_on_with_the_days_that_lack(world, days, tmp_path):
    out = tmp_path / "days"
    shutil.copytree(days, out)
    wanted = read(out / f"{DAYS[2]}.tif")
    for file in out.glob(f"{DAYS[2]}*"):
        file.unlink()
    kept = (out / f"{DAYS[0]}.tif").stat().st_mtime_ns
    assert run(world, "--datetime", f"{DAYS[0]}/{DAYS[-1]}", "-o", out).exit_code == 0
    assert (out / f"{DAYS[0]}.tif").stat().st_mtime_ns == kept
    assert (read(out / f"{DAYS[2]}.tif") == wanted).all()


def test_another_series_is_not_written_into_it(world, days, tmp_path):
    out = tmp_path / "days"
    shutil.copytree(days, out)
    other = run(world, "--datetime", f"{DAYS[0]}/{DAYS[0]}", "--method", "median", "-o", out)
    assert other.exit_code == 1
    assert "--overwrite" in other.output
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    for more in ([], ["--overwrite"]):
        assert run(world, "--datetime", f"{DAYS[0]}/{DAYS[0]}", "-o", tmp_path / "full", *more).exit_code == 1
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"


def test_a_cube_holds_the_same_days(world, days, tmp_path):
    out = tmp_path / "a.zarr"
    result = run(world, "--datetime", f"{DAYS[0]}/{DAYS[-1]}", "-o", out)
    assert result.exit_code == 0, result.output
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    cube = xarray.open_dataset(out, engine="zarr", mask_and_scale=False)
    assert cube.time.values.astype("datetime64[D]").astype(str).tolist() == list(DAYS)
    for number, day in enumerate(DAYS):
        assert (cube.B08.values[number] == read(days / f"{day}.tif")[1]).all()
        assert (cube.quality.values[number] == read(days / f"{day}_quality.tif")[0]).all()
    assert np.unique(cube.quality.values & PREDICTED).tolist() == [0, PREDICTED]
    assert run(world, "--datetime", DAYS[0], "-o", out).exit_code == 1


@pytest.mark.parametrize(
    "when", ["2023-08-10/..", "2023-08", "1999-01-01/1999-01-02", "2000-01-01/2023-08-10"]
)
def test_days_that_no_series_has_are_refused_before_anything_is_written(world, tmp_path, when):
    out = tmp_path / "days"
    result = run(world, "--datetime", when, "-o", out)
    assert result.exit_code == 1
    assert not out.exists()


@pytest.mark.parametrize("name", ["mine.zarr", "linked.zarr", "file.zarr", "file"])
def test_what_is_no_series_and_no_cube_stays(world, tmp_path, name):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("mine")
    (tmp_path / "linked.zarr").symlink_to(tmp_path / "mine.zarr")
    for file in ("file.zarr", "file"):
        (tmp_path / file).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    result = run(world, "--datetime", DAYS[0], "-o", tmp_path / name, "--overwrite")
    assert result.exit_code == 1
    assert str(tmp_path / name) in result.output
    assert "name " in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cube_that_was_stopped_while_it_began_is_written_by_the_next_call(world, tmp_path):
    (tmp_path / ".a.days").mkdir()
    (tmp_path / ".a.days" / ".series.json.part").write_text("{")
    refused = run(world, "--datetime", DAYS[0], "--compression", "lzw", "-o", tmp_path / "a.zarr")
    assert "deflate, zstd, none" in refused.output
    assert (tmp_path / ".a.days").exists()
    done = run(world, "--datetime", DAYS[0], "-o", tmp_path / "a.zarr")
    assert done.exit_code == 0, done.output
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_cube_that_was_stopped_at_its_end_renders_no_day_again(world, tmp_path, monkeypatch):
    def stopped(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("terrazzo.export.folders.write_cube", stopped)
    assert run(world, "--datetime", DAYS[0], "-o", tmp_path / "a.zarr").exit_code == 1
    monkeypatch.undo()
    monkeypatch.setattr("terrazzo.export.series.export", lambda *_, **__: pytest.fail("rendered again"))
    done = run(world, "--datetime", DAYS[0], "-o", tmp_path / "a.zarr")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["days", "a.zarr"])
def test_a_second_run_for_a_series_is_refused_and_leaves_the_first_alone(world, tmp_path, name):
    with held_by_another(tmp_path / name):
        refused = run(world, "--datetime", DAYS[0], "-o", tmp_path / name)
        assert refused.exit_code == 1
        assert "wait until it ends, or name another output" in refused.output
        assert [p.name for p in tmp_path.iterdir()] == [f".{name}.lock"]
    done = run(world, "--datetime", DAYS[0], "-o", tmp_path / name)
    assert done.exit_code == 0, done.output
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["days", "a.zarr"])
def test_a_series_of_nothing_replaces_nothing(world, days, tmp_path, name):
    out = tmp_path / name
    shutil.copytree(days, out)
    if name == "a.zarr":
        (out / ".zgroup").write_text("{}")
    before = {p: p.read_bytes() for p in out.iterdir()}
    west, south, _, north = world[1].bounds
    result = run(
        world, "--bbox", west - 3, south, west - 2, north, "--datetime", DAYS[0], "-o", out, "--overwrite"
    )
    assert result.exit_code == 1, result.output
    assert "lies in the area" in result.output
    assert {p: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == [name]
