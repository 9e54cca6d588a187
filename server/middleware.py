"""What happens to every request and answer, whatever the endpoint: addresses, HEAD, headers, unforeseen errors."""

import ipaddress
import json
import logging
import re
import time
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terrazzo.formats import FORMATS
from terrazzo.server import metrics
from terrazzo.server.guard import came_straight
from terrazzo.server.logs import REQUEST_ID, access

log = logging.getLogger(__name__)
HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~\-]+){1,8}")
EXPOSED = "ETag, Location, Content-Bbox, Content-Datetime, Content-Disposition, Content-Range, Server-Timing, X-Cache, X-Request-Id, X-Terrazzo-Request, X-Terrazzo-State, X-Terrazzo-Problems, X-Terrazzo-Interpolated"
NEVER_PACKED = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    "image/*",
    "font/*",
    "application/octet-stream",
    *(f.media for f in FORMATS.values() if not f.is_text),
)
"""Media types whose bytes are packed already, or are read in parts."""
REQUEST_NAME = re.compile(r"[\w\-]{1,64}")
KIND = re.compile(
    r"(?:^|/)(?:mosaics|collections)/[^/]+/(?:[^/]+/)?(tiles|wmts|bbox|exports|statistics|point|explain|dates|seams|scenes|legend|tilejson\.json|gdal\.xml)\b"
)


