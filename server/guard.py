"""What needs a key, and what a page of another origin may not do."""

import ipaddress
import json
import re
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terrazzo.server.keys import PARAMETER, Key

MOSAIC = re.compile(r"/(?:mosaics|collections)/([^/]+)(/exports(?:/|$))?")
OF_A_VERSION = re.compile(r"/collections/([^/.]+)-[0-9a-f]{12}(?:/items(?:/.*)?|/queryables)?")
"""Addresses of a version's scenes; a mosaic may have such a name, too."""
LISTS = ("/mosaics", "/collections", "/stac", "/search", "/queryables")
"""Paths that list all mosaics."""
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Headers that proxies add."""


class Guarded:
    """Lets a request to what needs a key pass only with one that opens it, and not too often.

    Jobs are started and ended by pages of this server and by who means it, not by a page of another origin that a reader
    happens to have open. Answers to requests with a key are for its bearer alone: caches in between must not keep them.

    Args:
        guarded: what needs a key.
        own: whether exports need one of all clients but programs of this machine without a proxy.
        names: hosts under which a server that listens on this machine alone may be written to; empty for any.
    """

    def __init__(
        self, app: ASGIApp, guarded: tuple[str, ...], own: bool = False, names: tuple[str, ...] = ()
    ) -> None:
        self.app, self._guarded, self._own, self._names = app, guarded, own, names
        self._allowances: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers 401, 403 or 429."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        key: Key | None = scope.get("terrazzo.key")
        needed, mosaics = needs(scope["path"].removeprefix(scope.get("root_path", "")))
        is_own = bool(scope.get("terrazzo.own", True))
        if needed in self._guarded or (needed == "export" and self._own and not is_own):
            if key is None:
                problem = "this key is not known" if scope.get("terrazzo.key_given") else "a key is needed"
                detail = (
                    f"{problem}: as X-API-Key, as Bearer, as {PARAMETER}= or as the password of HTTP Basic"
                )
                # A script of a page asks for the key itself: the browser's own window would come first.
                is_script = Headers(scope=scope).get("sec-fetch-dest") == "empty"
                challenge = (
                    {} if is_script else {"WWW-Authenticate": 'Basic realm="terrazzo", charset="UTF-8"'}
                )
                await _answer(send, 401, detail, challenge)
                return
            if not any(key.opens(str(needed), mosaic) for mosaic in mosaics):
                detail = f"this key does not open {needed} of {mosaics[0] or 'all mosaics'}"
                await _answer(send, 403, detail, {})
                return
        writes = needed == "export" and scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if writes and not scope.get("terrazzo.key_meant") and (why := self._foreign(scope)):
            await _answer(send, 403, why, {})
            return
        if key is not None and (wait := self._wait(key)) > 0:
            detail = f"more than {key.rate} requests in a minute with this key"
            await _answer(send, 429, detail, {"Retry-After": str(int(wait) + 1)})
            return

        async def kept_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _private(message["headers"])}
            await send(message)

        await self.app(scope, receive, send if key is None else kept_private)

    def _foreign(self, scope: Scope) -> str:
        """Why a request may come from a page of another origin; empty where it does not."""
        headers = Headers(scope=scope)
        site, origin, host = (headers.get(n, "") for n in ("sec-fetch-site", "origin", "host"))
        if site not in ("", "same-origin", "none") or (origin and origin.partition("://")[2] != host):
            return "a page of another origin starts and ends jobs only with a key, in X-API-Key or as Bearer"
        # A name that somebody points to this machine has the same origin as his page.
        given = str(scope.get("terrazzo.host", host))
        name = _named(f"//{given}")
        if self._names and not _is_own(name) and name not in self._names:
            return f"this server is not known as {name[:80]!r}: set TERRAZZO_PUBLIC_URL, or ask with a key"
        return ""

    def _wait(self, key: Key) -> float:
        """Seconds until a key may ask again; 0 takes one request off its allowance."""
        if key.rate is None:
            return 0.0
        now = time.monotonic()
        left, then = self._allowances.get(key.id, (float(key.rate), now))
        left = min(float(key.rate), left + (now - then) * key.rate / 60)
        if left < 1:
            self._allowances[key.id] = (left, now)
            return (1 - left) * 60 / key.rate
        self._allowances[key.id] = (left - 1, now)
        return 0.0


def needs(path: str) -> tuple[str | None, tuple[str | None, ...]]:
    """The scope that a path belongs to, and its mosaic; None for what is open to all, and for all mosaics.

    A path with two mosaics is one whose name may be a mosaic's own or that of a version of another: who answers it looks
    only at those that a key opens.
    """
    match = MOSAIC.match(path)
    if match:
        # A mosaic's name has no dot; `NAME.periods` is a collection of it.
        name = match[1].partition(".")[0]
        version = OF_A_VERSION.fullmatch(path)
        return "export" if match[2] else "tiles", (name, version[1]) if version else (name,)
    return ("tiles" if path in LISTS else None), (None,)


def _private(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that let the asker alone keep a picture, and nobody a document, which may hold the key."""
    kept = [(k, v) for k, v in headers]
    media = next((v for k, v in kept if k.lower() == b"content-type"), b"image/")
    if media.startswith((b"image/", b"application/x-npy")):
        return [
            (k, v.replace(b"public", b"private") if k.lower() == b"cache-control" else v) for k, v in kept
        ]
    others = [(k, v) for k, v in kept if k.lower() not in (b"cache-control", b"etag")]
    return [*others, (b"cache-control", b"private, no-store")]


async def _answer(send: Send, status: int, detail: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"detail": detail}).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    raw = [(k.lower().encode(), v.encode()) for k, v in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def guarded_by_default(host: str, public_url: str | None) -> tuple[str, ...]:
    """What needs a key where the operator says nothing: exports, once others than this machine's users reach them."""
    names = [host, *([urlsplit(public_url).hostname or ""] if public_url else [])]
    return () if all(_is_own(n) for n in names) else ("export",)


def hosts_of(host: str, public_url: str | None) -> tuple[str, ...]:
    """Names of a server that listens on this machine alone; empty where others can ask it by any name."""
    if not _is_own(host):
        return ()
    return tuple(n for n in (host, urlsplit(public_url or "").hostname) if n)


def came_straight(headers: Headers) -> bool:
    """Whether a request names this machine, as its own programs do, and no header names a proxy."""
    name = _named(f"//{headers.get('host', '')}")
    return _is_own(name) and not any(h in headers for h in FORWARDED)


def _named(address: str) -> str:
    """The host of an address; empty where it is none, such as an IPv6 address without its end."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
