"""Turns a rendering into an HTTP answer: queue, cache, ETag, headers."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from terrazzo.cells import digest
from terrazzo.errors import Overloaded, TerrazzoError, TooLarge
from terrazzo.formats import Format
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.interpolated import interpolated
from terrazzo.mosaic.measure import Chosen, choose, content_hash, draw
from terrazzo.mosaic.warp import Target
from terrazzo.server import layers, metrics
from terrazzo.server.budget import Budget, Gate
from terrazzo.server.cache import TileCache
from terrazzo.server.conditions import has_already, not_there, part_of
from terrazzo.server.grids import Grids
from terrazzo.server.jobs import Jobs
from terrazzo.server.mosaics import Mosaics, PictureState, State
from terrazzo.server.picture_memory import bytes_of
from terrazzo.server.recent import Answered, Recent
from terrazzo.server.render import PICTURES, render
from terrazzo.server.request import Ask
from terrazzo.server.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")
MOST_SAMPLES = 4096 * 4096 * 4
"""Pixels times bands of one answer."""
LIVE_AGE = 2
"""Seconds a client keeps a picture of a first look."""
SMALL = 8
"""What takes less than so small a part of the memory of all pictures waits for it; what takes more is refused where there is too little."""
PART = 1 << 18
"""Bytes of an answer that are sent at once."""
PLANS = 512
"""Requests that may wait for a thread that looks at what they ask."""
HEAD = b"3"
"""Number of the form of what stands before a picture in the cache, its checksum too; a part of its key."""


@dataclass(frozen=True)
class PictureRequest:
    """What is to be rendered: an engine, what it is asked, and the pixels."""

    engine: Engine
    ask: Ask
    target: Target


@dataclass(frozen=True)
class PicturePlan:
    """A picture's request with its scenes and its key, which names everything that determines the answer's bytes.

    Attributes:
        size: bytes of memory that it takes while it is rendered.
    """

    request: PictureRequest
    chosen: Chosen
    key: str
    is_empty: bool
    size: int


class HeldResponse(Response):
    """An answer that counts as memory until the client has taken it, part by part."""

    def __init__(self, content: bytes, give_back: Callable[[], None], **about: Any) -> None:
        super().__init__(content, **about)
        self._give_back = give_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it; a part waits until the client takes the one before."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            view = memoryview(self.body)
            for start in range(0, max(1, len(view)), PART):
                more = start + PART < len(view)
                body = bytes(view[start : start + PART])
                await send({"type": "http.response.body", "body": body, "more_body": more})
        finally:
            self._give_back()


class ServerContext:
    """What every endpoint needs: the mosaics, the tile matrix sets, the cache, and threads to look and to render in.

    Nothing that reads a file or computes runs on the event loop: finding a version, resolving a request and
    hashing its cells go through `look`, pixels through the renders' gate, so that a 304 never waits behind a
    rendering.
    """

    def __init__(self, settings: Settings, mosaics: Mosaics, cache: TileCache, grids: Grids) -> None:
        self.settings, self.mosaics, self.cache, self.grids = settings, mosaics, cache, grids
        self._looks, self._health = Gate(4, PLANS), Gate(1, PLANS)
        self._looking: asyncio.Future[State] | None = None
        self.threads = settings.rendering_threads()
        self.exports = settings.can_export()
        again = "try again in a moment"
        self.memory = Budget(
            settings.memory, f"the pictures of other requests take the memory there is; {again}"
        )
        self.uploads = Budget(settings.uploads, f"{settings.uploads} files are being received; {again}")
        self._renders = Gate(self.threads, settings.queue, behind=True)
        self._recent = Recent()
        metrics.MOST_INSIDE.set(self.threads + settings.queue)

    async def look(self, function: Callable[[], T]) -> T:
        """Runs what reads documents, not pixels.

        Raises:
            Overloaded: the queue is full, or time is up.
        """
        async with self._patience():
            return await self._looks.run(function)

    async def examine(self) -> State:
        """Whether a pixel of each mosaic can be read; it waits for no other request.

        While every thread renders, processors are busy: what was known a moment ago is said, and looked at again meanwhile.
        """
        known = self.mosaics.known_state()
        if known is not None and self._renders.busy:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._health.run(self.mosaics.state))
            return known
        async with self._patience():
            return await self._health.run(self.mosaics.state)

    async def work(self, request: Request, function: Callable[[], T]) -> T:
        """Runs what reads pixels, as long as the client waits.

        Raises:
            Overloaded: the queue is full, or time is up.
        """
        async with self._patience():
            return await _while_there(request, self._pixels(function))

    def kept(self, mosaic: str) -> dict[str, str]:
        """How long a client may keep a document of a mosaic that was opened: that of a first look as short as its pictures."""
        age = LIVE_AGE if self.mosaics.shows_look(mosaic) else self.settings.max_age
        return {"Cache-Control": f"public, max-age={age}"}

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs of exports. Their folder is made when the first is asked for: a server of tiles needs none.

        Raises:
            StoreError: there is no folder to write to.
        """
        return Jobs(self.settings.state_folder(), self.settings.jobs_url)

    async def close(self) -> None:
        """Takes no more work and closes all files."""
        await self.cache.close()
        self._looks.close()
        self._health.close()
        self._renders.close()
        self.mosaics.close()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        """Ends what takes longer than a request may."""
        try:
            async with asyncio.timeout(self.settings.deadline):
                yield
        except TimeoutError:
            raise Overloaded(
                f"not done within {self.settings.deadline:g} s; try again when the server is less busy"
            ) from None

    async def _pixels(self, function: Callable[[], T], size: int = 0) -> T:
        """Renders in a thread, with so many bytes of the memory of all requests."""
        arrived = time.perf_counter()
        is_small = size * SMALL <= self.settings.memory

        def begun() -> T:
            give_back = self.memory.take(size, patience=self.settings.deadline if is_small else 0.0)
            try:
                metrics.STEP_SECONDS.labels("wait").observe(time.perf_counter() - arrived)
                return function()
            finally:
                give_back()

        # What waits in the queue holds no memory; what is large is refused before it keeps tiles from a thread.
        if not is_small:
            self.memory.take(size)()
        metrics.INSIDE.inc()
        try:
            return await self._renders.run(begun)
        finally:
            metrics.INSIDE.dec()

    async def picture(
        self,
        request: Request,
        find: Callable[[], PictureRequest],
        form: Format,
        *,
        name: str | None = None,
        repeatable: bool = True,
    ) -> Response:
        """The answer to a request: 304 without rendering, from the cache, or rendered.

        Args:
            repeatable: whether its address alone decides the answer, so that the next answer needs no route.
        """
        try:
            async with self._patience():
                answer = await self._picture(request, find, form, name, repeatable)
        except ClientDisconnect:
            metrics.TILES.labels("left", "none").inc()
            raise
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
        outcome = "not_modified" if answer.status_code == 304 else lacking
        metrics.TILES.labels(outcome, answer.headers.get("X-Cache", "none")).inc()
        return answer

    async def _picture(
        self,
        request: Request,
        find: Callable[[], PictureRequest],
        form: Format,
        name: str | None,
        repeatable: bool,
    ) -> Response:
        start = time.perf_counter()
        with metrics.timed("look"):
            plan = await self._looks.run(lambda: planned(find(), form))
        looked = time.perf_counter()
        engine, ask = plan.request.engine, plan.request.ask
        state = self.mosaics.picture_state(engine.version)
        headers = {
            "ETag": f'"{plan.key}"',
            "Cache-Control": cache_control(ask, self.settings, state),
            "X-Terrazzo-State": state,
            "X-Terrazzo-Request": (
                f"mosaic={engine.version.mosaic_id}&version={engine.version.name}&{_ascii(plan.chosen.text())}"
            ),
        }
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        answered = Answered(
            engine.version.mosaic_id,
            engine.version.name,
            ask.version is not None,
            plan.key,
            form.media,
            headers,
        )
        if has_already(request.headers, headers["ETag"]):
            if repeatable:
                self._recent.note(request.scope, answered)
            return Response(status_code=304, headers=headers)

        async def make() -> tuple[bytes, bool]:
            return await self._pixels(lambda: rendered(plan, form), plan.size)

        packed, source = await _while_there(request, self.cache.get(plan.key, make))
        seconds = {"look": looked - start, "tile": time.perf_counter() - looked}
        answer = self._unpacked(packed, answered, request.headers, source, seconds)
        if repeatable and "ETag" in answer.headers:
            self._recent.note(request.scope, answered)
        return answer

    def _unpacked(
        self, packed: bytes, answered: Answered, asked: Headers, source: str, seconds: Mapping[str, float]
    ) -> Response:
        """The answer that a picture makes, or a part of it, with what stands before it: its problems and how it is interpolated."""
        timing = ", ".join(f"{k};dur={1e3 * v:.1f}" for k, v in seconds.items())
        headers = {**answered.headers, "X-Cache": source, "Server-Timing": timing}
        size = int.from_bytes(packed[:4], "little")
        head = json.loads(packed[4 : 4 + size])
        if head["interpolated"]:
            headers["X-Terrazzo-Interpolated"] = _ascii("; ".join(head["interpolated"]))[:1000]
        if head["problems"]:
            headers["X-Terrazzo-Problems"] = _ascii("; ".join(head["problems"]))[:1000]
            headers["Cache-Control"] = "no-store"
            del headers["ETag"]
        body, part = memoryview(packed)[4 + size :], None
        if "ETag" in headers:
            headers["Accept-Ranges"] = "bytes"
            part = part_of(asked, len(body), headers["ETag"])
        if part is not None and not part:
            return not_there(len(body))
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
            body = body[part.start : part.stop]
        keep = self.memory.take(len(packed), refuse=False)
        status = 200 if part is None else 206
        return HeldResponse(bytes(body), keep, status_code=status, media_type=answered.media, headers=headers)

    async def repeated(self, scope: Scope) -> Response | None:
        """The answer to a request that was answered before; None where the store has to be looked at, or a picture drawn."""
        known, asked = self._recent.find(scope), Headers(scope=scope)
        if known is None or not self.mosaics.is_open(known.mosaic, known.version, named=known.is_named):
            return None
        if "if-match" in asked:
            # A refusal is worded by the routes.
            return None
        if has_already(asked, known.headers["ETag"]):
            metrics.TILES.labels("not_modified", "none").inc()
            return Response(status_code=304, headers=known.headers)
        if not self.cache.works:
            return None
        start = time.perf_counter()
        packed = await asyncio.get_running_loop().run_in_executor(None, self.cache.kept, known.key)
        if packed is None:
            return None
        metrics.TILES.labels("ok", "hit").inc()
        return self._unpacked(packed, known, asked, "hit", {"tile": time.perf_counter() - start})


