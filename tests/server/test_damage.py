"""A damaged store: what can be read is shown, what cannot is named, and nobody keeps an answer that lacks something."""

import io
import json
import shutil

import morecantile
import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient

from terrazzo.bands import NODATA
from terrazzo.checks import CHECK
from terrazzo.correction import read_correction
from terrazzo.errors import Damaged, ReadFailure
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import Bounds
from terrazzo.mosaic import blocks, handles
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.index import Cog
from terrazzo.mosaic.mads import mads
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.zone import DAMAGED
from terrazzo.scene import CORRECTION
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.golden.make import STORE

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


def test_bands_under_each_others_names_are_named_and_not_read(tmp_path):
    store = Store(shutil.copytree(STORE, tmp_path / "golden"))
    key = keys(store, "B04.tif")[0]
    Cog(store, key)
    store.write_bytes(key, store.read_bytes(key.replace("B04", "B08")))
    with pytest.raises(ReadFailure, match="it holds band B08"):
        Cog(store, key)


def test_files_of_another_scene_are_named_and_not_read(store):
    first, second = [e for e in open_version(store, "mosaic").entries("all") if e.scene.mgrs == "33TWL"][:2]
    pairs = [(first.scene.key(n), second.scene.key(n)) for n in ("B04.tif", "mask.tif", "score.tif")]
    for key, other in [*pairs, (first.weight_key, second.weight_key)]:
        Cog(store, key)
        store.write_bytes(key, store.read_bytes(other))
        with pytest.raises(ReadFailure, match=f"it belongs to {second.scene.id}"):
            Cog(store, key)
    data = store.read_bytes(second.scene.key(CORRECTION))
    assert read_correction(data, second.scene.key(CORRECTION)).bands
    with pytest.raises(Damaged, match=f"it belongs to {second.scene.id}"):
        read_correction(data, first.scene.key(CORRECTION))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"12", b'"a"', b"[" * 100_000, b"\xff\xfe\0"])
@pytest.mark.parametrize("name", ["mosaic.json", "lock.json"])
def test_a_document_that_is_none_is_named_and_the_other_mosaics_are_served(tmp_path, name, content):
    store = Store(shutil.copytree(STORE, tmp_path / "store"))
    shutil.copytree(tmp_path / "store/mosaics/mosaic", tmp_path / "store/mosaics/other")
    (key,) = (k for k in keys(store, f"/{name}") if k.startswith("mosaics/mosaic/"))
    store.write_bytes(key, content)
    with served(store) as client:
        answer = client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json")
        assert answer.status_code == 503
        assert "damaged" in answer.json()["detail"]
        assert client.get("/mosaics").status_code == 200
        assert client.get("/mosaics/other/WebMercatorQuad/tilejson.json").status_code == 200


@pytest.mark.parametrize("change", [{"bounds": 5}, {"periods": None}, {"bands": None}, {"mosaic_toml": []}])
def test_a_lock_that_makes_no_sense_is_named_and_the_other_mosaics_are_served(tmp_path, change):
    store = Store(shutil.copytree(STORE, tmp_path / "store"))
    shutil.copytree(tmp_path / "store/mosaics/mosaic", tmp_path / "store/mosaics/other")
    (key,) = (k for k in keys(store, "/lock.json") if "/mosaic/" in k)
    # A store of an earlier release has no checksums, which would tell.
    document = {k: v for k, v in json.loads(store.read_bytes(key)).items() if k != CHECK}
    (name,) = change
    for changed in ({**document, **change}, {k: v for k, v in document.items() if k != name}):
        store.write_bytes(key, json.dumps(changed).encode())
        with served(store) as client:
            answer = client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json")
            assert answer.status_code == 503, answer.text
            assert "mosaic mosaic" in answer.json()["detail"]
            assert client.get("/mosaics/other/WebMercatorQuad/tilejson.json").status_code == 200


@pytest.mark.parametrize("name", ["links", "summaries", "id"])
def test_a_collection_that_makes_no_sense_is_named(tmp_path, name):
    store = Store(shutil.copytree(STORE, tmp_path / "store"))
    key = "mosaics/mosaic/mosaic.json"
    document = {k: v for k, v in json.loads(store.read_bytes(key)).items() if k != CHECK}
    store.write_bytes(key, json.dumps({**document, name: 5}).encode())
    with served(store) as client:
        assert client.get("/mosaics/mosaic").status_code in (404, 503)
        assert client.get("/mosaics").status_code == 200
        assert client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json").status_code == 200


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


