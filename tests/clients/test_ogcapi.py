"""GDAL's driver for OGC API opens a mosaic from its Collection and puts every pixel where it belongs."""

import io
import json
import shutil
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clients.conftest import green, serving
from tests.golden.make import STORE
from tests.waiting import PATIENCE

pytestmark = pytest.mark.clients


@pytest.mark.parametrize(
    ("tms", "code"), [("WebMercatorQuad", "EPSG:3857"), ("EuropeanETRS89_LAEAQuad", "EPSG:3035")]
)
def test_gdals_ogcapi_driver_draws_the_tile_sets(golden, tmp_path, tms, code):
    script = Path(__file__).with_name("gdal_ogcapi.py")
    pixels = tmp_path / "pixels.npy"
    options = ["API=TILES", f"TILEMATRIXSET={tms}", "CACHE=NO"]
    seen = json.loads(
        green([sys.executable, script, f"OGCAPI:{golden}/collections/mosaic", pixels, *options])
    )
    assert seen["failed"] == 0
    left, step, _, top, _, down = seen["transform"]
    bands, rows, columns = seen["shape"]
    assert (bands, step) == (4, -down)
    box = f"{left},{top + rows * down},{left + columns * step},{top}"
    with urllib.request.urlopen(
        f"{golden}/mosaics/mosaic/bbox/{box}/{columns}x{rows}.png?bbox_crs={code}", timeout=PATIENCE
    ) as answer:
        ours = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGBA")).astype(int)
    theirs = np.moveaxis(np.load(pixels), 0, -1).astype(int)
    shown = (theirs[..., 3] > 0) & (ours[..., 3] > 0)
    assert shown.mean() > 0.5
    apart = np.abs(theirs - ours)[shown].mean()
    assert apart < 2
    beside = np.abs(np.roll(theirs, 1, axis=1) - ours)[shown].mean()
    assert beside > 3 * apart + 1, "one pixel beside would be noticed"


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Address of a server over the small store."""
    store = tmp_path_factory.mktemp("golden") / "store"
    shutil.copytree(STORE, store)
    sets = "WebMercatorQuad,EuropeanETRS89_LAEAQuad"
    with serving(store, tmp_path_factory.mktemp("cache"), TERRAZZO_TMS=sets) as address:
        yield address
