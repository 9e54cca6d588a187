"""Exports over HTTP: jobs that are asked for, watched, fetched in parts, ended, and that outlive their processes."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import rasterio
from fastapi.testclient import TestClient
from huey.registry import Message
from pydantic import ValidationError
from rio_cogeo import cog_validate

from terrazzo.errors import StoreError
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.server.app import create_app
from terrazzo.server.jobs import Jobs
from terrazzo.server.mosaics import Mosaics
from terrazzo.server.queue import PlainSerializer
from terrazzo.server.settings import Settings
from tests.waiting import PATIENCE, until

EXPORTS = "/mosaics/mosaic/exports"
BOX = [15.95, 45.8, 15.98, 45.82]
ORDER = {"bbox": BOX, "bands": ["B04", "B08"]}


class Server:
    """An application with a folder for its jobs, and the worker's turn when a test wants it."""

    def __init__(self, store, folder, **settings):
        self.settings = Settings(store=str(store), state=folder, **settings)
        self.client = TestClient(create_app(self.settings), base_url="http://127.0.0.1")
        self.engine = Mosaics(str(store), 5).engine

    @property
    def jobs(self):
        return Jobs(self.settings.state_folder(), self.settings.jobs_url)

    def work(self):
        while name := self.jobs.next():
            self.jobs.run(name, self.engine, hours=self.settings.export_hours, threads=2)


@pytest.fixture
def server(sample_store, tmp_path):
    return Server(sample_store, tmp_path / "state")


def test_an_export_goes_from_201_to_files_in_parts(server, tmp_path):
    asked = server.client.post(EXPORTS, json=ORDER)
    assert asked.status_code == 201
    address = asked.headers["location"]
    assert asked.json()["status"] == "accepted"
    assert server.client.get(f"{address}/results").status_code == 404
    server.work()
    told = server.client.get(address).json()
    assert (told["status"], told["progress"], told["type"]) == ("successful", 100, "process")
    results = server.client.get(next(k["href"] for k in told["links"] if k["rel"].endswith("results"))).json()
    kinds = sorted(re.sub(r"mosaic-\w+-\w{8}", "", name) for name in results)
    assert kinds == [".json", ".lock.json", ".tif", "_date.tif", "_quality.tif"]
    name, about = next((n, a) for n, a in results.items() if re.fullmatch(r"mosaic-\w+-\w+\.tif", n))
    whole = server.client.get(about["href"])
    assert whole.headers["content-type"].startswith("image/tiff")
    assert whole.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert int(whole.headers["content-length"]) == about["length"] == len(whole.content)
    rest = server.client.get(about["href"], headers={"Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    (tmp_path / "a.tif").write_bytes(whole.content)
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]


def test_a_jobs_file_is_the_commands_file(server, sample_store, tmp_path):
    location = server.client.post(EXPORTS, json={"inputs": ORDER}).headers["location"]
    server.work()
    results = server.client.get(f"{location}/results").json()
    href = next(a["href"] for n, a in results.items() if re.fullmatch(r"mosaic-\w+-\w+\.tif", n))
    (tmp_path / "job.tif").write_bytes(server.client.get(href).content)
    engine = server.engine("mosaic")
    list(export(engine, parse_order(ORDER, engine.version), tmp_path / "command.tif"))
    with rasterio.open(tmp_path / "job.tif") as a, rasterio.open(tmp_path / "command.tif") as b:
        assert (a.read() == b.read()).all()
        assert a.tags() == b.tags()


def test_a_file_that_was_removed_is_named_in_words(server):
    location = server.client.post(EXPORTS, json=ORDER).headers["location"]
    server.work()
    about = next(a for n, a in server.client.get(f"{location}/results").json().items() if n.endswith(".tif"))
    next(
        (server.settings.state_folder() / "exports").glob(f"*/files/{about['href'].rpartition('/')[2]}")
    ).unlink()
    for path in (about["href"], f"{location}/results"):
        gone = server.client.get(path)
        assert (gone.status_code, "order it again" in gone.json()["detail"]) == (404, True)


def test_a_dry_run_reports_the_cost_and_starts_nothing(server):
    told = server.client.post(EXPORTS, json={**ORDER, "dry_run": True})
    assert told.status_code == 200
    cost = told.json()
    assert cost["pixels"] == cost["width"] * cost["height"] > 0
    assert cost["bytes"] > 0
    assert cost["seconds"] > 0
    assert len(cost["scenes"]) > 1
    assert server.client.get(EXPORTS).json()["jobs"] == []


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({}, "bbox"),
        ({"bbox": [16, 45, 15, 46]}, "W below E"),
        ({"bbox": [10, 45, 10.1, 45.1]}, "covers"),
        ({**ORDER, "colour": 1}, "compression"),
        ({**ORDER, "bands": ["B99"]}, "B04"),
        ({**ORDER, "crs": "EPSG:1"}, "coordinate system"),
        ({**ORDER, "dry_run": "yes"}, "true or false"),
        ({**ORDER, "version": "../../etc"}, "hexadecimal"),
        ({**ORDER, "version": 5}, "hexadecimal"),
        ({**ORDER, "version": ["a"]}, "hexadecimal"),
        ({**ORDER, "stage": ["raw"]}, "stage"),
        ({**ORDER, "resolution": 1e-320}, "too fine"),
        ({**ORDER, "dtype": "float32", "nodata": 1e300}, "float32"),
        (
            {"bbox": [1e30, 1e30, 2e30, 2e30], "bbox_crs": "EPSG:32633", "format": "gpkg"},
            "cannot be transformed",
        ),
        ([1], "object"),
    ],
)
def test_a_wrong_order_is_answered_with_a_reason_at_once(server, order, told):
    answer = server.client.post(EXPORTS, json=order)
    assert answer.status_code in (400, 404)
    assert told in answer.json()["detail"]
    assert server.client.post(EXPORTS, content=b"{broken").status_code == 400


