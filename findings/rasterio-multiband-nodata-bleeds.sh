#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL 3.10.3 of its wheel; rasterio 1.5.2 with GDAL 3.12.2 does the same).
#
# One would guess: a file declares 0 as missing, so reproject() and WarpedVRT keep missing pixels out of the
#   interpolation of each band. Every present pixel below is 1000, so only 0 and 1000 can come out.
# What happens: true for one band. With two bands a pixel counts as missing only where all bands are missing, so the
#   zeros of a gap in one band are mixed into its neighbours: 500, 750 and, with cubic, 1066 appear. It happens even
#   when one band alone is read through the WarpedVRT. rasterio sets GDAL's warp option UNIFIED_SRC_NODATA to YES;
#   UNIFIED_SRC_NODATA="NO" gives the guess.
# Why it matters: bands of one scene have gaps of their own (dead detectors, saturated pixels, edges of
#   detectors). Their rims get believable wrong values, and nothing reports it.
# Source: rasterio issue 3508 tells of another effect of it (altered nodata of multi-band sources). The docstrings of
#   reproject() and WarpedVRT do not name the option.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import numpy as np
import rasterio
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
grid = Affine(10, 0, 500000, 0, -10, 5000000)
shifted = grid @ Affine.translation(0.5, 0.5)
bands = np.full((2, 32, 32), 1000, np.uint16)
bands[0, 10:20, 10:20] = 0  # a gap in the first band only
profile = dict(driver="GTiff", width=32, height=32, dtype="uint16", crs="EPSG:32633", transform=grid, nodata=0)
for count in (1, 2):
    with rasterio.open(f"{count}.tif", "w", count=count, **profile) as file:
        file.write(bands[:count])


def values(count, method, **options):
    """The values of the first band after a shift by half a pixel: by WarpedVRT, and by reproject()."""
    with rasterio.open(f"{count}.tif") as file:
        with WarpedVRT(file, transform=shifted, width=32, height=32, resampling=method, **options) as vrt:
            by_vrt = vrt.read(1)
    by_reproject = np.zeros((count, 32, 32), np.uint16)
    reproject(
        bands[:count], by_reproject, src_transform=grid, src_crs="EPSG:32633", src_nodata=0,
        dst_transform=shifted, dst_crs="EPSG:32633", dst_nodata=0, resampling=method, **options,
    )
    return set(by_vrt.ravel().tolist()), set(by_reproject[0].ravel().tolist())


for method in (Resampling.bilinear, Resampling.cubic):
    alone, both = values(1, method), values(2, method)
    per_band = values(2, method, UNIFIED_SRC_NODATA="NO")
    print(method.name, "one band:", *map(sorted, alone))
    print(method.name, "two bands:", *map(sorted, both))
    print(method.name, "two bands, UNIFIED_SRC_NODATA=NO:", *map(sorted, per_band))
    assert alone == per_band == ({0, 1000}, {0, 1000})
    assert all({500, 750} <= found for found in both), "the gap no longer bleeds: the behaviour changed"
PY
echo "confirmed: a gap in one band bleeds into valid pixels of a two-band raster"
