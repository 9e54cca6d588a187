"""The table of parameters as options of the command line; their values are parsed like those of every other interface."""

import re
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from terrazzo.request.parameters import Kind, Parameter, Table

if TYPE_CHECKING:
    from terrazzo.grid import Bounds

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
AREA_FILE = ("--geometry", "--geom")
"""Names of the option that is a file of an area, of all commands that have one."""
SHOWN: dict[Kind, str] = {
    "number": "NUMBER",
    "whole": "NUMBER",
    "numbers": "A,B,…",
    "names": "A,B,…",
    "switch": "[on|off]",
    "box": "W S E N",
    "crs": "CODE",
    "pairs": "MIN,MAX",
}
NUMBER = re.compile(r"[-+]?(\d|\.\d|inf|nan)", re.IGNORECASE)


def options(parameters: Table, *, leave: Container[str] = ()) -> Callable[[F], F]:
    """Options with the names, meanings, choices and defaults of a table; values stay text, for `request.parse.values`.

    Args:
        leave: names that the command has no option for.
    """

    def decorate(function: F) -> F:
        for parameter in reversed(list(parameters.values())):
            if parameter.name not in leave:
                function = _option(parameter)(function)
        return function

    return decorate


def _option(parameter: Parameter) -> Callable[[F], F]:
    return click.option(
        *(AREA_FILE if parameter.kind == "area" else (f"--{parameter.name.replace('_', '-')}",)),
        parameter.name,
        metavar="FILE" if parameter.kind == "area" else SHOWN.get(parameter.kind, "TEXT"),
        type=FILE if parameter.kind == "area" else str,
        multiple=True,
        callback=partial(_joined, parameter),
        help="the area as a file that OGR reads, such as GeoPackage, GeoJSON or Shapefile, in any CRS: the pixels that it touches"
        if parameter.kind == "area"
        else parameter.help,
    )


def _joined(
    parameter: Parameter, context: click.Context, option: click.Parameter, words: Sequence[Any]
) -> str | Path | None:
    """What was given for a parameter: lists in parts are joined, as in an address.

    Raises:
        InvalidRequest: it is no list and named twice.
    """
    # It draws in NumPy, for which a command's help need not wait.
    from terrazzo.request.parse import joined

    text = joined(((parameter.name, str(w)) for w in words), {parameter.name: parameter}).get(parameter.name)
    return Path(text) if text and parameter.kind == "area" else text


def box(context: click.Context, parameter: click.Parameter, value: str | None) -> "Bounds | None":
    """The callback of an option that is a box, W S E N, with commas or blanks between its numbers.

    Raises:
        InvalidRequest: there are not four.
    """
    # It draws in PROJ, for which a command's help need not wait.
    from terrazzo.request.boxes import numbers_of_box

    return None if value is None else numbers_of_box(value, "--bbox")


class WithBox(click.Command):
    """A command whose `--bbox` takes its four numbers as words or as one, with commas or blanks between them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the arguments, the numbers of a box put together."""
        return super().parse_args(ctx, _together(args))


def _together(args: Sequence[str]) -> list[str]:
    rest, words = list(args), list[str]()
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*words, word, *rest]
        if word == "--bbox" or word.startswith("--bbox="):
            numbers = word.partition("=")[2].split()
            while rest and sum(len(n.strip(",").split(",")) for n in numbers) < 4 and NUMBER.match(rest[0]):
                numbers += rest.pop(0).split()
            word = f"--bbox={' '.join(numbers)}"
        words.append(word)
    return words
