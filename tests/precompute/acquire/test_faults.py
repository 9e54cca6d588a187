"""What networks and busy archives do to a run: everything arrives, or is told; nothing partial is ever seen."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from terrazzo.precompute import sample
from terrazzo.precompute.products.files import checksum
from terrazzo.precompute.products.find import find_products
from tests.waiting import until
from tests.world import archive as world
from tests.world.archive import Archive, free_port
from tests.world.faults import Fault, Kind, Seen, always, once, proxy, share

pytestmark = pytest.mark.clients
Terrazzo = Callable[..., CompletedProcess[str]]
BANDS = ("--bands", ",".join(sample.BANDS))
ONE = ("--tile", "33TWL", "--datetime", "2023-08-13", *BANDS)
ONE_ID = "S2B_33TWL_20230813_0_L2A"
TWO = ("--bbox", 14, 44, 18, 48, "--datetime", "2023-08-13", *BANDS)


def same_as_the_sample(products: Path, ids: set[str]) -> None:
    """Asserts that a folder holds products of the sample, each file byte for byte."""
    found = find_products(products).products
    assert {p.id for p in found} == ids
    for product in found:
        assert len(product.assets) == 8
        for path in product.assets.values():
            assert checksum(path) == checksum(str(sample.path() / product.id / Path(path).name))


@pytest.mark.parametrize("kind", ["busy", "down", "dropped"])
def test_a_search_survives_an_archive_that_fails_once(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path, kind: str
) -> None:
    with proxy(archive.stac, once(kind)) as stac:
        done = terrazzo("acquire", "--store", tmp_path / "s", "--archive", stac.address, *ONE)
    assert done.returncode == 0, done.stderr
    same_as_the_sample(tmp_path / "s-products", {ONE_ID})


@pytest.mark.parametrize("kind", ["busy", "down", "dropped", "truncated", "refused"])
def test_every_file_that_fails_once_arrives_all_the_same(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path, kind: str
) -> None:
    with proxy(archive.s3, once(kind)) as s3:
        done = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *ONE, s3=s3.address)
    assert done.returncode == 0, done.stderr
    same_as_the_sample(tmp_path / "s-products", {ONE_ID})


def test_a_broken_connection_goes_on_where_it_broke(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    with proxy(archive.s3, once("dropped", "B04")) as s3:
        terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *ONE, s3=s3.address)
        ranges = [seen.range for seen in s3.seen if "B04" in seen.path and seen.method == "GET"]
    assert len(ranges) == 2
    assert ranges[0] is None
    assert ranges[1] is not None


def test_a_product_that_is_bad_in_the_archive_is_quarantined_and_the_others_come(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    command = ("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *TWO)
    with proxy(archive.s3, always("truncated", f"{ONE_ID}/B04")) as s3:
        first = terrazzo(*command, s3=s3.address)
        second = terrazzo(*command, s3=s3.address)
    assert first.returncode == 4, first.stderr
    assert f"quarantined {ONE_ID}" in first.stderr
    assert "B04.tif is damaged" in first.stderr
    same_as_the_sample(tmp_path / "s-products", {"S2B_33TWM_20230813_0_L2A"})
    assert second.returncode == 3, "what was damaged is not fetched again while its Item is the same"
    (tmp_path / "s-products" / ".quarantine" / f"{ONE_ID}.json").unlink()
    assert terrazzo(*command).returncode == 0


def test_an_archive_that_does_not_answer_is_passed_over(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    done = terrazzo("acquire", "--store", tmp_path / "s", "--archive", f"{dead},{archive.stac}", *ONE)
    assert done.returncode == 0, done.stderr
    assert f"{dead} does not answer" in done.stderr
    same_as_the_sample(tmp_path / "s-products", {ONE_ID})


@pytest.mark.slow
def test_an_archive_whose_files_are_away_is_given_up_with_a_line_a_product(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    command = ("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *TWO)
    dead = terrazzo(*command, s3=f"http://127.0.0.1:{free_port()}")
    assert dead.returncode == 4, dead.stderr
    assert dead.stderr.count("quarantined") == 2
    assert dead.stderr.count(f"{archive.stac} cannot be reached for") == 4
    assert "Connection refused" in dead.stderr
    assert not find_products(tmp_path / "s-products").products
    assert terrazzo(*command).returncode == 0, "it is asked again by the next run"


@pytest.mark.slow
def test_an_archive_that_asks_for_a_rest_gets_it_from_all_connections(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    first: list[float] = []

    def busy(seen: Seen) -> Kind | None:
        """For 20 s from the first request on."""
        first.append(time.monotonic())
        return "busy" if first[-1] - first[0] < 20 else None

    with proxy(archive.s3, busy) as s3:
        done = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *ONE, s3=s3.address)
        asked = len(s3.seen)
    assert done.returncode == 0, done.stderr
    same_as_the_sample(tmp_path / "s-products", {ONE_ID})
    assert asked < 8 * 3 * 6, "eight files, three requests an attempt, few attempts"


def test_a_file_that_one_archive_refuses_is_taken_from_the_next(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    # The first archive's Item leads to a host that has no such files.
    items = world.sample_items([ONE_ID])
    for asset in items[0]["assets"].values():
        asset["href"] = f"{archive.s3}/nothing/{asset['href'].removeprefix('s3://')}"
    with world.stac_server(tmp_path, items) as poor:
        done = terrazzo("acquire", "--store", tmp_path / "s", "--archive", f"{poor},{archive.stac}", *ONE)
    assert done.returncode == 0, done.stderr
    assert f"taken from the next archive, {ONE_ID}: {poor} has no {archive.s3}" in done.stderr
    same_as_the_sample(tmp_path / "s-products", {ONE_ID})


@pytest.mark.slow
def test_with_a_fifth_of_the_requests_failing_everything_arrives(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    with proxy(archive.s3, share(0.2, seed=7)) as s3, proxy(archive.stac, share(0.2, seed=8)) as stac:
        command = ("acquire", "--store", tmp_path / "s", "--archive", stac.address, *TWO)
        done = terrazzo(*command, s3=s3.address)
    assert done.returncode == 0, done.stderr
    same_as_the_sample(tmp_path / "s-products", {ONE_ID, "S2B_33TWM_20230813_0_L2A"})


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_finishes_and_nothing_partial_is_seen(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    chance, products = random.Random(5), tmp_path / "s-products"
    slow: Fault = lambda seen: "slow" if seen.method == "GET" else None  # noqa: E731
    with proxy(archive.s3, slow) as s3:
        command = ("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *TWO)
        line = [Path(sys.executable).parent / "terrazzo", *map(str, command), "--connections", "2"]
        killed = 0
        for _ in range(10):
            process = subprocess.Popen(
                line,
                env=archive.environment(s3.address),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            before, more = len(s3.seen), chance.randint(0, 6)
            asked, ended = lambda n=before + more: len(s3.seen) >= n, process.poll
            until(lambda asked=asked, ended=ended: asked() or ended() is not None, pause=0.01)
            killed += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            # Killed before it made its folder, on a slow machine.
            if products.exists():
                same_as_the_sample(products, {p.id for p in find_products(products).products})
    assert killed >= 3
    last = terrazzo(*command)
    assert last.returncode in (0, 3), last.stderr
    same_as_the_sample(products, {ONE_ID, "S2B_33TWM_20230813_0_L2A"})
    assert not list((products / ".partial").iterdir())
