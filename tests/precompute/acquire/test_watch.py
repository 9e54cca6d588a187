"""A watched area follows its archive: new products, late reprocessings, gaps; and what an earlier pass left undone."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from precompute import sample
from precompute.acquire.watch import interval
from terrazzo.errors import InvalidRequest, NotFound
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import open_version
from tests.world import archive as world
from tests.world.archive import Archive

pytestmark = pytest.mark.clients
Terrazzo = Callable[..., CompletedProcess[str]]
FIRST, SECOND = "S2B_33TWL_20230813_0_L2A", "S2A_33TWL_20230815_0_L2A"


@pytest.fixture
def growing(shared: Path, archive: Archive, tmp_path: Path) -> Iterator[world.Growing]:
    """An archive that has one product so far."""
    with world.stac_server(shared / "kit", tmp_path, world.sample_items([FIRST])) as stac:
        yield world.Growing(stac, tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A coarse store."""
    create_store(tmp_path / "store", StoreConfig(120.0, 120.0, 64, sample.BANDS))
    return tmp_path / "store"


def scenes(store: Path) -> set[str]:
    """Names of the scenes that the current version shows."""
    version = open_version(Store(store), "mosaic")
    return {e.scene.id for p in version.periods for e in version.entries(p)}


@pytest.mark.slow
def test_passes_follow_what_the_archive_gets(terrazzo: Terrazzo, growing: world.Growing, store: Path) -> None:
    where = ("--tile", "33TWL", "--datetime", "2023-08/..", "--archive", growing.stac)
    command = ("watch", "--store", store, *where)
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
            item["properties"]["s2:processing_baseline"] = "05.10"
    growing.publish(reprocessed)
    fourth = terrazzo(*command)
    assert fourth.returncode == 0, fourth.stderr
    assert scenes(store) == {FIRST, "S2A_33TWL_20230815_1_L2A"}


@pytest.mark.slow
def test_a_service_goes_on_until_it_is_told_to_stop(
    archive: Archive, growing: world.Growing, store: Path, tmp_path: Path
) -> None:
    where = ["--tile", "33TWL", "--datetime", "2023-08", "--archive", growing.stac, "--every", "1s"]
    command = [Path(sys.executable).parent / "terrazzo", "watch", "--store", store, *where]
    log = tmp_path / "watch.log"
    with log.open("w") as out:
        service = subprocess.Popen(command, stdout=out, stderr=out, env=archive.environment())
    try:
        wait(lambda: FIRST in shown(store), service)
        growing.publish(world.sample_items([FIRST, SECOND]))
        wait(lambda: SECOND in shown(store), service)
        wait(lambda: "pass done, code 3" in log.read_text(), service)
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(60)
    assert code == 0, log.read_text()
    assert log.read_text().endswith("stopped\n")


def shown(store: Path) -> set[str]:
    """As `scenes`, of a store that may have no version yet."""
    try:
        return scenes(store)
    except NotFound:
        return set()


def wait(happened: Callable[[], bool], service: subprocess.Popen[bytes]) -> None:
    """Waits until something happened while a service runs."""
    for _ in range(1200):
        if happened():
            return
        assert service.poll() is None
        time.sleep(0.1)
    pytest.fail("nothing happened for two minutes")


@pytest.mark.parametrize("text", ["", "15", "m", "0m", "-1h", "1.5h", "15 minutes"])
def test_a_pause_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--every"):
        interval(text)


def test_pauses_are_read_as_people_write_them() -> None:
    assert [interval(t).total_seconds() for t in ("90s", "15m", "6h", "1d")] == [90, 900, 21_600, 86_400]
