"""What the commands that write files share: their progress, and the checks of their output before any work begins."""

import os
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from terrazzo.errors import InvalidRequest


def progress(steps: Iterator[Any], label: str) -> Iterator[Any]:
    """Shows the shares, 0–1, among steps, and passes on the others."""
    with click.progressbar(length=1000, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for step in steps:
            if isinstance(step, float):
                bar.update(round(1000 * step) - bar.pos)
            else:
                yield step


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_output(output: Path | None, dry_run: bool, is_zarr: bool) -> None:
    """Checks that there is a place to write to.

    Raises:
        InvalidRequest: none is named, its folder is missing, or it is a folder itself.
    """
    if output is None:
        if not dry_run:
            raise InvalidRequest(
                "name the file to write with -o FILE, or ask with --dry-run what it would cost"
            )
        return
    if not output.parent.is_dir():
        raise InvalidRequest(f"the folder {output.parent} does not exist; make it first")
    if output.is_dir() and not is_zarr:
        raise InvalidRequest(f"{output} is a folder: name a file in it")


def require_zarr(output: Path | None, asked: Mapping[str, Any], overwrite: bool) -> None:
    """Checks what a Zarr is written by, before anything is rendered.

    Raises:
        InvalidRequest: the package zarr is missing, the name has another ending, or the order is one of files alone.
        NameTaken: the folder or its lock is there and may not be replaced.
    """
    require_packable(asked.get("compression"))
    from terrazzo.export.folders import require_free

    if asked.get("split"):
        raise InvalidRequest("split: a Zarr is one folder of chunks already; leave --split out")
    if output is None:
        return
    if output.suffix.lower() != ".zarr":
        raise InvalidRequest(f"{output.name}: format=zarr is written as .zarr")
    require_free(output, overwrite)


def require_packable(compression: str | None) -> None:
    """Checks that there is a package that writes Zarr, and that it has a compression.

    Raises:
        InvalidRequest: not so.
    """
    if find_spec("zarr") is None:
        raise InvalidRequest("a Zarr needs the package zarr: pip install 'terrazzo[zarr]'")
    from terrazzo.export.folders import COMPRESSORS

    if compression and compression not in COMPRESSORS:
        raise InvalidRequest(f"compression={compression}: a Zarr has {', '.join(COMPRESSORS)}")
