"""How long `/readyz` takes with every renderer busy and idle connections open.

    python -m benchmarks.ready --store FOLDER [--seconds 20] [--idle 200]

FOLDER is any store. A server of its own gets more boxes than it renders at once, all the time, and `--idle` connections that never
ask; meanwhile `/readyz` is asked ten times a second, each time on a new connection, as probes do. The aim is 50 ms.
"""

import argparse
import http.client
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np

from terrazzo.store import Store
from terrazzo.version import list_mosaics, open_version


def status(port: int) -> int:
    """The status of an answer on a connection of its own; a client library's own start would be most of the time."""
    probe = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    probe.request("GET", "/readyz")
    answer = probe.getresponse()
    answer.read()
    probe.close()
    return answer.status


def main() -> None:
    """Prints percentiles in milliseconds, and how many answers of each status there were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--idle", type=int, default=200)
    given = parser.parse_args()
    mosaic = list_mosaics(Store(given.store))[0]
    west, south, east, north = open_version(Store(given.store), mosaic).bounds
    command = [
        Path(sys.executable).parent / "terrazzo",
        "serve",
        "--store",
        given.store,
        "--port",
        "0",
        "--no-worker",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TERRAZZO_THREADS": "4"}
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line
        address, port = found[0], int(found[1])
        number, ended, boxes = itertools.count(), threading.Event(), list[int]()

        def look() -> None:
            with httpx.Client(timeout=60) as client:
                while not ended.is_set():
                    # Every box is another one: none comes from the cache.
                    shift = (next(number) % 997) * 1e-6
                    path = f"{west + shift},{south},{east},{north}/1024x1024.png"
                    boxes.append(client.get(f"{address}/mosaics/{mosaic}/bbox/{path}").status_code)

        try:
            httpx.get(f"{address}/readyz", timeout=60)
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(given.idle)]
            users = [threading.Thread(target=look, daemon=True) for _ in range(8)]
            for user in users:
                user.start()
            time.sleep(2)
            taken, statuses, end = list[float](), list[int](), time.monotonic() + given.seconds
            while time.monotonic() < end:
                start = time.perf_counter()
                statuses.append(status(port))
                taken.append(1e3 * (time.perf_counter() - start))
                time.sleep(0.1)
            ended.set()
            for user in users:
                user.join()
        finally:
            server.terminate()
    middle, most, worst = np.percentile(taken, [50, 99, 100])
    print(f"/readyz with 8 users on 4 renderers, {len(idle)} idle connections: {len(taken)} asked")
    print(f"median {middle:.1f} ms, 99 % {most:.1f} ms, worst {worst:.1f} ms; status {set(statuses)}")
    print(
        f"boxes of 1024² meanwhile: {boxes.count(200)} rendered, {len(boxes) - boxes.count(200)} told to come again"
    )


if __name__ == "__main__":
    main()