def test_an_export_that_waits_is_dismissed_and_one_that_runs_stops(server, sample_store):
    address = server.client.post(EXPORTS, json=ORDER).headers["location"]
    assert server.client.delete(address).json()["status"] == "dismissed"
    server.work()
    assert server.client.get(address).json()["status"] == "dismissed"
    for path in ("results", "results/mosaic.tif"):
        gone = server.client.get(f"{address}/{path}")
        assert gone.status_code == 410
        assert gone.json()["type"].endswith("/no-such-job")
        assert "will not come" in gone.json()["detail"]

    class Dismissing:
        """The engine's source, through which somebody dismisses the job while it begins."""

        def __call__(self, mosaic, version):
            (job,) = [j for j in server.jobs.all() if j.open]
            assert server.jobs.dismiss(job).status == "dismissed"
            # Also while the worker has not seen it yet.
            here = f"{EXPORTS}/{job.id}"
            assert server.client.get(here).json()["status"] == "dismissed"
            assert server.client.get(f"{here}/results").status_code == 410
            return server.engine(mosaic, version)

    address = server.client.post(EXPORTS, json=ORDER).headers["location"]
    jobs = server.jobs
    jobs.run(jobs.next(), Dismissing(), hours=1, threads=1)
    assert server.client.get(address).json()["status"] == "dismissed"
    assert not list(server.settings.state.glob("exports/*/work"))
    assert not list(server.settings.state.glob("exports/*/files"))


def test_quotas_refuse_a_key_and_say_why(sample_store, tmp_path):
    few = Server(sample_store, tmp_path / "a", export_jobs=1)
    assert few.client.post(EXPORTS, json=ORDER).status_code == 201
    held = few.client.post(EXPORTS, json=ORDER)
    assert (held.status_code, "not finished" in held.json()["detail"]) == (429, True)
    small = Server(sample_store, tmp_path / "b", export_samples=20_000)
    assert small.client.post(EXPORTS, json={"bbox": BOX, "expression": "B04"}).status_code == 201
    many = {"bbox": BOX, "expression": ";".join(["B04"] * 20)}
    assert small.client.post(EXPORTS, json=many).status_code == 429
    small = Server(sample_store, tmp_path / "c", export_samples=1000)
    held = small.client.post(EXPORTS, json=ORDER)
    assert (held.status_code, "million" in held.json()["detail"]) == (429, True)


def test_files_of_areas_are_not_read_when_a_quota_is_used_up(sample_store, tmp_path):
    few = Server(sample_store, tmp_path, export_jobs=1)
    assert few.client.post(EXPORTS, json=ORDER).status_code == 201
    held = few.client.post(f"{EXPORTS}/statistics?bands=B04", content=b"neither read nor looked at")
    assert (held.status_code, "not finished" in held.json()["detail"]) == (429, True)
    assert not list(few.settings.state.glob("areas-*"))


