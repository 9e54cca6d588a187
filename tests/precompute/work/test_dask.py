"""The steps on a Dask cluster whose workers share nothing but the store, in an S3 server, and one of which dies."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import dask
import pytest
from click.testing import CliRunner

from benchmarks.interruptions import pixels
from terrazzo.cli import cli
from terrazzo.errors import InvalidRequest
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.scene.make import ingest
from terrazzo.precompute.scene.many import lend
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.work.executor import hired
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import open_version
from tests.chain import precompute
from tests.conftest import missing
from tests.world import archive
from tests.world.worlds import FOUR, TYPICAL, make_world

pytestmark = pytest.mark.slow
BIN = os.path.dirname(sys.executable)


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask") / "products"
    make_world(folder, seed=3, dates=3, size=(96, 96), weather=TYPICAL, neighbour=True)
    return folder


@pytest.fixture(scope="module")
def alone(products, tmp_path_factory):
    """The version that one process makes in a folder."""
    done, _ = precompute(products, tmp_path_factory.mktemp("alone") / "s", window=32)
    return done.version


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An S3 server that this process and its children are told of."""
    try:
        archive.programs()
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"the servers of .ci/archive.in cannot be installed: {getattr(error, 'stderr', error)}")
    with archive.s3_server(tmp_path, {}) as address:
        told = archive.KEYS | {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{archive.BUCKET}"


@contextmanager
def cluster(folder, workers=3):
    """A scheduler and workers, each with a folder of its own for all that it writes; yields address and processes."""
    port = archive.free_port()
    address, started = f"tcp://127.0.0.1:{port}", []

    def start(name, *command):
        (folder / name).mkdir()
        own = os.environ | {"TMPDIR": str(folder / name), "DASK_TEMPORARY_DIRECTORY": str(folder / name)}
        with (folder / f"{name}.log").open("w") as log:
            started.append(
                subprocess.Popen([f"{BIN}/dask", *command], env=own, cwd=folder / name, stderr=log)
            )

    try:
        start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        for n in range(workers):
            start(f"w{n}", "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_cluster_that_loses_a_worker_makes_the_pixels_of_one_process(products, alone, bucket, tmp_path):
    with cluster(tmp_path) as (address, workers):
        options = [
            "--window",
            "32",
            "--bands",
            "B02,B03,B04,B08",
            "--store",
            f"{bucket}/store",
            "--dask",
            address,
        ]
        command = [f"{BIN}/terrazzo", "precompute", str(products), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
            said = []
            for line in run.stderr:
                said.append(line)
                if line.startswith("scenes 2/"):
                    workers[1].send_signal(signal.SIGKILL)
        assert run.returncode == 0, "".join(said)
    store = Store(f"{bucket}/store")
    made = open_version(store, "mosaic")
    assert made.name == alone.name
    assert (pixels(made) == pixels(alone)).all()
    assert not list(store.list("incoming"))


def test_what_is_lent_to_workers_are_keys_of_the_store(products, bucket):
    store = create_store(f"{bucket}/lent", StoreConfig(10.0, 20.0, 32, FOUR))
    product = find_products(products).products[0]
    lent = lend(store, (product, Recipe()))
    assert not lent.product.assets
    assert set(lent.files) >= set(FOUR)
    assert all(store.exists(key) for key in lent.files.values())


def test_what_a_killed_run_lent_goes_though_a_worker_made_its_scene(products, bucket):
    store = create_store(f"{bucket}/left", StoreConfig(10.0, 20.0, 32, FOUR))
    product = find_products(products).products[0]
    lend(store, (product, Recipe()))
    ingest(product, store)
    assert list(store.list("incoming"))
    precompute(products, f"{bucket}/left", window=32, only="strips")
    assert not list(store.list("incoming"))


def test_an_address_without_a_scheduler_is_named(monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    dask.config.refresh()
    with (
        pytest.raises(InvalidRequest, match=r"answers at tcp://127\.0\.0\.1:9"),
        hired(1, "tcp://127.0.0.1:9"),
    ):
        pass


def test_a_cluster_of_this_machine_makes_the_pixels_of_one_process(products, alone, tmp_path):
    told = CliRunner().invoke(
        cli,
        [
            *("precompute", str(products), "--store", str(tmp_path / "s"), "--window", "32"),
            *("--bands", "B02,B03,B04,B08", "--dask", "local", "--workers", "3"),
        ],
    )
    assert told.exit_code == 0, told.output
    made = open_version(Store(tmp_path / "s"), "mosaic")
    assert made.name == alone.name
    assert (pixels(made) == pixels(alone)).all()
