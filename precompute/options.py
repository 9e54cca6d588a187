"""Command-line options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from precompute.executor import LOCAL, default_workers

F = TypeVar("F", bound=Callable[..., Any])


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
