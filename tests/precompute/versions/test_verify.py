"""`terrazzo store verify` tells what is missing, damaged or left over."""

import shutil

import pytest
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.precompute.versions.verify import verify
from terrazzo.store import Store
from terrazzo.version import open_version


@pytest.fixture
def store(tmp_path):
    """A copy of the golden store."""
    shutil.copytree("tests/golden/store", tmp_path / "s")
    return Store(tmp_path / "s")


def bad(store):
    return {(f.kind, f.where) for f in verify(store) if f.bad}


def test_a_store_that_is_as_it_was_written_is_sound(store):
    assert not bad(store)
    done = CliRunner().invoke(cli, ["store", "verify", store.url])
    assert done.exit_code == 0, done.output
    assert "sound" in done.output


def test_a_missing_and_a_damaged_file_are_named(store):
    first, second = open_version(store, "mosaic").entries("all")
    store.delete(first.scene.band_key("B03"))
    data = bytearray(store.read_bytes(second.scene.band_key("B04")))
    data[-1] ^= 1
    store.write_bytes(second.scene.band_key("B04"), bytes(data))
    store.delete(second.weight_key)
    assert bad(store) == {
        ("missing", first.scene.band_key("B03")),
        ("changed", second.scene.band_key("B04")),
        ("missing", second.weight_key),
    }
    done = CliRunner().invoke(cli, ["store", "verify", store.url, "--quick"])
    assert done.exit_code != 0
    assert first.scene.band_key("B03") in done.output
    assert "changed" not in done.output


def test_a_scene_that_a_version_lost_is_missing(store):
    scene = open_version(store, "mosaic").entries("all")[0].scene
    store.drop(scene.prefix, first="item.json")
    assert ("missing", scene.prefix) in bad(store)


def test_what_nothing_refers_to_is_an_orphan_and_no_error(store):
    version = open_version(store, "mosaic")
    store.write_bytes("scenes/33N/33TWL/half/0123456789ab/B02.tif", b"x")
    store.write_bytes(f"mosaics/mosaic/versions/{'0' * 12}/cells.parquet", b"x")
    store.write_bytes("mosaics/mosaic/weights/abc/x.tif", b"x")
    found = {f.where for f in verify(store) if not f.bad}
    assert "scenes/33N/33TWL/half/0123456789ab" in found
    assert f"mosaics/mosaic/versions/{'0' * 12}" in found
    assert "mosaics/mosaic/weights/abc" in found
    assert version.entries("all")[0].scene.prefix not in found
