"""How long a function may be, how much it may be given, and that one name means one class."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.conftest import ROOT

PACKAGES = ("terrazzo", "precompute", "server")
MOST_LINES, MOST_ARGUMENTS = 60, 8
LONGER = {
    "precompute/correct/atmosphere.py:coefficients",
    "precompute/correct/atmosphere.py:surface_reflectance",
    "precompute/correct/atmosphere.py:toa_reflectance",
    "precompute/clouds/mask.py:mask_scene",
    "terrazzo/cog.py:write_cog",
    "terrazzo/export/run.py:__init__",
}
"""Functions past the limits: take a line out when its function is cut, add none."""

VAGUE = {"told", "found", "made"}
"""Names that say how a thing came about instead of what it is."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The modules of the three packages with their paths; the links in terrazzo lead to the other two."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT)
            if name.parts[:2] not in (("terrazzo", "precompute"), ("terrazzo", "server")):
                yield str(name), ast.parse(path.read_text())


def is_kernel(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether numba compiles it, which takes arrays one by one."""
    return any("njit" in ast.unparse(d) for d in function.decorator_list)


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether click calls it, with an argument an option."""
    return any(ast.unparse(d).startswith("click.command") for d in function.decorator_list)


def test_no_function_is_longer_or_takes_more_than_a_reader_can_hold() -> None:
    over = set()
    for name, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_kernel(node):
                lines = (node.end_lineno or 0) - node.lineno + 1
                given = node.args
                arguments = len([*given.posonlyargs, *given.args, *given.kwonlyargs])
                if lines > MOST_LINES or (arguments > MOST_ARGUMENTS and not is_command(node)):
                    over.add(f"{name}:{node.name}")
    assert over == LONGER


def test_one_name_means_one_class() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_names_say_what_things_are() -> None:
    vague = set()
    for name, module in modules():
        for node in ast.walk(module):
            given = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            if given in VAGUE:
                vague.add(f"{name}: {given}")
    assert vague == set()
