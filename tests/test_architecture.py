"""The tables in docs/reference/architecture.md are those of the contracts that import-linter checks.

`python tests/test_architecture.py` writes them again.
"""

import ast
import re
import sys
import tomllib
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "architecture.md"
BLOCK = re.compile(r"(?<=<!-- ways -->\n).*?(?=<!-- /ways -->)", re.DOTALL)
PARTS = ("terrazzo.precompute", "terrazzo.server", "terrazzo")
"""The containers of the contracts; a product climbs the layers of the first, a request goes down those of the others."""


def contracts() -> dict[str, list[list[str]]]:
    """The rooms of each layer by container, the highest layer first."""
    found = {}
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            (container,) = contract["containers"]
            found[container] = [
                [room.strip() for room in re.split("[|:]", line)] for line in contract["layers"]
            ]
    return found


def purpose(container: str, room: str) -> str:
    """The first sentence of a room's docstring."""
    place = ROOT.joinpath(*container.split("."), room)
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


def climbed(container: str, layers: list[list[str]]) -> list[list[str]]:
    """The layers of a container in the order of the way through it."""
    return layers[::-1] if container == "terrazzo.precompute" else layers


def overview(known: dict[str, list[list[str]]]) -> list[str]:
    """The layers of the three parts side by side, each from its first room on the way to its last."""
    columns = [climbed(container, known[container]) for container in PARTS]
    rows = [
        " | ".join(" ".join(f"`{room}`" for room in rooms) for rooms in layer)
        for layer in zip_longest(*columns, fillvalue=[])
    ]
    return [
        "| step | `precompute/` | `server/` | `terrazzo/` |",
        "|---|---|---|---|",
        *(f"| {number} | {row} |" for number, row in enumerate(rows, start=1)),
        "",
        "- A product passes `precompute/` from step 1 to the last one, which publishes a version in the store.",
        "- A request for a tile passes `server/` from step 1 down, and goes on in `terrazzo/` at `mosaic`, which reads the store.",
        "- An order of an export enters `terrazzo/` at `commands`.",
    ]


def table(container: str, layers: list[list[str]]) -> list[str]:
    """What the rooms of a container hold, in the order of the way through it."""
    name = container.removeprefix("terrazzo.")
    order = "before" if container == "terrazzo.precompute" else "after"
    return [
        "",
        f"### `{name}/`",
        f"A room imports only rooms {order} it.",
        "",
        "| room | what it holds |",
        "|---|---|",
        *(
            f"| `{room}` | {purpose(container, room)} |"
            for rooms in climbed(container, layers)
            for room in rooms
        ),
    ]


def ways() -> str:
    """The generated part of the page."""
    known = contracts()
    lines = overview(known)
    for container in PARTS:
        lines += table(container, known[container])
    return "\n".join(lines) + "\n"


def test_every_layered_contract_has_its_table() -> None:
    assert set(contracts()) == set(PARTS)


def test_the_page_shows_the_contracts_as_they_are() -> None:
    shown = BLOCK.search(PAGE.read_text())
    assert shown is not None
    assert shown[0] == ways(), "the contracts changed: run python tests/test_architecture.py"


def test_every_room_says_what_it_holds() -> None:
    silent = [
        f"{container}.{room}"
        for container, layers in contracts().items()
        for rooms in layers
        for room in rooms
        if not purpose(container, room)
    ]
    assert silent == []


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: ways(), PAGE.read_text()))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} drawn\n")
