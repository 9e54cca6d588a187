"""Compiled kernels find a folder where neither the package nor the user has one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from terrazzo.kernel_cache import COMPILED, SETTING, keep_kernels
from tests.conftest import ROOT

TILES = """
from morecantile import tms

from terrazzo.formats import FORMATS
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.measure import Drawn, Measure
from terrazzo.mosaic.request import PixelRequest
from terrazzo.server.render import render
from terrazzo.server.request import Ask
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.golden.make import STORE

version, mercator = open_version(Store(STORE), "mosaic"), tms.get("WebMercatorQuad")
engine, bounds = Engine(version, Blocks()), version.bounds
middle = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
for method in ("first", "feather", "median"):
    for resampling in ("nearest", "bilinear"):
        for zoom in (8, 13, 17):
            request = PixelRequest(version.bands[:3], method=method, resampling=resampling)
            target = tile_target(mercator, *mercator.tile(*middle, zoom))
            image = engine.part(request, target)
            ask = Ask(Measure(request), None, ((0.0, 0.3),), None, 1.0, None)
            render(Drawn(image.values, image, (), ()), ask, target, FORMATS["png"], {})
"""


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A path below a file: nothing can be written there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    # Set and deleted, so that what the function sets is taken back after the test.
    monkeypatch.setenv(SETTING, "")
    monkeypatch.delenv(SETTING)
    return tmp_path / "file" / "terrazzo"


def test_a_private_temporary_folder_is_used_where_no_other_can_be(nowhere, tmp_path):
    keep_kernels(nowhere)
    folder = tmp_path / f"terrazzo-kernels-{os.getuid()}"
    assert os.environ[SETTING] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_not_read(nowhere, tmp_path):
    open_to_all = tmp_path / f"terrazzo-kernels-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    keep_kernels(nowhere)
    assert os.environ[SETTING] != str(open_to_all)


def test_what_the_user_chose_stays(nowhere, monkeypatch):
    monkeypatch.setenv(SETTING, "chosen")
    keep_kernels(nowhere)
    assert os.environ[SETTING] == "chosen"


def test_nothing_is_set_where_the_package_can_be_written(nowhere, tmp_path):
    keep_kernels(tmp_path)
    assert SETTING not in os.environ


def test_a_new_folder_begins_with_what_is_compiled_and_one_that_is_there_stays(tmp_path, monkeypatch):
    compiled, folder = tmp_path / "compiled", tmp_path / "new" / "cache"
    (compiled / "terrazzo").mkdir(parents=True)
    (compiled / "terrazzo" / "kernel.nbc").touch()
    monkeypatch.setenv(COMPILED, str(compiled))
    monkeypatch.setenv(SETTING, str(folder))
    keep_kernels()
    assert [p.name for p in folder.rglob("*.nbc")] == ["kernel.nbc"]
    (compiled / "later.nbc").touch()
    keep_kernels()
    assert not (folder / "later.nbc").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["compiled", "new"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["cache"]


@pytest.mark.slow
def test_a_first_tile_compiles_nothing_after_warm(tmp_path):
    """The kernels of `terrazzo warm` are those that a tile of each resampling runs."""
    environment = os.environ | {SETTING: str(tmp_path)}
    subprocess.run([Path(sys.executable).with_name("terrazzo"), "warm"], env=environment, check=True)
    compiled = sorted(p.name for p in tmp_path.rglob("*.nbc"))
    subprocess.run([sys.executable, "-c", TILES], env=environment, check=True, cwd=ROOT)
    assert sorted(p.name for p in tmp_path.rglob("*.nbc")) == compiled
