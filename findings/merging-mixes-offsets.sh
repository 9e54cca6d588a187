#!/usr/bin/env bash
# rasterio 1.4.4 and rioxarray 0.19.0.
#
# One would guess: a mosaic of files whose scale or offset differ is refused or converted, as gdalbuildvrt skips such a file with a
#   warning; and a mosaic of files that agree keeps their scale and offset.
# What happens: `rasterio.merge` puts the stored counts side by side and writes scale 1 and offset 0, also where all files agree.
#   rioxarray's `merge_arrays` puts them side by side as well and keeps the offset of the first: the rest is off by the
#   difference, and which part is wrong depends on the order of the list. Nothing warns.
# Why it matters: the counts of Sentinel-2 got an offset of -0.1 in 2022. A mosaic of scenes before and after it has a seam of
#   0.1 in reflectance: the same ground of 0.2 reads 0.2 on one side and 0.3 on the other, which looks like a change.
# What can be done: open with `mask_and_scale=True` and merge reflectance, or compare scales and offsets first.
# Source: rioxarray issue 814 tells of packed values from `merge_arrays`, one scale for all; rio-cogeo's pull request 119 mended
#   lost scales there. We found no issue on mixed offsets.
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
from rasterio.merge import merge
from rioxarray.merge import merge_arrays

print("rasterio", rasterio.__version__, "rioxarray", rioxarray.__version__)


def scene(name, west, count, offset):
    """One kilometre of even ground of reflectance 0.2."""
    with rasterio.open(name, "w", driver="GTiff", width=100, height=100, count=1, dtype="uint16", nodata=0,
                       crs="EPSG:32633", transform=Affine(10, 0, west, 0, -10, 5000000)) as file:
        file.write(np.full((1, 100, 100), count, np.uint16))
        file.scales, file.offsets = (1e-4,), (offset,)


def sides(name):
    """Reflectance as the file tells it, in the western and in the eastern scene."""
    with rasterio.open(name) as file:
        row = file.read(1)[50] * file.scales[0] + file.offsets[0]
        print(f"{name}: scale {file.scales[0]}, offset {file.offsets[0]}, west {row[10]:.4g}, east {row[-10]:.4g}")
    return round(float(row[10]), 4), round(float(row[-10]), 4)


scene("old.tif", 500000, 2000, 0.0)
scene("new.tif", 501000, 3000, -0.1)
scene("also-new.tif", 500000, 3000, -0.1)
assert sides("old.tif") == sides("new.tif") == sides("also-new.tif") == (0.2, 0.2)
merge(["old.tif", "new.tif"], dst_path="rasterio-differ.tif")
merge(["also-new.tif", "new.tif"], dst_path="rasterio-agree.tif")
for names in (["old.tif", "new.tif"], ["new.tif", "old.tif"]):
    merge_arrays([rioxarray.open_rasterio(name) for name in names]).rio.to_raster(f"rioxarray-{names[0]}")
assert sides("rasterio-differ.tif") == (2000, 3000), "the behaviour changed"
assert sides("rasterio-agree.tif") == (3000, 3000), "the behaviour changed"
assert sides("rioxarray-old.tif") == (0.2, 0.3), "the behaviour changed"
assert sides("rioxarray-new.tif") == (0.1, 0.2), "the behaviour changed"
PY
echo "confirmed: merging files of two offsets leaves a seam"