class PublicAddress:
    """Makes a request's scheme, host and path prefix those that clients see, so that every link is right.

    `public_url` wins. Else X-Forwarded-Proto, -Host, -Prefix and -For count, but only from trusted
    addresses: anybody could send them. `scope["terrazzo.own"]` is whether a program of this machine asked, without a
    proxy; `scope["terrazzo.host"]` the host that the request itself named.
    """

    def __init__(self, app: ASGIApp, public_url: str | None, trusted: tuple[str, ...]) -> None:
        self.app = app
        self._fixed: tuple[str, str, str] | None = None
        if public_url:
            parts = urlsplit(public_url.rstrip("/"))
            self._fixed = (parts.scheme, parts.netloc, parts.path)
        self._trusted = tuple(ipaddress.ip_network(t) for t in trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on with its public address."""
        if scope["type"] == "http":
            scope = self._addressed(scope)
        await self.app(scope, receive, send)

    def _addressed(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        scheme, host, prefix = scope["scheme"], headers.get("host", ""), ""
        trusted, client = self._is_trusted(scope), scope.get("client")
        given = host
        if trusted:
            client = _address(_last(headers.get("x-forwarded-for"))) or client
            scheme = _last(headers.get("x-forwarded-proto")) or scheme
            host = _last(headers.get("x-forwarded-host")) or host
            prefix = _last(headers.get("x-forwarded-prefix")).rstrip("/")
        if self._fixed:
            scheme, host, prefix = self._fixed
        if scheme not in ("http", "https"):
            scheme = "http"
        if not HOST.fullmatch(host):
            server = scope.get("server") or ("localhost", None)
            host = server[0] if server[1] is None else f"{server[0]}:{server[1]}"
        if prefix and not PREFIX.fullmatch(prefix):
            prefix = ""
        path = scope["path"]
        if prefix and not path.startswith(f"{prefix}/"):
            # The proxy cut the prefix off; ASGI wants it in the path.
            path = prefix + path
        others = [(k, v) for k, v in scope["headers"] if k != b"host" and (trusted or k != b"x-request-id")]
        return {
            **scope,
            "client": client,
            "terrazzo.own": came_straight(headers),
            "terrazzo.host": given,
            "scheme": scheme,
            "root_path": prefix,
            "path": path,
            "headers": [(b"host", host.encode("latin-1")), *others],
        }

    def _is_trusted(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0]) if client else None
        except ValueError:
            return False
        return address is not None and any(
            address in network for network in self._trusted if network.version == address.version
        )


def _address(text: str) -> tuple[str, int] | None:
    """A client's address, without a port; None where it is none."""
    try:
        return str(ipaddress.ip_address(text)), 0
    except ValueError:
        return None


def _last(header: str | None) -> str:
    """The entry that the nearest proxy wrote."""
    return (header or "").split(",")[-1].strip()


class OneSlash:
    """Takes slashes at the end of an address away, so that both spellings are one and no redirect loses the key."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on under the address without them; the root keeps its own."""
        root = scope.get("root_path", "") + "/"
        if (
            scope["type"] == "http"
            and scope["path"].endswith("/")
            and scope["path"].rstrip("/") + "/" != root
        ):
            scope = {**scope, "path": scope["path"].rstrip("/")}
        await self.app(scope, receive, send)


class Watched:
    """Gives a request its identifier, counts and times it, and writes its line into the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and notes its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if REQUEST_NAME.fullmatch(given) else uuid.uuid4().hex
        token = REQUEST_ID.set(name)
        start, status, size, cache = time.perf_counter(), 500, 0, ""

        async def noted(message: Message) -> None:
            nonlocal status, size, cache
            if message["type"] == "http.response.start":
                status = message["status"]
                cache = Headers(raw=list(message["headers"])).get("x-cache", "")
                message = {**message, "headers": [*message["headers"], (b"x-request-id", name.encode())]}
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - start
            match = KIND.search(scope["path"])
            kind = match[1] if match else "other"
            metrics.REQUESTS.labels(kind, metrics.outcome(status)).inc()
            metrics.REQUEST_SECONDS.labels(kind).observe(seconds)
            fields = {
                "method": scope["method"],
                "path": scope["path"],
                "query": scope["query_string"].decode("latin-1"),
                "status": status,
                "bytes": size,
                "ms": round(seconds * 1000, 1),
                "client": (scope.get("client") or ("",))[0],
                "cache": cache,
            }
            access.info("request", extra={"fields": fields})
            REQUEST_ID.reset(token)


class HeadAsGet:
    """Answers HEAD as GET of the whole without a body, on every path; the server itself leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a HEAD request on as GET."""
        if scope["type"] == "http" and scope["method"] == "HEAD":

            async def bodiless(message: Message) -> None:
                if message["type"] == "http.response.body":
                    message = {**message, "body": b""}
                await send(message)

            # Of parts only GET knows.
            whole = [(k, v) for k, v in scope["headers"] if k != b"range"]
            await self.app({**scope, "method": "GET", "headers": whole}, receive, bodiless)
        else:
            await self.app(scope, receive, send)


class CommonHeaders:
    """Adds the headers that every answer carries, errors included; `no-store` to errors.

    With all origins allowed the CORS header goes to everybody: a cache in front may keep the answer to a
    request without Origin, and must not serve it without the header to the next one.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self.app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and completes its answer; answers CORS preflights itself."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Headers(scope=scope)
        added = self._cors(request.get("origin"))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            preflight = [
                (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE, OPTIONS"),
                (
                    b"access-control-allow-headers",
                    b"If-None-Match, If-Modified-Since, Range, Content-Type, Authorization, X-API-Key",
                ),
                (b"access-control-max-age", b"86400"),
                (b"content-length", b"0"),
            ]
            await send({"type": "http.response.start", "status": 204, "headers": [*added, *preflight]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # QGIS looks "Content-Type" up with its capitals and takes GeoJSON for GML without them.
                headers = [(b"Content-Type" if k == b"content-type" else k, v) for k, v in message["headers"]]
                if message["status"] >= 400:
                    headers = [(k, v) for k, v in headers if k not in (b"cache-control", b"etag")]
                    headers.append((b"cache-control", b"no-store"))
                headers += [*added, (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, completed)

    def _cors(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        exposed = (b"access-control-expose-headers", EXPOSED.encode())
        if "*" in self._origins:
            return [(b"access-control-allow-origin", b"*"), exposed]
        headers = [(b"vary", b"Origin")]
        if origin in self._origins and origin:
            headers += [(b"access-control-allow-origin", origin.encode("latin-1")), exposed]
        return headers


class Packed:
    """Packs texts by gzip for clients that take it; pictures, numbers and files as they are.

    A packed answer is another stream of bytes: its ETag becomes weak, also in the 304 to a client that has it, and it has no
    parts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._packing = GZipMiddleware(app, compresslevel=5, exclude_content_types=NEVER_PACKED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and packs its answer."""
        known = Headers(scope=scope).get("if-none-match", "") if scope["type"] == "http" else ""

        async def honest(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                etag = headers.get("etag", "")
                is_packed = "content-encoding" in headers
                if is_packed:
                    del headers["accept-ranges"]
                if etag.startswith('"') and (
                    is_packed or (message["status"] == 304 and f"W/{etag}" in known)
                ):
                    headers["etag"] = f"W/{etag}"
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._packing(scope, receive, honest)


class Unforeseen:
    """Turns an error that nothing else knows into a plain 500 and a log entry; clients learn nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and answers for what goes wrong."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            log.exception("%s %s", scope["method"], scope["path"])
            detail = f"an error of this server; its log describes it under {REQUEST_ID.get()}"
            body = json.dumps({"detail": detail}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": body})
