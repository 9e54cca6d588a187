"""`terrazzo serve` as people start it: a line with the address, a clean stop, a clear word when it cannot."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

TERRAZZO = Path(sys.executable).parent / "terrazzo"


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
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_the_maps_address_and_a_signal_stops_it_cleanly(sample_store, sign):
    with serving(sample_store) as (process, address):
        assert "Terrazzo" in urllib.request.urlopen(f"{address}/", timeout=60).read().decode()
        process.send_signal(sign)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest


def test_several_workers_answer_and_stop_together(sample_store):
    with serving(sample_store, "--workers", "2") as (process, address):
        assert urllib.request.urlopen(f"{address}/healthz", timeout=90).status == 200
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest
    assert gone(address)


def gone(address):
    """Whether nothing listens any more, some seconds after the end."""
    host, port = address.removeprefix("http://").split(":")
    for _ in range(50):
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.1)
    return False


def test_a_port_in_use_is_told_with_what_to_do(sample_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [TERRAZZO, "serve", "--store", sample_store, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
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
            {"collections": [], "links": [{"rel": "self", "href": f"{address}/mosaics"}]},
        )
        for path, body in (
            ("WebMercatorQuad/tilejson.json", None),
            ("exports", b'{"bbox": [15, 45, 16, 46]}'),
        ):
            status, told = answered(f"{address}/mosaics/mosaic/{path}", body)
            assert (status, "terrazzo precompute" in told["detail"]) == (503, True), told
        publish(sample_store, store)
        while answered(f"{address}/readyz")[0] == 503:
            time.sleep(0.1)
        assert answered(f"{address}/readyz")[1]["mosaics"] == ["mosaic"]
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
