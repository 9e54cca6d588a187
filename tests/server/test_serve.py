"""`terrazzo serve` as people start it: a line with the address, a clean stop, a clear word when it cannot."""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.waiting import PATIENCE, until

TERRAZZO = Path(sys.executable).parent / "terrazzo"
TILEJSON = "/mosaics/mosaic/WebMercatorQuad/tilejson.json"


@contextmanager
def serving(store, *options, **environment):
    """A server without a terminal, and the address that it prints on a line of its own."""
    process = subprocess.Popen(
        [TERRAZZO, "serve", "--store", store, "--port", "0", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    )
    try:
        line = process.stdout.readline()
        address = re.match(r"map: (http://127\.0\.0\.1:\d+)/", line)
        assert address, line + process.stdout.read()
        yield process, address[1]
    finally:
        # Killed, it would leave the workers of `--workers` behind.
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_the_maps_address_and_a_signal_stops_it_cleanly(sample_store, sign):
    with serving(sample_store) as (process, address):
        assert "Terrazzo" in urllib.request.urlopen(f"{address}/", timeout=PATIENCE).read().decode()
        process.send_signal(sign)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest


def test_several_workers_answer_and_stop_together(sample_store):
    with serving(sample_store, "--workers", "2") as (process, address):
        assert urllib.request.urlopen(f"{address}/healthz", timeout=PATIENCE).status == 200
        until(lambda: sum("forkserver" in c for c in commands_of_parents(process)) == 2)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest
    until(lambda: gone(address))


def commands_of_parents(process):
    """The command lines of the processes from which a server's grandchildren were started."""
    children = psutil.Process(process.pid).children()
    return [" ".join(child.cmdline()) for child in children for _ in child.children()]


def test_a_server_imports_no_reader_of_xarray_or_geopandas_which_its_libraries_would():
    # pyarrow looks for pandas with its first array of Python objects, numba for scipy with its first compiled function.
    code = """
import sys, terrazzo.server.preload as p, pyarrow
pyarrow.array([1])
print([n for n in p.UNUSED if n in sys.modules])
import pandas, scipy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_body_of_an_answer_follows_its_head_without_waiting_for_the_client(sample_store, workers):
    """Without TCP_NODELAY each body waits for the client's delayed acknowledgement: Linux sends it after 40 ms."""
    with serving(sample_store, "--workers", workers, "--no-worker") as (_, address):
        # A busy machine slows some answers; half of a whole series are late only if each waits.
        for _ in range(5):
            if (late := statistics.median(gaps(address, 25))) < 0.02:
                return
    pytest.fail(f"the body comes {late * 1000:.0f} ms after the head")


def gaps(address, count):
    """Seconds between head and body of answers on one kept connection."""
    host, port = address.removeprefix("http://").split(":")
    found = []
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        for _ in range(count):
            connection.sendall(f"GET {TILEJSON} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            received = b""
            while b"\r\n\r\n" not in received:
                # A new connection acknowledges at once for a while, and Linux goes back to that now and then.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                part = connection.recv(65536)
                assert part, received
                received += part
            start = time.perf_counter()
            head, _, body = received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
            while len(body) < length:
                part = connection.recv(65536)
                assert part, "the server closed the connection"
                body += part
            found.append(time.perf_counter() - start)
    return found


def gone(address):
    """Whether nothing listens any more."""
    host, port = address.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_port_in_use_is_reported_with_what_to_do(sample_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [TERRAZZO, "serve", "--store", sample_store, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def answered(url, body=None):
    """Status and document, of refusals too."""
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=90) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def publish(source, store):
    """Copies a store into an empty folder as `precompute` fills it: the pointer to the version comes last."""
    pointer = "mosaics/mosaic/mosaic.json"
    last = source / pointer
    shutil.copytree(
        source,
        store,
        dirs_exist_ok=True,
        ignore=lambda f, names: {last.name} if Path(f) == last.parent else (),
    )
    shutil.copy(last, store / pointer)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_empty_store_waits_for_its_first_mosaic_and_serves_it_without_a_restart(
    sample_store, tmp_path, workers
):
    store = tmp_path / "store"
    (store / ".scratch").mkdir(parents=True)
    (store / ".scratch" / "scene.part").touch()
    with serving(store, "--workers", workers, TERRAZZO_FOLLOW="0.1") as (_, address):
        assert answered(f"{address}/healthz")[0] == 200
        status, told = answered(f"{address}/readyz")
        assert (status, told["mosaics"]) == (503, [])
        assert "terrazzo precompute" in told["detail"]
        assert answered(f"{address}/mosaics") == (
            200,
            {
                "collections": [],
                "links": [{"rel": "self", "href": f"{address}/mosaics", "type": "application/json"}],
            },
        )
        for path, body in (
            ("WebMercatorQuad/tilejson.json", None),
            ("exports", b'{"bbox": [15, 45, 16, 46]}'),
        ):
            status, told = answered(f"{address}/mosaics/mosaic/{path}", body)
            assert (status, told["detail"]) == (503, "the store is empty")
        publish(sample_store, store)
        # Each worker looks for itself.
        until(lambda: answered(f"{address}/readyz") == (200, {"status": "ready", "mosaics": ["mosaic"]}))
        tile = f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/729.png"
        assert urllib.request.urlopen(tile, timeout=90).read(4) == b"\x89PNG"


@pytest.mark.parametrize("name", ["missing", "other"])
def test_what_is_no_empty_store_is_refused_with_what_to_do(tmp_path, name):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    command = [TERRAZZO, "serve", "--store", tmp_path / name, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "terrazzo precompute SOURCE --store" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("writable", [True, False])
def test_exports_are_linked_where_they_can_be_carried_out(sample_store, tmp_path, writable):
    (tmp_path / "file").touch()
    state = tmp_path / ("state" if writable else "file/state")
    with serving(sample_store, TERRAZZO_STATE=str(state)) as (_, address):
        for path in ("mosaics/mosaic", "mosaics"):
            told = answered(f"{address}/{path}")[1]
            links = {k["rel"]: k["href"] for k in told.get("collections", [told])[0]["links"]}
            found = links.get("http://www.opengis.net/def/rel/ogc/1.0/execute")
            assert found == (f"{address}/mosaics/mosaic/exports" if writable else None)
        body = b'{"bbox": [15.95, 45.8, 15.96, 45.81], "bands": ["B04"]}'
        status, told = answered(f"{address}/mosaics/mosaic/exports", body)
        assert status == (201 if writable else 503), told
        assert writable or "TERRAZZO_STATE" in told["detail"]
