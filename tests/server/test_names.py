"""Names of mosaics are ASCII wherever one can be given; their titles may have any letters, and every endpoint shows them."""

import logging
import shutil
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from lxml import etree

from terrazzo.cli import cli
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from tests.golden.make import STORE
from tests.server.interfaces import BOX, FEATURE, LAT, LON, TILE

NAME, TITLE = "wälder-лес", "Zürcher Wälder – Лес 森林 <&>"
LIST = ["/mosaics", "/stac", "/readyz", "/mosaics/mosaic", "/"]
ENDPOINTS = [
    *(
        "",
        "/WebMercatorQuad/tilejson.json",
        "/gdal.xml",
        "/wmts/1.0.0/WMTSCapabilities.xml",
        "/scenes",
        "/exports",
    ),
    *(
        f"/tiles/WebMercatorQuad/{TILE.z}/{TILE.x}/{TILE.y}.png",
        f"/point/{LON},{LAT}",
        f"/explain/{LON},{LAT}",
    ),
    *(f"/bbox/{','.join(map(str, BOX))}/8x8.tif"),
]


@pytest.fixture(scope="module")
def titled(tmp_path_factory):
    """The golden mosaic with a title of many scripts, and beside it one whose folder has such a name."""
    store = tmp_path_factory.mktemp("titled") / "store"
    shutil.copytree(STORE, store)
    (store / "mosaics" / "mosaic" / "mosaic.toml").write_text(f"title = '{TITLE}'\n", encoding="utf-8")
    done = CliRunner().invoke(cli, ["publish", "--store", str(store), "--force"])
    assert done.exit_code == 0, done.output
    shutil.copytree(store / "mosaics" / "mosaic", store / "mosaics" / NAME)
    return store


@pytest.fixture(scope="module")
def http(titled):
    settings = Settings(store=str(titled), state=titled.parent / "state")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_interface_answers_for_a_name_outside_ascii_and_each_says_what_names_are(http, endpoint):
    answer = http.get(f"/mosaics/{quote(NAME)}{endpoint}")
    assert answer.status_code == 404, answer.text
    assert "letters a to z" in answer.text


def test_orders_for_such_a_name_are_refused_and_lists_leave_it_out(http, caplog):
    with caplog.at_level(logging.WARNING):
        assert [quote(NAME) in t or NAME in t for t in (http.get(p).text for p in LIST)] == [False] * len(
            LIST
        )
    here = f"/mosaics/{quote(NAME)}"
    answers = [
        http.post(f"{here}/exports", json={"bbox": list(BOX)}),
        http.post(f"{here}/statistics", json=FEATURE),
        http.post(f"{here}/exports/statistics", json={"features": [FEATURE]}),
    ]
    assert [a.status_code for a in answers] == [404] * 3
    assert sum("rename its folder" in r.message for r in caplog.records) <= 1


@pytest.mark.parametrize(
    "command",
    [
        ["precompute", "sample"],
        ["publish"],
        ["export", "--bbox", "15.9,45.7,16,45.8", "-o", "a.tif"],
        ["versions"],
        ["exclude", "S2A", "--reason", "x"],
    ],
)
def test_no_command_makes_or_opens_a_mosaic_of_such_a_name(titled, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [*command, "--store", str(titled), "--mosaic", "größe"])
    assert done.exit_code != 0
    assert "letters a to z" in done.output
    assert not (titled / "mosaics" / "größe").exists()


def test_a_title_of_any_letters_stands_in_every_interface(http):
    assert http.get("/mosaics/mosaic").json()["title"] == TITLE
    assert [c["title"] for c in http.get("/mosaics").json()["collections"]] == [TITLE]
    assert TITLE in http.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json").json()["name"]
    root = etree.fromstring(http.get("/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml").content)
    titles = root.xpath("//*[local-name()='Layer']/*[local-name()='Title']/text()")
    assert any(TITLE in t for t in titles)
    picture = http.get(f"/mosaics/mosaic/bbox/{','.join(map(str, BOX))}/8x8.tif")
    assert picture.status_code == 200
    picture.headers["content-disposition"].encode("ascii")
