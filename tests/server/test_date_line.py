"""A mosaic on both sides of the 180° line: its documents hold all of it, and its tiles come on either side."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import morecantile
import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient
from lxml import etree
from PIL import Image

from terrazzo.precompute.products.find import find_products
from terrazzo.scene import list_scenes, read_item
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.store import Store
from tests.chain import precompute
from tests.world.worlds import make_world

pytestmark = pytest.mark.slow
OVER = ("60KYF", 32760, 8_142_000.0, 818_600.0)
WEB = morecantile.tms.get("WebMercatorQuad")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("line")
    make_world(folder / "products", where=OVER, dates=1, size=(96, 240))
    assert len(find_products(folder / "products").products) == 1
    precompute(folder / "products", folder / "store")
    return folder / "store"


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(store=str(store)))) as client:
        yield client


def test_the_footprint_is_cut_and_its_parts_are_small(store):
    (scene,) = list_scenes(Store(store))
    item = read_item(Store(store), scene)
    parts = shapely.get_parts(shapely.geometry.shape(item["geometry"]))
    assert len(parts) == 2
    assert sum(p.bounds[2] - p.bounds[0] for p in parts) < 0.1
    mosaic = json.loads(next(store.glob("mosaics/*/versions/*/mosaicjson.json")).read_text())
    assert all(len(scenes) == 1 for scenes in mosaic["tiles"].values())


def test_documents_hold_the_data_on_both_sides(client, store):
    told = client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json").json()
    assert (told["bounds"][0], told["bounds"][2]) == (-180, 180)
    (scene,) = list_scenes(Store(store))
    outline = shapely.geometry.shape(read_item(Store(store), scene)["geometry"])
    assert shapely.contains(outline, shapely.Point(*told["center"][:2]))
    assert client.get("/mosaics/mosaic").json()["extent"]["spatial"]["bbox"][0][::2] == [-180, 180]
    document = etree.fromstring(
        client.get("/mosaics/mosaic/wmts?service=WMTS&request=GetCapabilities").content
    )
    names = {"w": "http://www.opengis.net/wmts/1.0"}
    seen = False
    for link in document.iterfind(".//w:TileMatrixSetLink", names):
        if link.findtext("w:TileMatrixSet", namespaces=names) != "WebMercatorQuad":
            continue
        for limits in link.iterfind(".//w:TileMatrixLimits", names):
            zoom = int(limits.findtext("w:TileMatrix", namespaces=names))
            assert limits.findtext("w:MinTileCol", namespaces=names) == "0"
            assert int(limits.findtext("w:MaxTileCol", namespaces=names)) == 2**zoom - 1
            seen = True
    assert seen


@pytest.mark.parametrize("lon", [179.9995, -179.9995])
def test_tiles_on_either_side_show_the_ground(client, lon):
    zoom = 14
    tile = WEB.tile(lon, -16.786, zoom)
    answer = client.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}.png")
    assert answer.status_code == 200
    assert np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3].any()
