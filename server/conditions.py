"""What a client has of an answer already, and which part it wants: If-Match, If-None-Match, If-Range and Range, as RFC 9110 words them."""

import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anyio
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from terrazzo.errors import Changed

ONE_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?|bytes=-(\d{1,18})", re.IGNORECASE)


def has_already(asked: Headers, etag: str, modified: float | None = None) -> bool:
    """Whether a client's copy is current: by If-None-Match, else by If-Modified-Since.

    Args:
        modified: when it was written, in seconds since 1970, where that counts.

    Raises:
        Changed: the client wants it only as it was, by If-Match or If-Unmodified-Since, and it is another now.
    """
    known, wanted = asked.get("if-none-match"), asked.get("if-match")
    if wanted is not None and not {"*", etag} & set(_names(wanted)):
        raise Changed("the resource changed since the ETag in If-Match: repeat the request without it")
    if wanted is None and _later(modified, asked.get("if-unmodified-since")) is True:
        raise Changed(
            "the resource changed since the time in If-Unmodified-Since: repeat the request without it"
        )
    if known is not None:
        return bool({"*", etag} & {n.removeprefix("W/") for n in _names(known)})
    return _later(modified, asked.get("if-modified-since")) is False


def _names(header: str) -> list[str]:
    return [n.strip() for n in header.split(",")]


def _later(modified: float | None, header: str | None) -> bool | None:
    """Whether something was written after a time in a header, in whole seconds; None where either is not known."""
    if modified is None or header is None:
        return None
    try:
        then = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        # Not a day of any calendar, or a zone of more hours than a number of C holds.
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(modified), UTC) > then


def part_of(asked: Headers, size: int, *validators: str) -> range | None:
    """The bytes that a request wants of so many; None for all of them, an empty range for none that there is.

    All are sent where several ranges are wanted, where the unit is unknown or the range cannot be read, and where
    If-Range names none of the validators: what the client has is of another stream then.
    """
    if (known := asked.get("if-range")) is not None and known.strip() not in validators:
        return None
    match = ONE_RANGE.fullmatch(re.sub(r"\s", "", asked.get("range", "")))
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return range(max(0, size - int(suffix)), size)
    if last is not None and int(last) < int(first):
        return None
    return range(int(first), size if last is None else min(int(last) + 1, size))


def not_there(size: int) -> Response:
    """The answer to a range that begins behind the end."""
    return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})


class Download(FileResponse):
    """A file that is downloaded: whole, a part of it, or 304 where the client has it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends what is asked for."""
        self.stat_result = await anyio.to_thread.run_sync(os.stat, self.path)
        self.set_stat_headers(self.stat_result)
        asked, size = Headers(scope=scope), self.stat_result.st_size
        etag = self.headers["etag"]
        if has_already(asked, etag, self.stat_result.st_mtime):
            kept = {"ETag": etag, "Cache-Control": self.headers.get("cache-control", "no-cache")}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        part = part_of(asked, size, etag, self.headers["last-modified"])
        if part is not None and not part:
            await not_there(size)(scope, receive, send)
            return
        # The file is read by starlette, which takes ranges of its own mind: it sees the one that holds.
        others = [(k, v) for k, v in scope["headers"] if k not in (b"range", b"if-range")]
        if part is not None:
            others.append((b"range", f"bytes={part.start}-{part.stop - 1}".encode()))
        await super().__call__({**scope, "headers": others}, receive, send)
