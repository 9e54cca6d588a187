"""`terrazzo.client` against a server: what it gives is what the server, the engine and the command line give."""

import io
import json
import time

import httpx
import numpy as np
import pytest
import rasterio
from PIL import Image
from rio_cogeo import cog_validate

from terrazzo.client import Client
from terrazzo.errors import InvalidRequest, NotFound, TerrazzoError
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.clients.notebook import executed

pytestmark = pytest.mark.clients
BOX = (15.95, 45.8, 15.98, 45.82)


@pytest.fixture(scope="module")
def mosaic(address):
    with Client(address) as mosaic:
        yield mosaic


@pytest.fixture(scope="module")
def engine(sample_store):
    engine = Engine(open_version(Store(str(sample_store)), "mosaic"), Blocks())
    yield engine
    engine.blocks.close()


def test_search_gives_the_scenes_of_a_selection_in_their_order(mosaic, engine):
    entries = engine.select(PixelRequest(("B04",))).entries
    assert [i["id"] for i in mosaic.search()] == [e.scene.id for e in entries]
    day = mosaic.search(datetime="2023-08-13")
    assert {i["properties"]["datetime"][:10] for i in day} == {"2023-08-13"}
    assert 0 < len(day) < len(entries)


def test_an_array_holds_the_mosaics_own_pixels_with_their_coordinates(mosaic, engine):
    found = mosaic.array(BOX, bands=["B04", "B08"], normalize=False)
    assert found.dims == ("band", "y", "x")
    assert list(found.band.values) == ["B04", "B08"]
    assert found.rio.crs.to_epsg() == 32633
    assert found.rio.resolution() == (60.0, -60.0)
    assert found.rio.bounds()[0] % 60 == found.rio.bounds()[3] % 60 == 0
    rng = np.random.default_rng(5)
    for row, col in zip(
        rng.integers(0, found.sizes["y"], 20), rng.integers(0, found.sizes["x"], 20), strict=True
    ):
        selection = engine.select(PixelRequest(("B04", "B08"), normalize=False))
        place = np.array([found.x.values[col]]), np.array([found.y.values[row]])
        image = engine.points(selection, "EPSG:32633", *place)
        assert np.rint(found.values[:, row, col] * 1e4).tolist() == image.values[:, 0, 0].tolist()


def test_an_array_covers_the_box_and_has_nan_beside_the_data(mosaic):
    west = mosaic.collection()["extent"]["spatial"]["bbox"][0][0]
    found = mosaic.array(
        (west - 0.05, 45.9, west + 0.05, 45.95), bands="B04", crs="EPSG:4326", resolution=0.001
    )
    assert found.rio.bounds() == pytest.approx((west - 0.05, 45.9, west + 0.05, 45.95), abs=0.0011)
    seen = np.isfinite(found.values[0]).any(axis=0)
    assert not seen[0]
    assert seen[-1]


def test_styles_and_expressions_come_as_arrays_too(mosaic):
    bands = mosaic.array(BOX, bands=("B04", "B08"))
    index = mosaic.array(BOX, expression="(B08-B04)/(B08+B04)")
    red, infrared = bands.sel(band="B04"), bands.sel(band="B08")
    np.testing.assert_allclose(index.values[0], (infrared - red) / (infrared + red), atol=1e-5)
    assert mosaic.array(BOX, style="count").min() >= 1


def test_lists_of_expressions_and_of_pairs_go_as_the_server_takes_them(mosaic):
    several = ["maximum(B04,B08)", "B04-B08"]
    both = mosaic.array(BOX, expression=several)
    for one, expected in zip(several, both, strict=True):
        np.testing.assert_array_equal(mosaic.array(BOX, expression=one)[0].values, expected.values)
    assert mosaic.estimate(bbox=BOX, expression=several)["bands"] == 2
    picture = {"bbox": BOX, "format": "gpkg", "bands": ["B04", "B03", "B02"]}
    assert mosaic.estimate(**picture, rescale=[(0, 0.3), (0, 0.3), (0, 0.2)])["files"] == 1
    with pytest.raises(InvalidRequest, match="rescale"):
        mosaic.estimate(**picture, rescale=[(0, 0.3), (0.3, 0)])
    tiles = {
        mosaic.tile(10, 557, 364, rescale=r, bands=["B04", "B03", "B02"]) for r in ([(0, 0.2)] * 3, "0,0.2")
    }
    assert len(tiles) == 1


def test_a_map_for_notebooks_shows_the_mosaic_and_asks_no_other_host(mosaic):
    shown = mosaic.map(style="natural", datetime="2023-08-13")
    (layer,) = shown.layers
    about = mosaic.collection()
    assert layer.url.startswith(f"{mosaic.url}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?")
    assert layer.attribution == about["terrazzo:attribution"]
    ((south, west), (north, east)) = layer.bounds
    assert [west, south, east, north] == pytest.approx(about["extent"]["spatial"]["bbox"][0])
    assert south < shown.center[0] < north
    assert west < shown.center[1] < east
    tile = httpx.get(layer.url.format(z=10, x=557, y=364)).raise_for_status().content
    assert tile == mosaic.tile(10, 557, 364, style="natural", datetime="2023-08-13")
    assert tile != mosaic.tile(10, 557, 364, style="natural")
    with pytest.raises(InvalidRequest, match="colour"):
        mosaic.map(colour="B04")


