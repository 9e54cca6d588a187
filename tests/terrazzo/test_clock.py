"""Seconds that pass as time does, whatever the wall clock is set to."""

import json
import time

import pytest

from terrazzo.checks import document_bytes
from terrazzo.clock import MOST_UNSEEN, Look, SteadyClock, elapsed

DAY = 86_400.0


@pytest.mark.parametrize("jump", [-8 * DAY, 0.0, 8 * DAY])
def test_in_one_run_of_a_machine_the_wall_clock_counts_nothing(jump):
    assert elapsed(Look("a", 100, 1e9), Look("a", 160, 1e9 + jump)) == 60


@pytest.mark.parametrize(
    ("jump", "seconds"), [(-8 * DAY, 0.0), (0.0, 0.0), (3600.0, 3600.0), (8 * DAY, MOST_UNSEEN)]
)
def test_over_a_restart_the_wall_clock_counts_in_bounds(jump, seconds):
    assert elapsed(Look("a", 5000, 1e9), Look("b", 10, 1e9 + jump)) == seconds
    # Where the system does not name its runs, a smaller uptime tells of a restart.
    assert elapsed(Look("", 5000, 1e9), Look("", 10, 1e9 + jump)) == seconds


def test_all_who_name_the_file_count_together(tmp_path):
    first = SteadyClock(tmp_path / "clock.json").now()
    second = SteadyClock(tmp_path / "clock.json").now()
    assert 0 == first < second < 3600


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 40, b'{"look": [1]}', b"[1, 2]", b'{"look": ["a", 1, 2, 3]}']
)
def test_a_damaged_file_starts_again(tmp_path, content):
    (tmp_path / "clock.json").write_bytes(content)
    assert SteadyClock(tmp_path / "clock.json").now() == 0
    assert SteadyClock(tmp_path / "clock.json").now() > 0


def test_a_wall_clock_set_by_eight_days_since_the_last_look_counts_nothing(tmp_path):
    path = tmp_path / "clock.json"
    SteadyClock(path).now()
    seconds, boot, uptime, wall = json.loads(path.read_text())["look"]
    for jump in (-8 * DAY, 8 * DAY):
        path.write_bytes(document_bytes({"look": [seconds, boot, uptime, wall - jump]}))
        start = time.monotonic()
        assert SteadyClock(path).now() < 3600 + time.monotonic() - start
