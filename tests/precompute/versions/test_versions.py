"""Versions grow by what changed, can be compared, kept, removed and rolled back, and made anew from their lock."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import obstore
import pytest
import rasterio
from click.testing import CliRunner

from terrazzo.checks import document_bytes
from terrazzo.cli import cli
from terrazzo.diff import boxes, difference
from terrazzo.errors import NotFound
from terrazzo.grid import PixelBox, Window
from terrazzo.precompute.versions import prune as pruning
from terrazzo.precompute.versions.exclusions import exclude, read_exclusions
from terrazzo.precompute.versions.pointer import point_to
from terrazzo.precompute.work.lease import writer
from terrazzo.store import Store
from terrazzo.version import COLLECTION, HISTORY, Version, current_version, list_versions, open_version
from tests.chain import native, precompute
from tests.waiting import until
from tests.world.archive import BUCKET, KEYS, bucket, s3_server
from tests.world.worlds import Weather, make_world

pytestmark = pytest.mark.slow
WEATHER = Weather(gain=0.05, haze=0.02, cloud=0.2)


class Grown(NamedTuple):
    """A store of two tiles that got one more scene in the west."""

    products: Path
    store: Store
    before: Version
    after: Version
    new: str
    files: dict[str, str]


def contents(store: Store) -> dict[str, str]:
    """Hash of every file of a store but the pointer."""
    found = (k for k in store.list() if not k.endswith("mosaic.json"))
    return {k: hashlib.sha256(store.read_bytes(k)).hexdigest() for k in found}


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    base = tmp_path_factory.mktemp("grown")
    make_world(base / "p", seed=5, dates=3, size=(96, 144), weather=WEATHER, neighbour=True)
    (late,) = (base / "p").glob("*33TWL_20230813*.json")
    late.rename(base / late.name)
    before, _ = precompute(base / "p", base / "s", window=32)
    files = contents(before.version.store)
    shutil.move(base / late.name, late)
    after, _ = precompute(base / "p", base / "s", window=32, force=True)
    return Grown(base / "p", Store(base / "s"), before.version, after.version, late.stem, files)


@pytest.fixture
def copied(grown, tmp_path):
    """A copy of the store to write to."""
    shutil.copytree(grown.store.url, tmp_path / "s")
    return Store(tmp_path / "s")


def terrazzo(*arguments, fails=False):
    """What a command prints."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert (done.exit_code != 0) == fails, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def pixels(version):
    """Decoded pixels of all that a version shows."""
    box = version.entries("all")[0].scene.box.grown(200)
    return native(version, box, version.zones[0]).values


def test_a_new_scene_leaves_all_that_is_not_of_its_tile_as_it_is(grown):
    now = contents(grown.store)
    assert {k: v for k, v in now.items() if k in grown.files} == grown.files
    east = [f"mosaics/mosaic/versions/{{}}/gains/all/33TXL.{kind}" for kind in ("npy", "json")]
    for key in east:
        assert now[key.format(grown.before.name)] == now[key.format(grown.after.name)]
    written = set(now) - set(grown.files)
    for kind in ("scenes", "weights", "differences"):
        assert not [k for k in written if kind in k.split("/") and "33TXL" in k], kind


def test_the_difference_names_the_scene_and_the_windows_of_its_tile(grown):
    (period,) = difference(grown.before, grown.after).periods
    assert (period.scenes_in, period.scenes_out, period.remade) == ((grown.new,), (), ())
    assert all("33TWL" in s for s in period.reweighed)
    west = {e.scene.mgrs: e.scene for e in grown.after.entries("all")}["33TWL"]
    changed = set(period.windows[32633])
    assert changed
    assert changed == set(grown.store.grid(32633).windows(west.box))
    told = json.loads(
        terrazzo("diff", grown.before.name[:5], grown.after.name, "--store", grown.store.url, "--json")
    )
    assert told["periods"][0]["windows"]["32633"] == [list(w) for w in period.windows[32633]]
    text = terrazzo("diff", grown.before.name, grown.after.name, "--store", grown.store.url)
    assert f"in: {grown.new}" in text
    report = grown.store.read_json(f"mosaics/mosaic/versions/{grown.after.name}/report.json")
    assert report["change"] == told


