"""How work ends whose answer nobody waits for any more."""

import threading
from contextvars import ContextVar

from terrazzo.errors import Abandoned

STOP: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
"""Set by who no longer wants what is being made in this context."""


def require_wanted() -> None:
    """Does nothing while somebody waits.

    Raises:
        Abandoned: nobody does.
    """
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Abandoned("nobody waits for the answer any more")
