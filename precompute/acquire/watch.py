"""`terrazzo watch`: keeps a store filled, one pass at a time."""

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from precompute.acquire.cli import area_options, opened, order_of
from precompute.acquire.get import run_command
from precompute.executor import default_workers
from terrazzo.errors import InvalidRequest, TerrazzoError

if TYPE_CHECKING:
    from precompute.acquire.run import Order
    from precompute.acquire.shelf import Shelf

MARK = ".precomputed"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def interval(text: str) -> timedelta:
    """`90s`, `15m`, `6h` or `1d`.

    Raises:
        InvalidRequest: it is none of these.
    """
    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not found or int(found[1]) == 0:
        raise InvalidRequest(f"--every {text}: a number and s, m, h or d, such as 15m")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


@click.command()
@click.option(
    "--store",
    required=True,
    metavar="STORE",
    help="folder or address of the store; made when it is not there",
)
@area_options
@click.option("--every", metavar="15m", help="go on for ever, a pass every so often [default: one pass]")
@click.option(
    "--workers", type=click.IntRange(1), default=default_workers, help="processes [default: all processors]"
)
@click.pass_context
def watch(
    ctx: click.Context, store: str, mosaic: str, every: str | None, workers: int, **options: Any
) -> None:
    """Keeps a store filled: fetches what is new in an archive and precomputes what changed.

    A pass asks for all of --datetime, so it finds new products, late reprocessings and gaps that earlier passes left.
    Run it from cron, one pass each, or as a service with --every. Options are those of `terrazzo acquire`.

    Exit codes of a pass: 0 done, 3 nothing new, 4 some products could not be had.

    \b
    terrazzo watch --store finland --tile 35VLG --datetime 2025-06/.. --max-cloud 60
    terrazzo watch --store finland --tile 35VLG --datetime 2025-06/.. --every 15m
    """
    pause = interval(every) if every else None

    def once() -> int:
        order = order_of(store, mosaic=mosaic, follow=True, **options)
        new = [] if opened(store) else ["--bands", ",".join(order.bands)]
        how = ["--store", store, "--mosaic", mosaic, "--workers", workers, *new]
        command = ["precompute", order.shelf.root, *how]
        return one_pass(order, f"{store} {mosaic}", lambda: run_command(ctx, command))

    if pause is None:
        ctx.exit(once())
    _for_ever(once, pause)


def one_pass(order: "Order", target: str, precompute: Callable[[], None]) -> int:
    """Fetches what is new, precomputes when that, or what an earlier pass left, is not in the store; the exit code.

    Raises:
        TerrazzoError: nothing could be done.
    """
    from rich.console import Console

    from precompute.acquire.fetch import Fetched, Openers
    from precompute.acquire.run import DONE, SOME_BAD, carry_out, exit_code, prepare, tell_fetched, tell_plan

    console, openers = Console(stderr=True), Openers()
    made = prepare(order, openers)
    tell_plan(made, console)
    fetched = Fetched()
    if made.wanted:
        fetched = carry_out(order, made, openers, console)
        tell_fetched(fetched, order.shelf.root, console)
    code = exit_code(made, fetched)
    now = content(order.shelf)
    if now and marked(order.shelf, target) != now:
        precompute()
        mark(order.shelf, target, now)
        return SOME_BAD if code == SOME_BAD else DONE
    return code


def content(shelf: "Shelf") -> list[str]:
    """What a folder holds: each product with what it was made of."""
    return sorted(f"{p.id} {shelf.mark(p.id)} {','.join(sorted(p.assets))}" for p in shelf.products())


def marked(shelf: "Shelf", target: str) -> list[str] | None:
    """What a folder held when it was last precomputed into a store's mosaic."""
    try:
        found: list[str] | None = json.loads((shelf.root / MARK).read_text()).get(target)
    except (OSError, ValueError):
        return None
    return found


def mark(shelf: "Shelf", target: str, now: list[str]) -> None:
    """Notes what a folder held, once that is in a store's mosaic."""
    from precompute.acquire.shelf import write_json

    try:
        before = json.loads((shelf.root / MARK).read_text())
    except (OSError, ValueError):
        before = {}
    write_json(shelf.root / MARK, {**before, target: now})


def _for_ever(once: Callable[[], int], pause: timedelta) -> None:
    """Passes until Ctrl-C or SIGTERM; one that fails is told, and the next one tries again."""
    rest = threading.Event()
    try:
        while True:
            _say("pass begins")
            try:
                code = once()
                _say(f"pass done, code {code}")
            except (TerrazzoError, click.ClickException, OSError) as error:
                _say(f"pass failed: {error}")
            rest.wait(pause.total_seconds())
    except KeyboardInterrupt:
        _say("stopped")


def _say(text: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", err=True)
