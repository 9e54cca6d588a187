"""The map page in Chromium: switches, accounts of pixels, play, swipe, link, keyboard, phone, errors that people can see."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import ENVIRONMENT, green, serving
from tests.server.test_serve import publish

pytestmark = [pytest.mark.clients, pytest.mark.needs("Chromium")]
CONTROLS = {"mosaic", "datetime", "style", "stage", "compare", "side", "explain"}
"""Those in use when the mask is shown: method and normalization are not."""


def test_every_control_of_the_map_works_with_keys_on_a_phone_and_from_a_link(browser, address, tmp_path):
    seen = json.loads(green([browser[0], Path(__file__).with_name("viewer.mjs"), f"{address}/", tmp_path]))
    assert seen["problems"] == []
    assert seen["first"]
    assert seen["still"]
    assert seen["off"]
    assert seen["stage"] == "merged"
    assert "left out" in seen["told"]
    assert "2023-08-" in seen["told"]
    assert "Surface reflectance" in seen["page"]
    assert seen["formula"]
    assert "mask" in seen["right"]
    assert "Copernicus" in seen["attribution"]
    assert set(seen["reached"]) >= CONTROLS | {"Border between the left and the right state"}
    assert seen["linked"] == ["merged", "all, mask", "60"]
    assert "scenes" in seen["middle"]
    assert seen["fits"]
    assert seen["wide"] <= 375
    assert seen["played"] == ["2023-08-10/2023-08-14", "2023-08-15/2023-08-20"]
    assert seen["paused"] == "false"
    assert seen["changed"]
    assert "Compared with 2023-08-1" in seen["compared"]
    assert "change" in seen["compared"]
    assert seen["incomparable"]
    assert not seen["mask"]
    assert "too many requests wait" in seen["trouble"]
    assert seen["patient"] == [True, True, True]
    assert seen["quota"] == 1


@pytest.mark.parametrize("can_export", [True, False])
def test_the_map_says_how_a_store_is_filled_shows_the_first_mosaic_and_offers_what_there_is(
    browser, sample_store, tmp_path, can_export
):
    store, state = tmp_path / "store", tmp_path / "state"
    store.mkdir()
    (tmp_path / "file").touch()
    variables = {"TERRAZZO_STATE": str(state if can_export else tmp_path / "file" / "state")}
    with serving(store, tmp_path / "cache", TERRAZZO_FOLLOW="0.1", **variables) as address:
        command = [browser[0], Path(__file__).with_name("waiting.mjs"), f"{address}/"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            assert "terrazzo precompute SOURCE" in json.loads(process.stdout.readline())["said"]
            publish(sample_store, store)
            seen = json.loads(process.stdout.readline())
    assert seen == {"said": "", "mosaics": ["mosaic"], "exports": can_export}
