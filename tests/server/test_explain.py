"""The account of a pixel over HTTP: JSON, a page, text, and WMTS GetFeatureInfo agree with point and tile."""

import io
from xml.etree import ElementTree

import morecantile
import numpy as np
import pytest

PLACE = "15.7,46.0"
SVG = "{http://www.w3.org/2000/svg}"
XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.mark.parametrize("method", ["feather", "first", "median", "mean", "robust"])
def test_explain_says_what_the_point_says(client, method):
    random = np.random.default_rng(7)
    for lon, lat in zip(random.uniform(15.1, 16.3, 6), random.uniform(45.75, 46.25, 6), strict=True):
        query = f"{lon:.6f},{lat:.6f}?bands=B04,B08&method={method}"
        point, told = (client.get(f"/mosaics/mosaic/{kind}/{query}") for kind in ("point", "explain"))
        assert point.status_code == told.status_code
        if point.status_code == 200:
            shared = ("values", "band_names", "scene", "datetime", "scenes_usable", "quality", "request")
            assert {k: told.json()[k] for k in shared} == {k: point.json()[k] for k in shared}


def test_a_browser_gets_a_page_and_a_script_json(client):
    page = client.get(f"/mosaics/mosaic/explain/{PLACE}", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    document = ElementTree.fromstring(page.text)
    assert document.find(f".//{XHTML}script") is None
    told = client.get(f"/mosaics/mosaic/explain/{PLACE}").json()
    # One dot a scene and band, one row a scene.
    assert len(document.findall(f".//{SVG}circle")) == 3 * len(told["candidates"])
    assert page.text.count("S2A_33TWM_20230815_0_L2A") >= 1
    assert client.get(f"/mosaics/mosaic/explain/{PLACE}?f=txt").text.startswith("B04: ")


def test_what_cannot_be_explained_is_reported(client):
    assert client.get("/mosaics/mosaic/explain/0,0").status_code == 404
    assert client.get("/mosaics/mosaic/explain/500,0").status_code == 400
    assert client.get(f"/mosaics/mosaic/explain/{PLACE}?f=pdf").status_code == 400
    assert "there are" in client.get(f"/mosaics/mosaic/explain/{PLACE}?colour=red").json()["detail"]


def test_where_nothing_shows_every_scene_there_says_why(client):
    address = f"/mosaics/mosaic/explain/{PLACE}"
    scenes = {c["scene"] for c in client.get(address).json()["candidates"]}
    nothing = client.get(f"{address}?max_cloud=0")
    assert nothing.status_code == 404
    document = nothing.json()
    assert document["detail"].startswith("no data at")
    assert {c["scene"] for c in document["candidates"]} == scenes
    assert all("more than max_cloud=0" in c["verdict"] for c in document["candidates"])
    page, text = (client.get(f"{address}?max_cloud=0&f={form}") for form in ("html", "txt"))
    assert page.status_code == text.status_code == 404
    ElementTree.fromstring(page.text)
    for scene in scenes:
        assert scene in page.text
        assert scene in text.text
    # Far from all scenes none is listed; how many there are is.
    far = client.get("/mosaics/mosaic/explain/0,0").json()
    assert far["candidates"] == []
    assert far["scenes_elsewhere"] == len(client.get("/mosaics/mosaic/scenes").json()["features"])


def test_under_the_cloud_of_the_one_day_asked_for_the_cloud_is_named(client):
    """A day's own cloud is its verdict; the other days are not asked for."""
    random = np.random.default_rng(1)
    for lon, lat in zip(random.uniform(15.1, 16.3, 30), random.uniform(45.75, 46.25, 30), strict=True):
        answer = client.get(
            f"/mosaics/mosaic/explain/{lon:.5f},{lat:.5f}?datetime=2023-08-10&fill=none&f=json"
        )
        verdicts = [c["verdict"] for c in answer.json()["candidates"]]
        if answer.status_code == 404 and any("cloud" in v for v in verdicts):
            break
    else:
        raise AssertionError("no place under cloud")
    assert not any(v.startswith("chosen") for v in verdicts)
    assert any(v == "not asked for: its day is not in 2023-08-10" for v in verdicts)


@pytest.mark.parametrize("stage", ["raw", "mask", "corrected", "merged"])
def test_every_stage_has_its_account_in_every_form(client, stage):
    for form in ("json", "html", "txt"):
        answer = client.get(f"/mosaics/mosaic/explain/{PLACE}?stage={stage}&f={form}")
        assert answer.status_code == 200, answer.text
    ElementTree.fromstring(client.get(f"/mosaics/mosaic/explain/{PLACE}?stage={stage}&f=html").text)


@pytest.mark.parametrize(("resampling", "off"), [("nearest", 0), ("bilinear", 1)])
def test_a_web_maps_tile_shows_what_the_account_says_at_its_pixels(client, resampling, off):
    """Tiles interpolate their coordinates within hundredths of a pixel: bilinear values may round otherwise."""
    zoom, x, y = 11, 1114, 728
    tile = client.get(
        f"/mosaics/mosaic/tiles/WebMercatorQuad/{zoom}/{x}/{y}.npy?bands=B04,B08&resampling={resampling}"
    )
    values = np.load(io.BytesIO(tile.content))
    deepest = client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json").json()["maxzoom"]
    assert deepest == zoom
    grid = morecantile.tms.get("WebMercatorQuad")
    bounds = grid.xy_bounds(x, y, zoom)
    step = (bounds.right - bounds.left) / 256
    random = np.random.default_rng(3)
    for row, col in random.integers(0, 256, (40, 2)).tolist():
        lon, lat = grid.lnglat(bounds.left + (col + 0.5) * step, bounds.top - (row + 0.5) * step)
        told = client.get(f"/mosaics/mosaic/explain/{lon!r},{lat!r}?bands=B04,B08&resampling={resampling}")
        assert (told.status_code == 200) == bool(values[2, row, col])
        if told.status_code == 200:
            found = np.rint(np.array(told.json()["values"]) * 1e4)
            assert np.abs(found - values[:2, row, col]).max() <= off


def test_stages_that_show_one_scene_do_not_speak_of_usable_scenes(client):
    for stage in ("raw", "mask", "corrected"):
        text = client.get(f"/mosaics/mosaic/explain/{PLACE}?stage={stage}&f=txt").text
        assert "chosen: first in order with data; the masks are not asked at this stage" in text
        assert "usable" not in text
    assert "scenes_usable" in client.get(f"/mosaics/mosaic/explain/{PLACE}?f=txt").text


def test_an_expression_is_computed_for_the_place_and_for_every_scene(client):
    told = client.get(f"/mosaics/mosaic/explain/{PLACE}?style=ndvi").json()
    assert told["expression_names"] == ["(B08-B04)/(B08+B04)"]
    for side in (told, *told["candidates"]):
        nir, red = side["values"]
        assert side["expression_values"] == [pytest.approx((nir - red) / (nir + red), abs=2e-3)]
    assert "expression_names" not in client.get(f"/mosaics/mosaic/explain/{PLACE}").json()
