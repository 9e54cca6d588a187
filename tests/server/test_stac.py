"""Static STAC that pystac and pystac-client walk, OGC API – Tiles as conformance claims it, the landing page."""

import threading
import urllib.request

import pystac
import pystac_client
import pytest
import uvicorn
from fastapi.testclient import TestClient
from titiler.core.models.OGC import TileSet, TileSetList

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def address(sample_store):
    """Address of a server in this process, whose Items name their files."""
    settings = Settings(store=str(sample_store), assets_url="https://data.example.org/store")
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_pystac_walks_from_the_catalogue_to_every_scene(address):
    catalog = pystac.Catalog.from_file(f"{address}/stac")
    (mosaic,) = catalog.get_children()
    assert mosaic.id == "mosaic"
    (version,) = mosaic.get_children()
    assert version.id.startswith("mosaic-")
    items = list(version.get_items())
    assert len(items) == 10
    assert items[0].get_parent().id == version.id
    asset = items[0].assets["B04"]
    assert asset.href.startswith("https://data.example.org/store/scenes/33N/")
    assert asset.href.endswith("/B04.tif")


def test_what_pystac_reads_is_valid(address):
    """Core documents against the schemas that pystac brings along."""
    for path in ("/stac", "/mosaics/mosaic"):
        found = pystac.read_file(address + path)
        found.stac_extensions = []
        found.validate()


def test_pystac_client_walks_it_as_a_static_catalogue(address):
    client = pystac_client.Client.open(f"{address}/stac")
    assert client.id == "terrazzo"
    ids = {i.id for i in client.get_items(recursive=True)}
    assert len(ids - {"all-UTM33N"}) == 10
    assert [c.id for c in client.get_children()] == ["mosaic"]


def test_the_scenes_of_a_mosaic_come_from_its_collection(address):
    """By the link `items`, which pystac-client follows, and by `item` links, which pystac does."""
    collection = pystac_client.Client.open(f"{address}/").get_collection("mosaic")
    items = list(collection.get_items())
    assert len({i.id for i in items}) == len(items) == 10
    # pystac and pystac-client put an Item's own link elsewhere.
    again = collection.get_item(items[3].id)
    assert (again.properties, again.assets.keys()) == (items[3].properties, items[3].assets.keys())
    walked = pystac.Collection.from_file(f"{address}/collections/mosaic").get_items()
    assert {i.id for i in walked} == {i.id for i in items}


def test_items_name_no_file_unless_clients_can_read_it(client):
    features = client.get("/mosaics/mosaic/scenes").json()["features"]
    assert all(f["assets"] == {} for f in features)
    link = next(k for k in features[0]["links"] if k["rel"] == "self")
    assert client.get(link["href"]).json() == features[0]


def test_every_link_of_the_landing_page_answers(client):
    page = client.get("/", headers={"Accept": "application/json"}).json()
    assert page == client.get("/stac").json() == client.get("/?f=json").json()
    for link in page["links"]:
        answer = client.get(link["href"])
        assert answer.status_code == 200, link
        assert answer.headers["content-type"].split(";")[0] in (
            link["type"].split(";")[0],
            "application/json",
        )
    assert (
        client.get("/", headers={"Accept": "text/html,application/json"})
        .headers["content-type"]
        .startswith("text/html")
    )


def test_links_of_all_documents_follow_the_public_address(sample_store):
    settings = Settings(store=str(sample_store), public_url="https://eo.example.org/maps")
    with TestClient(create_app(settings)) as client:
        for path in (
            "/stac",
            "/mosaics",
            "/mosaics/mosaic",
            "/mosaics/mosaic/tiles",
            "/mosaics/mosaic/gdal.xml",
            "/mosaics/mosaic/wmts/time",
        ):
            text = client.get(path).text
            assert "https://eo.example.org/maps/mosaics" in text
            assert "testserver" not in text


def test_conformance_claims_what_is_there(client):
    claimed = client.get("/conformance").json()["conformsTo"]
    assert claimed == client.get("/stac").json()["conformsTo"]
    tiles = {c.rsplit("/", 1)[-1] for c in claimed if "ogcapi-tiles" in c}
    assert tiles == {"core", "tileset", "tilesets-list", "geodata-tilesets", "oas30", "png", "jpeg", "tiff"}
    listed = client.get("/mosaics/mosaic/tiles?style=infrared").json()
    TileSetList.model_validate(listed)
    for told in listed["tilesets"]:
        self_ = next(k["href"] for k in told["links"] if k["rel"] == "self")
        one = client.get(self_).json()
        TileSet.model_validate(one)
        scheme = next(k["href"] for k in one["links"] if k["rel"].endswith("tiling-scheme"))
        matrices = client.get(scheme).json()["tileMatrices"]
        limits = one["tileMatrixSetLimits"]
        assert [m["id"] for m in matrices] == [k["tileMatrix"] for k in limits]
        last = limits[-1]
        for link in (k for k in one["links"] if k["rel"] == "item"):
            href = link["href"].format(
                tileMatrix=last["tileMatrix"], tileRow=last["minTileRow"], tileCol=last["minTileCol"]
            )
            answer = client.get(href)
            assert answer.status_code == 200
            assert answer.headers["content-type"].split(";")[0] == link["type"].split(";")[0]
            assert "B08" in answer.headers["x-terrazzo-request"]


def test_a_version_reports_whether_it_is_the_current_one(client):
    child = next(k for k in client.get("/mosaics/mosaic").json()["links"] if k["rel"] == "child")
    told = client.get(child["href"]).json()
    assert told["deprecated"] is False
    assert next(k for k in told["links"] if k["rel"] == "latest-version")["href"] == child["href"]
    assert client.get("/mosaics/mosaic/versions/000000000000").status_code == 404
    assert client.get(child["href"] + "/scenes/none").status_code == 404


def test_the_address_is_open_to_scripts(address):
    with urllib.request.urlopen(f"{address}/stac", timeout=PATIENCE) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
