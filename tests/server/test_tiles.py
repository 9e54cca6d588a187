"""Tiles, values and boxes of the sample area, over HTTP."""

import io

import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient
from PIL import Image

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728"


def picture(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


@pytest.mark.parametrize(("form", "mode"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_a_tile_decodes_in_every_picture_format(client, form, mode):
    answer = client.get(f"{TILE}.{form}")
    assert Image.open(io.BytesIO(answer.content)).format == mode
    assert picture(answer).shape[:2] == (256, 256)


def test_webp_of_quality_100_is_the_png_and_a_lower_quality_is_smaller(client):
    lossless, usual, low = (client.get(f"{TILE}.webp?quality={q}") for q in (100, 85, 30))
    assert (picture(lossless) == picture(client.get(f"{TILE}.png"))).all()
    assert len(low.content) < len(usual.content) < len(lossless.content)
    assert low.headers["etag"] != usual.headers["etag"]
    assert client.get(f"{TILE}.webp").headers["etag"] == usual.headers["etag"]


@pytest.mark.parametrize("query", ["stage=mask", "style=date", "style=scene"])
def test_webp_keeps_the_colours_of_classes_and_layers(client, query):
    assert (picture(client.get(f"{TILE}.webp?{query}")) == picture(client.get(f"{TILE}.png?{query}"))).all()


def test_a_tile_at_2x_covers_the_same_ground_in_four_times_the_pixels(client):
    assert picture(client.get(f"{TILE}@2x.png")).shape == (512, 512, 4)


def test_tif_and_npy_hold_the_same_numbers(client):
    array = np.load(io.BytesIO(client.get(f"{TILE}.npy?bands=B02,B08").content))
    with rasterio.open(io.BytesIO(client.get(f"{TILE}.tif?bands=B02,B08").content)) as dataset:
        assert dataset.nodata == -32768
        assert dataset.scales == (1e-4, 1e-4)
        assert dataset.descriptions == ("B02", "B08")
        assert dataset.crs.to_epsg() == 3857
        assert "Copernicus" in dataset.tags()["ATTRIBUTION"]
        assert (dataset.read() == array[:2]).all()
    assert 0.2 < array[1].mean() * 1e-4 < 0.5


def test_outside_the_data_a_tile_is_transparent_and_outside_the_set_it_is_404(client):
    assert picture(client.get("/mosaics/mosaic/tiles/WebMercatorQuad/11/0/0.png"))[..., 3].max() == 0
    assert client.get("/mosaics/mosaic/tiles/WebMercatorQuad/11/2048/0.png").status_code == 404
    assert client.get("/mosaics/mosaic/tiles/WebMercatorQuad/30/0/0.png").status_code == 404


def test_an_etag_answers_304_and_differs_between_styles(client):
    first = client.get(f"{TILE}.png")
    again = client.get(f"{TILE}.png", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"{TILE}.png?style=ndvi").headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("quality=0", "1 to 100"),
        ("colour=red", "unknown parameter colour; there are: style, bands"),
        ("style=neon", "natural, infrared"),
        ("bands=B99", "B02, B03, B04, B08"),
        ("method=magic", "feather, first"),
        ("stage=raw&normalize=on", "contradict"),
        ("datetime=yesterday", "2023-08-13"),
        ("datetime=1999", "lies in no period"),
        ("rescale=1", "min,max"),
        ("expression=__import__('os')", "arithmetic"),
        ("bands=B02&style=ndvi", "contradict"),
        ("max_cloud=nan", "finite"),
        ("expression=B04*9**9**9", "up to 10"),
        ("expression=(abs(9)**10)**10*B04", "up to 10"),
        ("bands=B02,B03", "2 bands make no picture"),
    ],
)
def test_a_wrong_parameter_is_answered_with_the_right_ones(client, query, told):
    answer = client.get(f"{TILE}.png?{query}")
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert answer.headers["cache-control"] == "no-store"


def test_normalization_off_first_nearest_is_the_scene_bit_for_bit(client, sample_store):
    box = "/mosaics/mosaic/bbox/530400,5100000,534240,5103840.tif"
    query = "bands=B04&method=first&normalize=off&resampling=nearest&coord_crs=EPSG:32633&ids=S2B_33TWM_20230813_0_L2A"
    with rasterio.open(io.BytesIO(client.get(f"{box}?{query}").content)) as dataset:
        served = dataset.read(1)
        bounds = dataset.bounds
    scene = next(sample_store.glob("scenes/33N/33TWM/S2B_33TWM_20230813_0_L2A/*/B04.tif"))
    with rasterio.open(scene) as dataset:
        stored = dataset.read(1, window=dataset.window(*bounds))
    assert served.shape == (64, 64)
    assert (served == stored).all()


def test_raw_is_the_products_own_number(client, sample_store):
    query = "bands=B04&stage=raw&resampling=nearest&coord_crs=EPSG:32633&ids=S2B_33TWM_20230813_0_L2A"
    answer = client.get(f"/mosaics/mosaic/bbox/530400,5100000,534240,5103840.tif?{query}")
    with rasterio.open(io.BytesIO(answer.content)) as dataset:
        counts = dataset.read(1)
    from terrazzo.precompute import sample

    with (
        rasterio.open(sample.path() / "S2B_33TWM_20230813_0_L2A" / "B04.tif") as source,
        rasterio.vrt.WarpedVRT(
            source, crs="EPSG:32633", resampling=rasterio.enums.Resampling.bilinear,
            transform=rasterio.Affine(60, 0, 530400, 0, -60, 5103840), width=64, height=64,
        ) as warped,
    ):  # fmt: skip
        expected = warped.read(1)
    assert np.abs(counts.astype(int) - expected).max() <= 1


def test_a_point_is_the_pixel_of_the_tile(client):
    lon, lat = 15.97, 45.85
    point = client.get(f"/mosaics/mosaic/point/{lon},{lat}?bands=B02,B08&resampling=nearest").json()
    box = f"{lon - 1e-4},{lat - 1e-4},{lon + 1e-4},{lat + 1e-4}"
    answer = client.get(f"/mosaics/mosaic/bbox/{box}/1x1.npy?bands=B02,B08&resampling=nearest")
    values = np.load(io.BytesIO(answer.content))[:2, 0, 0] * 1e-4
    assert point["values"] == pytest.approx(values.tolist(), abs=1e-6)
    assert point["scene"].startswith("S2")


def test_a_place_without_data_is_404(client):
    assert client.get("/mosaics/mosaic/point/0,0").status_code == 404


def test_a_broken_scene_takes_no_tile_down(sample_store, tmp_path):
    import shutil

    copy = tmp_path / "store"
    shutil.copytree(sample_store, copy)
    for file in copy.glob("scenes/33N/33TWM/S2B_33TWM_20230813_0_L2A/*/B04.tif"):
        file.write_bytes(file.read_bytes()[:3000])
    with TestClient(create_app(Settings(store=str(copy)))) as client:
        answer = client.get(f"{TILE}.png")
        assert "S2B_33TWM_20230813_0_L2A" in answer.headers["x-terrazzo-problems"]
        assert answer.headers["cache-control"] == "no-store"
        # Where no day is clear only the least hazy scene has a weight: if that one is broken, nothing is left to show.
        assert (picture(answer)[..., 3] == 255).mean() > 0.99


def test_tilejson_names_tiles_that_answer(client):
    document = client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json?style=infrared").json()
    assert document["tilejson"] == "3.0.0"
    assert document["attribution"] == "Contains modified Copernicus Sentinel data 2023"
    url = document["tiles"][0].format(z=11, x=1113, y=728)
    assert client.get(url).status_code == 200


def test_health_and_documents(client):
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json()["mosaics"] == ["mosaic"]
    collection = client.get("/mosaics").json()["collections"][0]
    assert collection["renders"]["natural"]["assets"] == ["B04", "B03", "B02"]
    assert len(client.get("/mosaics/mosaic/scenes?max_cloud=20").json()["features"]) == 6
    assert "Terrazzo" in client.get("/?f=html").text
    assert client.get("/mosaics/none").status_code == 404
