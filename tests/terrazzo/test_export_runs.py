"""An export goes on where it was stopped, estimates its cost, and its command says what it does."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner
from rio_cogeo import cog_validate

from terrazzo.bulk.windows import sheet_count, sheets, window_side, windows
from terrazzo.cli import cli
from terrazzo.errors import StoreError
from terrazzo.export.estimate import estimate
from terrazzo.export.run import export
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.warp import Target
from tests.terrazzo.exports import BOX, OUTLINE, expected, ordered, target_of, written


def test_an_export_that_was_stopped_goes_on_from_its_finished_windows(engine, tmp_path, monkeypatch):
    order = ordered(engine, bbox=tuple(engine.version.bounds))
    steps = export(engine, order, tmp_path / "a.tif")
    next(steps)
    next(steps)
    with pytest.raises(StoreError, match="running this export"):
        next(export(engine, order, tmp_path / "a.tif"))
    steps.close()
    assert not (tmp_path / "a.tif").exists()
    drawn = []
    render = Engine.render
    monkeypatch.setattr(Engine, "render", lambda self, s, t, **k: drawn.append(t) or render(self, s, t, **k))
    list(export(engine, order, tmp_path / "a.tif"))
    monkeypatch.undo()
    everything = sum(1 for _ in windows(target_of(engine, order)))
    assert everything - 4 <= len(drawn) <= everything - 2
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, order).values).all()
    assert sorted(os.listdir(tmp_path)) == ["a.lock.json", "a.tif"]


def test_an_export_that_was_stopped_goes_on_with_another_number_of_workers(engine, tmp_path):
    order = ordered(engine, bbox=tuple(engine.version.bounds), method="median")
    chosen = engine.select(order.pixels)
    assert window_side(chosen, 1) > window_side(chosen, 16)
    steps = export(engine, order, tmp_path / "a.tif", workers=1)
    next(steps)
    steps.close()
    list(export(engine, order, tmp_path / "a.tif", workers=16))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, order).values).all()
    assert sorted(os.listdir(tmp_path)) == ["a.lock.json", "a.tif"]


def parts(folder):
    """Finished windows of an export that is being made; none once it is written and its folder goes."""
    with suppress(FileNotFoundError):
        return list(folder.glob(".a-*.parts/0_0-*/*.done"))
    return []


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(engine, sample_store, tmp_path):
    box = map(str, engine.version.bounds)
    command = [Path(sys.executable).parent / "terrazzo", "export", "--store", sample_store, "--bbox", *box]
    command += ["--bands", "B04,B08", "--extras", "none", "-o", tmp_path / "a.tif"]
    finished, killed = 0, 0
    for _ in range(3):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while len(found := parts(tmp_path)) <= finished and running.poll() is None:
            pass
        finished, killed = len(found), killed + (running.poll() is None)
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert killed
    subprocess.run(command, check=True, capture_output=True)
    order = ordered(engine, bbox=tuple(engine.version.bounds))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, order).values).all()
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]
    assert sorted(os.listdir(tmp_path)) == ["a.lock.json", "a.tif"]


@pytest.mark.parametrize("compression", ["deflate", "none"])
def test_an_estimate_reports_pixels_scenes_and_about_the_size(engine, tmp_path, compression):
    asked = {"extras": ("quality",), "compression": compression, "resolution": 20}
    order = ordered(engine, **asked)
    told = estimate(engine, order)
    found = written(engine, tmp_path / "a.tif", **asked)
    target = target_of(engine, order)
    assert (told.height, told.width, told.bands, told.files) == (*target.shape, 2, 2)
    assert set(found.scenes) <= set(told.scenes)
    size = sum(p.stat().st_size for p in found.files)
    least, most = (0.99, 1.01) if compression == "none" else (0.5, 2)
    assert least * size < told.bytes < most * size


def test_a_disk_that_is_too_small_is_reported_before_anything_is_drawn(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("U", (), {"free": 1000})()
    )
    with pytest.raises(OSError, match="disk full"):
        written(engine, tmp_path / "a.tif")
    assert not list(tmp_path.glob(".a-*.parts/0_0*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bbox", "16", "45.7", "15", "45.9"], "W below E"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--crs", "EPSG:1"], "coordinate system"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--bands", "B99"], "B02, B03, B04, B08"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--method", "magic"], "feather"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--mosaic", "none"], "terrazzo precompute"),
    ],
)
def test_a_wrong_option_is_answered_with_what_to_do(sample_store, tmp_path, arguments, told):
    result = CliRunner().invoke(
        cli, ["export", "--store", str(sample_store), "-o", str(tmp_path / "a.tif"), *arguments]
    )
    assert result.exit_code == 1
    assert told in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_file_and_says_so(sample_store, tmp_path):
    arguments = [
        "export",
        "--store",
        str(sample_store),
        "--bbox",
        *map(str, BOX),
        "-o",
        str(tmp_path / "a.tif"),
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "hold data" in result.output
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "a_quality.tif", "a_date.tif", "a.lock.json"}


def test_the_command_reports_the_cost_and_writes_nothing(sample_store, tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [OUTLINE]}))
    arguments = [
        "export",
        "--store",
        str(sample_store),
        "--geometry",
        str(tmp_path / "a.geojson"),
        "--dry-run",
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    for word in (" px, ", " MB", " scenes", " s with "):
        assert word in result.output
    assert os.listdir(tmp_path) == ["a.geojson"]


def test_files_of_a_division_are_counted_without_being_made():
    target = Target("EPSG:32633", Bounds(-5_003_210, 1_000, 2_777_770, 900_010), 89_901, 778_098)
    for side in (None, 512, 5000, 65536):
        assert sheet_count(target, side) == len(sheets(target, side))
    fine = Target("EPSG:4326", Bounds(-180, -90, 180, 90), 1_800_000_000, 3_600_000_000)
    assert sheet_count(fine, 512) > 2e13