def test_a_tile_a_point_and_an_account_agree(mosaic):
    picture = Image.open(io.BytesIO(mosaic.tile(10, 557, 364, style="natural")))
    assert picture.size == (256, 256)
    point = mosaic.point(15.97, 45.81, bands=["B04"])
    told = mosaic.explain(15.97, 45.81, bands=["B04"])
    assert told["values"] == point["values"]
    assert told["candidates"]


def test_the_days_of_a_box_add_up(mosaic):
    days = mosaic.dates(BOX, datetime="2023-08-13/2023-08-18")
    assert {d["date"] for d in days} <= {"2023-08-13", "2023-08-15", "2023-08-18"}
    assert sum(d["per_cent"] for d in days) == pytest.approx(100, abs=0.05)


def test_an_export_reports_its_cost_and_progress_and_comes_as_whole_files(mosaic, tmp_path):
    order = {"bbox": BOX, "bands": ["B04", "B08"], "extras": ["date"]}
    cost = mosaic.estimate(**order)
    assert cost["pixels"] > 0
    seen = []
    files = mosaic.export(
        tmp_path / "out", progress=lambda percent, status: seen.append((percent, status)), **order
    )
    assert seen[-1] == (100, "successful")
    assert sorted(f.name for f in files) == sorted(p.name for p in (tmp_path / "out").iterdir())
    assert {f.suffix for f in files} == {".tif", ".json"}
    bands = next(f for f in files if f.suffix == ".tif" and "date" not in f.name)
    assert cog_validate(bands, strict=True, quiet=True)[0]
    item = json.loads(next(f for f in files if f.suffix == ".json").read_text())
    assert item["stac_version"] == "1.1.0"
    with rasterio.open(bands) as dataset:
        array = mosaic.array(BOX, bands=order["bands"])
        assert dataset.read().tolist() == np.rint(array.values * 1e4).tolist()


def test_an_export_ends_on_the_server_when_its_progress_is_not_wanted_any_more(mosaic, tmp_path):
    class Enough(Exception):
        pass

    def stop(percent, status):
        raise Enough

    with pytest.raises(Enough):
        mosaic.export(tmp_path / "out", progress=stop, bbox=(15.2, 45.75, 16.4, 46.25), resolution=30)
    # One that runs already stops at its next window.
    while (job := mosaic._get("/exports").json()["jobs"][0])["status"] in ("accepted", "running"):
        time.sleep(0.2)
    assert job["status"] == "dismissed"
    assert not (tmp_path / "out").exists()


def test_what_the_server_refuses_has_its_words(mosaic, tmp_path):
    with pytest.raises(InvalidRequest, match="there are"):
        mosaic.array(BOX, colour="B04")
    with pytest.raises(NotFound, match="no data"):
        mosaic.point(3.0, 3.0)
    with pytest.raises(
        NotFound, match=r"no data at .*\n2023-08-\d\d S2\w+: not asked for: .* more than max_cloud=0"
    ):
        mosaic.explain(15.7, 46.0, max_cloud=0)
    with pytest.raises(InvalidRequest, match="holds no data"):
        mosaic.export(tmp_path, bbox=(3.0, 3.0, 3.1, 3.1))
    with pytest.raises(NotFound):
        Client(mosaic.url, "other").search()
    with pytest.raises(TerrazzoError, match="does not answer"):
        Client("http://127.0.0.1:9").search()


def test_the_notebook_shows_a_search_a_map_a_time_series_and_an_export(address):
    notebook = executed(address)
    shown = [o for c in notebook.cells for o in c.get("outputs", ())]
    pictures = [o for o in shown if "image/png" in o.get("data", {})]
    text = "".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in shown)
    assert len(pictures) == 3
    assert "S2B_33TWL_20230813_0_L2A" in text
    assert "median NDVI" in text
    assert "100 successful" in text
    assert "largest difference to the array over HTTP: 0.0" in text


def test_statistics_come_with_the_feature(mosaic):
    ring = [[15.95, 45.8], [15.98, 45.8], [15.98, 45.82], [15.95, 45.82], [15.95, 45.8]]
    feature = {
        "type": "Feature",
        "properties": {"stand": 7},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    told = mosaic.statistics(feature, bands=["B04", "B08"], p=[10, 90])["properties"]
    assert told["stand"] == 7
    values = mosaic.array(BOX, bands=["B04", "B08"])
    for band, about in told["statistics"].items():
        assert about["percentile_10"] < about["median"] < about["percentile_90"]
        assert about["mean"] == pytest.approx(float(values.sel(band=band).mean()), rel=0.05)
    both = mosaic.statistics({"type": "FeatureCollection", "features": [feature] * 2}, bands=["B04"])
    assert len(both["features"]) == 2
    with pytest.raises(InvalidRequest, match="stage"):
        mosaic.statistics(feature, stage="mask")
