"""What keeps an ETag keeps its bytes, and what has not changed keeps its ETag."""

import json
from datetime import timedelta

import morecantile
import pytest
from fastapi.testclient import TestClient

from terrazzo.bands import FOUR
from terrazzo.mosaic.selection import adjacent_periods
from terrazzo.server.app import create_app
from terrazzo.server.render import PICTURES
from terrazzo.server.settings import Settings
from terrazzo.store import StoreConfig, create_store
from tests.chain import precompute
from tests.golden.pictures import KNOWN, hashes
from tests.world.worlds import NORTH, make_world

WEB = morecantile.tms.get("WebMercatorQuad")
PERIODS = """
periods = [
 {name = "early", start = 2023-08-01, end = 2023-08-05},
 {name = "late", start = 2023-08-06, end = 2023-08-31},
]
parents = [{name = "both", members = ["early", "late"]}]
"""
QUERIES = ("png", "tif", "npy", *(f"png?style={n}" for n in ("scene", "date", "age", "count", "quality")))


def test_a_new_version_keeps_the_etags_of_what_did_not_change(tmp_path):
    """The second version has scenes of another place too, of the same days; `scene` numbers them all."""
    _, epsg, top, left = NORTH
    make_world(tmp_path / "here", seed=1, dates=2, size=(96, 96))
    make_world(tmp_path / "there", seed=2, dates=2, size=(96, 96), where=("33TXL", epsg, top, left + 60_000))
    first, _ = precompute(tmp_path / "here", tmp_path / "s", window=32, normalize=False)
    with TestClient(create_app(Settings(store=str(tmp_path / "s"), follow=0))) as client:
        tiles = [f"{t.z}/{t.x}/{t.y}" for t in WEB.tiles(*first.version.bounds, [13, 14])]
        before = {
            (t, q): client.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/{t}.{q}")
            for t in tiles
            for q in QUERIES
        }
        second, _ = precompute(
            [tmp_path / "here", tmp_path / "there"], tmp_path / "s", window=32, normalize=False
        )
        assert second.version.name != first.version.name
        for (tile, query), old in before.items():
            new = client.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/{tile}.{query}")
            assert old.status_code == new.status_code == 200
            assert (new.headers["etag"], new.content) == (old.headers["etag"], old.content), query
        assert second.version.name in new.headers["x-terrazzo-request"]


def test_a_predicted_days_layers_keep_no_etag_when_other_dates_come(tmp_path):
    """The second version has scenes of another place on more days: the order of all scenes, and the days, are others."""
    _, epsg, top, left = NORTH
    make_world(tmp_path / "here", seed=1, dates=2, size=(96, 96))
    make_world(tmp_path / "there", seed=2, dates=5, size=(96, 96), where=("33TXL", epsg, top, left + 60_000))
    first, _ = precompute(tmp_path / "here", tmp_path / "s", window=32, normalize=False)
    day = max(e.scene.datetime.date() for e in first.version.entries("all"))
    queries = [
        f"{name}&datetime={day - timedelta(days=n)}&fill=predict"
        for n, name in enumerate(("png?style=date", "npy?style=scene"))
    ]
    changed = set()
    with TestClient(create_app(Settings(store=str(tmp_path / "s"), follow=0))) as client:
        tiles = [f"{t.z}/{t.x}/{t.y}" for t in WEB.tiles(*first.version.bounds, [13, 14])]
        asked = [f"/mosaics/mosaic/tiles/WebMercatorQuad/{t}.{q}" for t in tiles for q in queries]
        before = {a: client.get(a) for a in asked}
        precompute([tmp_path / "here", tmp_path / "there"], tmp_path / "s", window=32, normalize=False)
        for address, old in before.items():
            new = client.get(address)
            assert old.status_code == new.status_code == 200
            if new.content != old.content:
                changed.add(address.rpartition(".")[2])
                assert new.headers["etag"] != old.headers["etag"]
    assert changed == set(queries)


def test_gaps_are_filled_from_periods_that_are_no_parents(tmp_path):
    """So new scenes of a parent change no key of its members' tiles, and a parent's hang on nothing but itself."""
    make_world(tmp_path / "p", seed=1, dates=2, size=(96, 96))
    create_store(tmp_path / "s", StoreConfig(10, 20, 32, FOUR)).write_bytes(
        "mosaics/mosaic/mosaic.toml", PERIODS.encode()
    )
    version = precompute(tmp_path / "p", tmp_path / "s", window=32)[0].version
    assert adjacent_periods(version, "early") == ["late"]
    assert adjacent_periods(version, "both") == []


def test_what_decides_how_a_picture_is_drawn_is_numbered():
    """Where this fails after a change that was meant: raise PICTURES and run `python -m tests.golden.pictures`."""
    assert json.loads(KNOWN.read_text()) == {"pictures": PICTURES, "hashes": hashes()}


@pytest.mark.parametrize("name", ["mask", "count"])
def test_the_number_of_pictures_is_part_of_each_key(sample_store, monkeypatch, name):
    address = f"/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png?{'stage=mask' if name == 'mask' else 'style=count'}"
    with TestClient(create_app(Settings(store=str(sample_store)))) as client:
        before = client.get(address).headers["etag"]
        monkeypatch.setattr("terrazzo.server.answer.PICTURES", PICTURES + 1)
        assert client.get(address).headers["etag"] != before
