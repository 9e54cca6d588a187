"""Logs: a line for each request, with an identifier that the answer carries too."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

Form = Literal["off", "text", "json"]
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
access = logging.getLogger("terrazzo.access")


class JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record: time, level, logger, message, request, and the fields of a request."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """Plain lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, with its request's identifier before it."""
        fields = " ".join(f"{k}={v}" for k, v in getattr(record, "fields", {}).items())
        text = f"{record.levelname.lower()} {REQUEST_ID.get()} {record.getMessage()} {fields}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(form: Form) -> None:
    """Sends all logs to stderr in a form; `off` leaves requests out and writes errors as text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    access.setLevel(logging.WARNING if form == "off" else logging.INFO)
