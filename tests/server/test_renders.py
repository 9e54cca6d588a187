"""What STAC's render extension says of our scenes, drawn by TiTiler as it is written, beside our own pictures."""

import io
import json
import shutil

import numpy as np
import pystac
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from rio_tiler.io import STACReader
from titiler.core.dependencies import AssetsExprParams, ColorMapParams, ImageRenderingParams
from titiler.core.errors import DEFAULT_STATUS_CODES, add_exception_handlers
from titiler.core.factory import MultiBaseTilerFactory
from titiler.core.utils import extract_query_params

from terrazzo.bands import STYLES, renders
from terrazzo.server.app import create_app
from terrazzo.server.layers import LAYERS
from terrazzo.server.settings import Settings
from terrazzo.store import Store
from tests.golden.make import STORE

ADDRESS = "https://data.example.org/store"
SCENE = "S2A_33TWL_20230803_0_L2A"
WITHOUT_QUERY = {"title"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("renders") / "store"
    shutil.copytree(STORE, store)
    return store


@pytest.fixture(scope="module")
def client(store):
    settings = Settings(store=str(store), assets_url=ADDRESS)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="module")
def item(client):
    (link,) = [
        k
        for k in client.get("/mosaics/mosaic").json()["links"]
        if k["rel"] == "item" and k["href"].endswith(SCENE)
    ]
    return client.get(link["href"]).json()


@pytest.fixture(scope="module")
def titiler(item, store, tmp_path_factory):
    """TiTiler's own endpoints, and the Item where its files are those of the store's folder."""
    path = tmp_path_factory.mktemp("item") / "item.json"
    path.write_text(json.dumps(item).replace(ADDRESS, str(store)))
    app = FastAPI()
    app.include_router(MultiBaseTilerFactory(reader=STACReader).router)
    add_exception_handlers(app, DEFAULT_STATUS_CODES)
    with TestClient(app) as client:
        yield client, str(path)


def query_of(render):
    """A render as TiTiler's parameters, by the rules of its render extension."""
    query = {k: v for k, v in render.items() if k not in WITHOUT_QUERY}
    query["rescale"] = [",".join(map(str, pair)) for pair in render["rescale"]]
    known, errors = extract_query_params([AssetsExprParams, ImageRenderingParams, ColorMapParams], query)
    assert errors == []
    assert set(query) <= set(known), "TiTiler has no such parameter"
    return query


def picture(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)


def test_items_and_collections_name_what_their_bands_can_show(client, item):
    collection = client.get("/mosaics/mosaic").json()
    assert item["properties"]["renders"] == collection["renders"]
    assert set(collection["renders"]) == {"natural", "infrared", "ndvi", "ndwi", "nir"}
    assert set(collection["terrazzo:styles"]) == {*collection["renders"], *LAYERS}
    for render in collection["renders"].values():
        assert set(render["assets"]) <= set(item["assets"])
    read = pystac.Item.from_dict(item)
    assert {name: r.title for name, r in read.ext.render.renders.items()} == {
        n: STYLES[n].title for n in collection["renders"]
    }


@pytest.mark.parametrize("name", ["natural", "infrared", "ndvi", "ndwi", "nir"])
def test_titiler_draws_a_render_as_we_draw_the_style(client, titiler, item, name):
    """On the scene's own pixels, so that nothing is resampled."""
    http, path = titiler
    drawn = http.get(
        "/preview.png", params={"url": path, "max_size": 128, **query_of(item["properties"]["renders"][name])}
    )
    assert drawn.status_code == 200, drawn.text
    theirs = picture(drawn.content)
    rows, columns = item["properties"]["proj:shape"]
    assert theirs.shape == (rows, columns, 4)
    step, _, left, _, _, top = item["properties"]["proj:transform"]
    box = f"{left},{top - rows * step},{left + columns * step},{top}"
    code = item["properties"]["proj:code"]
    asked = f"bbox_crs={code}&crs={code}&ids={SCENE}&stage=corrected&style={name}"
    ours = picture(client.get(f"/mosaics/mosaic/bbox/{box}/{columns}x{rows}.png?{asked}").content)
    both = (theirs[..., 3] > 0) & (ours[..., 3] > 0)
    assert both.mean() > 0.2
    assert np.ptp(ours[both][:, :3], axis=0).min() > 20, "a picture of one colour proves nothing"
    # The stretch to bytes is rounded before the colours by the one and after it by the other.
    apart = np.abs(theirs - ours)[both][:, :3]
    assert apart.mean() < 2
    assert np.percentile(apart, 99) <= 8


def test_a_render_in_reflectance_would_be_noticed(titiler, item):
    """As renders were: pairs of reflectance over stored numbers make a white picture."""
    http, path = titiler
    wrong = query_of(item["properties"]["renders"]["natural"] | {"rescale": [[0, 0.25]] * 3})
    drawn = picture(http.get("/preview.png", params={"url": path, "max_size": 64, **wrong}).content)
    assert (drawn[drawn[..., 3] > 0][:, :3] == 255).all()


def test_every_style_is_drawn_with_all_its_bands():
    """What a store with all bands has, TiTiler takes too."""
    every = renders({b for s in STYLES.values() for b in s.bands})
    assert set(every) == set(STYLES)
    for render in every.values():
        query_of(render)


def test_styles_of_this_release_show_in_a_store_that_was_published_before(store, client):
    """The Collection is written once; what it is drawn by is read from the table."""
    written = Store(store).read_json("mosaics/mosaic/mosaic.json")
    older = json.dumps(written | {"renders": {"natural": {"assets": ["B04"], "rescale": [[0, 0.25]]}}})
    (store / "mosaics" / "mosaic" / "mosaic.json").write_text(older)
    with TestClient(create_app(Settings(store=str(store)))) as fresh:
        for path in ("/mosaics/mosaic", "/collections/mosaic"):
            assert fresh.get(path).json()["renders"] == renders(("B02", "B03", "B04", "B08"))
        assert fresh.get("/mosaics").json()["collections"][0]["renders"] == renders(
            ("B02", "B03", "B04", "B08")
        )
