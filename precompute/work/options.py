"""Command-line options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from terrazzo.bands import BANDS
from terrazzo.errors import InvalidRequest
from terrazzo.precompute.work.executor import LOCAL, default_workers

F = TypeVar("F", bound=Callable[..., Any])
MOST_CLOUD = 99.9
"""Per cent of cloud and shadow in the area up to which a product is used: what is left of it is narrower than a cloud's rim."""


def worker_options(function: F) -> F:
    """`--workers` and `--dask`: who does the work."""
    function = click.option(
        "--dask",
        metavar=f"ADDRESS|{LOCAL}",
        help=f"let a Dask cluster do the work: the address of its scheduler, or {LOCAL} for one on this machine"
        " (pip install 'terrazzo[dask]')",
    )(function)
    return click.option(
        "--workers",
        type=click.IntRange(1),
        default=default_workers,
        help="processes [default: all processors]",
    )(function)


def band_names(text: str) -> tuple[str, ...]:
    """The bands of a comma-separated `--bands`.

    Raises:
        InvalidRequest: one is unknown.
    """
    asked = tuple(b.strip().upper() for b in text.split(","))
    unknown = [b for b in asked if b not in BANDS]
    if unknown:
        raise InvalidRequest(f"--bands: unknown {', '.join(unknown)}; known are {', '.join(BANDS)}")
    return asked
