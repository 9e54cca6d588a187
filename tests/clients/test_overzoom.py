"""Programs that ask for more zooms than the mosaic has see its pixels grow, and no failed request."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clients.conftest import by_qgis, green
from tests.conftest import ROOT

pytestmark = pytest.mark.clients
PLAIN = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="leaflet/leaflet.css"><script src="leaflet/leaflet.js"></script>
<div id="map" style="position:absolute;inset:0"></div>
<script>
const map = L.map("map").setView([46, 15.75], 17);
L.tileLayer("HOST/mosaics/mosaic/tiles/WebMercatorQuad/{z}/{x}/{y}.png").addTo(map);
</script>
"""
"""A layer as leafmap and folium make it: they know no last zoom, as Leaflet by default."""


@pytest.mark.needs("QGIS")
def test_qgis_draws_xyz_far_past_the_last_zoom(address, tmp_path):
    seen = by_qgis(
        tmp_path,
        xyz=f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png",
        zmax=20,
        box=[15.7, 45.95, 15.705, 45.9535],
        crs=["EPSG:3857"],
    )
    assert seen["renders"][0]["filled"] == 1


@pytest.mark.needs("Chromium", "Leaflet")
def test_leaflet_draws_past_the_last_zoom_with_and_without_knowing_it(browser, address, tmp_path):
    page = re.search(
        r"## Leaflet\n```html\n(.+?)```", (ROOT / "docs" / "web-maps.md").read_text(), re.DOTALL
    )[1]
    deep = page.replace("[46, 15.75], 10)", "[46, 15.75], 17)").replace("style=ndvi", "style=natural")
    assert deep != page
    pages = {"plain": PLAIN, "told": deep}
    listed = tmp_path / "pages.json"
    listed.write_text(json.dumps({k: v.replace("HOST", address) for k, v in pages.items()}))
    seen = json.loads(green([browser[0], Path(__file__).with_name("snippets.mjs"), listed, tmp_path]))
    for name, one in seen.items():
        assert one["problems"] == [], name
        picture = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert (picture.min(axis=-1) < 240).mean() > 0.9, name
    assert seen["plain"]["tiles"] >= 4
