"""Merges windows while the next ones are read and the last ones written: asynchronous coroutines, a bounded number at once.

Reference, pyramid and export go through here. What waits for an object store waits together, and the processors work on
what has come.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    """Reads, merges and writes windows, and yields them in their order with what writing returned.

    Closing the iterator starts no further window.

    Args:
        read: waits for a store; so many as are under way run at once.
        merge, write: work; `workers` run at once, in threads.
        ahead: windows that are read, or wait to be merged or written, besides those that are worked on: what bounds the memory.
    """
    stages = _stages(iter(windows), read, merge, write, ahead + workers, workers)
    # The loop lives in a thread of its own: the caller may be in one already (a notebook).
    with ThreadPoolExecutor(1, "windows") as thread:
        runner = asyncio.Runner()

        async def following() -> tuple[W, C] | None:
            return await anext(stages, None)

        try:
            while (done := thread.submit(lambda: runner.run(following())).result()) is not None:
                yield done
        finally:
            # Closes the coroutines too.
            thread.submit(runner.close).result()


async def _stages(
    windows: Iterator[W],
    read: Callable[[W], A],
    merge: Callable[[W, A], B],
    write: Callable[[W, B], C],
    most: int,
    workers: int,
) -> AsyncGenerator[tuple[W, C], None]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(most, "read") as readers, ThreadPoolExecutor(workers, "merge") as hands:

        async def way(window: W) -> tuple[W, C]:
            data = await loop.run_in_executor(readers, read, window)
            merged = await loop.run_in_executor(hands, merge, window, data)
            return window, await loop.run_in_executor(hands, write, window, merged)

        under_way: deque[asyncio.Task[tuple[W, C]]] = deque()
        try:
            for window in windows:
                under_way.append(loop.create_task(way(window)))
                if len(under_way) == most:
                    yield await under_way.popleft()
            while under_way:
                yield await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
