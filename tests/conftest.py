"""What all tests share: real data, programs of others, steady hypothesis, and the sample area precomputed once."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from tests.programs import lacking

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

# Debian puts daemons where a plain user's PATH does not lead; the programs that the tests start look there too.
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"

# How long a request takes tells of the machine that runs the tests; who tests the deadline sets one.
os.environ.setdefault("TERRAZZO_DEADLINE", "600")

ROOT = Path(__file__).parent.parent
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL", "GDAL", "PROJ"))}
"""Environment of the programs of others: Debian's Python must not see our virtual environment."""


def missing(reason: str) -> None:
    """Skips a test on a machine that lacks what the reason names with the command that brings it; on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def program(name: str, package: str) -> str:
    """Path of a program that only a part of a test needs, or a skip with the command that installs it."""
    found = shutil.which(name)
    if not found:
        missing(f"{name} is not installed: apt-get install {package}")
    return str(found)


def needed(item: pytest.Item) -> dict[str, str]:
    """Programs that a test needs and that are not here, and the commands that bring them."""
    names = [n for mark in item.iter_markers("needs") for n in mark.args]
    return {n: command for n in names if (command := lacking(n))}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the tests that need a missing program the first one says so for all; on CI each of them fails."""
    if os.environ.get("CI") == "true":
        return
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if lacks := needed(item):
            groups.setdefault(next(iter(lacks)), []).append(item)
    for name, group in groups.items():
        reason = f"{len(group)} tests need {name}: {lacking(name)}"
        group[0].add_marker(pytest.mark.skip(reason=reason))
        config.hook.pytest_deselected(items=group[1:])
    left = {id(i) for group in groups.values() for i in group[1:]}
    items[:] = [i for i in items if id(i) not in left]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """On CI a missing program is a failure."""
    for name, command in needed(item).items():
        missing(f"{name} is not installed: {command}")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of small real data (README.md in it tells sources and licences); read it, do not write to it."""
    return ROOT / "tests" / "data"


def made_by() -> str:
    """A name for what the code makes: a hash of everything that the stage before the server runs, and of the versions it runs with."""
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes() + sys.version.encode())
    for folder in ("terrazzo", "precompute"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".nbi", ".nbc"):
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the sample area precomputed by the command line; read it, do not write to it.

    It is made once for all workers, and once for equal code: build/tests keeps the last one.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    store, kept = base / "sample-store", ROOT / "build" / "tests" / f"sample-{made_by()}"
    with (base / "sample.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "sample.done").exists():
            if kept.exists():
                shutil.copytree(kept, store)
            else:
                command = [Path(sys.executable).parent / "terrazzo", "precompute", "sample", "--store", store]
                subprocess.run(command, check=True, capture_output=True, text=True)
                for older in kept.parent.glob("sample-*"):
                    shutil.rmtree(older, ignore_errors=True)
                part = kept.with_name(f"sample-part-{os.getpid()}")
                shutil.copytree(store, part)
                # Another run of the tests may have been first.
                with suppress(OSError):
                    part.rename(kept)
            (base / "sample.done").touch()
    return store


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Notes what the tests found, for the tables in docs/evidence/clients.md and docs/evidence/platforms.md."""
    from tests.clients.table import name_of, note

    found = {
        name_of(report.nodeid): outcome
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
    }
    if found:
        note(found)
