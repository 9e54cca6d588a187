#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4's wheel).
#
# One would guess: the resampling `med` of an even number of pixels is the mean of the two in the middle, as numpy's median, at
#   least in floating point.
# What happens: it is always the lower one, in every data type: 2 of 1, 2, 3, 4; 0 of 0, 0, 10, 10. `q1` of the four is 1, the
#   minimum.
# Why it matters: from 10 m to 20 m a pixel has four. Noise with the standard deviation 100 comes out 30 too low on average;
#   from 10 m to 30 m, nine pixels, it does not. Series of both are not comparable, and a mask of 0 and 1 loses every tie.
# Source: the documentation of gdalwarp says no more than "median"; we found no issue on it.
#   rasterio 1.5.2 with GDAL 3.12.2 does the same.
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
from rasterio.warp import reproject

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
grid = Affine(10, 0, 500000, 0, -10, 5000000)


def coarse(pixels, factor, how):
    """Blocks of factor x factor pixels, resampled on the same grid."""
    result = np.zeros((pixels.shape[0] // factor, pixels.shape[1] // factor), pixels.dtype)
    reproject(pixels, result, src_transform=grid, src_crs="EPSG:32633", dst_transform=grid @ Affine.scale(factor),
              dst_crs="EPSG:32633", resampling=how)
    return result


for dtype in ("uint8", "int16", "float32", "float64"):
    four = np.tile(np.array([[4, 2], [1, 3]], dtype), (8, 8))
    ties = np.tile(np.array([[10, 0], [0, 10]], dtype), (8, 8))
    middle, tie, first = (float(coarse(p, 2, how)[3, 3]) for p, how in (
        (four, Resampling.med), (ties, Resampling.med), (four, Resampling.q1)))
    print(f"{dtype}: med of 1, 2, 3, 4 is {middle:g}, of 0, 0, 10, 10 {tie:g}; q1 of 1, 2, 3, 4 is {first:g}")
    assert (middle, tie, first) == (2, 0, 1), "the behaviour changed"
noise = np.random.default_rng(0).normal(1000, 100, (600, 600))
for factor in (2, 3, 6):
    blocks = noise.reshape(600 // factor, factor, 600 // factor, factor)
    by_gdal, by_numpy = coarse(noise, factor, Resampling.med), np.median(blocks, axis=(1, 3))
    print(f"noise of 1000 +- 100, {factor} x {factor}: GDAL {by_gdal.mean():.1f} on average, numpy {by_numpy.mean():.1f}")
    if factor == 2:
        assert -32 < (by_gdal - by_numpy).mean() < -28 and (by_gdal <= by_numpy).all(), "the behaviour changed"
    if factor == 3:
        assert np.allclose(by_gdal, by_numpy)
PY
echo "confirmed: the median of four pixels is the second lowest"
