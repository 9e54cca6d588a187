"""The `terrazzo` command: its help, its late imports, and commands of other packages."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.commands import COMMANDS

HEAVY = (
    "numpy", "rasterio", "pyproj", "numba", "pyarrow", "obstore", "scipy", "sklearn", "pandas", "matplotlib",
    "rich", "fastapi", "starlette", "titiler", "rio_tiler", "pydantic", "uvicorn", "huey",
)  # fmt: skip
"""Packages that take long to import, or that come with an extra only."""
BARE = "import sys; from terrazzo.cli import main; main()"


def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The `terrazzo` command in a process of its own."""
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", BARE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_help_lists_every_command_in_its_group_on_one_line_of_eighty_columns() -> None:
    shown = run("--help").stdout.splitlines()
    listed = shown[shown.index("Get:") :]
    assert [line for line in listed if line and line[0] != " "] == [
        "Get:",
        "Build:",
        "Serve:",
        "Use:",
        "Care:",
    ]
    names = [line.split()[0] for line in listed if line.startswith("  ")]
    assert names == list(COMMANDS)
    assert all(len(line) <= 80 and "…" not in line and "..." not in line for line in listed)
    assert all(line.endswith(COMMANDS[line.split()[0]].line) for line in listed if line.startswith("  "))


def test_help_takes_little_processor_time() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # It takes 0.12 s; 3.3 s while it imported every command.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


def test_no_help_imports_a_heavy_package() -> None:
    lines = [
        "import json, sys",
        "from click.testing import CliRunner",
        "from terrazzo.cli import cli",
        "from terrazzo.commands import COMMANDS",
        "found = {}",
        "for arguments in [[], *([name] for name in COMMANDS)]:",
        "    done = CliRunner().invoke(cli, [*arguments, '--help'])",
        "    assert done.exit_code == 0 and done.output.startswith('Usage'), done.output",
        f"    found[' '.join(arguments)] = sorted(set({HEAVY!r}) & set(sys.modules))",
        "print(json.dumps(found))",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {name: heavy for name, heavy in json.loads(done.stdout).items() if heavy} == {}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_row_of_the_table_is_a_command_of_that_name(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name


def test_an_unknown_command_is_refused() -> None:
    done = CliRunner().invoke(cli, ["mosaics"])
    assert done.exit_code == 2
    assert "No such command 'mosaics'" in done.output


def test_a_command_without_its_extra_says_how_to_install_it(tmp_path: Path) -> None:
    # A module of this name that fails as a missing one does stands before the installed one.
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no uvicorn', name='uvicorn')\n")
    done = run("serve", "--store", str(tmp_path), path=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == "Error: `terrazzo serve` needs uvicorn: pip install 'terrazzo[server]'"
    assert run("serve", "--help", path=tmp_path).returncode == 0


def other_package(folder: Path, code: str) -> None:
    """Another package in a folder of Python's path, with a command `greet` and one that is named like ours."""
    (folder / "greeting.py").write_text(code)
    about = folder / "greeting-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[terrazzo.commands]\ngreet = greeting:greet\nexport = greeting:greet\n"
    )


def test_another_package_adds_a_command_and_replaces_none(tmp_path: Path) -> None:
    code = "import click\n@click.command()\ndef greet():\n    '''Says hello.'''\n    click.echo('hello')\n"
    other_package(tmp_path, code)
    assert run("greet", path=tmp_path).stdout == "hello\n"
    shown = run("--help", path=tmp_path).stdout.splitlines()
    assert shown[shown.index("Others:") + 1].split(maxsplit=1) == ["greet", "Says hello."]
    assert run("export", "--help", path=tmp_path).stdout.startswith("Usage: -c export")


def test_a_broken_command_of_another_package_breaks_no_other(tmp_path: Path) -> None:
    other_package(tmp_path, "import no_such_module\n")
    assert "(greeting:greet cannot be imported" in run("--help", path=tmp_path).stdout
    done = run("greet", path=tmp_path)
    assert done.returncode == 1
    assert "install or remove its package" in done.stderr


def test_live_fails_when_its_server_does(sample_store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ["live", "--store", str(sample_store), "--port", port, "--no-precompute"]
        done = CliRunner().invoke(
            cli, [*command, "--bbox", "15.9", "45.7", "16", "45.8", "--datetime", "2023-08"]
        )
    assert done.exit_code != 0
    assert "the server ended" in done.output


@pytest.mark.parametrize("name", ["PROJ_DATA", "PROJ_LIB"])
def test_a_database_of_coordinate_systems_that_is_another_programs_is_named(
    name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", BARE, "versions", "--store", str(tmp_path)]
    environment = {**os.environ, name: str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"Error: {name}={tmp_path}: no database of coordinate systems" in done.stderr
    assert f"run `unset {name}` before" in done.stderr
