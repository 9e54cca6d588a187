"""What all tests share: real data, programs of others, steady hypothesis, and the sample area precomputed once."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings

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
    pytest.skip(reason)


def program(name: str, package: str, *, test: Sequence[str] = ()) -> str:
    """Path of an external program, or a skip with the command that installs it.

    Args:
        name: of the executable.
        package: Debian's packages that bring it.
        test: arguments with which the program returns 0 only if the rest that is needed is there too.
    """
    found = shutil.which(name)
    if not found or (test and subprocess.run([found, *test], capture_output=True, env=CLEAN).returncode):
        missing(f"{' '.join((name, *test))} does not work here: apt-get install {package}")
    return str(found)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of small real data (README.md in it tells sources and licences); read it, do not write to it."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the sample area precomputed by the command line; read it, do not write to it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    store = base / "sample-store"
    with (base / "sample.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "sample.done").exists():
            command = [Path(sys.executable).parent / "terrazzo", "precompute", "sample", "--store", store]
            subprocess.run(command, check=True, capture_output=True, text=True)
            (base / "sample.done").touch()
    return store


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Notes what the tests with real clients found, for the table in docs/clients.md."""
    from tests.clients.table import name_of, note

    found = {
        name_of(report.nodeid): outcome
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if "tests/clients/" in report.nodeid or "test_stac.py" in report.nodeid
    }
    if found:
        note(found)
