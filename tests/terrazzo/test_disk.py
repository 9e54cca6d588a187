"""Disks that fail and stores that are read-only: every command says what to do, and none shows a traceback.

A library between the commands and the system's makes the files of the store fail, as the kernel would.
"""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from terrazzo.commands import COMMANDS
from tests.golden.make import STORE
from tests.world.operations import CHANGES, EACH, build

pytestmark = [pytest.mark.slow, pytest.mark.needs("cc")]
COMMAND = Path(sys.executable).parent / "terrazzo"
VERSION = next(p.name for p in (STORE / "mosaics/mosaic/versions").iterdir())
SCENE = next(p.name for p in (STORE / "scenes").glob("*/*/*"))
BOX = "14.35,45.81,14.36,45.82"
READING = {
    "versions": ("--store", "STORE"),
    "export": ("--store", "STORE", "--bbox", BOX, "-o", "OUT/a.tif"),
    "series": ("--store", "STORE", "--bbox", BOX, "--datetime", "2023-08-03/2023-08-04", "-o", "OUT/days"),
    "statistics": ("OUT/areas.geojson", "--store", "STORE", "-o", "OUT/a.csv"),
    "diff": (VERSION, VERSION, "--store", "STORE"),
    "seed": ("--store", "STORE", "--cache-dir", "OUT/cache", "--zooms", "10"),
    "serve": ("--store", "STORE", "--port", "0"),
    "work": ("--store", "STORE"),
    "film": ("--store", "STORE", "--bbox", BOX, "-o", "OUT/a.webp"),
    "rebuild": (f"STORE/mosaics/mosaic/versions/{VERSION}/lock.json", "OUT", "--store", "OUT/new"),
    "store": ("verify", "STORE"),
    "inspect": ("scene", SCENE, "--store", "STORE"),
    "plan": ("STORE/store.json",),
    "audit": ("STORE/store.json",),
    "get": ("--bbox", BOX, "--datetime", "2025-06", "-o", "OUT/a.tif", "--store", "STORE"),
    "acquire": ("--bbox", BOX, "--datetime", "2025-06", "--store", "STORE"),
    "watch": ("--bbox", BOX, "--datetime", "2025-06", "--store", "STORE"),
}
WRITING = {
    "precompute": ("sample", "--store", "STORE"),
    "demo": ("--store", "STORE", "--port", "0"),
    "publish": ("--store", "STORE"),
    "exclude": (SCENE, "--reason", "haze", "--store", "STORE"),
    "include": (SCENE, "--store", "STORE"),
    "pin": (VERSION, "--store", "STORE"),
    "unpin": (VERSION, "--store", "STORE"),
    "prune": ("--store", "STORE"),
    "store": ("upgrade", "STORE"),
    "keys": ("--store", "x", "--state", "STORE/state", "add", "Anna", "--scope", "tiles"),
}
ELSEWHERE = {"train", "mask", "mcp", "live", "warm"}
"""What reads no store itself: `mcp` asks a server, `live` runs commands that are tried here, `warm` compiles."""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("operations"))


@pytest.fixture
def run(library, tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    shutil.copytree(STORE, store)
    out.mkdir()
    (out / "areas.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon",'
        ' "coordinates": [[[14.35, 45.81], [14.36, 45.81], [14.36, 45.82], [14.35, 45.81]]]}}]}'
    )

    def run(name, arguments, number, under="", how=EACH):
        words = [a.replace("STORE", str(store)).replace("OUT", str(out)) for a in arguments]
        settings = {"LD_PRELOAD": str(library), "OPERATIONS": f"{how} {number} {store / under}"}
        # No proxy answers there: what goes to an archive all the same ends at once.
        settings |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        return subprocess.run(
            [COMMAND, name, *words],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


def told(done):
    """The one line a command says; nothing of the program itself."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_every_command_is_tried():
    assert {*READING, *WRITING, *ELSEWHERE} == set(COMMANDS)


@pytest.mark.parametrize("name", READING)
def test_a_disk_that_cannot_be_read_is_named_with_what_to_do(run, name):
    line = told(run(name, READING[name], errno.EIO))
    assert line.startswith("Error: ")
    assert "nput/output error" in line


@pytest.mark.parametrize("name", WRITING)
def test_a_store_that_is_read_only_is_named_with_what_to_do(run, name):
    line = told(run(name, WRITING[name], errno.EROFS, how=CHANGES))
    assert "Read-only file system" in line
    assert "give this user the right to it" in line


@pytest.mark.parametrize("under", ["scenes", "mosaics", "mosaics/mosaic/mosaic.json"])
@pytest.mark.parametrize("name", ["versions", "export", "series", "diff", "prune", "publish", "store"])
def test_a_part_of_a_store_that_cannot_be_read_shows_no_traceback(run, name, under):
    done = run(name, {**WRITING, **READING}[name], errno.EIO, under)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode in (0, 1, 3)
