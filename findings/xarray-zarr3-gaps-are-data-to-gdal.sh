#!/usr/bin/env bash
# xarray 2026.9.0 with zarr 3.4.2 writes, GDAL 3.12.2 (rasterio 1.5.2's wheel, for Python 3.12 and later) reads.
#
# One would guess: a cube that xarray writes with `_FillValue` reads the same in GDAL, whichever of Zarr's two formats holds it.
# What happens: in format 2 `_FillValue` is the array's fill value, and all is well. In format 3, the default, it goes to an
#   attribute in base64 that GDAL does not look at, and the array's own fill value stays at xarray's choice: 0 for integers, NaN
#   for floating point. GDAL takes that for nodata. Gaps (-9999) become valid numbers, and the zeros of integers become gaps.
# Why it matters: with scale and offset a gap reads as reflectance -1, dark water is missing, and no tool says a word.
# Source: xarray issue 5475 tells the two meanings of a fill value apart, 11332 tells of the base64; we found none on GDAL.
#   GDAL 3.10 refuses such a folder ("Unsupported codec: bytes"), so that newer ones alone are hit.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# rasterio 1.5 needs Python 3.12: an older python3 gives way to a newer one beside it.
for python in python3 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23]*/bin/python3; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$dir/venv"
# PACKAGES="xarray zarr rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-xarray==2026.9.0 zarr==3.4.2 rasterio==1.5.2 numpy==2.5.5}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import rasterio
import xarray as xr

print("xarray", version("xarray"), "zarr", version("zarr"), "GDAL", rasterio.__gdal_version__)
reflectance = xr.DataArray(
    np.array([[0, 0.02], [np.nan, 0.3]], np.float32), dims=("y", "x"),
    coords={"y": [4999995.0, 4999985.0], "x": [500005.0, 500015.0]}, name="red",
)
counts = {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -9999}
read = {}
for kind, encoding in (("int16", counts), ("float32", {"_FillValue": np.float32(-9999)})):
    for form in (2, 3):
        name = f"{kind}-{form}.zarr"
        reflectance.to_dataset().to_zarr(name, zarr_format=form, consolidated=False, encoding={"red": encoding})
        again = xr.open_zarr(name, consolidated=False)["red"]
        with rasterio.open(f'ZARR:"{name}":/red') as file:
            pixels = file.read(1, masked=True)
            scaled = np.ma.round(pixels * file.scales[0] + file.offsets[0], 4).tolist()
            print(f"{kind}, format {form}: xarray reads {again.values.astype(float).round(4).tolist()}; "
                  f"GDAL, nodata {file.nodata}: {scaled}")
        assert np.allclose(again, reflectance, atol=1e-4, equal_nan=True)
        read[kind, form] = np.ma.getmaskarray(pixels).tolist()
        assert pixels.data[1, 0] == -9999, "the behaviour changed"
assert read["int16", 2] == read["float32", 2] == [[False, False], [True, False]]
assert read["int16", 3] == [[True, False], [False, False]], "the behaviour changed"
assert read["float32", 3] == [[False, False], [False, False]], "the behaviour changed"
PY
echo "confirmed: in Zarr 3 GDAL takes xarray's gaps for numbers, and zeros for gaps"
