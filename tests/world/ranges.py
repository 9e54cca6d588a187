"""A server of files that answers ranges as archives do, and counts what it gave."""

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse


@dataclass
class Ranges:
    """A running server: its address, its files by name, and the ranges it gave of them; what it does not do as others.

    Attributes:
        weak: its ETags are weak, so that none is matched.
        added: bytes by which its next parts are longer than it says, shorter below zero.
    """

    address: str
    files: dict[str, bytes]
    given: list[tuple[str, int, int]] = field(default_factory=list)
    parts: bool = True
    heads: bool = True
    weak: bool = False
    added: list[int] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(end - start for _, start, end in self.given)


@cache
def tag_of(content: bytes) -> str:
    """The ETag of a file."""
    return f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'


@contextmanager
def range_server(files: Mapping[str, bytes]) -> Iterator[Ranges]:
    """Serves files by name over HTTP, with ETags, ranges and If-Match; yields what it does."""
    running, lock = Ranges("", dict(files)), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body go out together, or the second waits for the client to have seen the first.
        wbufsize = -1

        def answer(self) -> None:
            name = urlparse(self.path).path.lstrip("/")
            content = running.files.get(name)
            if content is None:
                self.say(404, b"")
                return
            if self.command == "HEAD" and not running.heads:
                self.say(405, b"")
                return
            tag = f"W/{tag_of(content)}" if running.weak else tag_of(content)
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "") if running.parts else "")
            start, end = 0, len(content)
            if asked:
                start, end = int(asked[1]), min(end, int(asked[2] or end) + 1)
            headers = {"ETag": tag, "Accept-Ranges": "bytes"}
            insisted = self.headers.get("If-Match")
            if insisted is not None and (insisted != tag or running.weak):
                self.say(412, b"", headers)
            elif start >= len(content):
                self.say(416, b"", headers)
            else:
                if asked:
                    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
                with lock:
                    running.given.append((name, start, end if self.command == "GET" else start))
                body = content[start:end]
                if asked and running.added and self.command == "GET":
                    added = running.added.pop(0)
                    body = body[:added] if added < 0 else body + bytes(added)
                self.say(206 if asked else 200, body, headers)

        def say(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(code)
            for header, value in (headers or {}).items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Tue, 15 Aug 2023 10:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    running.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
