"""Windows are read while others are merged, a bounded number at once, and come in their order."""

import asyncio
import subprocess
import sys
import threading

import pytest

from terrazzo.bulk.windowed import windowed
from tests.waiting import PATIENCE


def test_windows_come_in_order_with_what_writing_returned():
    made = list(
        windowed(range(20), lambda w: w * 2, lambda w, a: (w, a), lambda w, b: sum(b), ahead=3, workers=2)
    )
    assert made == [(w, 3 * w) for w in range(20)]


def test_reads_wait_together_and_no_more_than_are_allowed():
    all_wait, most, now, lock = threading.Barrier(4), 0, 0, threading.Lock()

    def read(window):
        # Passes only when four reads are under way at once.
        all_wait.wait(PATIENCE)

    def begun():
        nonlocal now, most
        for window in range(12):
            now += 1
            most = max(most, now)
            yield window

    for _ in windowed(begun(), read, lambda w, _: w, lambda w, _: None, ahead=3, workers=1):
        with lock:
            now -= 1
    assert most == 4


def test_an_error_of_any_stage_is_raised_and_nothing_hangs():
    def fails(*_):
        raise ValueError("broken")

    def works(*_):
        return None

    for stages in ((fails, works, works), (works, fails, works), (works, works, fails)):
        with pytest.raises(ValueError, match="broken"):
            list(windowed(range(8), *stages, ahead=2))


def test_closing_it_starts_no_further_window():
    begun = []
    steps = windowed(range(100), begun.append, lambda w, _: w, lambda w, _: w, ahead=2)
    assert next(steps) == (0, 0)
    steps.close()
    assert len(begun) <= 4


def test_it_runs_where_a_loop_runs_already():
    async def notebook():
        return list(windowed(range(3), lambda w: w, lambda w, a: a, lambda w, b: b, ahead=1))

    assert asyncio.run(notebook()) == [(0, 0), (1, 1), (2, 2)]


ABANDONED = """
from concurrent.futures.thread import _global_shutdown_lock
from terrazzo.bulk.windowed import windowed

steps = windowed(range(100), lambda w: w, lambda w, _: w, lambda w, _: w, ahead=2)
next(steps)
with _global_shutdown_lock:
    steps.close()
"""


def test_it_closes_inside_a_call_that_holds_the_lock_of_thread_pools():
    # The garbage collector closes an abandoned iterator wherever it runs, also inside ThreadPoolExecutor.submit.
    subprocess.run([sys.executable, "-c", ABANDONED], check=True, timeout=PATIENCE)
