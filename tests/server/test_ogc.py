"""OGC API – Common, Tiles and Maps: the rules of their executable and abstract test suites, walked from `/` by links alone."""

import io
import re
import shutil
from datetime import date
from urllib.parse import urlsplit

import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from schemathesis.specs.openapi.definitions import OPENAPI_30
from titiler.core.models.OGC import TileSet, TileSetList

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.server.stac import PERIODS
from tests.golden.make import STORE

TILES = "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf"
MAPS = "http://www.opengis.net/spec/ogcapi-maps-1/1.0/conf"
TILESETS = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-"
SCHEME = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    store = tmp_path_factory.mktemp("ogc") / "store"
    shutil.copytree(STORE, store)
    settings = Settings(
        store=str(store), tms=("WebMercatorQuad", "UTM33N", "EuropeanETRS89_LAEAQuad", "WorldCRS84Quad")
    )
    with TestClient(create_app(settings), headers=JSON) as client:
        yield client


@pytest.fixture(scope="module")
def landing(client):
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.json()


def linked(document, rel):
    """The links of a relation."""
    return [k for k in document["links"] if k["rel"] == rel]


def got(client, link):
    """The document behind a link, of the media type that the link names."""
    answer = client.get(link["href"])
    assert answer.status_code == 200, link
    if "type" in link:
        assert answer.headers["content-type"].split(";")[0] == link["type"].split(";")[0], link
    return answer.json()


@pytest.fixture(scope="module")
def lists(client, landing):
    """The lists of tile sets, of every collection."""
    (data,) = linked(landing, "data")
    links = [k for c in got(client, data)["collections"] for k in c["links"] if k["rel"].startswith(TILESETS)]
    assert links
    return [(k["href"], got(client, k)) for k in links]


@pytest.fixture(scope="module")
def sets(client, lists):
    """Every tile set, whole."""
    return [got(client, linked(t, "self")[0]) for _, found in lists for t in found["tilesets"]]


def test_the_landing_page_leads_to_everything(client, landing):
    """/req/landing-page/root-success; the suite asks with Accept: application/json."""
    for rel in ("self", "service-desc", "service-doc", "conformance", "data"):
        assert linked(landing, rel), rel
    for link in landing["links"]:
        assert client.get(link["href"], headers={"Accept": link["type"]}).status_code == 200


def test_the_conformance_is_declared_with_core(client, landing):
    """/conf/core/conformance-success, and what each class rests on."""
    (link,) = linked(landing, "conformance")
    claimed = set(got(client, link)["conformsTo"])
    assert claimed == set(landing["conformsTo"]) == set(client.get("/conformance").json()["conformsTo"])
    for name in ("core", "tileset", "tilesets-list", "geodata-tilesets", "oas30", "png", "jpeg", "tiff"):
        assert f"{TILES}/{name}" in claimed
    for name in ("core", "collection-map", "png", "jpeg"):
        assert f"{MAPS}/{name}" in claimed


def test_the_description_is_openapi_3_0_and_names_the_operations(client, landing):
    """/req/oas30/completeness and operation-id, with the media type that the suite looks for."""
    (link,) = [k for k in linked(landing, "service-desc") if k["type"] == OPENAPI]
    answer = client.get(link["href"], headers={"Accept": OPENAPI})
    assert (answer.status_code, answer.headers["content-type"]) == (200, OPENAPI)
    jsonschema.Draft4Validator(OPENAPI_30).validate(answer.json())
    assert client.get("/api").json() == answer.json()
    names = [o["operationId"] for p in answer.json()["paths"].values() for o in p.values()]
    assert len(names) == len(set(names))
    for suffix in (".map.getTile", ".map.getTileSet", ".map.getTileSetsList", ".getMap"):
        suffix = f".collection{suffix}"
        assert [n for n in names if n.endswith(suffix)], suffix


