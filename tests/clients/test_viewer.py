"""The map page in Chromium: switches, link, phone, errors that people can see."""

import json
from pathlib import Path

import pytest

from tests.clients.conftest import green

pytestmark = pytest.mark.clients


def test_the_switches_the_link_and_the_errors_of_the_map_work(browser, address, tmp_path):
    seen = json.loads(green([browser[0], Path(__file__).with_name("viewer.mjs"), f"{address}/", tmp_path]))
    assert seen["first"]
    assert seen["off"]
    assert seen["stage"] == "merged"
    assert "stage=mask" in seen["link"]
    assert seen["linked"] == "mask"
    assert "mask" in seen["point"]
    assert "Copernicus" in seen["attribution"]
    assert seen["fits"]
    assert seen["wide"] <= 390
    assert "too many requests wait" in seen["told"]
    assert seen["problems"] == []
