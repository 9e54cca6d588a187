"""What all tests share: outside data, missing programs, steady hypothesis, and the sample area precomputed once."""

import fcntl
import os
import shutil
import subprocess
import sys
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


def missing(reason: str) -> None:
    """Skips a test on a laptop that lacks a program or data; on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def program(name: str, package: str) -> str:
    """Path of an external program, or a skip that tells how to install it."""
    found = shutil.which(name)
    if not found:
        missing(f"{name} is not installed: apt-get install {package}")
    return str(found)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with data and clients that only the tests need."""
    folder = Path(os.environ.get("TERRAZZO_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        missing(f"no test data at {folder}: set TERRAZZO_SHARED")
    return folder


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
