"""A watched area follows its archive: new products, late reprocessings, gaps; and what an earlier pass left undone."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import click
import numpy as np
import obstore
import pytest
from rich.console import Console

from terrazzo.errors import InvalidRequest, NotFound
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.quality import SEVERAL
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.precompute import sample
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.area import from_tile
from terrazzo.precompute.acquire.fetch import Openers
from terrazzo.precompute.acquire.product_folder import ProductFolder
from terrazzo.precompute.acquire.run import AcquireOrder, carry_out, prepare
from terrazzo.precompute.acquire.search import Query
from terrazzo.precompute.commands.watch import _for_ever, bandwidth, interval, left_of
from terrazzo.scene import Scene
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import Version, open_version
from tests.chain import FOUR, on_box, stored
from tests.precompute.products.test_passes import part
from tests.waiting import PATIENCE, until
from tests.world import archive as world
from tests.world.archive import Archive
from tests.world.faults import Fault, proxy

pytestmark = pytest.mark.clients
Terrazzo = Callable[..., CompletedProcess[str]]
FIRST, SECOND = "S2B_33TWL_20230813_0_L2A", "S2A_33TWL_20230815_0_L2A"


@pytest.fixture
def growing(archive: Archive, tmp_path: Path) -> Iterator[world.Growing]:
    """An archive that has one product so far."""
    with world.stac_server(tmp_path, world.sample_items([FIRST])) as stac:
        yield world.Growing(stac, tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A coarse store of four bands."""
    create_store(tmp_path / "store", StoreConfig(120.0, 120.0, 64, FOUR))
    return tmp_path / "store"


def scenes(store: Path) -> set[str]:
    """Names of the scenes that the current version shows."""
    version = open_version(Store(store), "mosaic")
    return {e.scene.id for p in version.periods for e in version.entries(p)}


@pytest.mark.slow
def reprocess(item: dict[str, Any]) -> None:
    """Gives an Item a newer baseline, in ESA's own name too, which is believed first."""
    uri = item["properties"]["s2:product_uri"].replace("N0509", "N0510")
    item["properties"] |= {"s2:processing_baseline": "05.10", "s2:product_uri": uri}


def test_passes_follow_what_the_archive_gets(terrazzo: Terrazzo, growing: world.Growing, store: Path) -> None:
    where = ("--tile", "33TWL", "--datetime", "2023-08/..", "--archive", growing.stac)
    command = ("watch", "--store", store, "--workers", 1, *where)
    assert terrazzo(*command).returncode == 0
    assert scenes(store) == {FIRST}
    before = (store / "mosaics/mosaic/mosaic.json").stat().st_mtime_ns
    assert terrazzo(*command).returncode == 3
    assert (store / "mosaics/mosaic/mosaic.json").stat().st_mtime_ns == before
    growing.publish(world.sample_items([FIRST, SECOND]))
    third = terrazzo(*command)
    assert third.returncode == 0, third.stderr
    assert scenes(store) == {FIRST, SECOND}
    reprocessed = world.sample_items([FIRST, SECOND])
    for item in reprocessed:
        if item["id"] == SECOND:
            item["id"] = "S2A_33TWL_20230815_1_L2A"
            reprocess(item)
    growing.publish(reprocessed)
    fourth = terrazzo(*command)
    assert fourth.returncode == 0, fourth.stderr
    assert scenes(store) == {FIRST, "S2A_33TWL_20230815_1_L2A"}


@pytest.mark.slow
def test_a_service_continues_until_it_is_stopped(
    archive: Archive, growing: world.Growing, store: Path, tmp_path: Path
) -> None:
    where = ["--tile", "33TWL", "--datetime", "2023-08", "--archive", growing.stac, "--every", "1s"]
    command = [Path(sys.executable).parent / "terrazzo", "watch", "--store", store, "--workers", "1", *where]
    log = tmp_path / "watch.log"
    with log.open("w") as out:
        service = subprocess.Popen(command, stdout=out, stderr=out, env=archive.environment())
    try:
        until(lambda: FIRST in shown(store), service)
        growing.publish(world.sample_items([FIRST, SECOND]))
        until(lambda: SECOND in shown(store), service)
        until(lambda: "run done, code 3" in log.read_text(), service)
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(PATIENCE)
    assert code == 0, log.read_text()
    assert log.read_text().endswith("stopped\n")


@pytest.mark.parametrize("how", [KeyboardInterrupt, click.Abort])
def test_a_service_that_is_stopped_within_a_run_ends_well(how: type[BaseException], capfd: Any) -> None:
    def once() -> int:
        raise how

    _for_ever(once, timedelta(hours=1))
    assert capfd.readouterr().err.endswith("stopped\n")


def boxes(store: Path) -> dict[str, PixelBox]:
    """What the scenes of the current version cover."""
    version = open_version(Store(store), "mosaic")
    return {e.scene.id: e.scene.box for p in version.periods for e in version.entries(p)}


