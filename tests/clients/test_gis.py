"""GDAL and QGIS on the mosaic as the server offers it: every pixel where it belongs, lists, pictures, values."""

from urllib.request import urlopen

import pytest

from tests.clients.conftest import by_gdal, by_qgis
from tests.clients.truth import natural

pytestmark = pytest.mark.clients
BOX = [15.3, 45.75, 16.2, 46.2]


@pytest.fixture(scope="module")
def truth(address, tmp_path_factory):
    """The natural style of the whole mosaic on its own grid."""
    path = tmp_path_factory.mktemp("truth") / "truth.tif"
    return natural(address, "500040,5062080,610980,5129580", 32633, path)


@pytest.mark.parametrize(
    ("tms", "how"),
    [("WebMercatorQuad", ("bilinear", "rest")), ("UTM33N", ("near", "rest")), ("UTM33N", ("near", "kvp"))],
)
@pytest.mark.needs("GDAL")
def test_gdal_finds_every_pixel_where_it_belongs(capabilities, truth, tms, how):
    seen = by_gdal(capabilities, "layer=mosaic,.*natural", tms, truth, *how)
    assert seen["contrast"] > 4
    assert seen["shift"] <= 0.05
    assert seen["difference"] <= 1
    assert "scene" in seen["at"]
    if tms == "UTM33N":
        assert seen["equal"] == 1


@pytest.mark.needs("GDAL")
def test_gdal_would_see_a_picture_beside_its_place(capabilities, truth, tmp_path):
    """A quarter of a pixel is seen, so that the shifts above are worth something."""
    import rasterio

    path = tmp_path / "beside.tif"
    with rasterio.open(truth) as dataset:
        profile = dataset.profile
        profile["transform"] = dataset.transform @ dataset.transform.translation(0.25, 0)
        with rasterio.open(path, "w", **profile) as beside:
            beside.write(dataset.read())
    seen = by_gdal(capabilities, "layer=mosaic,.*natural", "UTM33N", path, "bilinear", "rest")
    assert 0.15 < seen["shift"] < 0.35


@pytest.mark.parametrize("tms", ["WebMercatorQuad", "UTM33N"])
@pytest.mark.needs("QGIS")
def test_qgis_lists_renders_and_identifies(capabilities, address, tmp_path, tms):
    seen = by_qgis(
        tmp_path,
        capabilities=capabilities,
        layer="layers=mosaic&",
        tms=tms,
        xyz=f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png",
        box=BOX,
        crs=["EPSG:3857", "EPSG:32633", "EPSG:3035"],
    )
    assert 0 < seen["entries"] <= 24
    assert len(seen["renders"]) == 6
    assert min(r["filled"] for r in seen["renders"]) >= 0.6
    assert seen["identified"]
    assert all(seen["identified"].values())


@pytest.mark.needs("QGIS")
def test_qgis_shows_a_time(capabilities, tmp_path):
    where = {"capabilities": capabilities, "layer": "mosaic_time", "box": BOX, "crs": ["EPSG:3857"]}
    seen = by_qgis(tmp_path, time="2023-08-10", **where)
    assert seen["renders"][0]["filled"] >= 0.6
    assert all(seen["identified"].values())


@pytest.mark.needs("QGIS")
def test_qgis_opens_the_definition_with_every_period_and_its_days(address, tmp_path):
    path = tmp_path / "mosaic.qlr"
    with urlopen(f"{address}/mosaics/mosaic/layers.qlr?style=ndvi&method=first") as answer:
        path.write_bytes(answer.read())
    seen = by_qgis(tmp_path, qlr=str(path), box=BOX)
    layers = seen["qlr"].pop("layers")
    assert seen["qlr"] == {"good": True, "problem": ""}
    assert [(v["name"], v["valid"], v["shown"]) for v in layers] == [("all", True, True)]
    assert layers[0]["days"] == ["2023-08-10", "2023-08-20"]
    assert seen["renders"][0]["filled"] >= 0.6
