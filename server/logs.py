"""Logs: a line for each request, with an identifier that the answer carries too."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote

from terrazzo.server.keys import KEY

Form = Literal["off", "text", "json"]
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
access = logging.getLogger("terrazzo.access")
DECODED = 5
"""Times that a text is decoded at most to find a key in it."""


def without_keys(text: str) -> str:
    """A text without the secrets of keys, however often its characters are percent-encoded."""
    plain = text
    for _ in range(DECODED):
        if KEY.search(plain):
            return KEY.sub(r"tz_\1_…", plain)
        if (further := unquote(plain)) == plain:
            return text
        plain = further
    # Nobody encodes a request this often who means well.
    return "…"


def on_one_line(text: str) -> str:
    """A text whose line breaks and other control characters are escaped: it cannot pass for another line of a log."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


class JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record: time, level, logger, message, request, and the fields of a request."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_keys(record.getMessage()),
            "request_id": REQUEST_ID.get(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = without_keys(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """Plain lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, with its request's identifier before it."""
        fields = " ".join(f"{k}={v}" for k, v in _fields(record).items())
        message = without_keys(record.getMessage())
        text = on_one_line(f"{record.levelname.lower()} {REQUEST_ID.get()} {message} {fields}".rstrip())
        if not record.exc_info:
            return text
        # Indented: what an error says, line breaks and all, is distinct from a line of the log.
        trace = without_keys(self.formatException(record.exc_info))
        return "\n".join([text, *(f"  {on_one_line(line)}" for line in trace.split("\n"))])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a request."""
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {k: without_keys(v) if isinstance(v, str) else v for k, v in fields.items()}


def configure(form: Form) -> None:
    """Sends all logs to stderr in a form; `off` leaves requests out and writes errors as text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    access.setLevel(logging.WARNING if form == "off" else logging.INFO)
