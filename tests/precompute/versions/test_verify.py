"""`terrazzo store verify` tells what is missing, damaged or left over."""

import io
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.precompute.versions.upgrade import finish, upgrade
from terrazzo.precompute.versions.verify import verify
from terrazzo.store import Store
from terrazzo.version import open_version, version_key
from tests.chain import precompute
from tests.world.worlds import make_world


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


@pytest.fixture
def upgraded(store):
    """The golden store with checksums on all of its files."""
    upgrade(store)
    finish(Store(store.url))
    return Store(store.url)


DAMAGES = {
    "cut off": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_file_that_is_damaged_is_named(upgraded, damage):
    """Whatever is damaged, the check goes on to its end and names that file, and nothing else."""
    version = open_version(upgraded, "mosaic")
    folder = f"mosaics/mosaic/versions/{version.name}"
    entry = version.entries("all")[0]
    kinds = [
        "mosaics/mosaic/mosaic.json",
        *(f"{folder}/{n}" for n in ("lock.json", "scenes.parquet", "cells.parquet")),
        *(f"{folder}/gains/all/33TWL.{ending}" for ending in ("npy", "json")),
        f"{folder}/pyramid/pyramid.json",
        next(k for k in upgraded.list(f"{folder}/pyramid") if k.endswith("B04.tif")),
        entry.weight_key,
        entry.weight_key.removesuffix(".tif") + ".json",
        *(
            entry.scene.key(n)
            for n in ("item.json", "mask.tif", "B08.tif", "correction.npz", "strips.parquet")
        ),
    ]
    for key in kinds:
        whole = upgraded.read_bytes(key)
        upgraded.write_bytes(key, DAMAGES[damage](whole))
        named = {f.where for f in verify(upgraded) if f.bad}
        assert any(key.startswith(w) for w in named), (key, named)
        assert named <= {key, f"{folder}/"}, key
        upgraded.write_bytes(key, whole)
    assert not bad(upgraded)


def test_weights_that_were_exchanged_in_the_table_of_scenes_are_noticed(upgraded):
    """A table that is whole and another than the one that was written."""
    version = open_version(upgraded, "mosaic")
    key = version_key("mosaic", version.name, "scenes.parquet")
    table = pq.read_table(io.BytesIO(upgraded.read_bytes(key)))
    at = table.column_names.index("terrazzo:weight")
    swapped = table.set_column(at, "terrazzo:weight", pa.array(table["terrazzo:weight"].to_pylist()[::-1]))
    out = io.BytesIO()
    pq.write_table(swapped, out)
    upgraded.write_bytes(key, out.getvalue())
    assert {f.where for f in verify(upgraded) if f.bad} == {version_key("mosaic", version.name, "")}


def test_damaged_scenes_and_pyramids_are_made_again(tmp_path):
    """From the products, wherever they lie now; the files are those that were written, to the byte."""
    make_world(tmp_path / "p", seed=1, dates=2, size=(96, 96))
    done, _ = precompute(tmp_path / "p", tmp_path / "s", window=32)
    store, entry = done.version.store, done.version.entries("all")[0]
    (tmp_path / "p").rename(tmp_path / "moved")
    pyramid = next(k for k in store.list() if "/pyramid/" in k and k.endswith("B04.tif"))
    damaged = [entry.scene.band_key("B04"), entry.scene.key("item.json"), pyramid]
    whole = {k: store.read_bytes(k) for k in store.list()}
    for key in damaged:
        store.write_bytes(key, whole[key][:-30])

    def ran(*options):
        return CliRunner().invoke(cli, ["store", "verify", store.url, "--workers", "1", *options])

    alone = ran("--repair")
    assert alone.exit_code != 0
    assert f"left       {entry.scene.prefix}" in alone.output
    assert "name a folder with the product as SOURCE" in alone.output
    assert f"repaired   {pyramid.rsplit('/', 3)[0]}" in alone.output
    mended = ran("--repair", str(tmp_path / "moved"))
    assert mended.exit_code == 0, mended.output
    assert "sound; 0 unreferenced files" in mended.output
    rasters = {k for k in whole if k.endswith((".tif", ".npy", ".parquet", ".npz"))}
    assert {k for k in rasters if store.read_bytes(k) != whole[k]} == set()


def test_what_follows_from_scenes_and_locks_is_solved_again(tmp_path):
    """Without any product, to the byte; of a version that grew in two steps."""
    make_world(tmp_path / "p", seed=1, dates=3, size=(96, 96))
    (late,) = (tmp_path / "p").glob("*20230813*.json")
    late.rename(tmp_path / late.name)
    precompute(tmp_path / "p", tmp_path / "s", window=32)
    (tmp_path / late.name).rename(late)
    done, _ = precompute(tmp_path / "p", tmp_path / "s", window=32, force=True)
    shutil.rmtree(tmp_path / "p")
    store, version = done.version.store, done.version
    folder, entry = f"mosaics/mosaic/versions/{version.name}", version.entries("all")[0]
    note = entry.weight_key.removesuffix(".tif") + ".json"
    whole = {k: store.read_bytes(k) for k in store.list()}
    for damaged in (
        [entry.weight_key, note, f"{folder}/gains/all/33TWL.npy", f"{folder}/gains/all/33TWL.json"],
        [f"{folder}/cells.parquet", version.entries("all")[1].weight_key],
        [f"{folder}/scenes.parquet"],
    ):
        for key in damaged[::2]:
            store.write_bytes(key, whole[key][:-30])
        for key in damaged[1::2]:
            store.delete(key)
        done = CliRunner().invoke(cli, ["store", "verify", store.url, "--workers", "1", "--repair"])
        assert done.exit_code == 0, done.output
        assert {k for k in whole if store.read_bytes(k) != whole[k]} == set()
    lock = f"{folder}/lock.json"
    store.write_bytes(lock, whole[lock][:-30])
    store.delete(entry.weight_key)
    done = CliRunner().invoke(cli, ["store", "verify", store.url, "--workers", "1", "--repair"])
    assert done.exit_code != 0
    assert f"left       {lock}" in done.output
