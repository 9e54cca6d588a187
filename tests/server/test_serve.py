"""`terrazzo serve` as people start it: a line with the address, a clean stop, a clear word when it cannot."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import PATIENCE, until

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
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest
    until(lambda: gone(address))


def gone(address):
    """Whether nothing listens any more."""
    host, port = address.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_port_in_use_is_told_with_what_to_do(sample_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [TERRAZZO, "serve", "--store", sample_store, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
