"""The map page follows: what replaces a first look, late answers, cards that are open while the picture changes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import ENVIRONMENT, serving
from tests.server.test_serve import publish
from tests.server.versions import SECOND, publish_second

pytestmark = [pytest.mark.clients, pytest.mark.needs("Chromium")]


@pytest.fixture(scope="module")
def seen(browser, address, sample_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("follow")
    made, store = folder / "made", folder / "store"
    shutil.copytree(sample_store, made)
    first = json.loads((made / "mosaics/mosaic/mosaic.json").read_text())["terrazzo:version"]
    publish_second(made, 9)
    store.mkdir()
    with serving(store, folder / "cache", TERRAZZO_FOLLOW="0.1", TERRAZZO_LIVE=str(sample_store)) as live:
        command = [browser[0], Path(__file__).with_name("follow.mjs"), f"{address}/", f"{live}/", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            assert json.loads(process.stdout.readline()) == {"before": first}
            # As `precompute` does: a folder without it that holds anything is no store.
            shutil.copy(made / "store.json", store)
            publish(made, store)
            told = json.loads(process.stdout.readline())
    return told


def test_what_replaces_a_first_look_is_shown_without_a_blank_frame(seen):
    assert seen["problems"] == []
    assert seen["after"] == [SECOND]
    assert seen["frames"] > 0
    assert seen["blank"] == 0


def test_a_day_that_is_let_go_leads_back_to_the_period_before(seen):
    assert seen["unpicked"] == "2023-08-10/2023-08-14"


def test_a_late_answer_to_an_older_question_changes_nothing(seen):
    assert seen["late"] == ["2023-08-15", "2023-08-18", "2023-08-20"]


def test_open_cards_tell_of_the_picture_that_is_shown(seen):
    assert seen["ends"] == [-0.2, 0.9]
    # Whoever changes the picture keeps the menu.
    assert (seen["focus"], seen["focused"]) == ("style", "mosaic")
