"""Waiting for events, not for seconds: a busy machine makes a test slower, not wrong."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 900.0
"""Seconds after which what a test waits for hangs; on the busiest machine nothing that works takes as long."""
T = TypeVar("T")


def until(happened: Callable[[], T], process: subprocess.Popen | None = None, *, pause: float = 0.05) -> T:
    """What `happened` returns once that is true.

    Args:
        happened: asked again and again.
        process: has to run until then, if given.
        pause: seconds between two questions.

    Raises:
        AssertionError: the process ended, or nothing happened for `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert process is None or process.poll() is None, f"{process.args} ended with {process.returncode}"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(pause)
    return found
