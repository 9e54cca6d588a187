#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4's wheel).
#
# One would guess: overviews made with `nearest` hold the pixel nearest to the middle of theirs, as a reduced read and the
#   warper return it, so that adding overviews changes speed alone.
# What happens: each overview pixel holds the upper left one of its block. Column 4 of 0 to 7 is read at factor 8 before,
#   column 0 after; content moves half an overview pixel to the right and down. COGs that GDAL writes do the same.
# Why it matters: `nearest` is what one takes for classes, masks and dates. Such a layer moves 40 m at factor 8 of 10 m
#   pixels against bands whose overviews are averaged, and the larger the factor, the further. Zoomed out, clouds and
#   their mask no longer lie on each other.
# Source: we found no issue on it; GDAL's 8797 mends a shift of other resamplings when overviews are read.
#   rasterio 1.5.2 with GDAL 3.12.2 gives the same pixels.
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
from rasterio.shutil import copy
from rasterio.warp import reproject

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
size, grid = 512, Affine(10, 0, 500000, 0, -10, 5000000)
columns = np.tile(np.arange(size, dtype=np.uint16), (size, 1))
with rasterio.open("columns.tif", "w", driver="GTiff", width=size, height=size, count=1, dtype="uint16",
                   crs="EPSG:32633", transform=grid) as file:
    file.write(columns, 1)
copy("columns.tif", "cog.tif", driver="COG", overview_resampling="nearest", blocksize=64)


def reduced(path, factor):
    """The columns that a reduced read by nearest takes."""
    with rasterio.open(path) as file:
        return file.read(1, out_shape=(size // factor, size // factor), resampling=Resampling.nearest)[0]


before = {f: reduced("columns.tif", f) for f in (2, 4, 8)}
with rasterio.open("columns.tif", "r+") as file:
    file.build_overviews([2, 4, 8], Resampling.nearest)
for factor, plain in before.items():
    warped = np.zeros((size // factor, size // factor), np.uint16)
    reproject(columns, warped, src_transform=grid, src_crs="EPSG:32633", dst_transform=grid @ Affine.scale(factor),
              dst_crs="EPSG:32633", resampling=Resampling.nearest)
    after, cog = reduced("columns.tif", factor), reduced("cog.tif", factor)
    print(f"factor {factor}: without overviews {plain[:3]}, warped {warped[0, :3]}, with overviews {after[:3]}, COG {cog[:3]}")
    starts = np.arange(0, size, factor)
    assert np.array_equal(plain, starts + factor // 2) and np.array_equal(warped[0], plain), "the behaviour changed"
    assert np.array_equal(after, starts) and np.array_equal(cog, starts), "the behaviour changed"
PY
echo "confirmed: nearest overviews hold the upper left pixel, reads without them the middle one"
