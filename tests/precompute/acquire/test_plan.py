"""What a mosaic would take, by the metadata of a real STAC API; no product is touched."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.world.archive import Archive

pytestmark = pytest.mark.clients
Told = Callable[..., dict]
AREA = "bounds = [15.3, 45.0, 16.7, 46.6]\n"
PERIODS = """
[[periods]]
name = "first"
start = 2023-08-01
end = 2023-08-14

[[periods]]
name = "second"
start = 2023-08-15
end = 2023-08-31
"""


@pytest.fixture
def told(archive: Archive, terrazzo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Told:
    """What the command tells of a mosaic.toml; its S3 server is none."""

    def run(text: str, *options: object) -> dict:
        config = tmp_path / "mosaic.toml"
        config.write_text(text)
        done = terrazzo(
            "plan", config, "--archive", archive.stac, *options, "--json", s3="http://127.0.0.1:9"
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


FOUR = ("--bands", "B02,B03,B04,B08", "--until-clear", 0)


def test_scenes_are_counted_by_period_and_tile(told: Told) -> None:
    made = told(AREA + PERIODS, *FOUR)
    assert made["scenes"] == {"first": 4, "second": 6}
    assert made["tiles"] == {"33TWL": 5, "33TWM": 5}
    assert made["left_out"] == 0


def test_no_more_are_reckoned_than_it_takes_for_clear_observations(told: Told) -> None:
    made = told(AREA + PERIODS, "--bands", "B02,B03,B04,B08", "--until-clear", 1)
    assert 4 <= sum(made["tiles"].values()) < 10
    clear = told(AREA + PERIODS, *FOUR, "--max-cloud", 40)
    assert clear["scenes"] == {"first": 2, "second": 4}


def test_hours_and_bytes_follow_scenes_and_cores(told: Told) -> None:
    few = told(AREA, *FOUR, "--datetime", "2023-08-13", "--cores", 4)
    all_days = told(AREA, *FOUR, "--datetime", "2023-08", "--cores", 8)
    assert few["scenes"] == {"all": 2}
    assert all_days["scenes"] == {"all": 10}
    for made in (few, all_days):
        assert made["days"] == pytest.approx(made["cpu_hours"] / made["cores"] / 24)
        # 4 of the 5.5 band areas of ten bands, of tiles that are seen at most whole.
        scenes = sum(made["tiles"].values())
        assert 0.2 * scenes < made["stored"] / (1.3e9 * 4 / 5.5) <= scenes
        assert made["fetched"] > 0
    assert all_days["cpu_hours"] > 2 * few["cpu_hours"]


def test_a_mosaic_without_an_area_or_dates_is_refused_with_what_lacks(
    archive: Archive, terrazzo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    config = tmp_path / "mosaic.toml"
    for text, lack in ((PERIODS, "bounds ="), (AREA, "--datetime")):
        config.write_text(text)
        done = terrazzo("plan", config, "--archive", archive.stac)
        assert done.returncode != 0
        assert lack in done.stderr


def test_a_small_area_takes_parts_of_tiles_and_a_dry_run_says_that_it_estimates_them(
    told: Told, archive: Archive, terrazzo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    whole = told(AREA, *FOUR, "--datetime", "2023-08-13")
    part = told("bounds = [15.95, 45.75, 16.05, 45.85]\n", *FOUR, "--datetime", "2023-08-13")
    where = ("--bbox", 15.95, 45.75, 16.05, 45.85, "--datetime", "2023-08-13", *FOUR)
    dry = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert part["fetched"] < 0.3 * whole["fetched"]
    assert part["stored"] < 0.3 * whole["stored"]
    assert "of it estimated, parts by their area" in dry.stderr
