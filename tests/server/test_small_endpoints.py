"""Addresses that other programs fill in: tiles of a day for time sliders, layers for QGIS, and the entry of an imagery index for map editors."""

import logging
from urllib.parse import parse_qs

import pytest
from fastapi.testclient import TestClient
from lxml import etree

from terrazzo.server.app import create_app
from terrazzo.server.keys import Keys
from terrazzo.server.settings import Settings
from tests.golden.make import STORE

TILES = "/mosaics/mosaic/tiles/WebMercatorQuad"


@pytest.mark.parametrize("day", ["2023-08-15", "2023-08", "2023-08-10"])
def test_a_tile_of_a_day_in_the_path_is_the_one_of_the_parameter(client, day):
    by_path = client.get(f"{TILES}/{day}/11/1113/728.png?style=infrared")
    by_query = client.get(f"{TILES}/11/1113/728.png?style=infrared&datetime={day}")
    assert by_path.status_code == 200
    assert by_path.content == by_query.content
    assert by_path.headers["etag"] == by_query.headers["etag"]


def test_a_day_that_is_none_or_named_twice_is_refused(client):
    assert "lies in no period" in client.get(f"{TILES}/2022-08-15/11/1113/728.png").json()["detail"]
    twice = client.get(f"{TILES}/2023-08-15/11/1113/728.png?datetime=2023-08-15")
    assert (twice.status_code, "names the time" in twice.text) == (400, True)


def test_a_map_editor_learns_where_the_tiles_are(client):
    entry = client.get("/mosaics/mosaic/imagery-index.json").json()
    about = entry["properties"]
    assert about["attribution"] == {
        "text": "Contains modified Copernicus Sentinel data 2023",
        "required": True,
    }
    assert (about["start_date"], about["end_date"], about["type"]) == ("2023-08-10", "2023-08-20", "tms")
    address = about["url"].replace("{zoom}", "11").replace("{x}", "1113").replace("{y}", "728")
    assert client.get(address).headers["content-type"] == "image/png"
    (ring,) = entry["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] == [14.9997403, 45.6992507]


def test_a_layer_definition_has_a_layer_of_tiles_for_each_period(tmp_path):
    """QGIS itself opens it in tests/clients."""
    key = Keys(tmp_path).add("survey", ["tiles"])
    with TestClient(create_app(Settings(store=str(STORE), state=tmp_path, protect=("tiles",)))) as client:
        asked = {"style": "ndvi", "datetime": "2023-08-03", "api_key": key}
        answer = client.get("/mosaics/mosaic/layers.qlr", params=asked)
        assert answer.headers["content-disposition"] == 'attachment; filename="mosaic.qlr"'
        root = etree.fromstring(answer.content)
        (about,) = client.get("/mosaics", params={"api_key": key}).json()["collections"]
        names = [p["name"] for p in about["terrazzo:periods"]]
        assert root.xpath("//layer-tree-layer/@name") == root.xpath("//layername/text()") == names
        assert root.xpath("//layer-tree-layer/@source") == root.xpath("//datasource/text()")
        assert root.xpath("//layer-tree-layer/@id") == root.xpath("//maplayer/id/text()")
        assert root.xpath("//start/text()") == [f"{p['start']}T00:00:00Z" for p in about["terrazzo:periods"]]
        for name, source in zip(names, root.xpath("//datasource/text()"), strict=True):
            url = parse_qs(source)["url"][0]
            # Each layer has the days of its own period, whatever was asked for.
            assert parse_qs(url.partition("?")[2]) == {
                "style": ["ndvi"],
                "datetime": [name],
                "api_key": [key],
            }
            tile = url.replace("{z}", "14").replace("{x}", "8874").replace("{y}", "5825")
            assert client.get(tile).headers["content-type"] == "image/png"
        refused = client.get("/mosaics/mosaic/layers.qlr", params={**asked, "style": "none"})
        assert refused.status_code == 400


def test_a_map_editor_with_a_key_gets_addresses_that_it_opens(tmp_path):
    key = Keys(tmp_path).add("editor", ["tiles"])
    with TestClient(create_app(Settings(store=str(STORE), state=tmp_path, protect=("tiles",)))) as client:
        entry = client.get("/mosaics/mosaic/imagery-index.json", params={"api_key": key}).json()
        address = entry["properties"]["url"]
        tile = address.replace("{zoom}", "14").replace("{x}", "8874").replace("{y}", "5825")
        assert client.get(tile).status_code == 200
        assert client.get(tile.partition("?")[0]).status_code == 401


def test_a_search_for_a_version_that_never_was_is_no_error_of_the_store(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with TestClient(create_app(Settings(store=str(STORE), state=tmp_path))) as client:
        answer = client.get("/search?collections=mosaic-0123456789ab").json()
    assert answer["features"] == []
    assert answer["problems"][0].startswith("mosaic-0123456789ab: ")
    (line,) = [r for r in caplog.records if "is left out" in r.getMessage()]
    assert line.levelno == logging.INFO
