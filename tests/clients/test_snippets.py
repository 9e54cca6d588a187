"""The pages of docs/start/web-maps.md, run in Chromium as they stand there."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clients.conftest import green
from tests.conftest import ROOT

pytestmark = [pytest.mark.clients, pytest.mark.needs("Chromium", "Leaflet")]


def test_every_page_of_the_docs_shows_the_mosaic_without_an_error(browser, address, tmp_path):
    text = (ROOT / "docs" / "start" / "web-maps.md").read_text()
    pages = dict(re.findall(r"^## ([^\n]+)\n```html\n(.+?)```", text, re.MULTILINE | re.DOTALL))
    assert set(pages) == {"OpenLayers, WMTS", "OpenLayers, XYZ", "MapLibre", "Leaflet"}
    assert all(page.count("\n") <= 10 for page in pages.values())
    listed = tmp_path / "pages.json"
    listed.write_text(json.dumps({k: v.replace("HOST", address) for k, v in pages.items()}))
    seen = json.loads(green([browser[0], Path(__file__).with_name("snippets.mjs"), listed, tmp_path]))
    for name, one in seen.items():
        assert one["problems"] == [], name
        assert one["tiles"] >= 4, name
        file = re.sub(r"\W+", "-", name)
        picture = np.asarray(Image.open(tmp_path / f"{file}.png").convert("RGB"))
        assert (picture.min(axis=-1) < 240).mean() > 0.5, name