def test_windows_are_listed_as_few_rectangles():
    square = tuple(Window(y, x) for y in (4, 5) for x in (7, 8, 9))
    assert boxes((*square, Window(6, 9))) == [PixelBox(4, 7, 6, 10), PixelBox(6, 9, 7, 10)]


def test_a_mosaic_is_rolled_back_and_forward(grown, copied):
    terrazzo("publish", "--store", copied.url, "--version", grown.before.name[:6])
    assert current_version(copied, "mosaic") == grown.before.name
    terrazzo("publish", "--store", copied.url, "--version", grown.after.name)
    assert current_version(copied, "mosaic") == grown.after.name
    listed = json.loads(terrazzo("versions", "--store", copied.url, "--json"))
    assert [(v["version"], v["current"], v["scenes"]) for v in listed] == [
        (grown.before.name, False, 5),
        (grown.after.name, True, 6),
    ]
    assert grown.before.name in terrazzo("publish", "--store", copied.url, "--version", "zz", fails=True)


def test_pruning_frees_what_only_the_old_version_used_and_no_pixel(grown, copied):
    shown = pixels(open_version(copied, "mosaic"))
    prune = ("prune", "--store", copied.url, "--keep-versions", 1)
    assert "running export" in terrazzo(*prune)
    terrazzo("pin", grown.before.name, "--store", copied.url)
    assert "pinned" in terrazzo(*prune, "--grace", 0)
    terrazzo("unpin", grown.before.name, "--store", copied.url)
    here = contents(copied)
    assert "would free" in terrazzo(*prune, "--grace", 0, "--dry-run")
    assert contents(copied) == here
    terrazzo(*prune, "--grace", 0)
    assert list_versions(copied, "mosaic") == [grown.after.name]
    ref_id = Path(
        next(e.weight_key for e in grown.before.entries("all") if e.scene.mgrs == "33TWL")
    ).parent.name
    assert not [k for k in copied.list(f"mosaics/mosaic/weights/{ref_id}") if "33TWL" in k]
    assert (pixels(open_version(copied, "mosaic")) == shown).all()
    done, _ = precompute(grown.products, Path(copied.url), window=32)
    assert done.version.name == grown.after.name


DAY = pruning.timedelta(days=1)


def set_forward(store):
    """What a store says when the wall clock of the machine is set forward three days after a version was replaced."""
    key = f"mosaics/mosaic/{COLLECTION}"
    document = store.read_json(key)
    for entry in document[HISTORY]:
        if "replaced" in entry:
            then = datetime.fromisoformat(entry["replaced"]) - 3 * DAY
            entry["replaced"] = then.strftime("%Y-%m-%dT%H:%M:%SZ")
    store.write_json(key, document)


def test_a_wall_clock_set_forward_ends_no_grace_and_time_does(grown, copied):
    """In truth the old version was replaced a moment ago."""
    set_forward(copied)
    planned = pruning.plan(copied, "mosaic", 1, grace=DAY)
    assert planned.versions == ()
    assert "a running export or server may still read it" in planned.kept[grown.before.name]
    clock = copied.root / ".clock" / "clock.json"
    seconds, *look = json.loads(clock.read_text())["look"]
    clock.write_bytes(document_bytes({"look": [seconds + 90_000, *look]}))
    assert pruning.plan(copied, "mosaic", 1, grace=DAY).versions == (grown.before.name,)


