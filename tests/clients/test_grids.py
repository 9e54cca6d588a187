"""GDAL and QGIS in every tile matrix set a server can offer; Finland's national grid over Finland."""

import re
import sys

import pytest

from tests.chain import precompute
from tests.clients.conftest import green, serving
from tests.clients.truth import natural
from tests.conftest import ROOT
from tests.world.worlds import make_world

pytestmark = pytest.mark.clients
SETS = ("WebMercatorQuad512", "WGS1984Quad", "WorldCRS84Quad", "EuropeanETRS89_LAEAQuad", "UTM33N")
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


def registered(kit, debian, address, truth, tms, *options):
    """GDAL's shift against the truth, in pixels."""
    told = green([debian, kit / "gdal_wmts.py", document(address), "--layer", "layer=mosaic,.*natural", "--tms", tms, "--truth", truth,
                  "--max-shift", "0.05", "--max-mae", "1.5", "--resampling", "bilinear", *options])  # fmt: skip
    found = re.search(r"shift_px=([\d.]+)", told)
    assert found
    return float(found[1])


def test_the_document_of_many_sets_breaks_no_rule(kit, many, finland):
    for address in (many, finland[0]):
        for further in ("", "/time", "/quality", "/stages"):
            path = f"{address}/mosaics/mosaic/wmts{further}/1.0.0/WMTSCapabilities.xml"
            assert "findings=0 xsd_errors=0" in green([sys.executable, kit / "wmts_schema.py", path])


@pytest.mark.parametrize("tms", SETS)
@pytest.mark.parametrize("options", [(), ("--kvp-only",)], ids=["rest", "kvp"])
def test_gdal_finds_every_pixel_where_it_belongs(kit, debian, many, truth, tms, options):
    assert registered(kit, debian, many, truth, tms, *options) <= 0.05


@pytest.mark.parametrize("tms", SETS)
def test_qgis_renders_and_identifies_in_every_set(kit, debian, many, tmp_path, tms):
    green([debian, kit / "qgis_wmts.py", "--caps", document(many), "--layer", "layers=mosaic&", "--tms", tms, "--bbox", "15.3", "45.75",
           "16.2", "46.2", "--crs", "EPSG:3857", "--out", tmp_path, "--expect-identify"])  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--kvp-only",)], ids=["rest", "kvp"])
def test_gdal_finds_finlands_pixels_on_finlands_grid(kit, debian, finland, options):
    address, truth = finland
    assert registered(kit, debian, address, truth, "ETRS-TM35FIN", *options) <= 0.05


def test_qgis_shows_finlands_grid_in_few_lines(kit, debian, finland, tmp_path):
    told = green([debian, kit / "qgis_wmts.py", "--caps", document(finland[0]), "--layer", "layers=mosaic&", "--tms", "ETRS-TM35FIN",
                  "--bbox", "22.13", "60.93", "22.18", "60.96", "--crs", "EPSG:3067", "EPSG:3857", "--out", tmp_path,
                  "--expect-identify"])  # fmt: skip
    entries = re.search(r"(\d+) layer entries", told)
    assert entries
    assert int(entries[1]) <= 24


@pytest.mark.parametrize("further", ["time", "quality", "stages"])
def test_qgis_lists_each_further_document_in_less_than_200_lines(kit, debian, address, tmp_path, further):
    caps = f"{address}/mosaics/mosaic/wmts/{further}/1.0.0/WMTSCapabilities.xml"
    # The script wants twenty colours of a picture, and ten scenes have ten.
    options = ["--list-only"] if further == "quality" else ["--expect-identify"]
    told = green([debian, kit / "qgis_wmts.py", "--caps", caps, "--layer", "layers=mosaic_(time|merged|quality)&", "--tms", "UTM33N", "--bbox", "15.3", "45.75", "16.2", "46.2",
                  "--crs", "EPSG:32633", "--out", tmp_path, *options])  # fmt: skip
    entries = re.search(r"(\d+) layer entries", told)
    assert entries
    assert 0 < int(entries[1]) < 200
