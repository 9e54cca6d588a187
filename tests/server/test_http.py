"""What holds on every answer: addresses behind a proxy, HEAD, CORS, gzip, errors, new versions."""

import json
import shutil

import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
TILEJSON = "/mosaics/mosaic/WebMercatorQuad/tilejson.json"
FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "maps.example.org",
    "X-Forwarded-Prefix": "/eo",
}


def served(store, peer="127.0.0.1", **settings):
    return TestClient(create_app(Settings(store=str(store), **settings)), client=(peer, 50000))


def test_links_follow_a_trusted_proxy_with_its_prefix_and_the_page_works_there(sample_store):
    with served(sample_store) as client:
        tiles = client.get(TILEJSON, headers=FORWARDED).json()["tiles"][0]
        assert tiles.startswith("https://maps.example.org/eo/mosaics/mosaic/tiles/")
        assert client.get("/viewer/viewer.js", headers=FORWARDED).status_code == 200
        assert client.get("/eo/viewer/viewer.js", headers=FORWARDED).status_code == 200
        sets = client.get("/tileMatrixSets", headers=FORWARDED).json()["tileMatrixSets"][0]
        assert sets["links"][0]["href"].startswith("https://maps.example.org/eo/tileMatrixSets/")


def test_forwarded_headers_of_strangers_and_odd_hosts_are_not_believed(sample_store):
    with served(sample_store, peer="203.0.113.9") as client:
        assert "example.org" not in client.get(TILEJSON, headers=FORWARDED).text
        assert "evil" not in client.get(TILEJSON, headers={"Host": 'evil"><script>'}).text


def test_the_public_address_wins(sample_store):
    with served(sample_store, public_url="https://eo.example.org/maps/") as client:
        text = client.get("/mosaics/mosaic/wmts", headers=FORWARDED).text
        assert 'template="https://eo.example.org/maps/mosaics/mosaic/wmts/1.0.0/' in text
        assert client.get("/maps/healthz").status_code == client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", [TILE, TILEJSON, "/healthz", "/mosaics/mosaic/wmts", "/"])
def test_head_has_the_headers_of_get_and_no_body(client, path):
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "etag", "cache-control"):
        assert head.headers.get(name) == get.headers.get(name)


@pytest.mark.parametrize("path", [TILE, f"{TILE}?style=neon", "/mosaics/none", "/nothing", "/mosaics/mosaic/point/x,y"])  # fmt: skip
def test_scripts_of_any_origin_may_read_every_answer_and_errors_are_never_kept(client, path):
    answer = client.get(path)
    assert answer.headers["access-control-allow-origin"] == "*"
    if answer.status_code >= 400:
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers


def test_origins_can_be_named(sample_store):
    with served(sample_store, cors_origins=("https://a.example",)) as client:
        known = client.get("/healthz", headers={"Origin": "https://a.example"})
        assert known.headers["access-control-allow-origin"] == "https://a.example"
        other = client.get("/healthz", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers
        assert "Origin" in other.headers["vary"]


def test_a_preflight_allows_conditional_requests(client):
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    answer = client.options(TILE, headers=asked)
    assert answer.status_code == 204
    assert "If-None-Match" in answer.headers["access-control-allow-headers"]


def test_documents_are_compressed_and_pictures_are_not(client):
    packed = {"Accept-Encoding": "gzip"}
    assert client.get("/mosaics/mosaic/wmts", headers=packed).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get(TILE, headers=packed).headers


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("image/png", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/html;q=0.5, */*", "application/json"),
        ("application/json, text/html", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "text/html"),
        ("text/html, application/json", "text/html"),
        ("TEXT/HTML; q=1.0 , */* ; q=0.1", "text/html"),
        ("text/*, */*;q=0.9", "text/html"),
        ("application/json;q=0.9, text/html", "text/html"),
    ],
)
def test_the_landing_page_is_json_for_who_does_not_rather_have_html(client, accept, kind):
    request = client.build_request("GET", "/")
    request.headers.pop("accept", None)
    if accept is not None:
        request.headers["accept"] = accept
    answer = client.send(request)
    assert answer.headers["content-type"].split(";")[0] == kind
    assert "accept" in answer.headers["vary"].lower()
    assert client.get("/?f=html", headers={"Accept": accept or ""}).text.startswith("<!doctype html>")
    assert client.get("/?f=json", headers={"Accept": accept or ""}).json()["type"] == "Catalog"
    assert client.get("/?f=xml").status_code == 400


def test_an_unforeseen_error_reveals_nothing_and_is_not_kept(sample_store, monkeypatch):
    from terrazzo.mosaic.engine import Engine

    def fall(*_):
        raise RuntimeError("the inner secret")

    monkeypatch.setattr(Engine, "render", fall)
    with served(sample_store) as client:
        answer = client.get(TILE)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/mosaics/..%2f..%2fetc/wmts",
        "/mosaics/mosaic/tiles/WebMercatorQuad/99/0/0.png",
        "/mosaics/mosaic/tiles/WebMercatorQuad/1e3/0/0.png",
        "/mosaics/mosaic/bbox/20,50,10,40.tif",
        "/mosaics/mosaic/bbox/nan,0,1,1.tif",
        "/mosaics/mosaic/bbox/-180,-90,180,90.tif",
        "/mosaics/mosaic/bbox/15,45,16,46/100000x100000.tif",
        "/mosaics/mosaic/bbox/15,45,16,46/0x10.tif",
        "/mosaics/mosaic/bbox/15,45,16,46.tif?coord_crs=EPSG:0",
        "/mosaics/mosaic/point/inf,45",
        f"{TILE}?version=../../x",
        f"{TILE}?rescale=inf,inf",
        f"{TILE}?expression=B04**99",
    ],
)
def test_hostile_input_gets_a_reason(client, path):
    answer = client.get(path)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["detail"]


def test_a_new_version_is_served_without_a_restart_and_the_old_one_stays(sample_store, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(sample_store, store)
    with served(store, follow=0) as client:
        before = client.get(TILE)
        versions = store / "mosaics/mosaic/versions"
        old = next(versions.iterdir()).name
        new = "abcdefabcdef"
        shutil.copytree(versions / old, versions / new)
        lock = json.loads((versions / new / "lock.json").read_text())
        lock["mosaic_toml"] += '\nmethod = "first"\n'
        (versions / new / "lock.json").write_text(json.dumps(lock))
        pointer = store / "mosaics/mosaic/mosaic.json"
        document = json.loads(pointer.read_text())
        pointer.write_text(json.dumps(document | {"terrazzo:version": new}))
        after = client.get(TILE)
        assert f"version={new}" in after.headers["x-terrazzo-request"]
        assert after.headers["etag"] != before.headers["etag"]
        kept = client.get(f"{TILE}?version={old}")
        assert kept.content == before.content
        assert "immutable" in kept.headers["cache-control"]
        pointer.write_text("{broken")
        assert client.get(TILE).content == after.content


@pytest.mark.parametrize("path", ["/", "/docs", "/tileMatrixSets", "/tileMatrixSets/WebMercatorQuad", "/colorMaps", "/algorithms"])  # fmt: skip
def test_pages_need_nothing_from_elsewhere(client, path):
    import re

    page = client.get(path, headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//[^"]+', page.text)
    assert loaded == []


def test_the_page_of_endpoints_names_the_parameters(client):
    page = client.get("/docs").text
    assert "/mosaics/{mosaic}/tiles/{tms}/{z}/{x}/{tile}" in page
    assert "colormap_name" in page
