"""Tasks are done where processes cannot share them, too."""

import io
import os
import resource

from rich.console import Console

from terrazzo.precompute.work.executor import run


def test_without_shared_memory_one_process_does_all_and_that_is_said() -> None:
    said, limits = io.StringIO(), resource.getrlimit(resource.RLIMIT_FSIZE)
    # A lock is a small file in /dev/shm: nothing can be written there now.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        done = list(run(_process, [1, 2, 3], workers=2, label="x", console=Console(file=said)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(o.task, o.result, o.error) for o in done] == [(k, (k, os.getpid()), None) for k in (1, 2, 3)]
    assert said.getvalue().count("one process works instead of 2, which need /dev/shm") == 1


def test_with_shared_memory_other_processes_work() -> None:
    done = list(run(_process, [1, 2, 3], workers=2, label="x", console=Console(file=io.StringIO())))
    assert {o.task for o in done} == {1, 2, 3}
    assert all(o.result is not None and o.result[1] != os.getpid() for o in done)


def _process(task: int) -> tuple[int, int]:
    return task, os.getpid()
