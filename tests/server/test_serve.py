"""`terrazzo serve` as people start it: a line with the address, a clean stop, a clear word when it cannot."""

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

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
