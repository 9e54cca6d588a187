"""A line to an HTTP server that delays requests, counts them, or holds them until it is let go."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

from tests.waiting import PATIENCE

QUIET, WORK = 0.5, 0.005
"""Seconds without a new request and without work after which a round is complete; CPU seconds between two looks that are work."""


@dataclass
class Rounds:
    """Requests in rounds: all of one had come before any of it was answered.

    Attributes:
        paths: of each round.
    """

    paths: list[list[str]] = field(default_factory=list)


class Line:
    """A proxy on this machine in front of `target`, an address without a path.

    Args:
        host: address to listen on.
    """

    def __init__(self, target: str, host: str = "127.0.0.1") -> None:
        self._there = urlsplit(target).netloc
        self._free = threading.Event()
        self._free.set()
        self._delay, self._rate, self._idle = 0.0, float("inf"), 0.0
        self._came = threading.Condition()
        self._last, self._held = 0.0, list[str]()
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                line._passed(self)

            do_HEAD = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server((host, 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> "Line":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free.set()
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def delayed(self, seconds: float, rate: float = float("inf")) -> Iterator[None]:
        """Holds each request for some time.

        Args:
            rate: bytes a second that all answers together have.
        """
        self._delay, self._rate = seconds, rate
        try:
            yield
        finally:
            self._delay, self._rate = 0.0, float("inf")

    def _carried(self, size: int) -> None:
        """Waits until the line has carried so many bytes, after those that were there before."""
        with self._came:
            self._idle = max(self._idle, time.monotonic()) + size / self._rate
            due = self._idle
        time.sleep(max(0.0, due - time.monotonic()))

    @contextmanager
    def rounds(self) -> Iterator[Rounds]:
        """Holds requests until no more come, then answers them together, again and again: counts true waits."""
        found, ended = Rounds(), threading.Event()
        self._held = []
        self._free.clear()

        def serve() -> None:
            worked = time.process_time()
            while not ended.is_set():
                time.sleep(0.02)
                with self._came:
                    # Who computes will ask for more, however long a busy machine takes over it.
                    if time.process_time() - worked > WORK:
                        self._last = time.monotonic()
                    worked = time.process_time()
                    if self._held and time.monotonic() - self._last > QUIET:
                        found.paths.append(self._held)
                        self._held = []
                        self._free.set()
                        self._free = threading.Event()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield found
        finally:
            ended.set()
            server.join()
            self._free.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Answers nothing until the block of code ends."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def _passed(self, asked: BaseHTTPRequestHandler) -> None:
        with self._came:
            free, self._last = self._free, time.monotonic()
            self._held.append(asked.path)
        time.sleep(self._delay)
        free.wait()
        body = asked.rfile.read(int(asked.headers.get("content-length", 0)))
        there = http.client.HTTPConnection(self._there, timeout=PATIENCE)
        # Without the client's own Host the signature would not fit.
        there.putrequest(asked.command, asked.path, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.headers.items():
            there.putheader(name, value)
        there.endheaders(body)
        answer = there.getresponse()
        content = answer.read()
        self._carried(len(content))
        asked.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                asked.send_header(name, value)
        length = answer.getheader("content-length") if asked.command == "HEAD" else str(len(content))
        asked.send_header("Content-Length", length or "0")
        asked.end_headers()
        asked.wfile.write(content)
