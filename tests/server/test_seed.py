"""`terrazzo seed`: what it makes is what the server serves; what is there is left."""

import json
import shutil
import subprocess

import pytest

from tests.server.test_load import fetched
from tests.server.test_serve import TERRAZZO, serving
from tests.waiting import PATIENCE

BOX = ["--bbox", "15.5", "45.75", "16.0", "46.0"]


def seed(store, cache, *options):
    command = [TERRAZZO, "seed", "--store", store, "--cache-dir", cache, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE)


def made(run):
    assert run.returncode == 0, run.stderr
    words = run.stdout.splitlines()[-1].split()
    return int(words[2]), int(words[5])


def test_seeded_tiles_are_hits_and_a_second_run_finds_them(sample_store, tmp_path):
    first = made(seed(sample_store, tmp_path, *BOX, "--zooms", "10-11"))
    assert first[0] > 3
    assert made(seed(sample_store, tmp_path, *BOX, "--zooms", "10-11")) == (0, first[0])
    with serving(sample_store, "--cache-dir", str(tmp_path)) as (_, address):
        answer = fetched(address, "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png")
        assert answer[1]["x-cache"] == "hit"


def test_of_a_new_version_only_what_changed_is_made(sample_store, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(sample_store, store)
    first = made(seed(store, tmp_path, *BOX, "--zooms", "11"))
    mosaic = store / "mosaics/mosaic"
    old = next((mosaic / "versions").iterdir()).name
    shutil.copytree(mosaic / "versions" / old, mosaic / "versions/abcdefabcdef")
    document = json.loads((mosaic / "mosaic.json").read_text())
    (mosaic / "mosaic.json").write_text(json.dumps(document | {"terrazzo:version": "abcdefabcdef"}))
    again = seed(store, tmp_path, *BOX, "--zooms", "11")
    assert "abcdefabcdef" in again.stdout
    assert made(again) == (0, first[0])


@pytest.mark.parametrize(("option", "told"), [(["--zooms", "x"], "8-12"), (["--zooms", "12"], "zooms 0 to 11"), (["--zooms", "8", "--query", "style=no"], "style=no")])  # fmt: skip
def test_a_wrong_option_is_answered_with_what_to_do(sample_store, tmp_path, option, told):
    run = seed(sample_store, tmp_path, *option)
    assert run.returncode != 0
    assert told in run.stderr
    assert "Traceback" not in run.stderr
