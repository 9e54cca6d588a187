"""Terrazzo's mosaics in somebody's own TiTiler application, beside TiTiler's factories."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from lxml import etree
from PIL import Image
from titiler.core.errors import add_exception_handlers

from terrazzo.server import STATUS_CODES, MosaicFactory, Settings
from terrazzo.store import Store
from terrazzo.version import open_version, version_key

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "embedding.md"
TILE = "WebMercatorQuad/11/1113/728"
OURS = f"/sentinel/mosaics/mosaic/tiles/{TILE}.png"
USER = {"X-User": "anna"}


@pytest.fixture(scope="module")
def host(sample_store):
    """The application of the page, over the sample store."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    names = {}
    exec(compile(code.replace("STORE", str(sample_store), 1), PAGE.name, "exec"), names)
    with TestClient(names["app"]) as client:
        yield client


def test_the_page_serves_our_tile_as_our_own_server_does(host, client):
    answer = host.get(OURS, headers=USER)
    assert answer.status_code == 200, answer.text
    assert answer.content == client.get(OURS.removeprefix("/sentinel")).content


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_titilers_factories_serve_tiles_beside_ours(host, sample_store, tmp_path):
    version = open_version(Store(sample_store), "mosaic")
    scene = next(iter(version.entries("all"))).scene
    band = version.store.raster_path(f"{scene.prefix}/B04.tif")
    file = host.get(f"/cog/tiles/{TILE}.png", params={"url": band, "rescale": "0,4000"})
    assert file.status_code == 200, file.text
    assert np.asarray(Image.open(io.BytesIO(file.content)))[..., 0].any()
    # Its paths are keys of the store.
    document = version.store.read_json(version_key("mosaic", version.name, "mosaicjson.json"))
    scenes = tmp_path / "mosaicjson.json"
    scenes.write_text(json.dumps({**document, "asset_prefix": f"{sample_store}/"}))
    asked = {"url": str(scenes), "assets": ["B04"], "tilesize": 256}
    stock = host.get(f"/stock/tiles/{TILE}.npy", params=asked)
    assert stock.status_code == 200, stock.text
    assert np.load(io.BytesIO(stock.content))[0].any()


def test_the_hosts_dependencies_guard_our_routes_and_only_ours(host):
    refused = host.get(OURS)
    assert (refused.status_code, refused.json()["detail"]) == (401, "send your name as X-User")
    assert host.get("/cog/info", params={"url": "nothing.tif"}).status_code != 401


def test_every_address_in_our_documents_lies_under_the_prefix_and_answers(host):
    catalog = host.get("/sentinel/stac", headers=USER).json()
    mosaic = host.get("/sentinel/mosaics/mosaic", headers=USER).json()
    for link in (*catalog["links"], *mosaic["links"]):
        if link["href"].startswith("http://testserver"):
            assert link["href"].startswith("http://testserver/sentinel/"), link
            assert host.get(link["href"], headers=USER).status_code == 200, link
    tiles = host.get("/sentinel/mosaics/mosaic/WebMercatorQuad/tilejson.json", headers=USER).json()["tiles"]
    assert host.get(tiles[0].format(z=11, x=1113, y=728), headers=USER).status_code == 200
    document = host.get("/sentinel/mosaics/mosaic/wmts", headers=USER).content
    templates = etree.fromstring(document).findall(".//{*}ResourceURL")
    assert templates
    assert all(t.get("template").startswith("http://testserver/sentinel/") for t in templates)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/sentinel/mosaics/nowhere", 404, "nowhere"),
        (f"{OURS}?colour=red", 400, "unknown parameter colour"),
        ("/sentinel/mosaics/mosaic/point/0,0", 404, "no data"),
    ],
)
def test_our_errors_keep_their_codes_and_texts(host, path, status, text):
    answer = host.get(path, headers=USER)
    assert answer.status_code == status
    assert text in answer.json()["detail"]


def test_a_parameter_of_the_prefix_stands_in_our_addresses(sample_store):
    app = FastAPI()
    factory = MosaicFactory(settings=Settings(store=str(sample_store)), router_prefix="/{team}/maps")
    app.include_router(factory.router, prefix="/{team}/maps")
    with TestClient(app) as client:
        links = client.get("/forest/maps/mosaics").json()["links"]
    assert links == [
        {"rel": "self", "href": "http://testserver/forest/maps/mosaics", "type": "application/json"}
    ]


def test_route_dependencies_as_titiler_has_them_guard_single_routes(sample_store):
    def refuse() -> None:
        raise HTTPException(403, "no WMTS here")

    app = FastAPI()
    factory = MosaicFactory(
        settings=Settings(store=str(sample_store)),
        route_dependencies=[([{"path": "/mosaics/{mosaic}/wmts", "method": "GET"}], [Depends(refuse)])],
    )
    app.include_router(factory.router)
    add_exception_handlers(app, STATUS_CODES)
    with TestClient(app) as client:
        assert client.get("/mosaics/mosaic/wmts").status_code == 403
        assert client.get("/mosaics/mosaic").status_code == 200


def test_the_store_is_closed_when_the_application_ends(sample_store):
    app = FastAPI()
    factory = MosaicFactory(settings=Settings(store=str(sample_store)))
    app.include_router(factory.router)
    with TestClient(app) as client:
        assert client.get(f"/mosaics/mosaic/tiles/{TILE}.png").status_code == 200
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get(f"/mosaics/mosaic/tiles/{TILE}.png").status_code == 500
