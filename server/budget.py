"""What all requests together may take: threads, memory for their answers, places for uploads."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from terrazzo.errors import Overloaded
from terrazzo.stop import STOP

T = TypeVar("T")


class Budget:
    """An amount that requests take parts of and give back; safe to share between threads.

    Args:
        most: all of it. One request may have more than that, alone.
        refusal: what is said to the one for whom nothing is left.
    """

    def __init__(self, most: int, refusal: str) -> None:
        self._most, self._refusal = most, refusal
        self._used = 0
        self._changed = threading.Condition()

    def take(self, amount: int, *, refuse: bool = True, patience: float = 0.0) -> Callable[[], None]:
        """Takes a part; returns what gives it back, once.

        Args:
            refuse: whether nothing is taken where not so much is left; else the next one has less.
            patience: seconds that the calling thread waits for others to give back.

        Raises:
            Overloaded: not so much is left.
        """
        with self._changed:
            if refuse and amount and not self._changed.wait_for(lambda: self._has(amount), patience):
                raise Overloaded(self._refusal)
            self._used += amount
        taken = [amount]

        def give_back() -> None:
            with self._changed:
                self._used -= taken.pop() if taken else 0
                self._changed.notify_all()

        return give_back

    def _has(self, amount: int) -> bool:
        return not self._used or self._used + amount <= self._most


class Gate:
    """A bounded number of threads behind a bounded queue.

    Args:
        behind: whether all other threads of the process go before these.
    """

    def __init__(self, threads: int, queue: int, *, behind: bool = False) -> None:
        self._pool = ThreadPoolExecutor(threads, "terrazzo", _behind if behind else None)
        self._threads = threads
        self._most = threads + queue
        self._inside = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        """Runs a function in a thread, or refuses when too many wait.

        When the task that waits is cancelled, a function still in the queue never starts, and one that runs is
        stopped at the next block it reads; its place stays taken until then.

        Raises:
            Overloaded: the queue is full.
        """
        with self._lock:
            if self._inside >= self._most:
                raise Overloaded("too many requests wait; try again in a moment")
            self._inside += 1
        stop = threading.Event()
        context = copy_context()
        context.run(STOP.set, stop)
        running = self._pool.submit(context.run, function)
        running.add_done_callback(self._left)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            stop.set()
            raise

    @property
    def busy(self) -> bool:
        """Whether every thread is at work."""
        return self._inside >= self._threads

    def _left(self, _: "Future[Any]") -> None:
        with self._lock:
            self._inside -= 1

    def close(self) -> None:
        """Forgets what waits; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _behind() -> None:
    """Lets the event loop's thread go before this one, so that renderers never keep an answer waiting that is there."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + 5)
