#!/usr/bin/env bash
# async-tiff 0.7.2; the files are made with rasterio 1.4.4.
#
# One would guess: async-tiff reads every tiled GeoTIFF whose compression and predictor it knows, or raises.
# What happens: it returns wrong pixels, without a word, for files that keep each band in tiles of its own
#   (INTERLEAVE=BAND) and use a predictor: it undoes the predictor as if the bands were mixed pixel by pixel. Under one
#   percent of the pixels are right. Each of the two alone is read rightly. A tile that was never written (sparse,
#   all nodata) raises a TypeError about a range, where GDAL returns nodata.
# Why it matters: GDAL writes such files on request, for scenes of which one reads single bands, and the wrong pixels
#   look like noise in the source.
# Source: async-tiff pull request 340 (opened in September 2026) names both; 86 and 240 brought predictors and
#   band-interleaved files.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="async-tiff rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
  ${PACKAGES:-async-tiff==0.7.2 rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import asyncio
from importlib.metadata import version

import numpy as np
import rasterio
from async_tiff import TIFF
from async_tiff.store import LocalStore

print("async-tiff", version("async-tiff"), "rasterio", rasterio.__version__)
pixels = np.random.default_rng(1).integers(1, 4000, (3, 256, 256)).astype(np.uint16)
profile = dict(driver="GTiff", width=256, height=256, count=3, crs="EPSG:32633", tiled=True, blockxsize=128,
               blockysize=128, compress="deflate", transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000))


async def first_tile(name):
    tiff = await TIFF.open(name, store=LocalStore("."))
    tile = await tiff.ifds[0].fetch_tile(0, 0)
    return np.asarray(await tile.decode())


right = {}
for dtype, predictors in (("uint16", (1, 2)), ("float32", (1, 2, 3))):
    for interleave in ("pixel", "band"):
        for predictor in predictors:
            with rasterio.open("a.tif", "w", dtype=dtype, interleave=interleave, predictor=predictor, **profile) as out:
                out.write(pixels.astype(dtype))
            with rasterio.open("a.tif") as file:
                truth = file.read()[:, :128, :128]
            assert np.array_equal(truth, pixels[:, :128, :128])
            found = asyncio.run(first_tile("a.tif"))
            if interleave == "pixel":
                found = np.moveaxis(found, -1, 0)
            right[dtype, interleave, predictor] = share = float((found == truth).mean())
            print(f"{dtype:8} interleave {interleave:6} predictor {predictor}: {share:7.2%} of the pixels are right")
with rasterio.open("sparse.tif", "w", dtype="uint16", nodata=0, sparse_ok=True, **profile) as out:
    out.write(pixels[:, 128:, 128:], window=((128, 256), (128, 256)))
try:
    asyncio.run(first_tile("sparse.tif"))
    sparse = "read"
except TypeError as error:
    sparse = f"TypeError: {error}"
print("sparse tile:", sparse)
for (_, interleave, predictor), share in right.items():
    misread = interleave == "band" and predictor > 1
    assert share < 0.01 if misread else share == 1, "the behaviour changed"
assert sparse.startswith("TypeError"), "the behaviour changed"
PY
echo "confirmed: band-interleaved files with a predictor are misread"
