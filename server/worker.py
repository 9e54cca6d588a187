"""The process that carries out export jobs; `terrazzo serve` keeps one beside itself."""

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from terrazzo.errors import EmptyStore, StoreError
from terrazzo.server.jobs import Jobs
from terrazzo.server.settings import Settings
from terrazzo.store import Store

if TYPE_CHECKING:
    from terrazzo.mosaic.engine import Engine
    from terrazzo.server.mosaics import Mosaics

log = logging.getLogger(__name__)
LOOK = 0.5
"""Seconds between looks into an empty queue."""
ROUND = 30.0
"""Seconds between looks for jobs that were left behind or have expired."""
PAUSE = 2.0
"""Seconds before a worker that ended is started again."""


def work_on(jobs: Jobs, settings: Settings) -> None:
    # A store that is missing ends the start, not each job.
    with suppress(EmptyStore):
        Store(settings.store)

    @cache
    def mosaics() -> "Mosaics":
        # Imported for the first job: until then a worker keeps a fifth of the memory.
        from terrazzo.server.mosaics import Mosaics

        return Mosaics.of(settings)

    def engine(mosaic: str, version: str) -> "Engine":
        return mosaics().engine(mosaic, version)

    threads = settings.rendering_threads()
    last = -ROUND
    while True:
        if time.monotonic() - last >= ROUND:
            last = time.monotonic()
            try:
                jobs.revive()
                jobs.tidy(settings.export_days)
            except OSError:
                log.exception("looking for jobs that were left behind or have expired in %s", jobs.folder)
        name = jobs.next()
        if name is None:
            time.sleep(LOOK)
            continue
        jobs.run(name, engine, hours=settings.export_hours, threads=threads)


@contextmanager
def single_worker(jobs: Jobs, *, wait: bool) -> Iterator[None]:
    """Keeps a second worker away from a queue that is a file."""
    if jobs.url is not None:
        yield
        return
    with (jobs.folder / "worker.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise StoreError(
                f"a worker is already running in {jobs.folder} (`terrazzo serve` starts one);"
                " for more set TERRAZZO_JOBS_URL=redis://…"
            ) from None
        yield


def end_with(parent: int) -> None:
    """Ends this process soon after its parent, which may have been killed; unfinished jobs continue later."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


class Kept:
    """A worker process beside a server, started again when it ends."""

    def __init__(self, store: str) -> None:
        # -P: a file of the user's folder must not stand for a module of ours.
        self._command = [
            *(sys.executable, "-P", "-c", "from terrazzo.cli import main; main()"),
            *("work", "--store", store, "--until-parent-ends"),
        ]
        # A copy: the process is started in a thread, while others may write to the environment.
        self._environment = dict(os.environ)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, env=self._environment)
            code = self._process.wait()
            if not self._stopping.wait(PAUSE):
                log.warning("the export worker ended with %s; starting it again", code)

    def stop(self) -> None:
        """Ends the worker; the next one continues its job."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(10)
