#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4's wheel), rioxarray 0.19.0.
#
# One would guess: a file opened at one of its overviews (`overview_level=0`) is the same product with larger pixels: it says the
#   same of its numbers, as a reduced read or a warped view of the file does.
# What happens: coordinate system and nodata are kept, but scale, offset, unit and description of the bands are gone: scale 1,
#   offset 0. So `open_rasterio(mask_and_scale=True)` gives 0.2 at full size and 3000 at the overview. A GeoTIFF with
#   overviews and a file of the COG driver are alike.
# Why it matters: tools choose an overview by resolution, for speed. Of Sentinel-2 since 2022 an NDVI of 0.33 becomes a believable
#   0.25. With a scale of 1 and an offset, as heights may have, nothing shows that a number is off.
# What can be done: take scale and offset of the file opened without `overview_level`, or read it with `out_shape`.
# Source: rasterio issue 1504 shows `overview_level` as the way to an overview; pull request 915 of serapeum-org/pyramids carries
#   scale and offset over by hand. We found no issue of GDAL.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio rioxarray numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-rasterio==1.4.4 rioxarray==0.19.0 xarray==2026.9.0 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import numpy as np
import rasterio
import rioxarray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.shutil import copy

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__, "rioxarray", rioxarray.__version__)
# Counts of Sentinel-2 since 2022: reflectance = count / 10000 - 0.1; red 0.2, near infrared 0.4.
grid = Affine(10, 0, 500000, 0, -10, 5000000)
counts = np.stack([np.full((1024, 1024), count, np.uint16) for count in (3000, 5000)])
with rasterio.open("scene.tif", "w", driver="GTiff", width=1024, height=1024, count=2, dtype="uint16", nodata=0,
                   crs="EPSG:32633", transform=grid, tiled=True, blockxsize=256, blockysize=256) as file:
    file.write(counts)
    file.scales, file.offsets = (1e-4, 1e-4), (-0.1, -0.1)
    file.units, file.descriptions = ("reflectance",) * 2, ("B04", "B08")
    file.build_overviews([2, 4], Resampling.average)
copy("scene.tif", "cog.tif", driver="COG", blocksize=256)
for name in ("scene.tif", "cog.tif"):
    for options in ({}, {"overview_level": 0}):
        with rasterio.open(name, **options) as file:
            about = file.scales[0], file.offsets[0], file.units[0], file.descriptions[0]
            print(name, options, file.shape, file.crs, "nodata", file.nodata, "scale, offset, unit, band:", about)
            assert file.crs == "EPSG:32633" and file.nodata == 0
        with rioxarray.open_rasterio(name, mask_and_scale=True, **options) as image:
            red, infrared = image.values[:, 100, 100].astype(float)
        ndvi = (infrared - red) / (infrared + red)
        print(f"  red {red:.4g}, near infrared {infrared:.4g}, NDVI {ndvi:.3f}")
        if options:
            assert about == (1, 0, None, None) and (red, infrared) == (3000, 5000), "the overview is scaled: it changed"
            assert abs(ndvi - 0.25) < 1e-3
        else:
            assert about == (1e-4, -0.1, "reflectance", "B04") and abs(red - 0.2) < 1e-5 and abs(ndvi - 1 / 3) < 1e-3
PY
echo "confirmed: a file opened at an overview has lost scale and offset"
