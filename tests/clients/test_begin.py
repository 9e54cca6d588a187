"""The map of an empty store in Chromium: a box and dates become commands to copy, which the command line takes."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from terrazzo.cli import cli
from tests.clients.conftest import ENVIRONMENT, serving
from tests.server.test_serve import publish

pytestmark = [pytest.mark.clients, pytest.mark.needs("Chromium")]


@pytest.fixture(scope="module")
def seen(browser, sample_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("begin")
    (folder / "store").mkdir()
    with serving(folder / "store", folder / "cache", TERRAZZO_FOLLOW="0.1") as own:
        command = [browser[0], Path(__file__).with_name("begin.mjs"), f"{own}/", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            json.loads(process.stdout.readline())
            publish(sample_store, folder / "store")
            told = json.loads(process.stdout.readline())
    return told


def test_a_box_and_days_become_commands_that_the_command_line_takes(seen):
    assert seen["problems"] == [p for p in seen["problems"] if "503" in p]
    assert seen["before"] == ["Draw or write a box: west is less than east, south less than north.", []]
    west, east, south, north = seen["drawn"]
    # Within the box that was written before.
    assert 24.4 < west < east < 25.6
    assert 59.8 < south < north < 60.6
    for name, line in zip(("live", "get"), seen["commands"], strict=True):
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("terrazzo", name)
        asked = cli.get_command(None, name).make_context(name, arguments).params
        assert tuple(asked["bbox"]) == (west, south, east, north)
        assert (asked["when"], asked["store"]) == ("2025-07-01/2025-07-31", "STORE")
    # 30 km² need 6 × 5 of a tile's windows of 5.12 km: a twelfth of 0.7 GB, or less.
    size = re.fullmatch(r"\d+ × \d+ km\. About (\d+) MB a date; .*: \d+ MB to \d+ MB\..*", seen["size"])
    assert size, seen["size"]
    assert 20 <= int(size[1]) <= 80
    assert seen["middle"] != seen["drawn"]
    left, right, bottom, top = seen["middle"]
    assert 24 < left < right < 26
    assert 59 < bottom < top < 61
    text, commands = seen["wrong"]
    assert "first is not after the last" in text
    assert commands == []


def test_the_page_starts_nothing_itself(seen):
    assert set(seen["asked"]) == {"GET"}
    assert "terrazzo precompute SOURCE" in seen["said"]


def test_the_map_is_usable_on_a_phone_and_with_assistance(seen):
    assert seen["wide"] <= 390
    assert seen["free"] >= 0.5
    assert {name: found for name, found in seen["findings"].items() if found} == {}
    assert seen["passed"] > 10


def test_the_first_mosaic_takes_the_place_of_the_choice(seen):
    begin, menus, title = seen["after"]
    assert (begin, menus) == (False, True)
    assert "August 2023" in title