def test_each_collection_links_its_tile_sets_below_itself(client, landing, lists):
    """/req/geodata-tilesets/desc-links and operation."""
    listed = client.get("/collections").json()["collections"]
    # Those of periods hold Items of STAC, and no data of their own.
    for collection in (c for c in listed if not c["id"].endswith(PERIODS)):
        (link,) = [k for k in collection["links"] if k["rel"] == f"{TILESETS}map"]
        assert urlsplit(link["href"]).path == f"/collections/{collection['id']}/map/tiles"
        one = client.get(f"/collections/{collection['id']}")
        assert one.status_code == 200
        assert one.json()["id"] == collection["id"]
        west, south, east, north = one.json()["extent"]["spatial"]["bbox"][0]
        assert west < east
        assert south < north


def test_a_list_names_each_tile_set_and_all_its_links_answer(client, lists):
    """/req/tilesets-list/tileset-links; the suite follows every link of a list, so none is a template."""
    for address, document in lists:
        TileSetList.model_validate(document)
        assert document["tilesets"]
        for about in document["tilesets"]:
            assert about["dataType"] == "map"
            assert about["crs"].startswith("http://www.opengis.net/def/crs/")
            (self_,), (scheme,) = linked(about, "self"), linked(about, SCHEME)
            for link in about["links"]:
                assert not link.get("templated")
                got(client, link)
            name = got(client, scheme)["id"]
            assert self_["href"] == f"{address}/{name}"
            registered = f"http://www.opengis.net/def/tilematrixset/OGC/1.0/{name}"
            assert about.get("tileMatrixSetURI") == (None if name.startswith("UTM") else registered)


def test_a_tile_set_has_templates_a_scheme_and_limits(client, sets):
    """/req/tileset/description."""
    assert len(sets) == 4
    for document in sets:
        TileSet.model_validate(document)
        matrices = {m["id"]: m for m in got(client, linked(document, SCHEME)[0])["tileMatrices"]}
        items = linked(document, "item")
        assert {k["type"].split(";")[0] for k in items} == {
            "image/png",
            "image/jpeg",
            "image/webp",
            "image/tiff",
        }
        for link in items:
            assert link["templated"] is True
            assert set(re.findall(r"{(\w+)}", link["href"])) == {"tileMatrix", "tileRow", "tileCol"}
        limits = document["tileMatrixSetLimits"]
        assert [k["tileMatrix"] for k in limits] == list(matrices)
        for k in limits:
            assert 0 <= k["minTileRow"] <= k["maxTileRow"] < matrices[k["tileMatrix"]]["matrixHeight"]
            assert 0 <= k["minTileCol"] <= k["maxTileCol"] < matrices[k["tileMatrix"]]["matrixWidth"]


def tile(client, link, matrix, row, col):
    return client.get(link["href"].format(tileMatrix=matrix, tileRow=row, tileCol=col))


def test_tiles_inside_the_limits_come_in_the_type_of_their_link(client, sets):
    """/req/core/tc-op and tc-success, with the row that the suite asks for: the last one, in the first column."""
    shown = 0
    for document in sets:
        for k in (document["tileMatrixSetLimits"][0], document["tileMatrixSetLimits"][-1]):
            for link in linked(document, "item"):
                answer = tile(client, link, k["tileMatrix"], k["maxTileRow"], k["minTileCol"])
                assert answer.status_code == 200, answer.text
                assert answer.headers["content-type"].split(";")[0] == link["type"].split(";")[0]
                if link["type"] == "image/png":
                    shown += np.asarray(Image.open(io.BytesIO(answer.content)))[..., 3].any()
    assert shown >= 4


def test_tiles_outside_the_limits_are_not_there(client, sets):
    """/req/core/tc-error: outside the limits, outside the matrix, in a matrix that is none, and no number."""
    for document in sets:
        link = linked(document, "item")[0]
        for k in document["tileMatrixSetLimits"]:
            for row, col in (
                (k["maxTileRow"] + 1, k["minTileCol"]),
                (k["minTileRow"], k["maxTileCol"] + 1),
                (k["minTileRow"] - 1, k["minTileCol"]),
                (2**31 - 1, 2**31 - 1),
            ):
                answer = tile(client, link, k["tileMatrix"], row, col)
                assert answer.status_code in (400, 404), (link, k, row, col)
                assert answer.json()["detail"]
        last = document["tileMatrixSetLimits"][-1]
        for matrix in (int(last["tileMatrix"]) + 1, 99, "x"):
            answer = tile(client, link, matrix, last["minTileRow"], last["minTileCol"])
            assert answer.status_code in (400, 404)


