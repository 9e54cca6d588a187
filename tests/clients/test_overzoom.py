"""Programs that ask for more zooms than the mosaic has see its pixels grow, and no failed request."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clients.conftest import by_qgis, green

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
def test_leaflet_draws_past_the_last_zoom_without_knowing_it(browser, address, tmp_path):
    listed = tmp_path / "pages.json"
    listed.write_text(json.dumps({"plain": PLAIN.replace("HOST", address)}))
    seen = json.loads(green([browser[0], Path(__file__).with_name("snippets.mjs"), listed, tmp_path]))
    assert seen["plain"]["problems"] == []
    assert seen["plain"]["tiles"] >= 4
    picture = np.asarray(Image.open(tmp_path / "plain.png").convert("RGB"))
    assert (picture.min(axis=-1) < 240).mean() > 0.9
