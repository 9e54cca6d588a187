"""Turns a rendering into an HTTP answer: queue, cache, ETag, headers."""

import json
from collections.abc import Callable
from typing import TypeVar

import anyio
from starlette.requests import Request
from starlette.responses import Response

from server.cache import TileCache
from server.mosaics import Mosaics
from server.render import render
from server.request import MEDIA, Ask, Format
from server.settings import Settings
from terrazzo.cells import digest
from terrazzo.errors import Overloaded
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target

T = TypeVar("T")


class Desk:
    """What every endpoint needs: the mosaics, the cache, and a bounded number of threads to render in."""

    def __init__(self, settings: Settings, mosaics: Mosaics, cache: TileCache) -> None:
        self.settings, self.mosaics, self.cache = settings, mosaics, cache
        self._limiter = anyio.CapacityLimiter(settings.threads)
        self._waiting = 0

    async def work(self, function: Callable[[], T]) -> T:
        """Runs a function in a thread, or refuses when too many wait.

        Raises:
            Overloaded: the queue is full.
        """
        if self._waiting >= self.settings.queue + self.settings.threads:
            raise Overloaded("too many requests wait; try again in a moment")
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._waiting -= 1

    async def picture(
        self,
        request: Request,
        engine: Engine,
        ask: Ask,
        target: Target,
        form: Format,
        *,
        name: str | None = None,
    ) -> Response:
        """The answer for a target: 304 without rendering, from the cache, or rendered."""
        selection = engine.select(ask.pixels)
        content = engine.content_hash(selection, target)
        key = digest(
            content.encode(),
            selection.request.text().encode(),
            ask.presentation().encode(),
            form.encode(),
            repr(target).encode(),
        ).hex()
        etag = f'"{key}"'
        headers = {
            "ETag": etag,
            "Cache-Control": cache_control(ask, self.settings),
            "X-Terrazzo-Request": f"mosaic={engine.version.mosaic_id}&version={engine.version.name}&{selection.request.text()}",
        }
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        if matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)

        async def make() -> tuple[bytes, bool]:
            packed, whole = await self.work(lambda: _rendered(engine, selection, ask, target, form))
            return packed, whole

        packed, source = await self.cache.get(key, make)
        size = int.from_bytes(packed[:4], "little")
        problems = json.loads(packed[4 : 4 + size])
        headers["X-Cache"] = source
        if problems:
            headers["X-Terrazzo-Problems"] = "; ".join(problems).encode("ascii", "replace").decode()[:1000]
            headers["Cache-Control"] = "no-store"
            del headers["ETag"]
        return Response(packed[4 + size :], media_type=MEDIA[form], headers=headers)


def _rendered(
    engine: Engine, selection: Selection, ask: Ask, target: Target, form: Format
) -> tuple[bytes, bool]:
    """The encoded image behind a JSON list of its problems, and whether it is whole."""
    image = engine.render(selection, target)
    version = engine.version
    tags = {
        "TERRAZZO_MOSAIC": version.mosaic_id,
        "TERRAZZO_VERSION": version.name,
        "TERRAZZO_REQUEST": selection.request.text(),
        "ATTRIBUTION": version.attribution,
    }
    body = render(image, ask, target, form, tags)
    head = json.dumps(list(image.problems)).encode()
    return len(head).to_bytes(4, "little") + head + body, not image.problems


def cache_control(ask: Ask, settings: Settings) -> str:
    """A named version never changes; the current one may, soon."""
    if ask.version is not None:
        return "public, max-age=31536000, immutable"
    return f"public, max-age={settings.max_age}, stale-while-revalidate=600"


def matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names an ETag."""
    if header is None:
        return False
    names = [n.strip().removeprefix("W/") for n in header.split(",")]
    return "*" in names or etag in names
