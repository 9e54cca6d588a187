"""A damaged store: what can be read is shown, what cannot is named, and nobody keeps an answer that lacks something."""

import shutil

import morecantile
import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.store import Store

TILE = morecantile.tms.get("WebMercatorQuad").tile(15.7, 46.0, 11)
ADDRESS = f"/mosaics/mosaic/tiles/WebMercatorQuad/{TILE.z}/{TILE.x}/{TILE.y}"
POINT = "/mosaics/mosaic/point/15.7,46.0"


@pytest.fixture
def store(sample_store, tmp_path):
    """A copy of the sample's store."""
    return Store(shutil.copytree(sample_store, tmp_path / "store"))


def served(store, **settings):
    return TestClient(
        create_app(Settings(store=store.url, follow=0, **settings)), raise_server_exceptions=False
    )


def cut_off(store, key):
    store.write_bytes(key, store.read_bytes(key)[:-20])


def keys(store, ending):
    return [k for k in store.list() if k.endswith(ending)]


def test_a_tile_whose_gains_are_damaged_names_the_scenes_it_lacks(store):
    for damage in (cut_off, Store.delete, lambda s, k: s.write_bytes(k, bytes(len(s.read_bytes(k))))):
        key = keys(store, "gains/all/33TWL.npy")[0]
        whole = store.read_bytes(key)
        damage(store, key)
        with served(store) as client:
            answer = client.get(f"{ADDRESS}.png")
            assert answer.status_code == 200
            assert "33TWL" in answer.headers["x-terrazzo-problems"]
            assert answer.headers["cache-control"] == "no-store"
            assert client.get(f"{ADDRESS}.png?normalize=off").headers.get("x-terrazzo-problems") is None
        store.write_bytes(key, whole)


def test_raw_values_of_damaged_corrections_are_named(store):
    for key in keys(store, "correction.npz"):
        store.write_bytes(key, store.read_bytes(key)[:100])
    with served(store) as client:
        answer = client.get(f"{ADDRESS}.png?stage=raw")
        assert answer.status_code == 200
        assert "correction.npz is cut off or damaged" in answer.headers["x-terrazzo-problems"]


def test_a_point_says_which_scene_it_could_not_read(store):
    with served(store) as client:
        shown = client.get(POINT).json()
    key = next(k for k in keys(store, "/B04.tif") if f"/{shown['scene']}/" in k)
    data = bytearray(store.read_bytes(key))
    for place in range(4096, len(data), 512):
        data[place] ^= 4
    store.write_bytes(key, bytes(data))
    with served(store) as client:
        other = client.get(f"{POINT}?bands=B04").json()
        assert other["scene"] != shown["scene"]
        assert any(shown["scene"] in p for p in other["problems"])


@pytest.mark.parametrize("name", ["lock.json", "scenes.parquet", "cells.parquet"])
def test_a_version_with_a_damaged_table_is_refused_whole_and_says_which(store, name):
    key = keys(store, name)[0]
    data = bytearray(store.read_bytes(key))
    data[len(data) // 2] ^= 1
    store.write_bytes(key, bytes(data))
    with served(store) as client:
        answer = client.get(f"{ADDRESS}.png")
        assert answer.status_code == 503
        assert name in answer.json()["detail"]
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["failed"] == ["mosaic"]


def test_a_store_that_goes_away_takes_no_map_away(store, tmp_path):
    with served(store) as client:
        before = client.get(f"{ADDRESS}.png")
        away = store.root.rename(tmp_path / "away")
        store.root.mkdir()
        again = client.get(f"{ADDRESS}.png")
        assert again.status_code == 200
        assert again.headers["etag"] == before.headers["etag"]
        store.root.rmdir()
        away.rename(store.root)
        assert client.get("/readyz").status_code == 200
        # A mosaic that was removed is gone, other than one whose disk is away.
        store.drop("mosaics/mosaic", first="mosaic.json")
        assert client.get(f"{ADDRESS}.png").status_code == 404


def test_readiness_is_that_a_pixel_can_be_read(store):
    with served(store) as client:
        assert client.get("/readyz").json() == {"status": "ready", "mosaics": ["mosaic"]}
    for key in keys(store, ".tif"):
        if key.startswith("scenes/"):
            store.write_bytes(key, b"")
    with served(store) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "mosaic: " in answer.json()["detail"]


def test_a_damaged_pyramid_leaves_low_zooms_to_the_scenes_and_says_so(store):
    low = f"/mosaics/mosaic/tiles/WebMercatorQuad/8/{TILE.x >> 3}/{TILE.y >> 3}.png"
    key = keys(store, "pyramid/pyramid.json")[0]
    store.write_bytes(key, store.read_bytes(key)[:-9])
    with served(store) as client:
        answer = client.get(low)
        assert answer.status_code == 200
        assert "pyramid.json is" in answer.headers["x-terrazzo-problems"]
        assert "x-terrazzo-problems" not in client.get(f"{ADDRESS}.png").headers
