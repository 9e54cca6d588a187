#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4's wheel).
#
# One would guess: the "average" of 2 x 2 integer pixels is one value, whether an overview is built, a reduced read made
#   or reproject() called on exactly the same grid.
# What happens: overviews and reduced reads agree and round a half away from zero (-1.5 becomes -2). The warper rounds
#   a half upwards (-1.5 becomes -1), and about one half in twelve goes the other way, probably since it keeps a running
#   mean that falls just short of the half. All other means are equal.
# Why it matters: integers below zero are common (Sentinel-2 reflectance after its offset, elevation, differences).
#   A warped product and an overview of the same noise differ by one in an eighth of the pixels, so that a
#   comparison of the two fails though both are right.
# Source: GDAL pull request 7743 brought the running mean; we found nothing on how an average is rounded.
#   rasterio 1.5.2 with GDAL 3.12.2 gives the same numbers.
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


def averages(pixels):
    """The 2 x 2 average of pixels by an overview, a reduced read and the warper."""
    rows, columns = pixels.shape
    profile = dict(driver="GTiff", width=columns, height=rows, count=1, dtype=pixels.dtype, crs="EPSG:32633",
                   transform=grid)
    with rasterio.open("a.tif", "w", **profile) as file:
        file.write(pixels, 1)
    with rasterio.open("a.tif") as file:
        reduced = file.read(1, out_shape=(rows // 2, columns // 2), resampling=Resampling.average)
    with rasterio.open("a.tif", "r+") as file:
        file.build_overviews([2], Resampling.average)
    with rasterio.open("a.tif", overview_level=0) as file:
        overview = file.read(1)
    warped = np.zeros((rows // 2, columns // 2), pixels.dtype)
    reproject(pixels, warped, src_transform=grid, dst_transform=grid @ Affine.scale(2), src_crs="EPSG:32633",
              dst_crs="EPSG:32633", resampling=Resampling.average)
    return overview, reduced, warped


for dtype in ("int16", "int32"):
    noise = np.random.default_rng(0).integers(-2000, 2000, (256, 256)).astype(dtype)
    mean = noise.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    overview, reduced, warped = averages(noise)
    differ, half = overview != warped, mean % 1 == 0.5
    away_from_zero = np.sign(mean) * np.floor(np.abs(mean) + 0.5)
    up = {name: float((warped == np.floor(mean + 0.5))[half & side].mean())
          for name, side in (("negative", mean < 0), ("positive", mean > 0))}
    print(f"{dtype}: overview equals reduced read: {np.array_equal(overview, reduced)}; the warper differs "
          f"in {differ.mean():.1%} of the pixels, by {sorted(set((warped - overview)[differ].tolist()))}; "
          f"halves that it rounds up: {up['negative']:.1%} of the negative, {up['positive']:.1%} of the positive ones")
    assert np.array_equal(overview, reduced) and np.array_equal(overview, away_from_zero), "the behaviour changed"
    assert np.array_equal(warped[~half], overview[~half]), "the behaviour changed"
    assert differ.mean() > 0.1 and up["negative"] > 0.8 and 0.8 < up["positive"] < 1, "the behaviour changed"
PY
echo "confirmed: overviews and the warper round the same averages differently"
