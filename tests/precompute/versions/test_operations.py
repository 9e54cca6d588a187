"""Operations on files fail one at a time, at the level of the operating system; `tests/world/operations.py` says how."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.needs("cc")]
EVERY = 61
"""A sample: the ten commands have some 5,000 operations."""


def test_any_operation_on_files_may_fail_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.operations", tmp_path / "w", "--every", str(EVERY)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    tried, passed = map(int, re.search(r"(\d+) tried, (\d+) passed", done.stdout).groups())
    assert tried == passed > 30
