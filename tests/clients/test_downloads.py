"""Downloads with real clients: cut and continued, read in parts, and with what browsers send by themselves."""

import json
import subprocess
import urllib.request
import zlib
from pathlib import Path

import pytest
import rasterio

from tests.clients.conftest import green
from tests.conftest import program
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.clients
BOX = "/mosaics/mosaic/bbox/15.8,45.9,16.0,46.0.tif"


def test_curl_goes_on_with_a_download_that_was_cut(address, tmp_path):
    curl = program("curl", "curl")
    url = address + BOX.replace(".tif", "/1600x1200.npy?bands=B04,B08")
    whole, parts = tmp_path / "whole.npy", tmp_path / "parts.npy"
    subprocess.run([curl, "-sf", "--compressed", "-o", whole, url], check=True)
    slow = subprocess.Popen([curl, "-sf", "--compressed", "--limit-rate", "1M", "-o", parts, url])
    until(lambda: parts.exists() and parts.stat().st_size > 1_000_000, slow)
    slow.kill()
    slow.wait()
    kept = parts.stat().st_size
    assert 0 < kept < whole.stat().st_size
    done = subprocess.run(
        [curl, "-sf", "--compressed", "-C", "-", "-o", parts, "-w", "%{http_code}", url],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "206"
    assert zlib.crc32(parts.read_bytes()) == zlib.crc32(whole.read_bytes())


def test_gdal_reads_a_box_in_parts(address):
    url = address + BOX
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        whole = answer.read()
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif"),
        rasterio.open(f"/vsicurl/{url}") as far,
        rasterio.MemoryFile(whole).open() as near,
    ):
        assert (far.read() == near.read()).all()
        assert (far.read(1) != far.nodata).any()


@pytest.mark.needs("Chromium")
def test_chromium_takes_a_file_whole_and_in_parts(browser, address):
    """With what browsers send by themselves: Accept-Encoding, If-Range after a cut, and their cache."""
    seen = json.loads(green([browser[0], Path(__file__).with_name("download.mjs"), address, BOX]))
    assert seen["packed"] is None
    assert seen["parts"] == [206, 206, 206]
    assert seen["joined"] == seen["whole"]
    assert seen["other"] == 200
