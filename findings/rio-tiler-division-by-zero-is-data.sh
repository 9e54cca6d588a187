#!/usr/bin/env bash
# rio-tiler 9.4.12 (titiler computes its expressions with it).
#
# One would guess: a band expression that divides by zero gives NaN or a masked pixel there.
# What happens: 0/0 becomes 0 and 1/0 becomes 1.797e308 (the largest float), both as valid, unmasked pixels. Only the
#   mask of the input bands is kept.
# Why it matters: an NDVI of 0 reads as bare soil; where both bands are 0 (a deep shadow, water after an offset, a gap
#   without nodata) it is no measurement. One pixel of 1e308 makes the mean, the standard deviation
#   and every automatic colour range of the tile useless.
# Source: apply_expression() calls numpy.nan_to_num, and its docstring does not tell; we found no issue. 965 is the
#   related loss of masks in PointData, mended since.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rio-tiler numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
  ${PACKAGES:-rio-tiler==9.4.12 rasterio==1.4.4 numexpr==2.14.2 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
import rasterio
from rio_tiler.io import Reader

warnings.simplefilter("ignore")
print("rio-tiler", version("rio-tiler"), "numexpr", version("numexpr"))
red = np.array([[0, 1000, 0, 500]] * 4, np.uint16)
nir = np.array([[0, 3000, 700, 0]] * 4, np.uint16)
profile = dict(driver="GTiff", width=4, height=4, count=2, dtype="uint16", crs="EPSG:32633",
               transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000))
with rasterio.open("a.tif", "w", **profile) as file:
    file.write(np.stack([red, nir]))
with Reader("a.tif") as reader:
    ndvi = reader.read(expression="(b2-b1)/(b2+b1)").array[0, 0]
    ratio = reader.read(expression="b1/b2").array[0, 0]
    mean = reader.statistics(expression="b1/b2")
print("red", red[0], "nir", nir[0])
print("NDVI ", ndvi, "mask", np.ma.getmaskarray(ndvi))
print("ratio", ratio, "mask", np.ma.getmaskarray(ratio))
print("statistics of the ratio:", {k: (s.min, s.max, s.mean) for k, s in mean.items()})
assert not np.ma.getmaskarray(ndvi).any() and not np.ma.getmaskarray(ratio).any(), "it is masked: the behaviour changed"
assert ndvi.data[0] == 0 and ratio.data[0] == 0, "0/0 is no longer 0: the behaviour changed"
assert ratio.data[3] == np.finfo(np.float64).max, "1/0 is no longer the largest float: the behaviour changed"
PY
echo "confirmed: 0/0 is a valid 0, and 1/0 a valid 1.797e308"
