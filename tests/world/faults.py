"""A proxy before an HTTP server that does what networks and busy archives do."""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlparse

from tests.waiting import PATIENCE

Kind = Literal["busy", "down", "refused", "lost", "dropped", "truncated", "slow", "kill", "kill after"]
HOP = ("connection", "transfer-encoding", "keep-alive", "server", "date")
SLOW = 0.05
"""Seconds between two pieces of a slow body."""


@dataclass(frozen=True)
class Seen:
    """A request that came: the `count`-th with its method and path, 0 the first; the range it asked for."""

    method: str
    path: str
    count: int
    range: str | None


Fault = Callable[[Seen], Kind | None]


def once(kind: Kind, part: str = "") -> Fault:
    """A fault at the first request of each method and path that holds a text."""
    return lambda seen: kind if seen.count == 0 and part in seen.path else None


def always(kind: Kind, part: str) -> Fault:
    """A fault at every request of paths that hold a text."""
    return lambda seen: kind if part in seen.path else None


def share(of_requests: float, seed: int) -> Fault:
    """Faults of all kinds that pass, at a share of the requests."""
    chance, lock = random.Random(seed), threading.Lock()

    def fault(seen: Seen) -> Kind | None:
        with lock:
            hit, kind = chance.random() < of_requests, chance.choice(("busy", "down", "dropped"))
        return kind if hit else None

    return fault


@dataclass
class Proxy:
    """A running proxy: its address, the faults it makes, the requests it saw, and what ends its client."""

    address: str
    fault: Fault
    seen: list[Seen]
    kill: Callable[[], None] = lambda: None


@contextmanager
def proxy(
    upstream: str, fault: Fault = lambda seen: None, rewrite: Callable[[bytes], bytes] = lambda body: body
) -> Iterator[Proxy]:
    """A proxy before a server; `rewrite` makes of each body what its client gets.

    `busy` is 429 with Retry-After, `down` 503, `refused` 403, `lost` 403 of what was done all the same, `dropped` ends the
    connection in the middle of the body, `truncated` sends the first half as if it were all, `slow` sends the body in small
    pieces; `kill` and `kill after` end the client before or after its request was carried out.
    """
    target, counts, lock = urlparse(upstream), {}, threading.Lock()
    running = Proxy("", fault, [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                key = (self.command, self.path)
                seen = Seen(*key, counts.get(key, 0), self.headers.get("Range"))
                counts[key] = seen.count + 1
                running.seen.append(seen)
            kind = running.fault(seen)
            if kind in ("busy", "down", "refused"):
                code = {"busy": 429, "down": 503, "refused": 403}[kind]
                self._answer(code, [("Retry-After", "1")] if kind == "busy" else [], b"not now")
                return
            if kind == "kill":
                running.kill()
                self.close_connection = True
                return
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=PATIENCE)
            connection.request(self.command, self.path, sent, dict(self.headers))
            got = connection.getresponse()
            headers = [h for h in got.getheaders() if h[0].lower() not in (*HOP, "content-length")]
            length, body = got.getheader("Content-Length"), rewrite(got.read())
            connection.close()
            if kind == "kill after":
                running.kill()
            if kind == "lost":
                self._answer(403, [], b"not now")
                return
            half = body[: len(body) // 2]
            if self.command == "HEAD":
                self._answer(got.status, headers, b"", int(length or 0))
            elif kind == "dropped":
                self._answer(got.status, headers, half, len(body))
                self.close_connection = True
            elif kind == "truncated":
                self._answer(got.status, headers, half)
            else:
                self._answer(got.status, headers, body, slow=kind == "slow")

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

        def _answer(
            self,
            code: int,
            headers: list[tuple[str, str]],
            body: bytes,
            length: int | None = None,
            *,
            slow: bool = False,
        ) -> None:
            self.send_response(code)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            step = 16_384 if slow else max(1, len(body))
            try:
                for at in range(0, len(body), step):
                    self.wfile.write(body[at : at + step])
                    if slow:
                        time.sleep(SLOW)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that ended is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
