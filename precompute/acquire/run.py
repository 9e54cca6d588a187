"""One run of acquisition: search, compare with what is here, fetch, report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Timer

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from terrazzo.bands import FOUR
from terrazzo.precompute.acquire.archives import Archive, Level
from terrazzo.precompute.acquire.download import Pace
from terrazzo.precompute.acquire.fetch import (
    Fetched,
    Openers,
    Plan,
    accessible,
    fetch,
    gigabytes,
    plan,
    require_space,
    with_headers,
)
from terrazzo.precompute.acquire.held import Held
from terrazzo.precompute.acquire.product_folder import ProductFolder
from terrazzo.precompute.acquire.search import Candidate, Query, search
from terrazzo.precompute.acquire.until_clear import Enough, thinned
from terrazzo.precompute.products.product import EXTRAS, L1C_EXTRAS, SWIR, Product
from terrazzo.scene import Scene
from terrazzo.words import counted

DONE, NOTHING_NEW, SOME_BAD = 0, 3, 4
"""Exit codes of `acquire` and `watch`."""
FEW = 4
"""Connections where the bandwidth is limited: enough to fill it, and few products are half done."""


@dataclass(frozen=True)
class AcquireOrder:
    """What is to be fetched, whence and whither.

    Attributes:
        bands: bands that scenes will have.
        connections: files that are on their way at once.
        enough: when to stop; None fetches all.
        held: what the store holds.
        follow: what the store shows counts as here.
    """

    query: Query
    archives: tuple[Archive, ...]
    bands: tuple[str, ...]
    product_folder: ProductFolder
    connections: int = 16
    enough: Enough | None = None
    held: Held = field(default_factory=Held)
    follow: bool = False

    def here(self) -> list[Product | Scene]:
        """Products of the folder, and scenes that the store shows of other passes and tiles."""
        products = self.product_folder.products()
        keys = {(p.datatake, p.mgrs) for p in products}
        shown = self.held.shown if self.follow else ()
        return [*products, *(s for s in shown if (s.datatake, s.mgrs) not in keys)]


def needed_files(level: Level, bands: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Bands a product must have to become a scene, and files that are wanted besides."""
    l1c = level == "l1c"
    required = dict.fromkeys((*bands, *FOUR, *(("B12",) if l1c else ())))
    return tuple(required), (*SWIR, *EXTRAS, *(L1C_EXTRAS if l1c else ()))


def prepare(order: AcquireOrder, openers: Openers) -> Plan:
    """Searches, and compares with what is here.

    Raises:
        ArchiveError: no archive answers.
        StoreError: the folder holds products of another level.
    """
    order.product_folder.require_level(order.query.level)
    required, optional = needed_files(order.query.level, order.bands)
    hits = search(order.archives, order.query, required, optional)
    planned = plan(hits, order.product_folder, openers, order.connections, order.held, follow=order.follow)
    if order.enough is not None:
        planned = thinned(planned, order.here(), order.query.area, order.enough)
    return with_headers(planned, openers, order.connections)


def carry_out(
    order: AcquireOrder,
    planned: Plan,
    openers: Openers,
    console: Console,
    *,
    keep: Plan | None = None,
    bandwidth: float | None = None,
    seconds: float | None = None,
) -> Fetched:
    """Fetches what a plan wants, with progress.

    Args:
        keep: the plan that this one is a part of; what earlier runs began of others is removed.
        bandwidth: most bytes a second.
        seconds: when to stop; whole files of products that are half here stay for the next run.

    Raises:
        ArchiveError: no archive can be read from here.
        StoreError: the disk has not enough space, or another run fills the folder.
    """
    planned = accessible(planned, openers)
    require_space(planned, order.product_folder.root)
    stop = Event()
    with (
        order.product_folder.locked(),
        _progress(planned, console) as (report, finished),
        _alarm(seconds, stop),
    ):
        order.product_folder.sweep([c for w in (keep or planned).wanted for c in w.candidates])
        return fetch(
            planned,
            order.product_folder,
            openers,
            connections=min(order.connections, FEW) if bandwidth else order.connections,
            report=report,
            finished=finished,
            stop=stop,
            pace=Pace(bandwidth) if bandwidth else None,
        )


@contextmanager
def _alarm(seconds: float | None, stop: Event) -> Iterator[None]:
    """Sets an event after so many seconds."""
    timer = Timer(seconds or 0, stop.set)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def exit_code(planned: Plan, fetched: Fetched) -> int:
    """0 done, 3 nothing new, 4 some products could not be fetched."""
    if fetched.bad:
        return SOME_BAD
    return DONE if fetched.done else NOTHING_NEW


def print_plan(planned: Plan, console: Console) -> None:
    """What archives have and what of it is missing here."""
    for note in planned.notes:
        _line(console, f"note: {note}", "yellow")
    for out in planned.left_out:
        _line(console, f"left out {out.name}: {out.reason}", "yellow")
    total = len(planned.wanted)
    known = (
        f" ({gigabytes(planned.estimated)} of it estimated, parts by their area)" if planned.estimated else ""
    )
    _line(
        console,
        f"{counted(total, 'product')} to fetch, {gigabytes(planned.size)}{known}; {planned.here} here already",
    )


def print_fetched(fetched: Fetched, root: Path, console: Console) -> None:
    """What came and what did not."""
    for note in fetched.notes:
        _line(console, f"note: {note}", "yellow")
    for out in fetched.dropped:
        _line(console, f"removed {out.name}: {out.reason}")
    for out in fetched.passed_over:
        _line(console, f"taken from the next archive, {out.name}: {out.reason}")
    for out in fetched.bad:
        _line(console, f"quarantined {out.name}: {out.reason}", "yellow")
    if fetched.done:
        _line(console, f"{counted(len(fetched.done), 'product')} fetched into {root}")


@contextmanager
def _progress(
    planned: Plan, console: Console
) -> Iterator[tuple[Callable[[int], None], Callable[[Candidate, str | None], None]]]:
    if not console.is_terminal:
        done = 0

        def line(candidate: Candidate, reason: str | None) -> None:
            nonlocal done
            done += 1
            text = f"fetched {done}/{len(planned.wanted)} {candidate.id} from {candidate.archive.name}"
            _line(console, text if reason is None else f"failed {candidate.id}: {reason}")

        yield (lambda size: None), line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("fetch", total=planned.size, last="")
        yield (
            lambda size: bars.advance(bar, size),
            lambda candidate, reason: bars.update(
                bar, last=candidate.id if reason is None else f"[red]{candidate.id} failed"
            ),
        )


def _line(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