def product(folder: Path, name: str) -> Path:
    """A product of the sample in a folder of the user's; the folder of its files."""
    folder.mkdir(exist_ok=True)
    shutil.copy(sample.path() / f"{name}.json", folder)
    return Path(shutil.copytree(sample.path() / name, folder / name))


@pytest.mark.slow
def test_a_part_never_takes_the_place_of_a_whole(
    terrazzo: Terrazzo, growing: world.Growing, store: Path, tmp_path: Path
) -> None:
    product(tmp_path / "mine", FIRST)
    made = terrazzo("precompute", tmp_path / "mine", "--store", store)
    assert made.returncode == 0, made.stderr
    whole = boxes(store)[FIRST]
    field = ("--bbox", 15.9, 45.95, 16.0, 46.0)
    command = ("watch", "--store", store, *field, "--datetime", "2023-08", "--archive", growing.stac)
    same = terrazzo(*command)
    assert same.returncode == 3, same.stderr
    growing.publish(world.sample_items([FIRST, SECOND]))
    later = terrazzo(*command)
    assert later.returncode == 0, later.stderr
    assert boxes(store)[FIRST] == whole
    assert SECOND in boxes(store)
    assert boxes(store)[SECOND] != whole
    items = world.sample_items([FIRST, SECOND])
    for item in items:
        if item["id"] == FIRST:
            item["id"] = "S2B_33TWL_20230813_1_L2A"
            reprocess(item)
    growing.publish(items)
    reprocessed = terrazzo(*command)
    assert reprocessed.returncode == 0, reprocessed.stderr
    assert boxes(store).get("S2B_33TWL_20230813_1_L2A") == whole, reprocessed.stderr
    assert FIRST not in boxes(store)


@pytest.mark.slow
def test_exit_codes_of_failed_nothing_new_and_unusable_differ_and_metrics_have_them(
    terrazzo: Terrazzo, growing: world.Growing, tmp_path: Path
) -> None:
    store, prom = tmp_path / "store", tmp_path / "terrazzo.prom"
    where = ("--tile", "33TWL", "--bands", ",".join(sample.BANDS), "--metrics", prom)
    command = ("watch", "--store", store, *where, "--archive", growing.stac)
    broken = product(tmp_path / "store-products", SECOND) / "B04.tif"
    broken.write_bytes(b"no raster")
    only = terrazzo(*command, "--datetime", "2023-08-15")
    assert only.returncode == 4, only.stderr
    assert "none of the products" in only.stderr
    assert "terrazzo_pass_exit_code 4" in prom.read_text()
    assert not (store / "store.json").exists()
    some = terrazzo(*command, "--datetime", "2023-08")
    assert some.returncode == 4, some.stderr
    assert f"left out {SECOND}" in some.stderr
    assert scenes(store) == {FIRST}
    again = terrazzo(*command, "--datetime", "2023-08")
    assert again.returncode == 3, again.stderr
    (succeeded,) = re.findall("^terrazzo_pass_last_success.*$", prom.read_text(), re.MULTILINE)
    failed = terrazzo(
        "watch", "--store", store, *where, "--datetime", "2023-08", "--archive", "http://127.0.0.1:9"
    )
    assert failed.returncode == 1, failed.stderr
    assert "terrazzo_pass_exit_code 1" in prom.read_text()
    assert succeeded in prom.read_text()


def shown(store: Path) -> set[str]:
    """As `scenes`, of a store that may have no version yet."""
    try:
        return scenes(store)
    except NotFound:
        return set()


@pytest.mark.slow
def test_the_past_is_left_when_it_is_not_wanted_or_not_its_hour_and_comes_newest_first(
    terrazzo: Terrazzo, growing: world.Growing, store: Path
) -> None:
    growing.publish([i for i in world.sample_items() if i["properties"]["grid:code"] == "MGRS-33TWL"])
    where = ("--tile", "33TWL", "--datetime", "2023-08", "--archive", growing.stac, "--until-clear", 0)
    command = ("watch", "--store", store, "--workers", 1, *where)
    off = terrazzo(*command, "--backfill", "off")
    assert off.returncode == 0, off.stderr
    (newest,) = scenes(store)
    assert newest == "S2B_33TWL_20230820_0_L2A"
    now = datetime.now().hour
    other = f"{(now + 2) % 24}-{(now + 3) % 24}"
    waiting = terrazzo(*command, "--hours", other)
    assert waiting.returncode == 3, waiting.stderr
    assert "4 products of the past left for later" in waiting.stderr
    done = terrazzo(*command, "--bandwidth", "50MB", "--connections", 1)
    assert done.returncode == 0, done.stderr
    assert len(scenes(store)) == 5
    order = [line.split()[2] for line in done.stderr.splitlines() if line.startswith("fetched ")]
    assert len(order) == 4


