"""The `terrazzo` command: it imports a subcommand's code when that command runs, and none for its help."""

import errno
import os
import signal
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from terrazzo import __version__
from terrazzo.commands import COMMANDS
from terrazzo.errors import TerrazzoError

GROUP = "terrazzo.commands"
"""Entry points of other packages that are commands too."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file that can take no more."""
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of what this user may not read or write."""


class TableGroup(click.Group):
    """A command group whose commands are those of the table, and the entry points of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the table's order, then those of other packages."""
        return [*COMMANDS, *sorted(_others())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command."""
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name].entry.partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        other = _others().get(cmd_name)
        return _load(other) if other else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a line for each command, by group; only commands of other packages are imported for theirs."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, row in COMMANDS.items():
            groups.setdefault(row.group, []).append((name, row.line))
        if others := _others():
            groups["Others"] = [
                (name, _load(other).get_short_help_str(66)) for name, other in sorted(others.items())
            ]
        width = max(len(name) for lines in groups.values() for name, _ in lines)
        for group, lines in groups.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(width), line) for name, line in lines])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error written for the user is shown without a traceback."""
        _require_proj()
        try:
            return super().invoke(ctx)
        except TerrazzoError as error:
            raise click.ClickException(error.whole) from error
        except ModuleNotFoundError as error:
            row = COMMANDS.get(ctx.invoked_subcommand or "")
            if row is None or not row.extra or (error.name or "").split(".")[0] == "terrazzo":
                raise
            raise click.ClickException(
                f"`terrazzo {ctx.invoked_subcommand}` needs {error.name}: pip install 'terrazzo[{row.extra}]'"
            ) from error
        except Exception as error:
            failure = _failure_of_a_disk(error)
            if failure is None:
                raise
            raise click.ClickException(failure) from error


def _require_proj() -> None:
    """Refuses an environment whose PROJ database is another library's: with it no file has a coordinate system that is known.

    Raises:
        click.ClickException: PROJ_DATA or PROJ_LIB lead to a database that cannot be read.
    """
    names = [name for name in ("PROJ_DATA", "PROJ_LIB") if os.environ.get(name)]
    if not names:
        return
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        CRS.from_epsg(32633)
    except CRSError as error:
        given = ", ".join(f"{name}={os.environ[name]}" for name in names)
        raise click.ClickException(
            f"{given}: no database of coordinate systems that Terrazzo's libraries can read ({error}). Another program sets"
            f" it; run `unset {' '.join(names)}` before the command"
        ) from error


def _failure_of_a_disk(error: Exception) -> str | None:
    """What an error of a disk, a drive or an object store means to the user; None for any other error."""
    # The libraries' modules are not imported for this: an error of one comes from where it is.
    library = type(error).__module__.split(".")[0]
    if isinstance(error, click.exceptions.Exit | BrokenPipeError) or not (
        isinstance(error, OSError) or library in ("obstore", "sqlite3")
    ):
        return None
    number, text = getattr(error, "errno", None), str(error).strip().splitlines()[0]
    if number in FULL or "disk full" in text or "No space left" in text:
        return f"the disk is full ({text}): free some space and run the command again; what is done is kept"
    if number in CLOSED or any(word in text for word in ("Permission denied", "Read-only", "readonly")):
        return f"not allowed ({text}): give this user the right to it (chown, chmod, mount -o rw), or name another folder"
    return f"it cannot be read or written ({text}): check the disk or the connection and run the command again; what is done is kept"


def _others() -> dict[str, EntryPoint]:
    """Commands of other packages; no name of ours is replaced."""
    return {e.name: e for e in entry_points(group=GROUP) if e.name not in COMMANDS}


def _load(entry: EntryPoint) -> click.Command:
    """A command of another package; where that cannot be imported, one that says so."""
    try:
        command: click.Command = entry.load()
    except ImportError as error:
        reason = f"{entry.value} cannot be imported: {error}"

        @click.command(
            entry.name,
            short_help=f"({reason})",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        def missing() -> None:
            raise click.ClickException(f"`terrazzo {entry.name}`: {reason}; install or remove its package")

        return missing
    return command


@click.command(
    cls=TableGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
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
