"""Waiting for events, not for seconds: a busy machine makes a test slower, not wrong."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def held_by_another(output: Path) -> Iterator[None]:
    """Another process writes a name, as an export does, until the block of code ends."""
    program = (
        "import sys; from pathlib import Path; from terrazzo.bulk.lock import alone_with\n"
        "with alone_with(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("", timeout=PATIENCE)
