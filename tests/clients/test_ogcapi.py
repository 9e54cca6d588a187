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


@pytest.mark.needs("GDAL")
def test_debians_gdal_draws_the_map(golden, tmp_path):
    """OGC API – Maps: GDAL asks for the pixels that it needs by `bbox`, `width` and `height`."""
    out = tmp_path / "map.png"
    size = (160, 160)
    box = (15.002, 46.046, 15.01, 46.052)
    window = [str(box[i]) for i in (0, 3, 2, 1)]
    command = [
        "gdal_translate",
        "-q",
        "-oo",
        "API=MAP",
        "-oo",
        "CACHE=NO",
        "-projwin",
        *window,
        "-outsize",
        *map(str, size),
    ]
    green([*command, f"OGCAPI:{golden}/collections/mosaic", out])
    theirs = np.asarray(Image.open(out).convert("RGBA")).astype(int)
    address = f"{golden}/mosaics/mosaic/bbox/{','.join(map(str, box))}/{size[0]}x{size[1]}.png"
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        ours = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGBA")).astype(int)
    # GDAL takes the nearest pixel of the next finer picture.
    apart = [np.abs(np.roll(theirs, k, axis=1) - ours)[8:-8, 8:-8, :3].mean() for k in (-2, -1, 0, 1, 2)]
    assert int(np.argmin(apart)) == 2, apart
    assert apart[2] < 6


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Address of a server over the small store."""
    store = tmp_path_factory.mktemp("golden") / "store"
    shutil.copytree(STORE, store)
    sets = "WebMercatorQuad,EuropeanETRS89_LAEAQuad"
    with serving(store, tmp_path_factory.mktemp("cache"), TERRAZZO_TMS=sets) as address:
        yield address
