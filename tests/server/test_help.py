"""The built documentation under /help, and the recipe of a new style in CONTRIBUTING.md."""

import base64
import hashlib
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from terrazzo.bands import STYLES, Style
from terrazzo.server.routes.help import add_help
from tests.conftest import ROOT

SCRIPT = "document.body.dataset.theme = 'auto';"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "start").mkdir()
    (tmp_path / "index.html").write_text(
        f"<html><body><script>{SCRIPT}</script><a href='start/demo.html'>demo</a>"
    )
    (tmp_path / "start" / "demo.html").write_text("<html><body>demo")
    app = FastAPI()
    add_help(app, tmp_path)
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_help_leads_to_the_built_site_and_its_pages(site):
    entry = site.get("/help")
    assert (entry.status_code, entry.headers["location"]) == (307, "/help/index.html")
    assert site.get("/help/start/demo.html").text == "<html><body>demo"
    assert site.get("/help/../conf.py").status_code == 404


def test_its_pages_run_no_script_but_those_that_were_built(site):
    policy = site.get("/help/index.html").headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'")


def test_a_server_without_the_site_says_how_to_build_it_and_where_its_pages_are(tmp_path):
    app = FastAPI()
    add_help(app, tmp_path)
    with TestClient(app) as client:
        answer = client.get("/help")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<code>make docs</code>" in answer.text
    assert 'href="https://github.com/terrazzo-mosaic/terrazzo/tree/main/docs"' in answer.text


def test_a_style_added_by_the_recipe_is_drawn(client, monkeypatch):
    page = (ROOT / "CONTRIBUTING.md").read_text()
    style = eval(re.search(r"```python\n(Style\(.+?\))\n```", page)[1], {"Style": Style})
    monkeypatch.setitem(STYLES, style.name, style)
    tile = client.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/10/557/364.png?style={style.name}")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/png")


def test_every_address_of_the_http_page_answers(client):
    page = (ROOT / "docs" / "reference" / "http.md").read_text()
    values = {
        "id": "mosaic",
        "tms": "WebMercatorQuad",
        "z": "10",
        "x": "557",
        "y": "364",
        "lon": "15.97",
        "lat": "45.81",
        "W,S,E,N": "15.96,45.8,15.98,45.82",
        "style": "ndvi",
        "version": client.get("/mosaics/mosaic").json()["terrazzo:version"],
    }
    addresses = [
        a
        for row in re.findall(r"^\| (`/.+?`) \|", page, re.MULTILINE)
        for a in re.findall(r"`(/[^`]*)`", row)
    ]
    assert len(addresses) > 20
    lost = {a: client.get(re.sub(r"{(.+?)}", lambda m: values[m[1]], a)).status_code for a in addresses}
    # Exports need a key here, and statistics are asked for by POST.
    assert {a: code for a, code in lost.items() if code not in (200, 401, 405)} == {}
