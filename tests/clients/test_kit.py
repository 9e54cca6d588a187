"""QGIS, GDAL, OWSLib, the standard's schemas and two map libraries in Chromium, against a running server."""

import re
import sys

import pytest

from tests.clients.conftest import green
from tests.clients.truth import natural
from tests.conftest import program

pytestmark = pytest.mark.clients
VIEW = ("--bbox", "15.3", "45.75", "16.2", "46.2")
BOX = "15,45.7,16.42,46.3"
SETS = ("WebMercatorQuad", "UTM33N")


@pytest.fixture(scope="module")
def truth(address, tmp_path_factory):
    """The natural style of the whole mosaic on its own grid."""
    return natural(
        address, "500040,5062080,610980,5129580", 32633, tmp_path_factory.mktemp("truth") / "truth.tif"
    )


def test_the_document_is_valid_and_breaks_no_rule(kit, capabilities):
    assert "findings=0 xsd_errors=0" in green([sys.executable, kit / "wmts_schema.py", capabilities])


@pytest.mark.parametrize("tms", SETS)
def test_owslib_reads_tiles_and_values_by_both_bindings(kit, capabilities, tms):
    green([sys.executable, kit / "owslib_wmts.py", capabilities, "--layer", "^mosaic$", "--tms", tms,
           "--require", "kvp", "rest", "gfi"])  # fmt: skip


def test_owslib_reads_the_time_layer_from_the_kvp_document(kit, address):
    kvp = f"{address}/mosaics/mosaic/wmts?service=WMTS&request=GetCapabilities"
    green([sys.executable, kit / "owslib_wmts.py", kvp, "--layer", "_time",
           "--require", "kvp", "rest", "gfi", "time"])  # fmt: skip


@pytest.mark.parametrize("options", [("--tms", "WebMercatorQuad", "--resampling", "bilinear"), ("--tms", "UTM33N"),
                                     ("--tms", "UTM33N", "--kvp-only")])  # fmt: skip
def test_gdal_finds_every_pixel_where_it_belongs(kit, capabilities, debian, truth, options):
    told = green([debian, kit / "gdal_wmts.py", capabilities, "--layer", "layer=mosaic,.*natural", "--truth", truth,
                  "--max-shift", "0.05", "--max-mae", "1", *options])  # fmt: skip
    if "UTM33N" in options:
        assert "exact 100.0 %" in told


@pytest.mark.parametrize("tms", SETS)
def test_qgis_lists_renders_and_identifies(kit, capabilities, address, debian, tmp_path, tms):
    xyz = f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
    told = green([debian, kit / "qgis_wmts.py", "--caps", capabilities, "--layer", "layers=mosaic&", "--tms", tms, *VIEW,
                  "--crs", "EPSG:3857", "EPSG:32633", "EPSG:3035", "--xyz", xyz, "--out", tmp_path,
                  "--expect-identify"])  # fmt: skip
    entries = re.search(r"(\d+) layer entries", told)
    assert entries
    assert int(entries[1]) <= 24


def test_qgis_shows_a_time(kit, capabilities, debian, tmp_path):
    green([debian, kit / "qgis_wmts.py", "--caps", capabilities, "--layer", "mosaic_time", *VIEW, "--crs", "EPSG:3857",
           "--out", tmp_path, "--dim", "Time=2023-08-10", "--expect-identify"])  # fmt: skip


@pytest.mark.parametrize("library", ["ol", "maplibre"])
def test_a_web_map_shows_xyz_without_an_error(browser, address, tmp_path, library):
    xyz = f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
    told = green([*browser, "--mode", "xyz", "--lib", library, "--xyz", xyz, "--view", "15.75,46,10", "--maxzoom", "11",
                  "--bounds", BOX, "--out", tmp_path / "shot.png"])  # fmt: skip
    assert "failed=0 outside=0 console_errors=0" in told


def test_openlayers_reads_the_wmts(browser, capabilities, tmp_path):
    told = green([*browser, "--mode", "wmts", "--lib", "ol", "--caps", capabilities, "--layer", "^mosaic$", "--view",
                  "15.75,46,10", "--bounds", BOX, "--out", tmp_path / "shot.png"])  # fmt: skip
    assert "failed=0 outside=0 console_errors=0" in told


def test_the_servers_own_map_loads_without_an_error(browser, address, tmp_path):
    told = green([*browser, "--mode", "page", "--page", f"{address}/", "--out", tmp_path / "shot.png"])
    assert "failed=0 outside=0 console_errors=0" in told


def test_our_nginx_conf_keeps_its_promises_in_front_of_the_real_server(kit, address):
    from tests.conftest import ROOT

    program("nginx", "nginx")
    told = green([sys.executable, kit / "nginx_check.py", ROOT / "nginx.conf", "--real-upstream", address.split("//")[1],
                  "--real-tile", "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/729.png"])  # fmt: skip
    assert "fail=0" in told
