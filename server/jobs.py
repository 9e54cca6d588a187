"""Jobs of exports and statistics: a folder each, which is the truth about it, and a queue that only carries their names.

The queue library hands each name out once and forgets it, so a worker that is killed takes the name with it. Nothing is
lost: what a job is and how far it came lies in its folder, and a worker puts unfinished jobs that nobody holds
back into the queue.
"""

import errno
import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from terrazzo.checks import document_bytes, read_document
from terrazzo.clock import SteadyClock
from terrazzo.errors import Damaged, NotFound, StoreError, TerrazzoError
from terrazzo.server.queue import Queue
from terrazzo.store import beside

if TYPE_CHECKING:
    from terrazzo.mosaic.engine import Engine

log = logging.getLogger(__name__)
UNFINISHED = ("accepted", "running")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STALLS = 20
"""Starts without a finished window after which a job is given up: it kills its worker."""
UPLOAD = "areas-"
"""How the names of files begin that are being uploaded."""
UPLOADING = 86_400
"""Seconds after its last byte when an upload, or what a killed process was writing, is taken for cut off."""
DAY = 86_400.0
ORDER_AGAIN = "order it again"
NOTED = 0.5
"""Seconds between two notes of a job's progress."""


@dataclass(frozen=True)
class Job:
    """An export or a table of statistics; all fields but those of its order change while it runs.

    Attributes:
        process: export or statistics.
        order: what was asked, with the version it is for.
        areas: name of the file of areas in its folder, of statistics.
        owner: id of the key it was asked with; empty without keys.
        samples: pixels times bands.
        status: accepted, running, successful, failed or dismissed.
        progress: per cent.
        worked: seconds of work so far.
        stalls: starts since the last finished window.
        ended: when it finished, in seconds of the folder's steady clock; None of an earlier release's jobs.
    """

    id: str
    mosaic: str
    version: str
    order: Mapping[str, Any]
    owner: str
    samples: int
    created: str
    process: str = "export"
    areas: str = ""
    status: str = "accepted"
    progress: float = 0.0
    message: str = ""
    started: str | None = None
    updated: str | None = None
    finished: str | None = None
    worked: float = 0.0
    stalls: int = 0
    ended: float | None = None
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it is still to be done."""
        return self.status in UNFINISHED


class _Written(NamedTuple):
    """What a job wrote."""

    files: tuple[str, ...]
    summary: str
    problems: tuple[str, ...]


def _exported(
    job: Job, engine: "Engine", threads: int, path: Path, work: Path
) -> Generator[float | _Written, None, None]:
    # A worker that waits for its first job imports none of this: four fifths of its memory.
    from terrazzo.export.order import parse_order
    from terrazzo.export.run import export

    order = parse_order(job.order, engine.version)
    path = path.with_suffix(order.ending)
    for step in export(engine, order, path, work=work, workers=threads, described=True):
        if isinstance(step, float):
            yield step
        else:
            names = tuple(p.name for p in step.files)
            yield _Written(names, f"{100 * step.share:.1f} % of the pixels hold data", step.problems)


def _tabled(
    job: Job, engine: "Engine", threads: int, path: Path, work: Path
) -> Generator[float | _Written, None, None]:
    from terrazzo.server.areas import read_apart
    from terrazzo.statistics.question import parse_table
    from terrazzo.statistics.run import statistics

    question, form, id_name, layer = parse_table(job.order, engine.version)
    areas = read_apart(work.parent / job.areas, id_name, layer)
    path = path.with_suffix(f".{form}")
    for step in statistics(engine, question, areas, path, work=work, workers=threads):
        yield step if isinstance(step, float) else _Written((step.path.name,), step.summary(), step.problems)


class Jobs:
    """The jobs in a folder."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self.url = folder, url
        try:
            (folder / "exports").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._queue = Queue(folder, url)
        except OSError as error:
            raise StoreError(f"exports need a folder to write to, set TERRAZZO_STATE: {error}") from None
        self._clock = SteadyClock(folder / "clock.json")
        self._damaged: set[str] = set()

    def create(
        self,
        mosaic: str,
        version: str,
        order: Mapping[str, Any],
        owner: str,
        samples: int,
        areas: Path | None = None,
    ) -> Job:
        """A new job, in the queue; statistics where there is a file of areas, which is taken."""
        process, name = ("export", "") if areas is None else ("statistics", f"areas{areas.suffix}")
        job = Job(uuid.uuid4().hex, mosaic, version, order, owner, samples, _now(), process, name)
        self._place(job.id).mkdir(mode=0o700)
        if areas is not None:
            os.replace(areas, self._place(job.id) / name)
        self._write(job)
        self._queue.put(job.id)
        return job

    def get(self, mosaic: str, name: str) -> Job:
        """A job.

        Raises:
            NotFound: there is no such job of this mosaic, or none any more.
            Damaged: what is known of it cannot be read.
        """
        job = self._read(name) if name.isalnum() else None
        if job is None or job.mosaic != mosaic:
            raise NotFound(f"there is no export {name[:40]!r}; exports are removed when they have expired")
        return _stopping(job) if job.open and self._is_dismissed(job) else job

    def all(self) -> list[Job]:
        """All jobs, the oldest first; those whose documents cannot be read are named in the log, once, and left out."""
        jobs = [self._readable(p.name) for p in (self.folder / "exports").iterdir()]
        return sorted((j for j in jobs if j), key=lambda j: (j.created, j.id))

    def file(self, job: Job, name: str) -> Path:
        """A file that a job made.

        Raises:
            NotFound: it made none of that name, or that is removed.
        """
        if job.status != "successful" or name not in job.files:
            raise NotFound(f"export {job.id} has no file {name[:80]!r}; its results list those it has")
        path = self._place(job.id) / "files" / name
        if not path.is_file():
            raise NotFound(f"file {name} of export {job.id} is removed; {ORDER_AGAIN}")
        return path

    def dismiss(self, job: Job) -> Job:
        """Ends a job: its worker stops at the next window, and its files are removed."""
        (self._place(job.id) / "dismissed").touch()
        with self._claimed(job.id) as ours:
            if ours:
                return self._dismissed(job)
        return _stopping(job)

    def next(self) -> str | None:
        """The next job's id from the queue."""
        return self._queue.next()

    def revive(self) -> None:
        """Puts unfinished jobs without a worker back into the queue."""
        waiting = self._queue.waiting()
        for job in self.all():
            if job.open and job.id not in waiting:
                with self._claimed(job.id) as ours:
                    free = ours
                if free:
                    self._queue.put(job.id)

    def tidy(self, days: float) -> None:
        """Removes jobs that ended so many days ago, and what processes left that were killed while they wrote.

        The days are those of a steady clock: a wall clock that is set forward takes nothing away.
        """
        exports = self.folder / "exports"
        for rest in (
            *self.folder.glob(f"{UPLOAD}*"),
            *self.folder.glob(f".{UPLOAD}*"),
            *self.folder.glob(".*.part"),
            *exports.glob("*/.*.part"),
        ):
            # One that ends meanwhile is gone or has another name.
            with suppress(FileNotFoundError):
                if time.time() - rest.stat().st_mtime > UPLOADING:
                    shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
        now = self._clock.now()
        for place in exports.iterdir():
            job = self._readable(place.name)
            if job is None:
                self._tidy_unreadable(place, days)
            elif not job.open and (job.ended is None or job.ended > now):
                # Of an earlier release, or its clock was lost.
                self._write(replace(job, ended=now))
            elif not job.open and job.ended is not None and now - job.ended > days * DAY:
                shutil.rmtree(place, ignore_errors=True)

    def _tidy_unreadable(self, place: Path, days: float) -> None:
        """Removes the folder of a job whose document is lost, so many days after a note of it was made there."""
        noted, now = place / "unreadable", self._clock.now()
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            since = float(noted.read_text()) if noted.exists() else None
            if since is None or since > now:
                noted.write_text(str(now))
            elif now - since > max(days * DAY, UPLOADING):
                shutil.rmtree(place, ignore_errors=True)

    def run(self, name: str, engine: Callable[[str, str], "Engine"], *, hours: float, threads: int) -> None:
        """Runs or continues a job; returns if another process runs it.

        Args:
            engine: gives that of a mosaic and version.
            hours: of work after which it is given up.
        """
        with self._claimed(name) as ours:
            job = self._readable(name)
            if not ours or job is None or not job.open:
                return
            if self._is_dismissed(job):
                self._dismissed(job)
                return
            job = replace(job, status="running", started=job.started or _now(), stalls=job.stalls + 1)
            self._write(job)
            if job.stalls > STALLS:
                self._end(job, "failed", f"its worker ended {STALLS} times without finishing a window")
                return
            try:
                self._carry_out(job, engine(job.mosaic, job.version), hours, threads)
            except TerrazzoError as error:
                if error.operator:
                    log.error("export %s: %s", name, error.whole)
                self._end(job, "failed", str(error))
            except OSError as error:
                full = error.errno in FULL or "disk full" in str(error)
                log.exception("export %s", name)
                self._end(
                    job, "failed", "the disk of this server is full" if full else "an error of this server"
                )
            except Exception:
                log.exception("export %s", name)
                self._end(job, "failed", "an error of this server")

    def _carry_out(self, job: Job, engine: "Engine", hours: float, threads: int) -> None:
        since, noted, before = time.monotonic(), 0.0, job.worked
        steps = self._steps(job, engine, threads)
        for step in steps:
            worked = before + time.monotonic() - since
            if isinstance(step, _Written):
                job = replace(job, files=step.files, problems=step.problems, worked=worked, progress=100.0)
                self._end(job, "successful", step.summary)
                return
            if self._is_dismissed(job):
                steps.close()
                self._dismissed(job)
                return
            if worked > hours * 3600:
                steps.close()
                self._end(
                    job, "failed", f"not finished after {hours:g} hours of work; ask for a smaller area"
                )
                return
            if time.monotonic() - noted > NOTED:
                noted = time.monotonic()
                stalls = 0 if 100 * step > job.progress else job.stalls
                job = replace(job, progress=round(100 * step, 2), worked=worked, stalls=stalls)
                self._write(job)

    def _steps(self, job: Job, engine: "Engine", threads: int) -> Generator[float | _Written, None, None]:
        """The shares of a job that are done, and what it wrote."""
        place = self._place(job.id)
        (place / "files").mkdir(exist_ok=True)
        path = place / "files" / f"{job.mosaic}-{job.version}-{job.id[:8]}"
        if job.process == "export":
            yield from _exported(job, engine, threads, path, place / "work")
        else:
            yield from _tabled(job, engine, threads, path, place / "work")

    def _end(self, job: Job, status: str, message: str) -> None:
        shutil.rmtree(self._place(job.id) / "work", ignore_errors=True)
        ended = self._clock.now()
        self._write(replace(job, status=status, message=message, finished=_now(), ended=ended, stalls=0))

    def _dismissed(self, job: Job) -> Job:
        place = self._place(job.id)
        for rest in ("work", "files"):
            shutil.rmtree(place / rest, ignore_errors=True)
        job = replace(job, status="dismissed", message="", files=(), finished=_now(), ended=self._clock.now())
        self._write(job)
        return job

    def _is_dismissed(self, job: Job) -> bool:
        return (self._place(job.id) / "dismissed").exists()

    def _place(self, name: str) -> Path:
        return self.folder / "exports" / name

    def _read(self, name: str) -> Job | None:
        try:
            data = (self._place(name) / "job.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Damaged(
                f"export {name}: its job.json cannot be read ({error.strerror}); {ORDER_AGAIN}"
            ) from None
        try:
            raw = read_document(data, "job.json")
            return Job(**{**raw, "files": tuple(raw["files"]), "problems": tuple(raw["problems"])})
        except (Damaged, KeyError, TypeError):
            raise Damaged(f"export {name}: its job.json is damaged; {ORDER_AGAIN}") from None

    def _readable(self, name: str) -> Job | None:
        """A job, or None where its document is missing or damaged, which the log says."""
        try:
            return self._read(name)
        except Damaged as error:
            if name not in self._damaged:
                self._damaged.add(name)
                log.error("%s", error)
            return None

    def _write(self, job: Job) -> None:
        with beside(self._place(job.id) / "job.json") as temporary:
            temporary.write_bytes(document_bytes(asdict(replace(job, updated=_now()))))

    @contextmanager
    def _claimed(self, name: str) -> Iterator[bool]:
        """Whether a job is ours while the block lasts; the system lets go of it however this process ends."""
        try:
            lock = (self._place(name) / "lock").open("w")
        except FileNotFoundError:
            yield False
            return
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True


def _stopping(job: Job) -> Job:
    """A job that was dismissed while a worker runs it."""
    return replace(job, status="dismissed", message="stops at its next window")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
