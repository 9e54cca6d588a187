"""How long a client may take: for the head of a request, for its body, to take an answer off our hands."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from terrazzo.errors import TooSlow

HEAD = 20.0
"""Seconds from a connection, or a request's first byte, to the end of the request's headers."""
LARGEST = 1 << 16
"""Bytes of a request's head."""
STALL = 30.0
"""Seconds in which a client takes nothing of an answer that waits for it, or sends nothing of a body."""
SLOWEST = 50_000
"""Bytes of a body a second, on average once `STALL` is over."""


class _Capitals:
    """A transport that writes `Content-Type` with its capitals, which uvicorn takes away: QGIS looks the header up with them, and takes GeoJSON for
    GML without.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Writes; a head comes by itself, and ends with an empty line."""
        if data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            data = data.replace(b"\r\ncontent-type: ", b"\r\nContent-Type: ", 1)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class PatientProtocol(HttpToolsProtocol):
    """HTTP that drops clients who begin requests without end, or ask and do not read: each holds a connection, and memory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._size, self._read, self._rest = 0, b"", b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request's head."""
        super().connection_made(transport)
        self.transport = _Capitals(transport)  # type: ignore[assignment]
        self._head = self.loop.call_later(HEAD, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Reads on, unless a head grows without end: the parser itself would keep all of it.

        Only what comes while a head is waited for counts, and not the part that ends it: a body may come along with its head.
        """
        waiting, self._rest = self._head, data
        while self._rest:
            self._read, self._rest = self._rest, b""
            super().data_received(self._read)
        if self.transport.is_closing():
            return
        self._size = self._size + len(data) if waiting is not None and waiting is self._head else 0
        if self._size > LARGEST:
            self.send_400_response(f"the head of a request may have {LARGEST} bytes")

    def on_message_begin(self) -> None:
        """Waits for the rest of a head that has begun."""
        super().on_message_begin()
        if self._head is None:
            self._head = self.loop.call_later(HEAD, self.transport.abort)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._head = _ended(self._head)
        super().on_headers_complete()

    def _should_upgrade(self) -> bool:
        """Whether another protocol is asked for: the parser then takes a request's body for that protocol's."""
        return bool(self.parser.get_method() != b"CONNECT")

    def handle_websocket_upgrade(self) -> None:
        """Reads a request that asks for another protocol once more, as one that does not: none but this is spoken here.

        Java's own client asks for HTTP/2 in each first request, with or without a body.
        """
        error = sys.exception()
        rest = self._read[error.args[0] :] if isinstance(error, HttpParserUpgrade) else b""
        kept = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        line = b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self._rest = line + b"".join(kept) + b"\r\n" + rest
        # The old one knows no request after one that closes.
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def pause_writing(self) -> None:
        """The client takes less than there is."""
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(STALL, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken what waited."""
        super().resume_writing()
        self._stall = _ended(self._stall)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._head, self._stall = _ended(self._head), _ended(self._stall)


def _ended(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """No timer, once this one is cancelled."""
    if timer is not None:
        timer.cancel()
    return None


async def arriving(request: Request) -> AsyncIterator[bytes]:
    """The parts of a request's body, as long as they come fast enough.

    Raises:
        TooSlow: nothing came for `STALL` seconds, or less than `SLOWEST` bytes a second on average.
    """
    start, size, parts = time.monotonic(), 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(STALL + size / SLOWEST - (time.monotonic() - start)):
                part = await anext(parts, None)
        except TimeoutError:
            raise TooSlow(
                f"the body arrived too slowly: {size} bytes in {time.monotonic() - start:.0f} s, at least"
                f" {SLOWEST // 1000} kB a second are required; use a faster connection, or send less at a time"
            ) from None
        if part is None:
            return
        size += len(part)
        yield part