class RepeatedRequests:
    """The short way of repeated requests, ahead of the routes."""

    def __init__(self, app: ASGIApp, context: ServerContext) -> None:
        self.app, self._context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what was answered before, and passes on the rest."""
        answer = None
        if scope["type"] == "http" and scope["method"] == "GET":
            answer = await self._context.repeated(scope)
        await (self.app if answer is None else answer)(scope, receive, send)


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """The result of work, which is cancelled when the client leaves.

    Raises:
        ClientDisconnect: it left.
    """
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_departure(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def planned(request: PictureRequest, form: Format) -> PicturePlan:
    """Resolves a request without reading a pixel.

    Raises:
        InvalidRequest: the request makes no sense, or its answer would be too large.
    """
    measure, target = request.ask.measure, request.target
    chosen = choose(request.engine, measure)
    bands = max(len(measure.names), len(measure.pixels.bands))
    if target.height * target.width * bands > MOST_SAMPLES:
        raise TooLarge(
            f"{target.width} × {target.height} px in {bands} bands: at most {MOST_SAMPLES} values"
            " in one answer; ask for fewer bands or a smaller box, or use `terrazzo export`"
        )
    content = content_hash(request.engine, chosen, target)
    key = digest(
        content.encode(),
        chosen.text().encode(),
        request.ask.presentation().encode(),
        form.name.encode(),
        HEAD,
        repr(target).encode(),
        PICTURES.to_bytes(4, "little"),
        # A GeoTIFF names its mosaic.
        request.engine.version.mosaic_id.encode() if form.name == "tif" else b"",
        _beyond(request, form, chosen),
    ).hex()
    size = bytes_of(request.engine, chosen, request.ask.layer, target)
    return PicturePlan(request, chosen, key, not content, size)


def _beyond(request: PictureRequest, form: Format, chosen: Chosen) -> bytes:
    """What a layer's numbers or colours depend on beside the scenes of the picture's own windows."""
    layer, selection = request.ask.layer, request.engine.planner.holding(chosen.selection)
    if layer == "scene" and not form.is_picture:
        # Its numbers are places in the order of all scenes.
        return digest(*(e.scene.id.encode() for e in selection.entries))
    if layer == "sigma":
        # The prior is that of the whole period.
        return repr(request.engine.version.scatter.get(selection.request.period)).encode()
    # A day's colour lies between the first and the last, an age counts from the last.
    return repr(selection.days).encode() if layer in ("date", "age") else b""


def rendered(plan: PicturePlan, form: Format) -> tuple[bytes, bool]:
    """The encoded image behind a JSON object of its problems and how it is interpolated, and whether it is whole."""
    engine, target = plan.request.engine, plan.request.target
    with metrics.timed("pixels"):
        if layer := plan.request.ask.layer:
            image = layers.image_of(layer, engine, plan.chosen.selection, target)
            drawn = draw(plan.chosen, lambda _: image)
        else:
            drawn = draw(plan.chosen, lambda selection: engine.render(selection, target))
    metrics.SCENES.inc(len(drawn.shown))
    metrics.LEFT_OUT.inc(len(drawn.problems))
    for problem in drawn.problems:
        log.warning("%s: left out %s", engine.version.mosaic_id, problem)
    version = engine.version
    lines = interpolated(engine, plan.chosen.selection, (e.scene for e in drawn.shown), target)
    tags = {
        "TERRAZZO_MOSAIC": version.mosaic_id,
        "TERRAZZO_REQUEST": plan.chosen.text(),
        "ATTRIBUTION": version.attribution_of(drawn.shown),
        **({"TERRAZZO_INTERPOLATED": "; ".join(lines)} if lines else {}),
    }
    with metrics.timed("encode"):
        body = render(drawn, plan.request.ask, target, form, tags)
    head = json.dumps({"problems": drawn.problems, "interpolated": lines}).encode()
    return len(head).to_bytes(4, "little") + head + body, not drawn.problems


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def cache_control(ask: Ask, settings: Settings, state: PictureState) -> str:
    """A named version never changes; the current one may, soon; a first look is replaced in a moment."""
    if state == "live":
        return f"public, max-age={LIVE_AGE}"
    if ask.version is not None:
        return "public, max-age=31536000, immutable"
    return f"public, max-age={settings.max_age}, stale-while-revalidate=600, stale-if-error=86400"


def document(request: Request, text: str, media: str, kept: Mapping[str, str]) -> Response:
    """A document of the current version: ETag, 304, and how long it may be kept, `ServerContext.kept`."""
    etag = f'"{digest(text.encode()).hex()}"'
    headers = {"ETag": etag, **kept}
    if has_already(request.headers, etag):
        return Response(status_code=304, headers=headers)
    return Response(text, media_type=media, headers=headers)
