"""GDAL and QGIS in every tile matrix set a server can offer; Finland's national grid over Finland."""

import urllib.request

import pytest

from tests.chain import precompute
from tests.clients.conftest import by_gdal, by_qgis, serving
from tests.clients.rules import broken
from tests.clients.truth import natural
from tests.conftest import ROOT
from tests.waiting import PATIENCE
from tests.world.worlds import make_world

pytestmark = pytest.mark.clients
SETS = ("WebMercatorQuad512", "WGS1984Quad", "WorldCRS84Quad", "EuropeanETRS89_LAEAQuad", "UTM33N")
BOX = [15.3, 45.75, 16.2, 46.2]
FINLAND = ("34VEN", 34, 6_760_020.0, 559_980.0)
"""A place of zone 34, so that the national grid, which is zone 35's, lies askew to the pixels."""


@pytest.fixture(scope="module")
def many(sample_store, tmp_path_factory):
    """Address of a server that offers every kind of set."""
    with serving(sample_store, tmp_path_factory.mktemp("cache"), TERRAZZO_TMS=",".join(SETS)) as address:
        yield address


@pytest.fixture(scope="module")
def truth(many, tmp_path_factory):
    return natural(
        many, "500040,5062080,610980,5129580", 32633, tmp_path_factory.mktemp("truth") / "truth.tif"
    )


@pytest.fixture(scope="module")
def finland(tmp_path_factory):
    """Address of a server with Finland's national grid over a simulated mosaic there, at 10 m, and its truth."""
    base = tmp_path_factory.mktemp("finland")
    mgrs, zone, top, left = FINLAND
    make_world(base / "p", seed=5, where=(mgrs, 32600 + zone, top, left), size=(600, 600), dates=2)
    precompute(base / "p", base / "s", normalize=False)
    sets = f"WebMercatorQuad,{ROOT / 'docs' / 'grids' / 'ETRS-TM35FIN.json'}"
    with serving(base / "s", base / "cache", TERRAZZO_TMS=sets) as address:
        box = f"{left},{top - 6000},{left + 6000},{top}"
        yield address, natural(address, box, 32600 + zone, base / "truth.tif")


def document(address):
    return f"{address}/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml"


def registered(address, truth, tms, binding):
    """GDAL's shift against the truth, in pixels."""
    seen = by_gdal(document(address), "layer=mosaic,.*natural", tms, truth, "bilinear", binding)
    assert seen["contrast"] > 4
    assert seen["difference"] <= 1.5
    return seen["shift"]


def test_the_document_of_many_sets_breaks_no_rule(many, finland):
    for address in (many, finland[0]):
        for further in ("", "/time", "/quality", "/stages"):
            path = f"{address}/mosaics/mosaic/wmts{further}/1.0.0/WMTSCapabilities.xml"
            with urllib.request.urlopen(path, timeout=PATIENCE) as answer:
                assert broken(answer.read()) == [], path


@pytest.mark.parametrize("tms", SETS)
@pytest.mark.parametrize("binding", ["rest", "kvp"])
@pytest.mark.needs("GDAL")
def test_gdal_finds_every_pixel_where_it_belongs(many, truth, tms, binding):
    assert registered(many, truth, tms, binding) <= 0.05


@pytest.mark.parametrize("tms", SETS)
@pytest.mark.needs("QGIS")
def test_qgis_renders_and_identifies_in_every_set(many, tmp_path, tms):
    where = {"capabilities": document(many), "layer": "layers=mosaic&", "box": BOX, "crs": ["EPSG:3857"]}
    seen = by_qgis(tmp_path, tms=tms, **where)
    assert seen["renders"][0]["filled"] >= 0.6
    assert seen["identified"]
    assert all(seen["identified"].values())


@pytest.mark.parametrize("binding", ["rest", "kvp"])
@pytest.mark.needs("GDAL")
def test_gdal_finds_finlands_pixels_on_finlands_grid(finland, binding):
    address, truth = finland
    assert registered(address, truth, "ETRS-TM35FIN", binding) <= 0.05


@pytest.mark.needs("QGIS")
def test_qgis_shows_finlands_grid_in_few_lines(finland, tmp_path):
    where = {"box": [22.13, 60.93, 22.18, 60.96], "crs": ["EPSG:3067", "EPSG:3857"]}
    layer = {"capabilities": document(finland[0]), "layer": "layers=mosaic&", "tms": "ETRS-TM35FIN"}
    seen = by_qgis(tmp_path, **layer, **where)
    assert 0 < seen["entries"] <= 24
    assert min(r["filled"] for r in seen["renders"]) >= 0.6
    assert all(seen["identified"].values())


@pytest.mark.parametrize("further", ["time", "quality", "stages"])
@pytest.mark.needs("QGIS")
def test_qgis_lists_each_further_document_in_less_than_200_lines(address, tmp_path, further):
    caps = f"{address}/mosaics/mosaic/wmts/{further}/1.0.0/WMTSCapabilities.xml"
    layer = {"capabilities": caps, "layer": "layers=mosaic_(time|merged|quality)&", "tms": "UTM33N"}
    # A picture of ten scenes has ten colours, too few for the check of pictures.
    seen = by_qgis(tmp_path, **layer, box=BOX, crs=[] if further == "quality" else ["EPSG:32633"])
    assert 0 < seen["entries"] < 200
    assert all(r["filled"] >= 0.6 for r in seen["renders"])
    assert all(seen["identified"].values())
