"""Turns a rendering into an HTTP answer: queue, cache, ETag, headers."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from server import metrics
from server.cache import TileCache
from server.grids import Grids
from server.mosaics import Mosaics
from server.render import render
from server.request import MEDIA, Ask, Format
from server.settings import Settings
from terrazzo.cells import digest
from terrazzo.errors import Overloaded, TerrazzoError, TooLarge
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target

T = TypeVar("T")
MOST_SAMPLES = 4096 * 4096 * 4
"""Pixels times bands of one answer."""
PLANS = 512
"""Requests that may wait for a thread that looks at what they ask."""


class Gate:
    """A bounded number of threads behind a bounded queue."""

    def __init__(self, threads: int, queue: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._most = threads + queue
        self._inside = 0

    async def run(self, function: Callable[[], T]) -> T:
        """Runs a function in a thread, or refuses when too many wait.

        Raises:
            Overloaded: the queue is full.
        """
        if self._inside >= self._most:
            raise Overloaded("too many requests wait; try again in a moment")
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._inside -= 1


@dataclass(frozen=True)
class Job:
    """What is to be rendered: an engine, what it is asked, and the pixels."""

    engine: Engine
    ask: Ask
    target: Target


@dataclass(frozen=True)
class _Plan:
    job: Job
    selection: Selection
    key: str


class Desk:
    """What every endpoint needs: the mosaics, the tile matrix sets, the cache, and threads to look and to render in.

    Nothing that reads a file or computes runs on the event loop: finding a version, resolving a request and
    hashing its cells go through `look`, pixels through the renders' gate, so that a 304 never waits behind a
    rendering.
    """

    def __init__(self, settings: Settings, mosaics: Mosaics, cache: TileCache, grids: Grids) -> None:
        self.settings, self.mosaics, self.cache, self.grids = settings, mosaics, cache, grids
        self._looks = Gate(4, PLANS)
        self._renders = Gate(settings.threads, settings.queue)
        metrics.MOST_INSIDE.set(settings.threads + settings.queue)

    async def look(self, function: Callable[[], T]) -> T:
        """Runs what reads documents, not pixels."""
        return await self._looks.run(function)

    async def work(self, function: Callable[[], T]) -> T:
        """Runs what reads pixels.

        Raises:
            Overloaded: the queue is full.
        """
        arrived = time.perf_counter()

        def begun() -> T:
            metrics.STEP_SECONDS.labels("wait").observe(time.perf_counter() - arrived)
            return function()

        metrics.INSIDE.inc()
        try:
            return await self._renders.run(begun)
        finally:
            metrics.INSIDE.dec()

    async def picture(
        self, request: Request, find: Callable[[], Job], form: Format, *, name: str | None = None
    ) -> Response:
        """The answer for a job: 304 without rendering, from the cache, or rendered."""
        try:
            answer = await self._picture(request, find, form, name)
        except Overloaded:
            metrics.TILES.labels("overloaded", "none").inc()
            raise
        except TerrazzoError:
            metrics.TILES.labels("refused", "none").inc()
            raise
        except Exception:
            metrics.TILES.labels("failed", "none").inc()
            raise
        lacking = "lacking" if "X-Terrazzo-Problems" in answer.headers else "ok"
        told = "not_modified" if answer.status_code == 304 else lacking
        metrics.TILES.labels(told, answer.headers.get("X-Cache", "none")).inc()
        return answer

    async def _picture(
        self, request: Request, find: Callable[[], Job], form: Format, name: str | None
    ) -> Response:
        with metrics.timed("look"):
            plan = await self.look(lambda: _planned(find(), form))
        engine, ask = plan.job.engine, plan.job.ask
        headers = {
            "ETag": f'"{plan.key}"',
            "Cache-Control": cache_control(ask, self.settings),
            "X-Terrazzo-Request": (
                f"mosaic={engine.version.mosaic_id}&version={engine.version.name}&{_ascii(plan.selection.request.text())}"
            ),
        }
        if matches(request.headers.get("if-none-match"), headers["ETag"]):
            return Response(status_code=304, headers=headers)

        async def make() -> tuple[bytes, bool]:
            return await self.work(lambda: _rendered(plan, form))

        packed, headers["X-Cache"] = await self.cache.get(plan.key, make)
        size = int.from_bytes(packed[:4], "little")
        problems = json.loads(packed[4 : 4 + size])
        if problems:
            headers["X-Terrazzo-Problems"] = _ascii("; ".join(problems))[:1000]
            headers["Cache-Control"] = "no-store"
            del headers["ETag"]
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return Response(packed[4 + size :], media_type=MEDIA[form], headers=headers)


def _planned(job: Job, form: Format) -> _Plan:
    """A job with its scenes and its key, which names everything that determines the answer's bytes."""
    selection = job.engine.select(job.ask.pixels)
    target = job.target
    results = job.ask.expression.count(";") + 1 if job.ask.expression else 1
    bands = max(results, len(selection.request.bands))
    if target.height * target.width * bands > MOST_SAMPLES:
        raise TooLarge(
            f"{target.width} × {target.height} px in {bands} bands: at most {MOST_SAMPLES} values"
            " in one answer; ask for fewer bands or a smaller box, or use `terrazzo export`"
        )
    key = digest(
        job.engine.content_hash(selection, target).encode(),
        selection.request.text().encode(),
        job.ask.presentation().encode(),
        form.encode(),
        repr(target).encode(),
        # GeoTIFF names mosaic and version in its tags; a layer numbers and colours all scenes of the version.
        repr((job.engine.version.mosaic_id, job.engine.version.name)).encode()
        if form == "tif" or job.ask.layer
        else b"",
    ).hex()
    return _Plan(job, selection, key)


def _rendered(plan: _Plan, form: Format) -> tuple[bytes, bool]:
    """The encoded image behind a JSON list of its problems, and whether it is whole."""
    engine, selection = plan.job.engine, plan.selection
    with metrics.timed("pixels"):
        image = engine.render(selection, plan.job.target, counted=plan.job.ask.layer == "count")
    metrics.SCENES.inc(int(np.count_nonzero(np.bincount(image.provenance.ravel() + 1)[1:])))
    metrics.LEFT_OUT.inc(len(image.problems))
    version = engine.version
    tags = {
        "TERRAZZO_MOSAIC": version.mosaic_id,
        "TERRAZZO_VERSION": version.name,
        "TERRAZZO_REQUEST": selection.request.text(),
        "ATTRIBUTION": version.attribution,
    }
    with metrics.timed("encode"):
        body = render(image, plan.job.ask, plan.job.target, form, tags)
    head = json.dumps(list(image.problems)).encode()
    return len(head).to_bytes(4, "little") + head + body, not image.problems


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def cache_control(ask: Ask, settings: Settings) -> str:
    """A named version never changes; the current one may, soon."""
    if ask.version is not None:
        return "public, max-age=31536000, immutable"
    return f"public, max-age={settings.max_age}, stale-while-revalidate=600, stale-if-error=86400"


def document(request: Request, text: str, media: str, settings: Settings) -> Response:
    """A document of the current version: ETag, 304, Cache-Control."""
    etag = f'"{digest(text.encode()).hex()}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={settings.max_age}"}
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(text, media_type=media, headers=headers)


def matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names an ETag."""
    if header is None:
        return False
    names = [n.strip().removeprefix("W/") for n in header.split(",")]
    return "*" in names or etag in names