@pytest.mark.parametrize("style", ["style=sigma", "style=spread", "statistics"])
def test_what_compares_all_scenes_names_one_that_it_cannot_read(store, style):
    """The mosaic shows another scene there, so that the picture itself lacks nothing."""
    point = "/mosaics/mosaic/point/15.9,45.8?bands=B04&method=first"
    with served(store) as client:
        shown = client.get(point).json()["scene"]
    hidden = [e.scene for e in open_version(store, "mosaic").entries("all") if e.scene.id != shown]
    for scene in hidden:
        store.delete(scene.band_key("B04"))
    tile = morecantile.tms.get("WebMercatorQuad").tile(15.9, 45.8, 13)
    with served(store) as client:
        if style == "statistics":
            area = {"type": "Feature", "properties": {}, "geometry": box_around(15.9, 45.8)}
            answer = client.post("/mosaics/mosaic/statistics?bands=B04&method=first&sigma=on", json=area)
            problems = answer.json()["properties"]["problems"]
        else:
            answer = client.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/13/{tile.x}/{tile.y}.png?{style}")
            assert answer.headers["cache-control"] == "no-store"
            assert "etag" not in answer.headers
            problems = [answer.headers["x-terrazzo-problems"]]
    assert any(scene.id in p for scene in hidden for p in problems)


def box_around(lon, lat):
    ring = [[lon + x, lat + y] for x, y in ((0, 0), (0.004, 0), (0.004, 0.004), (0, 0.004), (0, 0))]
    return {"type": "Polygon", "coordinates": [ring]}


def test_an_export_names_scenes_that_its_comparison_lacks(store, tmp_path):
    version, area = open_version(store, "mosaic"), {"bbox": [15.9, 45.8, 15.905, 45.804], "method": "first"}
    done = list(export(Engine(version, Blocks()), parse_order(area, version), tmp_path / "a.tif"))[-1]
    hidden = [e.scene for e in version.entries("all") if e.scene.id not in done.scenes]
    for scene in hidden:
        store.delete(scene.band_key("B04"))
    done = list(
        export(
            Engine(version, Blocks()),
            parse_order({**area, "extras": "sigma"}, version),
            tmp_path / "b.tif",
        )
    )[-1]
    assert any(scene.id in p for scene in hidden for p in done.problems)


def test_deviations_that_lack_a_scene_are_not_remembered(store, monkeypatch):
    for module in (blocks, handles):
        monkeypatch.setattr(module, "FORGET", 0)
    version = open_version(store, "mosaic")
    engine = Engine(version, Blocks())
    target = Target("EPSG:4326", Bounds(15.9, 45.8, 15.905, 45.804), 40, 50)
    selection = engine.select(PixelRequest(("B04", "B08"), method="geomedian"))
    keys = [e.scene.band_key("B04") for e in engine.planner.shown(selection, target)]
    whole = {k: store.read_bytes(k) for k in keys}
    for key in keys:
        store.delete(key)
    lacking = mads(engine, selection, target)
    assert lacking.problems
    assert (lacking.values == NODATA).all()
    for key, content in whole.items():
        store.write_bytes(key, content)
    there = mads(engine, selection, target)
    assert there.problems == ()
    assert (there.values != NODATA).any()


def test_a_damaged_pyramid_leaves_low_zooms_to_the_scenes_and_says_so(store):
    low = f"/mosaics/mosaic/tiles/WebMercatorQuad/8/{TILE.x >> 3}/{TILE.y >> 3}.png"
    key = keys(store, "pyramid/pyramid.json")[0]
    store.write_bytes(key, store.read_bytes(key)[:-9])
    with served(store) as client:
        answer = client.get(low)
        assert answer.status_code == 200
        assert "pyramid.json is" in answer.headers["x-terrazzo-problems"]
        assert "x-terrazzo-problems" not in client.get(f"{ADDRESS}.png").headers


@pytest.mark.parametrize("method", ["first", "median"])
def test_pixels_for_which_a_damaged_scene_would_show_have_a_quality_bit(store, method):
    """Truth: the scene that showed at each pixel before, and for methods that take all scenes its weight there."""
    address = f"{ADDRESS}.npy?method={method}"

    def numbers(client, style):
        return np.load(io.BytesIO(client.get(f"{address}&style={style}").content))[0]

    with served(store) as client:
        before, sound = numbers(client, "scene"), numbers(client, "quality")
        assert not (sound[sound != NODATA] & DAMAGED).any()
    version = open_version(store, "mosaic")
    entries = version.entries(next(iter(version.periods)))
    number = int(np.bincount(before[before >= 0]).argmax())
    key = entries[number].scene.band_key("B04")
    store.write_bytes(key, store.read_bytes(key)[:4000])
    with served(store) as client:
        after, quality = numbers(client, "scene"), numbers(client, "quality")
    there = after != NODATA
    assert (after[there] != number).all()
    marked = quality[there] & DAMAGED > 0
    if method == "first":
        assert np.array_equal(marked, before[there] == number)
    assert marked[before[there] == number].all()
    assert 0 < marked.sum() < there.sum()


def test_the_quality_file_of_an_export_marks_where_a_damaged_scene_would_show(store, tmp_path):
    version = open_version(store, "mosaic")
    entry = version.entries(next(iter(version.periods)))[0]
    key = entry.scene.band_key("B04")
    store.write_bytes(key, store.read_bytes(key)[:4000])
    order = parse_order({"bbox": "15.69,46.0,15.71,46.01", "extras": "quality"}, version)
    *_, done = export(Engine(version, Blocks()), order, tmp_path / "a.tif")
    assert any(entry.scene.id in p for p in done.problems)
    with rasterio.open(tmp_path / "a_quality.tif") as file:
        assert (file.read(1) & DAMAGED).any()
