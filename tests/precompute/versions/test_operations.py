"""Operations fail one at a time, at the level of the operating system and of HTTP; `benchmarks/operations.py` tries all."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
EVERY = 61
"""A sample: the ten commands have some 4,500 operations on files."""


def tried(*arguments):
    """How many were tried and passed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.operations", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return tuple(map(int, re.search(r"(\d+) tried, (\d+) passed", done.stdout).groups()))


@pytest.mark.needs("cc")
def test_any_operation_on_files_may_fail_once(tmp_path):
    count, passed = tried(tmp_path / "w", "--every", EVERY)
    assert count == passed > 60


@pytest.mark.clients
def test_any_request_to_an_object_store_may_fail_once(tmp_path):
    """Of the commands that a test can wait for: each trial of `precompute` takes most of a minute."""
    cases = ("publish an earlier version", "export", "exclude", "prune", "store upgrade")
    named = [part for name in cases for part in ("--case", name)]
    count, passed = tried(tmp_path / "w", "--requests", "--every", EVERY, *named)
    assert count == passed >= len(cases)
