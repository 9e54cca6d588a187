"""The `terrazzo` command: loads its subcommands from entry points, so it imports no stage itself."""

import errno
import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from terrazzo import __version__
from terrazzo.errors import TerrazzoError

GROUP = "terrazzo.commands"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file that can take no more."""


class EntryPointGroup(click.Group):
    """A command group whose commands are the installed entry points of `terrazzo.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all installed commands."""
        return sorted(e.name for e in entry_points(group=GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads one command; a missing extra becomes a message that names it."""
        found = [e for e in entry_points(group=GROUP) if e.name == cmd_name]
        return _load(found[0]) if found else None

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error written for the user is shown without a traceback."""
        try:
            return super().invoke(ctx)
        except TerrazzoError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno not in FULL and "disk full" not in str(error):
                raise
            raise click.ClickException(
                f"the disk is full ({error}): free some space and run the command again; what is done is kept"
            ) from error


def _load(entry: EntryPoint) -> click.Command:
    try:
        command: click.Command = entry.load()
    except ModuleNotFoundError as error:
        room = entry.value.split(".")[1]
        extra = room if room in ("precompute", "server") else "statistics"
        reason = f"needs {error.name}: pip install 'terrazzo[{extra}]'"

        @click.command(
            entry.name,
            help=f"(not installed: {reason})",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        def missing() -> None:
            raise click.ClickException(f"`terrazzo {entry.name}` {reason}")

        return missing
    return command


@click.command(
    cls=EntryPointGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="terrazzo")
def cli() -> None:
    """Cloud-free, seam-free Sentinel-2 mosaics: precompute them, serve them, export them.

    \b
    terrazzo get --bbox … --datetime … -o FILE   fetch, precompute and export a place in one go
    terrazzo acquire … --store STORE             products of a place from a public archive
    terrazzo precompute PRODUCTS --store STORE   scenes, masks, normalization, a published version
    terrazzo serve --store STORE                 tiles, WMTS and a map from it
    terrazzo export --store STORE … -o FILE      a GeoTIFF of any box
    """


def main() -> None:
    """The console script. Python's import path never includes the folder the user stands in."""
    # SIGTERM ends a command as Ctrl-C does: temporary files go, worker processes end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(cli())