@pytest.mark.clients
def test_in_an_object_store_its_own_clock_counts_for_the_grace(grown, tmp_path, monkeypatch):
    with s3_server(tmp_path, {}) as address:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}).items():
            monkeypatch.setenv(name, value)
        for path in (p for p in grown.store.root.rglob("*") if p.is_file()):
            key = path.relative_to(grown.store.root).as_posix()
            if not key.startswith("."):
                obstore.put(bucket(address), f"s/{key}", path.read_bytes())
        store = Store(f"s3://{BUCKET}/s")
        for version in (grown.before, grown.after):
            point_to(store, open_version(store, "mosaic", version.name))
        set_forward(store)
        assert pruning.plan(store, "mosaic", 1, grace=DAY).versions == ()
        second = pruning.timedelta(seconds=1)
        assert until(lambda: pruning.plan(store, "mosaic", 1, grace=second).versions)
        pruning.prune(store, "mosaic", pruning.plan(store, "mosaic", 1, grace=second))
        assert list_versions(store, "mosaic") == [grown.after.name]
        with pytest.raises(NotFound):
            store.modified(f".clock/replaced/mosaic/{grown.before.name}")


def test_a_pruning_that_is_stopped_anywhere_leaves_a_whole_store_and_is_completed_by_the_next(
    grown, copied, tmp_path, monkeypatch
):
    shown = pixels(open_version(copied, "mosaic"))
    exclude(copied, "mosaic", grown.new, "test", None)
    terrazzo("publish", "--store", copied.url, "--force", "--workers", 1)
    terrazzo("publish", "--store", copied.url, "--version", grown.before.name)
    plan = pruning.plan(copied, "mosaic", 1, grace=pruning.timedelta(0))
    whole = Store.delete
    for stop in (0, 3):
        shutil.copytree(copied.url, tmp_path / f"s{stop}")
        store, left = Store(tmp_path / f"s{stop}"), [stop]

        def stopping(self, key, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            whole(self, key)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "delete", stopping)
            with pytest.raises(KeyboardInterrupt):
                pruning.prune(store, "mosaic", plan)
        for name in list_versions(store, "mosaic"):
            pixels(open_version(store, "mosaic", name))
        pruning.prune(store, "mosaic", pruning.plan(store, "mosaic", 1, grace=pruning.timedelta(0)))
        complete = Store(store.url)
        assert not list(complete.list("mosaics/mosaic/pruned"))
        assert current_version(complete, "mosaic") == grown.before.name
        assert pixels(open_version(complete, "mosaic")).shape == shown.shape


