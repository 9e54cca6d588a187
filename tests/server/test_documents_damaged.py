"""Each kind of file of a store, damaged or gone while a server runs that has shown it, or before one starts.

Known truth are the answers of the same server before: an answer that names no problem is the same, byte by byte.
"""

import re
import shutil
from contextlib import contextmanager

import morecantile
import pytest
from fastapi.testclient import TestClient

from terrazzo.errors import StoreError
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from tests.chain import precompute
from tests.world.worlds import make_world

pytestmark = pytest.mark.slow
PLACE = (15.004, 46.048)
TILES = [morecantile.tms.get("WebMercatorQuad").tile(*PLACE, zoom) for zoom in (15, 11)]
PICTURES = [f"/mosaics/mosaic/tiles/WebMercatorQuad/{t.z}/{t.x}/{t.y}" for t in TILES]
PIXELS = [
    f"{PICTURES[0]}.png",
    f"{PICTURES[0]}.npy?normalize=off&method=median",
    f"{PICTURES[0]}.npy?stage=raw",
    f"{PICTURES[0]}.png?style=quality",
    f"{PICTURES[1]}.png",
    "/mosaics/mosaic/point/{},{}".format(*PLACE),
    "/mosaics/mosaic/bbox/15.001,46.046,15.005,46.049.npy",
    "/mosaics/mosaic/WebMercatorQuad/tilejson.json",
    "/mosaics/mosaic/wmts",
    "/mosaics",
    "/mosaics/mosaic/scenes",
    "/stac",
    "/healthz",
]
"""What was served goes on, whatever file is damaged."""
ABOUT = ["/mosaics/mosaic", "/mosaics/mosaic/seams", "/mosaics/mosaic/explain/{},{}".format(*PLACE)]
"""What is read anew from one document may be refused, with the reason, while that is damaged."""
STATED = ("/mosaics", "/mosaics/mosaic", "/mosaics/mosaic/explain/{},{}".format(*PLACE), "/stac")
"""What lists versions, mosaics and scenes, and says what became of each: no values."""
SEVERAL = 3
"""Scenes of which each has files of a kind; the first is damaged."""
KINDS = {
    "store.json": "store.json",
    "mosaic.json": "mosaics/mosaic/mosaic.json",
    "lock.json": "lock.json",
    "scenes.parquet": "scenes.parquet",
    "cells.parquet": "cells.parquet",
    "gains": "gains/all/33TWL.npy",
    "note of gains": "gains/all/33TWL.json",
    "index of the pyramid": "pyramid/pyramid.json",
    "raster of the pyramid": "32633/B04.tif",
    "report": "report.json",
    "mosaicjson": "mosaicjson.json",
    "Item": "item.json",
    "correction": "correction.npz",
    "mask": "mask.tif",
    "band": "B04.tif",
    "weight": ".tif",
    "note of a weight": ".json",
}
NAMED = re.compile(r'"problems": ?\[[^\]]')
SCENES = ("Item", "correction", "mask", "band")
DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]
    ),
    "missing": None,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    base = tmp_path_factory.mktemp("documents")
    make_world(base / "p", seed=5, dates=SEVERAL, size=(96, 96))
    precompute(base / "p", base / "s")
    return base / "s"


def damaged_file(store, kind):
    """The first file of a kind."""
    among = (
        store / "mosaics/mosaic/weights"
        if "weight" in kind
        else store / "scenes"
        if kind in SCENES
        else store
    )
    return next(p for p in sorted(among.rglob("*")) if p.as_posix().endswith(KINDS[kind]))


@contextmanager
def served(store):
    with TestClient(
        create_app(Settings(store=str(store), follow=0)), raise_server_exceptions=False
    ) as client:
        yield client


def problems(answer):
    """Whether an answer names what it lacks."""
    return "x-terrazzo-problems" in answer.headers or NAMED.search(answer.text) is not None


@pytest.fixture(scope="module")
def truth(world):
    with served(world) as client:
        found = {path: client.get(path) for path in PIXELS + ABOUT}
    assert {p: a.text[:200] for p, a in found.items() if a.status_code != 200} == {}
    assert not any(problems(a) for a in found.values())
    return {path: a.content for path, a in found.items()}


def wrong(client, truth, *, runs, gone):
    """What is not as it must be.

    Args:
        runs: whether the server had served all before.
        gone: whether the mosaic is there no more.
    """
    for path, before in truth.items():
        answer = client.get(path)
        refused = answer.status_code == 503 and answer.json()["detail"]
        if answer.status_code == 200:
            if answer.content != before and path not in STATED and not problems(answer):
                yield f"{path}: another answer, without a word"
        elif not (gone and answer.status_code == 404) and (not refused or (runs and path in PIXELS)):
            yield f"{path}: {answer.status_code} {answer.text[:150]}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_shows_nothing_wrong_and_takes_nothing_else_away(world, truth, tmp_path, kind):
    seen = []
    for name, damage in DAMAGES.items():
        store = shutil.copytree(world, tmp_path / name)
        path = damaged_file(store, kind)
        gone = damage is None and kind in ("mosaic.json", "store.json", "lock.json")
        with served(store) as client:
            assert client.get(PIXELS[0]).content == truth[PIXELS[0]]
            if damage is None:
                path.unlink()
            else:
                path.write_bytes(damage(path.read_bytes()))
            seen += [f"{name}, running: {w}" for w in wrong(client, truth, runs=True, gone=gone)]
        try:
            with served(store) as client:
                seen += [f"{name}, at start: {w}" for w in wrong(client, truth, runs=False, gone=gone)]
        except StoreError as error:
            seen += [] if kind == "store.json" in error.whole else [f"{name}, at start: {error}"]
    assert not seen, "\n".join(seen)