def test_a_run_that_must_end_leaves_whole_files_and_the_next_one_goes_on(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: Fault = lambda seen: "slow" if seen.method == "GET" else None  # noqa: E731
    with proxy(archive.s3, slow) as s3:
        for name, value in archive.environment(s3.address).items():
            monkeypatch.setenv(name, value)
        query = Query(from_tile("33TWL"), "l2a", "33TWL", date(2023, 8, 10), date(2023, 8, 15))
        product_folder = ProductFolder(tmp_path / "products")
        order = AcquireOrder(query, (find_archive(archive.stac),), sample.BANDS, product_folder, 1)
        made = prepare(order, Openers())
        first = carry_out(order, made, Openers(), Console(quiet=True), seconds=4)
        came = [p for p in (product_folder.root / ".partial").rglob("[!.]*") if p.is_file()]
        assert len(first.done) < len(made.wanted)
        assert not first.bad
        s3.fault = lambda seen: None
        before = len(s3.seen)
        carry_out(order, prepare(order, Openers()), Openers(), Console(quiet=True))
        again = [seen.path for seen in s3.seen[before:] if seen.method == "GET"]
    assert {p.id for p in product_folder.products()} == {w.candidates[0].id for w in made.wanted}
    left = 8 * (len(made.wanted) - len(first.done)) - len(came)
    assert len(again) == len(set(again)) == left


@pytest.mark.parametrize(
    ("hours", "at", "left"),
    [("22-6", 23, 7), ("22-6", 5, 1), ("22-6", 6, 0), ("22-6", 12, 0), ("8-17", 8, 9), ("0-24", 3, 21)],
)
def test_hours_of_the_backfill_may_span_midnight(hours: str, at: int, left: float) -> None:
    assert left_of(hours, datetime(2025, 6, 1, at)) == left * 3600


@pytest.mark.parametrize("text", ["", "22", "6-6", "24-6", "22-25", "22:30-6"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--hours"):
        left_of(text, datetime(2025, 6, 1))


def test_bandwidths_are_read_as_people_write_them() -> None:
    assert [bandwidth(t) for t in ("500kB", "5MB", "5 MB/s", "1.5GB")] == [5e5, 5e6, 5e6, 1.5e9]
    for text in ("", "5", "0MB", "fast", "-1MB"):
        with pytest.raises(InvalidRequest, match="--bandwidth"):
            bandwidth(text)


@pytest.mark.parametrize("text", ["", "15", "m", "0m", "-1h", "1.5h", "15 minutes"])
def test_a_pause_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--every"):
        interval(text)


def test_pauses_are_read_as_people_write_them() -> None:
    assert [interval(t).total_seconds() for t in ("90s", "15m", "6h", "1d")] == [90, 900, 21_600, 86_400]


def halves(folder: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Two Items of one pass over one tile, north and south with an overlap, and their files by key."""
    names = [part(folder, k, rows, hour=hour) for k, rows, hour in ((0, (0, 0.55), 14), (1, (0.5, 1), 16))]
    items, files = [], {}
    for name in names:
        item = json.loads((folder / f"{name}.json").read_text())
        for asset in item["assets"].values():
            asset["href"] = f"s3://{world.BUCKET}/halves/{asset['href'].removeprefix('./')}"
        items.append(item)
        files |= {f"halves/{name}/{f.name}": f.read_bytes() for f in (folder / name).iterdir()}
    return items, files


@pytest.mark.slow
def test_the_second_part_of_a_pass_stands_beside_the_first_and_their_overlap_counts_once(
    archive: Archive, terrazzo: Terrazzo, growing: world.Growing, store: Path, tmp_path: Path
) -> None:
    items, files = halves(tmp_path / "split")
    for key, content in files.items():
        obstore.put(world.bucket(archive.s3), key, content)
    names = {item["id"] for item in items}
    growing.publish(items[:1])
    command = ("watch", "--store", store, "--workers", 1, "--tile", "33TWL", "--datetime", "2023-08/..")
    command = (*command, "--archive", growing.stac)
    first = terrazzo(*command)
    assert first.returncode == 0, first.stderr
    assert scenes(store) == {items[0]["id"]}
    growing.publish(items)
    second = terrazzo(*command)
    assert second.returncode == 0, second.stderr
    assert scenes(store) == names
    assert terrazzo(*command).returncode == 3
    assert scenes(store) == names
    version = open_version(Store(store), "mosaic")
    entries = [e for p in version.periods for e in version.entries(p)]
    assert len({e.scene.datatake for e in entries}) == 1
    box = entries[0].scene.box.union(entries[1].scene.box)
    both = np.all([data_of(version, e.scene, box) for e in entries], axis=0)
    either = np.any([data_of(version, e.scene, box) for e in entries], axis=0)
    assert both.sum() > 100
    engine = Engine(version, Blocks())
    target = Target("EPSG:32633", version.store.grid(32633).bounds(box), *box.shape)
    for method in ("feather", "median"):
        selection = engine.select(PixelRequest(FOUR, fill="best", method=method))
        for count_to in (SEVERAL, ALL):
            assert (engine.render(selection, target, count_to=count_to).count[either] == 1).all()


def data_of(version: Version, scene: Scene, box: PixelBox) -> np.ndarray:
    """(row, col) where a scene has data."""
    return np.asarray(on_box(stored(version.store, scene, "mask"), scene, box, 0) != 0)