def test_what_is_cut_out_of_a_scene_weighs_nothing_until_it_is_included_again(grown, copied, tmp_path):
    west, south, east, north = grown.after.bounds
    middle = (west + east) / 2
    ring = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
    (tmp_path / "cut.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))

    def weight(version):
        found = next(e for e in version.entries("all") if e.scene.id == grown.new)
        with rasterio.open(copied.raster_path(found.weight_key)) as dataset:
            return dataset.read(1)

    of = ("--store", copied.url)
    terrazzo("exclude", grown.new, *of, "--polygon", tmp_path / "cut.geojson", "--reason", "smoke")
    terrazzo("publish", *of, "--force", "--workers", 1)
    cut = open_version(copied, "mosaic")
    assert (weight(grown.after)[:, :40] > 0).any()
    assert (weight(cut)[:, :40] == 0).all()
    assert (weight(cut) > 0).any()
    assert cut.lock["exclusions"][0]["reason"] == "smoke"
    terrazzo("include", grown.new, *of)
    terrazzo("publish", *of, "--force", "--workers", 1)
    assert (weight(open_version(copied, "mosaic")) == weight(grown.after)).all()
    assert "no scene S2X" in terrazzo("exclude", "S2X", *of, "--reason", "none", fails=True)


def test_a_version_is_computed_again_from_its_lock_in_an_empty_store(grown, tmp_path):
    lock = Path(grown.store.url) / f"mosaics/mosaic/versions/{grown.after.name}/lock.json"
    terrazzo("rebuild", lock, grown.products, "--store", tmp_path / "again", "--workers", 1)
    again = open_version(Store(tmp_path / "again"), "mosaic")
    assert again.name == grown.after.name
    assert (pixels(again) == pixels(grown.after)).all()


def test_inputs_that_are_no_longer_there_are_all_named(grown, tmp_path):
    lock = Path(grown.store.url) / f"mosaics/mosaic/versions/{grown.after.name}/lock.json"
    shutil.copytree(grown.products, tmp_path / "p")
    first, second = sorted((tmp_path / "p").glob("*.json"))[:2]
    first.unlink()
    band = tmp_path / "p" / second.stem / "B04.tif"
    data = band.read_bytes()
    band.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    told = terrazzo("rebuild", lock, tmp_path / "p", "--store", tmp_path / "again", fails=True)
    assert f"{first.stem}: not there" in told
    assert f"{second.stem}: B04.tif" in told


def test_a_version_that_shows_less_is_kept_back_until_it_is_forced(grown, copied):
    lonely = {e.scene.id for e in grown.after.entries("all") if e.scene.mgrs == "33TXL"}
    for scene in lonely:
        exclude(copied, "mosaic", scene, "test", None)
    told = terrazzo("publish", "--store", copied.url, "--workers", 1, fails=True)
    assert "kept back" in told
    assert "km²" in told
    assert current_version(copied, "mosaic") == grown.after.name
    (kept,) = [r for r in json.loads(terrazzo("versions", "--store", copied.url, "--json")) if r["kept_back"]]
    assert "km²" in kept["kept_back"]
    assert (kept["published"], kept["current"]) == (None, False)
    (line,) = [t for t in terrazzo("versions", "--store", copied.url).splitlines() if kept["version"] in t]
    assert "never published" in line
    assert "kept back: " in line
    terrazzo("pin", kept["version"][:5], "--store", copied.url)
    terrazzo("publish", "--store", copied.url, "--workers", 1, "--force")
    assert current_version(copied, "mosaic") == kept["version"]
    listed = json.loads(terrazzo("versions", "--store", copied.url, "--json"))
    assert [r["kept_back"] for r in listed if r["version"] == kept["version"]] == [None]


def test_exclude_include_and_inspect_take_the_beginning_of_a_name_alike(grown, copied, tmp_path):
    names = sorted({e.scene.id for e in grown.after.entries("all")})
    store = ("--store", copied.url)
    beginning = "S2"
    assert all(n.startswith(beginning) for n in names)
    for command in (
        ("exclude", beginning, "--reason", "test", *store),
        ("inspect", "scene", beginning, *store),
        ("inspect", "mask", beginning, "-o", tmp_path / "a.png", *store),
    ):
        refused = terrazzo(*command, fails=True)
        assert "more than one scene that begins with" in refused
        assert all(n in refused.replace("\n", "") for n in names[:5])
    only = next(n for n in names if sum(o.startswith(n[:-1]) for o in names) == 1)
    assert only in terrazzo("inspect", "scene", only[:-1], *store)
    terrazzo("exclude", only[:-1], "--reason", "test", *store)
    assert [e.scene for e in read_exclusions(copied, "mosaic")] == [only]
    terrazzo("include", only[:-1], *store)
    assert read_exclusions(copied, "mosaic") == ()
    assert "no version zzz" in terrazzo("pin", "zzz", *store, fails=True)


def test_of_two_writers_one_wins_and_the_other_says_so(copied):
    code = (
        "import sys; from terrazzo.precompute.work.lease import writer; from terrazzo.store import Store\n"
        "with writer(Store(sys.argv[1]), 'a long solve'):\n  print('writing', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, copied.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "writing\n"
        told = terrazzo("prune", "--store", copied.url, fails=True)
        assert "a long solve" in told
        assert str(other.pid) in told
        other.kill()
        other.wait()
        with writer(copied, "after a writer that was killed"):
            pass
