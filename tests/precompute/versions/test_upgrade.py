"""A store as an earlier release wrote it (the golden store) is served as it is, upgraded, taken back, and finished."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.mosaic.pyramid import INDEX, read_pyramid
from terrazzo.precompute.versions import upgrade as upgrading
from terrazzo.precompute.versions.verify import verify
from terrazzo.store import FORMAT, Store
from terrazzo.version import open_version, version_key
from tests.chain import native
from tests.golden.make import STORE
from tests.world.flips import Readers, flipped


@pytest.fixture
def store(tmp_path):
    shutil.copytree(STORE, tmp_path / "s")
    return Store(tmp_path / "s")


def upgrade(store, *options, fails=False):
    """What the command prints; the store as it is then."""
    done = CliRunner().invoke(cli, ["store", "upgrade", store.url, "--workers", "1", *options])
    assert (done.exit_code != 0) == fails, done.output
    return done.output, Store(store.url)


def contents(store):
    return {k: hashlib.sha256(store.read_bytes(k)).hexdigest() for k in store.list() if k != "store.json"}


def meant(store):
    """What an earlier release makes of a store: all files but for checksums, which it does not know."""
    out = {"store.json": store.read_bytes("store.json")}
    for key in store.list():
        if key.endswith(".tif"):
            with rasterio.open(store.raster_path(key)) as dataset:
                out[key] = dataset.read().tobytes()
        elif key.endswith(("lock.json", "item.json")):
            document = store.read_json(key) | {"sums": None}
            for asset in document.get("assets", {}).values():
                asset.pop("file:checksum"), asset.pop("file:size")
            out[key] = document
        elif key.endswith(".json") and key != "store.json":
            out[key] = store.read_json(key)
        elif not key.endswith("scenes.parquet"):
            out.setdefault(key, store.read_bytes(key))
    return out


def pixels(store):
    version = open_version(store, "mosaic")
    return native(version, version.entries("all")[0].scene.box, 32633).values


def test_a_dry_run_reports_what_would_be_done_and_does_nothing(store):
    before = contents(store)
    told, store = upgrade(store, "--dry-run")
    version = open_version(store, "mosaic").name
    assert f"bake    mosaic/{version}" in told
    assert sum(line.startswith("note") for line in told.splitlines()) == 2
    assert sum(line.startswith("remove") for line in told.splitlines()) == 4
    assert contents(store) == before
    assert store.config.format == 1


def test_an_upgraded_store_has_what_this_release_writes_and_the_same_pixels(store):
    shown = pixels(store)
    _, store = upgrade(store)
    assert store.config.format == FORMAT
    assert [c.kind for c in upgrading.changes(store)] == ["remove"] * 4
    assert read_pyramid(store, "mosaic", open_version(store, "mosaic").name)
    assert (pixels(store) == shown).all()
    told, store = upgrade(store, "--finish")
    assert told.startswith("4 files removed")
    assert not list(upgrading.changes(store))
    assert not [f for f in verify(store) if f.bad or "upgrade" in f.where]
    assert (pixels(store) == shown).all()
    assert "finished" in upgrade(store, "--undo", fails=True)[0]
    assert f"format {FORMAT} already" in upgrade(store)[0]


def test_an_upgrade_is_taken_back_but_for_checksums(store):
    before = meant(store)
    _, store = upgrade(store)
    _, store = upgrade(store, "--undo")
    assert meant(store) == before
    assert store.config.format == 1


def test_what_was_pruned_since_does_not_come_back(store):
    _, store = upgrade(store)
    note = next(k for k in store.list("mosaics/mosaic/weights") if k.endswith(".json"))
    for key in (note, note.removesuffix(".json") + ".tif"):
        store.delete(key)
    _, store = upgrade(store, "--undo")
    assert not store.exists(note)


def test_an_upgraded_store_notices_each_damaged_file(store):
    """Every file that a server reads has a checksum then."""
    _, store = upgrade(store)
    readers = Readers(Path(store.url), ((15.006, 46.049),), (13,))
    chance = random.Random(1)
    for path in readers.files():
        for _ in range(3):
            data = flipped(path.read_bytes(), chance)
            assert readers.outcome(path, data) in ("same", "named", "refused"), path


def test_a_damaged_scene_is_not_called_sound_by_an_upgrade(store):
    key = open_version(store, "mosaic").entries("all")[0].scene.band_key("B04")
    data = bytearray(store.read_bytes(key))
    data[len(data) // 2] ^= 1
    store.write_bytes(key, bytes(data))
    told, store = upgrade(store, fails=True)
    assert f"{key} has changed since it was written" in told.replace("\n", "")
    assert store.config.format == 1
    assert {(f.kind, f.where) for f in verify(store) if f.bad} == {("changed", key)}


def test_an_upgrade_that_is_stopped_anywhere_is_completed_or_taken_back(store, tmp_path, monkeypatch):
    before = meant(store)
    _, whole = upgrade(Store(shutil.copytree(store.url, tmp_path / "whole")))
    named = ("write_bytes", "create", "publish_file")
    for stop in (0, 1, 2, 4, 7, 12, 20, 30):
        for options in ((), ("--undo",)):
            begun, left = Store(shutil.copytree(store.url, tmp_path / f"s{stop}{len(options)}")), [stop]
            with monkeypatch.context() as patch:
                for name in named:
                    real = getattr(Store, name)

                    def stopping(self, *args, real=real, left=left):
                        if not left[0]:
                            raise KeyboardInterrupt
                        left[0] -= 1
                        return real(self, *args)

                    patch.setattr(Store, name, stopping)
                with pytest.raises(KeyboardInterrupt):
                    upgrading.upgrade(begun)
            assert pixels(Store(begun.url)).shape == pixels(whole).shape
            if options and not begun.exists(upgrading.STATE):
                continue
            _, done = upgrade(begun, *options)
            if options:
                assert meant(done) == before
            else:
                index = version_key("mosaic", open_version(done, "mosaic").name, INDEX)
                assert done.read_json(index) == whole.read_json(index)
                assert set(contents(done)) == set(contents(whole))
                assert np.array_equal(pixels(done), pixels(whole))


def test_a_store_of_a_later_format_is_refused(store):
    raw = json.loads(store.read_bytes("store.json")) | {"format": FORMAT + 1}
    store.write_json("store.json", raw)
    told = CliRunner().invoke(cli, ["store", "upgrade", store.url])
    assert told.exit_code != 0
    assert "upgrade terrazzo" in told.output
