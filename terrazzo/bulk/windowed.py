"""Reads, merges and writes windows in threads, a bounded number at once.

Reference, pyramid and export go through here. Reads from an object store wait together, and the processors work on the windows that
have come.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import TypeVar

W = TypeVar("W")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


def windowed(
    windows: Iterable[W],
    read: Callable[[W], A],
    merge: Callable[[W, A], B],
    write: Callable[[W, B], C],
    *,
    ahead: int,
    workers: int = 1,
) -> Iterator[tuple[W, C]]:
    """Reads, merges and writes windows, and yields each with what `write` returned, in order.

    Closing the iterator starts no further window.

    Args:
        read: waits for a store; `ahead + workers` run at once.
        merge, write: compute; `workers` run at once.
        ahead: windows that are read, or wait to be merged or written, besides those that are computed: this bounds the memory.
    """
    hands = Semaphore(workers)

    def way(window: W) -> tuple[W, C]:
        data = read(window)
        with hands:
            return window, write(window, merge(window, data))

    most = ahead + workers
    under_way: deque[Future[tuple[W, C]]] = deque()
    # One pool, and none of its tasks starts another here. The garbage collector may close an abandoned iterator inside any call, also one that
    # holds the lock of concurrent.futures, and the tasks must end without that lock.
    with ThreadPoolExecutor(most, "window") as pool:
        try:
            for window in windows:
                under_way.append(pool.submit(way, window))
                if len(under_way) == most:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for task in under_way:
                task.cancel()
