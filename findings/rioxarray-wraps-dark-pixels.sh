#!/usr/bin/env bash
# rioxarray 0.19.0 with xarray 2026.9.0.
#
# One would guess: reflectance that is read with `mask_and_scale=True`, warped and saved again is stored as close as the file's
#   integers allow: what does not fit is cut at their end, as GDAL does, or raises.
# What happens: `to_raster` takes the scale and type of the source from the encoding, and its integers wrap around. A reflectance of
#   -0.02 in unsigned 16 bits comes back as 6.53. Cubic and Lanczos resampling pass a little below zero beside an edge, so that
#   warping a dark lake is enough. The same warp of the stored counts, by rasterio, cuts at the type's end.
# Why it matters: shores and shadows get single pixels of reflectance 6.5, in files that look right elsewhere. Maxima, averages
#   and colour ranges of the scene are worthless.
# What can be done: clip at the smallest reflectance that the type holds before saving.
# Source: rioxarray's pull request 308 brought the packing; xarray-spatial's issue 3260 mended the like there. We found no issue of
#   rioxarray or xarray on it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio rioxarray numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-rasterio==1.4.4 rioxarray==0.19.0 xarray==2026.9.0 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import warnings

import numpy as np
import rasterio
import rioxarray
import xarray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

print("rioxarray", rioxarray.__version__, "xarray", xarray.__version__, "numpy", np.__version__)
# A lake of reflectance 0.01 in sand of 0.4.
counts = np.full((100, 100), 4000, np.uint16)
counts[30:70, 30:70] = 100
grid, shifted = Affine(10, 0, 500000, 0, -10, 5000000), Affine(10, 0, 500205, 0, -10, 4999795)
with rasterio.open("lake.tif", "w", driver="GTiff", width=100, height=100, count=1, dtype="uint16", nodata=0, crs="EPSG:32633",
                   transform=grid) as file:
    file.write(counts, 1)
    file.scales = (1e-4,)
lake = rioxarray.open_rasterio("lake.tif", mask_and_scale=True)
for method in (Resampling.cubic, Resampling.lanczos):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        warped = lake.rio.reproject("EPSG:32633", transform=shifted, shape=(55, 55), resampling=method)
        warped.rio.to_raster("warped.tif")
    heard = [str(w.message) for w in heard if issubclass(w.category, RuntimeWarning | UserWarning)]  # none on deprecation
    back = rioxarray.open_rasterio("warped.tif", mask_and_scale=True)
    by_counts = np.zeros((55, 55), np.uint16)
    reproject(counts, by_counts, src_transform=grid, dst_transform=shifted, src_crs="EPSG:32633", dst_crs="EPSG:32633",
              resampling=method)
    wrapped = int((back > 6).sum())
    print(f"{method.name}: in memory {float(warped.min()):.4f} to {float(warped.max()):.4f}, saved and read again "
          f"{float(back.min()):.4f} to {float(back.max()):.4f}, {wrapped} pixels over 6; by counts at most "
          f"{by_counts.max() / 10000:.4f}; warnings: {heard}")
    assert warped.min() < 0 and warped.max() < 0.5 and by_counts.max() < 5000
    assert back.max() > 6.5 and wrapped > 20 and not heard, "the behaviour changed"
PY
echo "confirmed: reflectance just below zero is saved as 6.5"
