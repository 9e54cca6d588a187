"""Runs a step's tasks in a process pool, with progress, and keeps one failure from stopping the others."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
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
        """Every `of`-th task; all parts together are all tasks, whoever does which."""
        return list(tasks[self.number - 1 :: self.of])


WHOLE = Shard(1, 1)


def default_workers() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    workers: int,
    label: str,
    name: Callable[[T], str] = str,
    console: Console | None = None,
) -> Iterator[Outcome[T, R]]:
    """Applies a picklable function to every task and yields outcomes as they come.

    Workers are spawned, never forked: the runtime threads of obstore and GDAL do not survive a fork.
    With one worker the tasks run in this process. An interrupt ends the workers at once: what they had
    not finished was never published.
    """
    todo = list(tasks)
    if not todo:
        return
    with _reporter(label, len(todo), console or Console(stderr=True)) as report:
        if workers == 1 or len(todo) == 1:
            for task in todo:
                outcome = _attempt(function, task)
                report(name(task), outcome.error)
                yield outcome
            return
        context = multiprocessing.get_context("spawn")
        size = min(workers, len(todo)) or 1
        with ProcessPoolExecutor(size, mp_context=context, initializer=_worker) as pool:
            futures: dict[Future[R], T] = {pool.submit(function, task): task for task in todo}
            try:
                for future in as_completed(futures):
                    task, error = futures[future], future.exception()
                    if error is not None and not isinstance(error, Exception):
                        raise error
                    report(name(task), error)
                    yield Outcome(task, None if error else future.result(), error)
            except KeyboardInterrupt:
                for child in multiprocessing.active_children():
                    child.terminate()
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def results(outcomes: Iterable[Outcome[T, R]]) -> list[R]:
    """The results of all tasks; raises the first error once all have run."""
    done = list(outcomes)
    for outcome in done:
        if outcome.error is not None:
            raise outcome.error
    return [cast(R, outcome.result) for outcome in done]


def _worker() -> None:
    """Leaves interrupts to the parent, and ends when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _attempt(function: Callable[[T], R], task: T) -> Outcome[T, R]:
    try:
        return Outcome(task, function(task), None)
    except Exception as error:
        return Outcome(task, None, error)


@contextmanager
def _reporter(label: str, total: int, console: Console) -> Iterator[Callable[[str, object], None]]:
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
