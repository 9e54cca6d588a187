"""Ends work whose client left."""

import threading
from contextvars import ContextVar

from terrazzo.errors import Abandoned

STOP: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
"""Set by who no longer wants what is being made in this context."""


def require_wanted() -> None:
    """Returns while the client waits.

    Raises:
        Abandoned: the client left.
    """
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Abandoned("the client left before the answer")
