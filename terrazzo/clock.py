"""A steady count of seconds, independent of changes of the wall clock: ages of removable data are counted in it."""

import fcntl
import time
from pathlib import Path
from typing import NamedTuple

from terrazzo.checks import document_bytes, read_document
from terrazzo.errors import Damaged
from terrazzo.store import beside

MOST_UNSEEN = 43_200.0
"""Seconds that count, at most, between two looks of which one was before a restart, or on another machine: only the wall clock
returns their number."""
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Look(NamedTuple):
    """One look at the clocks of a machine.

    Attributes:
        boot: names the machine's run since its start; empty where the system has no name for it.
        uptime: seconds of that run, those asleep included.
        wall: seconds since 1970, as the wall clock says.
    """

    boot: str
    uptime: float
    wall: float


def elapsed(before: Look, now: Look) -> float:
    """Seconds between two looks: what the uptime says in one run of a machine, else what the wall clock says, in bounds."""
    if before.boot == now.boot and before.uptime <= now.uptime:
        return now.uptime - before.uptime
    return min(max(0.0, now.wall - before.wall), MOST_UNSEEN)


class SteadyClock:
    """Counts seconds in a file, for all processes that name the file.

    Args:
        path: of the file; a lost or damaged one begins at 0.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> float:
        """Seconds since the first look, at most those that truly passed but for `MOST_UNSEEN` a restart.

        Raises:
            OSError: the file cannot be written.
        """
        look = _look()
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            seconds = 0.0
            try:
                seconds, *last = read_document(self._path.read_bytes(), self._path.name)["look"]
                seconds += elapsed(Look(*last), look)
            except (FileNotFoundError, Damaged, KeyError, TypeError, ValueError):
                seconds = 0.0
            with beside(self._path) as temporary:
                temporary.write_bytes(document_bytes({"look": [seconds, *look]}))
        return seconds


def _look() -> Look:
    try:
        boot = BOOT.read_text().strip()
    except OSError:
        boot = ""
    # Linux alone counts the time asleep in a clock of its own.
    uptime = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    return Look(boot, uptime, time.time())
