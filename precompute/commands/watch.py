"""`terrazzo watch`: keeps a store filled, one pass at a time."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.commands.invoke import run_command
from terrazzo.errors import InvalidRequest, NothingUsable, TerrazzoError
from terrazzo.precompute.commands.acquire import AreaOptions, area_options, order_of
from terrazzo.precompute.commands.get import precompute_arguments
from terrazzo.precompute.work.options import worker_options
from terrazzo.request.options import WithBox
from terrazzo.words import counted

if TYPE_CHECKING:
    from terrazzo.precompute.acquire.product_folder import ProductFolder
    from terrazzo.precompute.acquire.run import AcquireOrder

MARK = ".precomputed"
LEAST_BACKFILL = 60.0
"""Seconds of a pass that are left to the past, however long what is new took."""
SIZES = {"k": 1e3, "M": 1e6, "G": 1e9}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def interval(text: str) -> timedelta:
    """`90s`, `15m`, `6h` or `1d`.

    Raises:
        InvalidRequest: it is none of these.
    """
    parts = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not parts or int(parts[1]) == 0:
        raise InvalidRequest(f"--every {text}: a number and s, m, h or d, such as 15m")
    return timedelta(**{UNITS[parts[2]]: int(parts[1])})


def bandwidth(text: str) -> float:
    """Bytes a second of `500kB`, `20MB` or `1GB`, `/s` behind it or not.

    Raises:
        InvalidRequest: it is none of these.
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG])B(?:/s)?", text.strip())
    if not parts or float(parts[1]) == 0:
        raise InvalidRequest(f"--bandwidth {text}: a number and kB, MB or GB a second, such as 5MB")
    return float(parts[1]) * SIZES[parts[2]]


def left_of(hours: str, now: datetime) -> float:
    """Seconds until hours such as `22-6` end; 0 outside them.

    Raises:
        InvalidRequest: they are none.
    """
    ends = re.fullmatch(r"(\d{1,2})-(\d{1,2})", hours.strip())
    first, last = (int(ends[1]), int(ends[2])) if ends else (0, 0)
    if first == last or first > 23 or last > 24:
        raise InvalidRequest(f"--hours {hours}: two hours of the day such as 22-6")
    hour = now.hour + now.minute / 60 + now.second / 3600
    since, whole = (hour - first) % 24, (last - first) % 24 or 24
    return max(0.0, whole - since) * 3600


@click.command(cls=WithBox)
@click.option(
    "--store",
    required=True,
    metavar="STORE",
    help="folder or address of the store; created if it is missing",
)
@area_options
@click.option(
    "--every", metavar="15m", help="keep running, one run in each interval [default: one run, then end]"
)
@click.option(
    "--backfill",
    type=click.Choice(["newest-first", "off"]),
    default="newest-first",
    show_default=True,
    help="older products: after the new ones, the newest first, or not at all",
)
@click.option(
    "--bandwidth", "speed", metavar="5MB", help="largest rate of the backfill, a second [default: no limit]"
)
@click.option(
    "--hours", metavar="22-6", help="hours of the day, local time, in which the backfill runs [default: all]"
)
@worker_options
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    help="write metrics for Prometheus to this file, *.prom, after each run, also after one that failed",
)
@click.pass_context
def watch(
    ctx: click.Context,
    /,
    store: str,
    mosaic: str,
    every: str | None,
    workers: int,
    dask: str | None,
    metrics: Path | None,
    **options: Any,
) -> None:
    """Keeps a store filled: fetches new products from an archive and precomputes what changed.

    Each run searches all of --datetime, so it finds new products, late reprocessings and gaps that earlier runs left.
    It fetches the newest products first and publishes them. Then it fetches older ones until --until-clear is met.
    Start it from cron, or as a service with --every. It takes the options of `terrazzo acquire`, except --dry-run and --overview.

    Scenes that the mosaic shows are not fetched again and never replaced by a smaller part.

    Exit codes of a run: 0 done, 1 failed, 3 nothing new, 4 some products could not be fetched or used.

    \b
    terrazzo watch --store finland --tile 35VLG --datetime 2025-06/.. --max-cloud 60
    terrazzo watch --store finland --tile 35VLG --datetime 2025/.. --every 15m --bandwidth 5MB --hours 20-6
    """
    backfill, speed, hours = (options.pop(name) for name in ("backfill", "speed", "hours"))
    pause = interval(every) if every else None
    rate = bandwidth(speed) if speed else None
    if hours:
        left_of(hours, datetime.now())

    def once() -> int:
        from terrazzo.precompute.work.prometheus import recorded

        with recorded(metrics, store) as ended:
            order = order_of(store, AreaOptions(mosaic=mosaic, **options), follow=True)
            ended.products = order.product_folder.root
            ended.code = followed(order)
        return ended.code

    def followed(order: "AcquireOrder") -> int:
        command = precompute_arguments(order, store, mosaic, workers, dask)
        begun = datetime.now()

        def left() -> float | None:
            """Seconds that the backfill may still take, None without an end."""
            now = datetime.now()
            ends = [left_of(hours, now)] if hours else []
            if pause:
                ends.append(max(LEAST_BACKFILL, (begun + pause - now).total_seconds()))
            return min(ends, default=None)

        past = Backfill(backfill != "off", rate, left)
        return one_pass(order, f"{store} {mosaic}", lambda: run_command(ctx, command), past)

    if pause is None:
        ctx.exit(once())
    _for_ever(once, pause)


