"""Runs a step's tasks in a process pool or on a Dask cluster, with progress; one failure does not stop the others."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from terrazzo import PIXELS, __version__
from terrazzo.errors import InvalidRequest
from terrazzo.memory import keep_bands

if TYPE_CHECKING:
    from distributed import Client
    from rich.console import Console

T = TypeVar("T")
R = TypeVar("R")
LOCAL = "local"
"""Names a cluster on this machine, made for one command."""
AHEAD = 2
"""Tasks handed to a cluster for each of its threads: one runs, one is there when that ends."""
PATIENCE = 60
"""Seconds in which a cluster's first worker has to come."""


@dataclass(frozen=True)
class TaskOutcome(Generic[T, R]):
    """What became of a task: a result, or the error that stopped it."""

    task: T
    result: R | None
    error: Exception | None


class Shard(NamedTuple):
    """One of several parts of a step's tasks, which need know nothing of each other.

    Attributes:
        number: of this part, from 1.
        of: how many there are.
    """

    number: int
    of: int

    def part(self, tasks: Sequence[T]) -> list[T]:
        """Every `of`-th task; all parts together are all tasks."""
        return list(tasks[self.number - 1 :: self.of])


WHOLE = Shard(1, 1)


@dataclass(frozen=True)
class Dask:
    """A Dask cluster, by the address of its scheduler."""

    address: str


Workers = int | Dask
"""Who does a step's tasks: so many processes of this machine, or a cluster."""