def test_what_a_cut_off_upload_left_goes(server):
    jobs = server.jobs
    old, new = (jobs.folder / f"areas-{n}.gpkg" for n in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    # As one that ends while the others are looked through: its name is known, the file is gone.
    (jobs.folder / "areas-ended").symlink_to(jobs.folder / "gone")
    jobs.tidy(7)
    assert (old.exists(), new.exists()) == (False, True)


def test_old_exports_go_and_long_ones_are_given_up(server, sample_store):
    address = server.client.post(EXPORTS, json=ORDER).headers["location"]
    jobs = server.jobs
    jobs.run(jobs.next(), server.engine, hours=0, threads=1)
    told = server.client.get(address).json()
    assert told["status"] == "failed"
    assert "smaller area" in told["message"]
    jobs.tidy(1)
    assert server.client.get(address).status_code == 200
    jobs.tidy(0)
    assert server.client.get(address).status_code == 404


def test_a_job_that_the_queue_has_lost_is_found_again(server):
    address = server.client.post(EXPORTS, json=ORDER).headers["location"]
    assert server.jobs.next()
    assert server.jobs.next() is None
    server.jobs.revive()
    server.jobs.revive()
    server.work()
    assert server.client.get(address).json()["status"] == "successful"


def test_a_job_that_keeps_killing_its_worker_is_given_up(server):
    address = server.client.post(EXPORTS, json=ORDER).headers["location"]

    def killed(*_):
        raise KeyboardInterrupt

    for _ in range(21):
        server.jobs.revive()
        name = server.jobs.next()
        try:
            server.jobs.run(name, killed, hours=1, threads=1)
        except KeyboardInterrupt:
            continue
    assert server.client.get(address).json()["status"] == "failed"


def test_messages_of_the_queue_are_plain_text():
    message = Message("1", "export", args=("abc",), kwargs={})
    packed = PlainSerializer().serialize(message)
    assert json.loads(packed)[1] == "export"
    assert PlainSerializer().deserialize(packed) == Message(*json.loads(packed))
    with pytest.raises(ValueError, match=r"utf-8|Expecting"):
        PlainSerializer().deserialize(b"\x80\x04N.")


def test_names_of_files_lead_nowhere_else(server):
    address = server.client.post(EXPORTS, json=ORDER).headers["location"]
    server.work()
    for name in ("..%2fjob.json", "%2e%2e/job.json", "lock", "none.tif"):
        assert server.client.get(f"{address}/results/{name}").status_code == 404
    assert server.client.get(f"{EXPORTS}/..%2f..").status_code == 404


def test_a_queue_that_cannot_be_is_refused_at_the_start(sample_store):
    with pytest.raises(ValidationError, match="redis://"):
        Settings(store=str(sample_store), jobs_url="amqp://host")


def test_a_remote_store_needs_a_folder_for_exports():
    with pytest.raises(StoreError, match="TERRAZZO_STATE"):
        Settings(store="s3://bucket/store").state_folder()


COMMAND = [Path(sys.executable).parent / "terrazzo"]


def locked(path):
    """Whether another process holds the lock of a file."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_second_worker_is_refused_at_the_start(sample_store, tmp_path):
    environment = {**os.environ, "TERRAZZO_STATE": str(tmp_path / "state")}
    command = [*COMMAND, "work", "--store", sample_store]
    first = subprocess.Popen(command, env=environment)
    try:
        until(lambda: locked(tmp_path / "state/worker.lock"), first)
        second = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert second.returncode == 1
        assert "TERRAZZO_JOBS_URL" in second.stderr
    finally:
        first.terminate()
        first.wait(PATIENCE)


@pytest.mark.slow
def test_an_export_outlives_ten_kills_of_server_and_worker(sample_store, tmp_path, request):
    """Killed in the middle ten times, it finishes, the file is valid, and finished windows are not made again."""
    state = tmp_path / "state"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "TERRAZZO_STATE": str(state), "TERRAZZO_THREADS": "1"}
    command = [*COMMAND, "serve", "--store", sample_store, "--port", str(port)]
    base = f"http://127.0.0.1:{port}{EXPORTS}"

    def started():
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert "map:" in process.stdout.readline()
        return process

    def windows():
        return {p.name: p.stat().st_mtime_ns for p in state.rglob("0_0-*/*.done")}

    def worker():
        """Processes whose command line is a worker's on this store."""
        wanted = f"work --store {sample_store} --until"
        found = []
        for about in Path("/proc").glob("[0-9]*/cmdline"):
            # A process may end meanwhile.
            with suppress(OSError):
                if wanted in about.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    found.append(int(about.parent.name))
        return found

    process = started()
    request.addfinalizer(lambda: process.kill())
    order = {"bbox": [15.7, 45.6, 16.3, 46.1], "resolution": 10, "bands": ["B02"], "extras": "none"}
    post = urllib.request.Request(base, json.dumps(order).encode(), {"Content-Type": "application/json"})
    address = urllib.request.urlopen(post).headers["Location"]
    kept = {}
    for round_ in range(10):
        before = len(kept)
        until(lambda n=before: len(windows()) > n or list(state.glob("exports/*/files/*.tif")))
        victims = worker() if round_ % 2 else [*worker(), process.pid]
        for pid in victims:
            # A worker that is done goes by itself.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if round_ % 2 == 0:
            process.wait()
            process = started()
        after = windows()
        assert {k: after[k] for k in kept if k in after} == {k: v for k, v in kept.items() if k in after}
        kept = after

    def finished():
        told = json.loads(urllib.request.urlopen(address).read())
        assert told["status"] in ("accepted", "running", "successful"), told
        return told["status"] == "successful"

    until(finished)
    process.terminate()
    process.wait(PATIENCE)
    (path,) = state.glob("exports/*/files/*.tif")
    assert cog_validate(path, strict=True)[0]


def test_a_picture_for_tablets_comes_as_a_job_too(server):
    address = server.client.post(EXPORTS, json={"bbox": BOX, "format": "pmtiles"}).headers["location"]
    server.work()
    results = server.client.get(f"{address}/results").json()
    (about,) = [a for n, a in results.items() if n.endswith(".pmtiles")]
    assert about["type"] == "application/vnd.pmtiles"
    assert server.client.get(about["href"]).content[:7] == b"PMTiles"
