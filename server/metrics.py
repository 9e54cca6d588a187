"""What the server counts, for Prometheus: few series, whatever is asked."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds at which the histograms' buckets end."""
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Folder in which several processes count together; prometheus_client reads it on import."""

REQUESTS = Counter("terrazzo_requests", "Requests by kind of address and outcome", ["kind", "outcome"])
REQUEST_SECONDS = Histogram(
    "terrazzo_request_seconds", "Seconds until an answer is sent", ["kind"], buckets=STEPS
)
TILES = Counter("terrazzo_tiles", "Tiles and boxes by outcome and state of the cache", ["outcome", "cache"])
STEP_SECONDS = Histogram("terrazzo_step_seconds", "Seconds of a step of a tile", ["step"], buckets=STEPS)
SCENES = Counter("terrazzo_scenes_read", "Scenes that show in rendered pictures")
BYTES = Counter(
    "terrazzo_bytes_read",
    "Bytes read of rasters: compressed of local files, decoded of remote ones",
    ["where"],
)
LEFT_OUT = Counter(
    "terrazzo_scenes_left_out", "Times a scene was left out of a picture because it could not be read"
)
INSIDE = Gauge(
    "terrazzo_queue", "Requests that wait for a rendering or are in it", multiprocess_mode="livesum"
)
MOST_INSIDE = Gauge(
    "terrazzo_queue_limit", "Requests past which 503 is answered", multiprocess_mode="livesum"
)


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Notes how long a step takes."""
    start = time.perf_counter()
    try:
        yield
    finally:
        STEP_SECONDS.labels(step).observe(time.perf_counter() - start)


def exposition() -> bytes:
    """All counts in Prometheus' text format, of all processes that share a folder."""
    if SHARED not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def outcome(status: int) -> str:
    """The kind of a status code."""
    named = {304: "not_modified", 404: "missing", 499: "left", 501: "refused", 503: "overloaded"}
    if status in named:
        return named[status]
    return "ok" if status < 400 else "refused" if status < 500 else "failed"
