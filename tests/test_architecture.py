"""The pictures in docs/reference/architecture.md are those of the contracts that import-linter checks.

`python tests/test_architecture.py` draws them again.
"""

import ast
import re
import sys
import tomllib
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


def picture(known: dict[str, list[list[str]]]) -> list[str]:
    """The ways of a product, a tile and an export through the layers, as one Mermaid diagram."""
    lines, ends = ["```mermaid", "flowchart TD"], {}
    for container in PARTS:
        part = container.rpartition(".")[2]
        layers = climbed(container, known[container])
        nodes = [f"{part}{number}" for number in range(len(layers))]
        lines.append(f"  subgraph {part}")
        lines += [f'    {node}["{" · ".join(rooms)}"]' for node, rooms in zip(nodes, layers, strict=True)]
        lines += [f"    {' --> '.join(nodes)}", "  end"]
        ends[part] = (nodes[0], nodes[-1])
        ends |= {
            f"{part}.{room}": (node, node)
            for node, rooms in zip(nodes, layers, strict=True)
            for room in rooms
        }
    return [
        *lines,
        f"  product([product]) --> {ends['precompute'][0]}",
        f"  {ends['precompute'][1]} -->|version| store[(store)]",
        f"  tile([request for a tile]) --> {ends['server'][0]}",
        f"  {ends['server'][1]} --> {ends['terrazzo.mosaic'][0]}",
        f"  export([order of an export]) --> {ends['terrazzo.commands'][0]}",
        f"  {ends['terrazzo'][1]} --> store",
        "```",
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
    lines = picture(known)
    for container in PARTS:
        lines += table(container, known[container])
    return "\n".join(lines) + "\n"


def test_every_layered_contract_has_its_picture() -> None:
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