@contextmanager
def hired(workers: int, dask: str | None) -> Iterator[Workers]:
    """Who does the tasks of a command.

    Args:
        dask: address of a scheduler, `LOCAL` for a cluster of `workers` processes on this machine, None for a process pool.

    Raises:
        InvalidRequest: Dask is not installed, no scheduler answers, it has no workers, or they run another release.
    """
    if dask is None:
        yield workers
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InvalidRequest("--dask needs Dask: pip install 'terrazzo[dask]'") from None
    if dask == LOCAL:
        # What a task needs is bounded by its step, as in a process pool.
        with LocalCluster(workers, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster:  # type: ignore[no-untyped-call]
            yield Dask(cluster.scheduler_address)
        return
    try:
        with Client(dask, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            _check(client, dask)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"no Dask scheduler answers at {dask}: {error}") from None
    yield Dask(dask)


def _check(client: "Client", address: str) -> None:
    """Refuses a cluster that would make other pixels."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise InvalidRequest(
            f"the Dask scheduler at {address} has no workers: start some with `dask worker {address}`"
        ) from None
    try:
        releases = client.run(_release)
    except ImportError as error:
        raise InvalidRequest(f"a worker of {address} lacks Terrazzo: {error}") from None
    others = {worker: release for worker, release in releases.items() if release != _release()}
    if others:
        raise InvalidRequest(
            f"workers of {address} run another release than this one, {_release()}: {others}"
        )


def _release() -> tuple[str, int]:
    return __version__, PIXELS


def default_workers() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    function: Callable[[Any], R],
    tasks: Iterable[T],
    *,
    workers: Workers,
    label: str,
    name: Callable[[T], str] = str,
    send: Callable[[T], Any] | None = None,
    console: "Console | None" = None,
) -> Iterator[TaskOutcome[T, R]]:
    """Applies a picklable function to every task and yields outcomes as they come.

    Processes are spawned, never forked: the runtime threads of obstore and GDAL do not survive a fork.
    With one worker the tasks run in this process, and where the system lets no processes share memory. An interrupt ends the workers at once: what they had
    not finished was never published. A cluster gives tasks of a worker that is gone to another one.

    Args:
        send: what `function` is given for a task, made just before it is handed to a cluster; the task itself otherwise.
    """
    # rich draws: the help of a command need not wait for it.
    from rich.console import Console

    todo = list(tasks)
    if not todo:
        return
    shown = console or Console(stderr=True)
    with _reporter(label, len(todo), shown) as report:
        if isinstance(workers, Dask):
            outcomes = _on_cluster(function, todo, workers, send)
        elif workers == 1 or len(todo) == 1 or (pool := _pool(min(workers, len(todo)), shown)) is None:
            outcomes = (_attempt(function, task) for task in todo)
        else:
            outcomes = _in_pool(function, todo, pool)
        for outcome in outcomes:
            report(name(outcome.task), outcome.error)
            yield outcome


def _pool(size: int, console: "Console") -> ProcessPoolExecutor | None:
    """Processes that share the tasks; None, and a line about it, where there is no shared memory for their locks."""
    try:
        return ProcessPoolExecutor(size, multiprocessing.get_context("spawn"), initializer=_worker)
    except OSError as error:
        console.print(
            f"one process works instead of {size}, which need /dev/shm to be there, writable and not full ({error})",
            markup=False,
            soft_wrap=True,
        )
        return None


def _in_pool(
    function: Callable[[T], R], todo: Sequence[T], pool: ProcessPoolExecutor
) -> Iterator[TaskOutcome[T, R]]:
    with pool:
        futures: dict[Future[R], T] = {pool.submit(function, task): task for task in todo}
        try:
            for future in as_completed(futures):
                # What was handed on is let go: the results of a step can be more than fits into memory.
                task, error = futures.pop(future), future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield TaskOutcome(task, None if error else future.result(), error)
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _on_cluster(
    function: Callable[[Any], R], todo: Sequence[T], dask: Dask, send: Callable[[T], Any] | None
) -> Iterator[TaskOutcome[T, R]]:
    from distributed import Client
    from distributed import as_completed as completed

    with Client(dask.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        waiting, running, done = iter(todo), dict[str, T](), completed(loop=client.loop)  # type: ignore[no-untyped-call]

        def hand_out() -> Iterator[TaskOutcome[T, R]]:
            """Keeps the cluster busy; yields the outcomes of tasks that could not be sent."""
            most = AHEAD * max(1, sum(client.nthreads().values()))
            while len(running) < most and (task := next(waiting, None)) is not None:
                sent = _attempt(send, task) if send else TaskOutcome(task, task, None)
                if sent.error is not None:
                    yield TaskOutcome(task, None, sent.error)
                    continue
                future = client.submit(function, sent.result, pure=False)
                running[future.key] = task
                done.add(future)  # type: ignore[no-untyped-call]

        yield from hand_out()
        for future in done:
            task, error = running.pop(future.key), future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            outcome = TaskOutcome(task, None if error else future.result(), error)
            future.release()
            yield from hand_out()
            yield outcome


def results(outcomes: Iterable[TaskOutcome[T, R]]) -> list[R]:
    """The results of all tasks; raises the first error once all have run."""
    done = list(outcomes)
    for outcome in done:
        if outcome.error is not None:
            raise outcome.error
    return [cast(R, outcome.result) for outcome in done]


@dataclass(frozen=True)
class Crew:
    """Who does the tasks of several steps, and where their progress is shown."""

    workers: Workers = 1
    console: "Console | None" = None

    def do(
        self, function: Callable[[Any], R], tasks: Iterable[T], label: str, name: Callable[[T], str] = str
    ) -> list[R]:
        """The results of all tasks of a step, as of `run` and `results`."""
        return results(
            run(function, tasks, workers=self.workers, label=label, name=name, console=self.console)
        )


ALONE = Crew()
"""This process alone."""


def _worker() -> None:
    """Leaves interrupts to the parent, ends when the parent is gone, however it went, and keeps memory from task to task."""
    keep_bands()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _attempt(function: Callable[[T], R], task: T) -> TaskOutcome[T, R]:
    try:
        return TaskOutcome(task, function(task), None)
    except Exception as error:
        return TaskOutcome(task, None, error)


@contextmanager
def _reporter(label: str, total: int, console: "Console") -> Iterator[Callable[[str, object], None]]:
    if not console.is_terminal:
        done = 0

        def line(name: str, error: object) -> None:
            nonlocal done
            done += 1
            console.print(
                f"{label} {done}/{total} {name}{'' if error is None else ' failed'}",
                highlight=False,
                soft_wrap=True,
            )

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(label, total=total, last="")

        def advance(name: str, error: object) -> None:
            bars.update(bar, advance=1, last=name if error is None else f"[red]{name} failed")

        yield advance
