"""The layers of a mosaic's origin: they agree with points, in every format, over XYZ and WMTS, and have legends."""

import io
from datetime import date, timedelta

import numpy as np
import pytest
import rasterio
from PIL import Image

from terrazzo.mosaic.quality import FLAGS
from terrazzo.server.layers import LAYERS, SIZE

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728"


def array(client, style, query=""):
    return np.load(io.BytesIO(client.get(f"{TILE}.npy?style={style}{query}").content))


def test_the_map_learns_from_a_collection_which_styles_are_layers(client):
    """Those that are drawn, and of no bands: `isLayer` in viewer/state.js."""
    about = client.get("/mosaics/mosaic").json()
    assert set(about["terrazzo:styles"]) - set(about["renders"]) == set(LAYERS)


@pytest.mark.parametrize("method", ["feather", "median"])
def test_a_layers_pixel_is_what_the_point_says(client, method):
    query = f"&method={method}"
    with rasterio.open(io.BytesIO(client.get(f"{TILE}.tif?style=date{query}").content)) as dataset:
        assert dataset.descriptions == ("date",)
        assert dataset.units == ("days since 1970-01-01",)
        days, transform = dataset.read(1), dataset.transform
    layers = {name: array(client, name, query)[0] for name in LAYERS}
    assert (layers["date"] == days).all()
    for row, col in ((10, 20), (128, 128), (200, 77)):
        lon, lat = rasterio.warp.transform(
            "EPSG:3857", "EPSG:4326", *([v] for v in transform * (col + 0.5, row + 0.5))
        )
        point = client.get(f"/mosaics/mosaic/point/{lon[0]},{lat[0]}?style=natural{query}").json()
        day = date(1970, 1, 1) + timedelta(days=int(days[row, col]))
        assert point["datetime"].startswith(day.isoformat())
        assert layers["age"][row, col] == (date(2023, 8, 20) - day).days
        told = client.get(f"/mosaics/mosaic/explain/{lon[0]},{lat[0]}?style=natural{query}").json()
        gains = [step["gain"] for step in told["path"]]
        assert layers["gain"][row, col] / 1e4 == pytest.approx(np.mean(gains), abs=3e-4)
        assert [c["score"] for c in told["candidates"] if c["chosen"]] == [layers["score"][row, col]]
        assert point["scenes_usable"] == layers["count"][row, col]
        assert point["quality"] == layers["quality"][row, col]
        order = client.get(f"/mosaics/mosaic/scenes?{query[1:]}").json()["features"]
        assert point["scene"] == order[layers["scene"][row, col]]["id"]


def test_what_shows_has_the_score_that_was_asked_for_in_every_interface(client):
    query = "&resampling=nearest&min_score=95"
    score, seen = array(client, "score", query)
    plain, before = array(client, "score", "&resampling=nearest")
    seen, before = seen > 0, before > 0
    assert score[seen].min() >= 95
    assert (plain[before] < 95).any()
    assert not (seen & ~before).any()
    values = np.load(io.BytesIO(client.get(f"{TILE}.npy?bands=B04&resampling=nearest&min_score=95").content))
    assert ((values[-1] > 0) == seen).all()
    with rasterio.open(io.BytesIO(client.get(f"{TILE}.tif?style=score{query}").content)) as dataset:
        transform = dataset.transform
    row, col = np.argwhere(seen & (plain < 95))[0]
    (lon,), (lat,) = rasterio.warp.transform(
        "EPSG:3857", "EPSG:4326", *([v] for v in transform * (col + 0.5, row + 0.5))
    )
    place = f"{lon},{lat}?bands=B04{query}"
    told = client.get(f"/mosaics/mosaic/explain/{place}").json()
    assert [c["score"] for c in told["candidates"] if c["chosen"]] == [score[row, col]]
    assert any(
        f"clear score {plain[row, col]}, below min_score=95" in c["verdict"] for c in told["candidates"]
    )
    point = client.get(f"/mosaics/mosaic/point/{place}").json()
    chosen = next(c["scene"] for c in told["candidates"] if c["chosen"])
    assert point["scene"] == chosen
    assert client.get(f"{TILE}.png?min_score=101").status_code == 400


@pytest.mark.parametrize("style", LAYERS)
def test_a_layer_has_a_picture_a_legend_and_a_wmts_style(client, style):
    answer = client.get(f"{TILE}.png?style={style}")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    valid = array(client, style)[1] > 0
    assert (picture[..., 3] > 0).tolist() == valid.tolist()
    rest = f"/mosaics/mosaic/wmts/1.0.0/mosaic/{style}/WebMercatorQuad/11/728/1113.png"
    assert client.get(rest).content == answer.content
    legend = client.get(f"/mosaics/mosaic/legend/{style}.png")
    picture = Image.open(io.BytesIO(legend.content)).convert("RGB")
    assert picture.size == SIZE
    if style == "quality":
        drawn = {colour for _, colour in picture.getcolors(1 << 16)}
        assert {flag.colour for flag in FLAGS.values()} <= drawn
    assert style in client.get("/mosaics/mosaic").json()["terrazzo:styles"]
    assert client.get(f"{TILE}.png?style={style}&rescale=0,1").status_code == 400


def test_the_legend_of_days_names_the_days_of_the_request(client):
    address = "/mosaics/mosaic/legend/date.png"
    pictures = {client.get(f"{address}{query}").content for query in ("", "?datetime=2023-08-13/2023-08-18")}
    assert len(pictures) == 2
    assert client.get(f"{address}?datetime=all").content in pictures
    assert client.get(f"{address}?datetime=1999").status_code == 400
    assert client.get("/mosaics/mosaic/legend/ndvi.png?datetime=x").status_code == 400
    assert client.get(f"{address}?datetime=2023-08-11").status_code == 200
    assert client.get(f"{address}?colour=red").status_code == 400


@pytest.mark.parametrize("style", ["scene", "date", "age", "count", "quality"])
def test_a_layer_without_any_scene_is_transparent(client, style):
    answer = client.get(
        f"/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png?style={style}&datetime=2023-08-11"
    )
    assert answer.status_code == 200
    assert not np.asarray(Image.open(io.BytesIO(answer.content)))[..., 3].any()