def test_what_is_not_there_is_404_and_a_wrong_value_400(client):
    """/req/core/query-param-unknown and -invalid of Common, and resources without a place."""
    for path in (
        "/collections/none",
        "/collections/none/map",
        "/collections/none/map/tiles",
        "/collections/mosaic/map/tiles/none",
        "/collections/none/map/tiles/WebMercatorQuad/0/0/0.png",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/json"
    for path in (
        "/collections?unknown=1",
        "/collections/mosaic?unknown=1",
        "/collections/mosaic/map/tiles?unknown=1",
        "/collections/mosaic/map/tiles/WebMercatorQuad/0/0/0.png?style=neon",
        "/collections/mosaic/map/tiles/WebMercatorQuad/0/0/0.xyz",
    ):
        assert client.get(path).status_code == 400, path


@pytest.mark.parametrize(
    ("asked", "accept", "media", "size"),
    [
        ("", "image/png,image/jpeg,image/*", "image/png", None),
        ("", "*/*", "image/png", None),
        ("?width=200&height=100", "image/jpeg", "image/jpeg", (200, 100)),
        ("?f=jpg&width=90&height=60", "image/png", "image/jpeg", (90, 60)),
        ("?bbox=15.002,46.046,15.006,46.05&width=64", "image/png", "image/png", (64, None)),
    ],
)
def test_each_collection_has_a_map(client, asked, accept, media, size):
    """/req/core/map-op and map-response, /req/collection-map of OGC API – Maps."""
    collection = client.get("/collections/mosaic").json()
    (link,) = linked(collection, "http://www.opengis.net/def/rel/ogc/1.0/map")
    assert urlsplit(link["href"]).path == "/collections/mosaic/map"
    answer = client.get(link["href"] + asked, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media
    assert "Accept" in answer.headers["vary"]
    west, south, east, north = map(float, answer.headers["content-bbox"].split(","))
    first, last = map(date.fromisoformat, answer.headers["content-datetime"].split("/"))
    assert first <= last
    picture = Image.open(io.BytesIO(answer.content))
    if "bbox" in asked:
        assert (west, south, east, north) == (15.002, 46.046, 15.006, 46.05)
        box = f"{west},{south},{east},{north}/{picture.width}x{picture.height}.png"
        assert client.get(f"/mosaics/mosaic/bbox/{box}").content == answer.content
    else:
        assert [west, south, east, north] == pytest.approx(collection["extent"]["spatial"]["bbox"][0])
    width, height = size or (None, None)
    assert picture.width == (width or picture.width)
    assert picture.height == (height or picture.height)
    assert max(picture.size) == 1024 or size
    if height is None:
        # As wide as it is high on the ground.
        ground = (east - west) * np.cos(np.radians((north + south) / 2)) / (north - south)
        assert picture.width / picture.height == pytest.approx(ground, rel=0.02)


@pytest.mark.parametrize(
    "asked", ["bbox=1,2,3", "width=0", "height=5000", "f=svg", "unknown=1", "bbox=46,15,47,16"]
)
def test_a_map_that_cannot_be_is_refused(client, asked):
    answer = client.get(f"/collections/mosaic/map?{asked}")
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_parameters_of_a_list_are_those_of_its_tiles(client):
    (first, *_) = client.get("/collections/mosaic/map/tiles?style=infrared").json()["tilesets"]
    document = got(client, linked(first, "self")[0])
    k = document["tileMatrixSetLimits"][-1]
    answer = tile(client, linked(document, "item")[0], k["tileMatrix"], k["minTileRow"], k["minTileCol"])
    assert "B08" in answer.headers["x-terrazzo-request"]