@dataclass(frozen=True)
class Backfill:
    """Whether and how the past is fetched.

    Attributes:
        speed: most bytes a second; None is as fast as it goes.
        left: seconds that it may still take; None without an end.
    """

    wanted: bool = True
    speed: float | None = None
    left: Callable[[], float | None] = lambda: None


def one_pass(
    order: "AcquireOrder", target: str, precompute: Callable[[], int], backfill: Backfill | None = None
) -> int:
    """Fetches what is new and precomputes, then the past and precomputes again, where there is something; the exit code.

    What an earlier pass fetched and left undone is precomputed too.

    Raises:
        TerrazzoError: nothing could be done.
        ClickException: precompute failed, or kept its version back.
    """
    from rich.console import Console

    from terrazzo.precompute.acquire.fetch import Openers
    from terrazzo.precompute.acquire.run import (
        DONE,
        NOTHING_NEW,
        SOME_BAD,
        carry_out,
        prepare,
        print_fetched,
        print_plan,
    )
    from terrazzo.precompute.acquire.until_clear import newer

    backfill = backfill or Backfill()
    console, openers = Console(stderr=True), Openers()
    acquisition = prepare(order, openers)
    print_plan(acquisition, console)
    latest = newer(acquisition.wanted, order.here())
    fresh = tuple(w for i, w in enumerate(acquisition.wanted) if i in latest)
    past = tuple(w for i, w in enumerate(acquisition.wanted) if i not in latest)
    bad = changed = False
    tried: list[str] = []
    for part, old in ((fresh, False), (past, True)):
        seconds = backfill.left() if old else None
        if part and old and (not backfill.wanted or seconds == 0):
            _log(f"{counted(len(part), 'product of the past')} left for later")
        elif part:
            fetched = carry_out(
                order,
                replace(acquisition, wanted=part),
                openers,
                console,
                keep=acquisition,
                bandwidth=backfill.speed if old else None,
                seconds=seconds,
            )
            print_fetched(fetched, order.product_folder.root, console)
            bad, changed = bad or bool(fetched.bad), changed or bool(fetched.done)
        now = content(order.product_folder)
        if now not in ([], tried) and marked(order.product_folder, target) != now:
            tried = now
            code = _precomputed(precompute)
            bad = bad or code in (SOME_BAD, None)
            # Without a code it is not marked: the next pass looks again, perhaps with other options.
            if code is not None:
                mark(order.product_folder, target, now)
                changed = True
    return SOME_BAD if bad else DONE if changed else NOTHING_NEW


def _precomputed(precompute: Callable[[], int]) -> int | None:
    """The exit code of precompute; None where none of the products can be used."""
    try:
        return precompute()
    except click.ClickException as error:
        if not isinstance(error.__cause__, NothingUsable):
            raise
        _log(error.message)
        return None


def content(product_folder: "ProductFolder") -> list[str]:
    """What a folder holds: each product with what it was made of."""
    return sorted(
        f"{p.id} {product_folder.mark(p.id)} {','.join(sorted(p.assets))}" for p in product_folder.products()
    )


def marked(product_folder: "ProductFolder", target: str) -> list[str] | None:
    """What a folder held when it was last precomputed into a store's mosaic."""
    try:
        products: list[str] | None = json.loads((product_folder.root / MARK).read_text()).get(target)
    except (OSError, ValueError):
        return None
    return products


def mark(product_folder: "ProductFolder", target: str, now: list[str]) -> None:
    """Notes what a folder held, once that is in a store's mosaic."""
    from terrazzo.precompute.acquire.product_folder import write_json

    try:
        before = json.loads((product_folder.root / MARK).read_text())
    except (OSError, ValueError):
        before = {}
    write_json(product_folder.root / MARK, {**before, target: now})


def _for_ever(once: Callable[[], int], pause: timedelta) -> None:
    """Runs until Ctrl-C or SIGTERM; one that fails is reported, and the next one tries again."""
    rest = threading.Event()
    try:
        while True:
            _log("run begins")
            begun = time.monotonic()
            try:
                code = once()
                _log(f"run done, code {code}")
            except (TerrazzoError, click.ClickException, OSError) as error:
                _log(f"run failed: {error}")
            rest.wait(max(0.0, pause.total_seconds() - (time.monotonic() - begun)))
    except (KeyboardInterrupt, click.Abort):
        # A command that runs within a run ends by Abort.
        _log("stopped")


def _log(text: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", err=True)
