#!/usr/bin/env bash
# stackstac 0.5.1 (the newest of its releases) with rasterio 1.4.4.
#
# One would guess: `stack(items)` rescales by default, so that Items of STAC 1.0 and 1.1 of one archive give reflectance, or that an
#   unknown form is an error.
# What happens: scale and offset are read from `raster:bands` only. STAC 1.1 moved them into `bands` as `raster:scale` and
#   `raster:offset`, or to the asset itself. Such Items stay counts, without a warning, while nodata, which the file knows, still becomes NaN.
#   In one stack the same ground is 0.1 on one day and 2000 on the next. Where an Item has `proj:code` alone, as 1.1 asks, it raises.
# Why it matters: archives move to 1.1 one collection or one processing at a time; medians over such a stack follow the majority, and
#   indices of counts lack the offset of -1000: an NDVI of 0.50 reads 0.33.
# Source: we found none on this.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="stackstac rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-stackstac==0.5.1 rasterio==1.4.4 numpy==2.4.6 xarray==2026.9.0 dask==2026.8.0}
cd "$dir"
venv/bin/python - 2>errors <<'PY' || { cat errors; exit 1; }
import warnings
from importlib.metadata import version

import numpy as np
import rasterio
import stackstac
from rasterio.transform import from_origin

print({p: version(p) for p in ("stackstac", "rasterio", "xarray", "dask", "numpy")})
LEFT, TOP, SIDE = 500000, 5000640, 64
for band, count in (("red", 2000), ("nir", 4000)):
    pixels = np.full((SIDE, SIDE), count, np.uint16)
    pixels[:8] = 0
    place = {"height": SIDE, "width": SIDE, "crs": "EPSG:32633", "transform": from_origin(LEFT, TOP, 10, 10)}
    with rasterio.open(f"{band}.tif", "w", driver="GTiff", count=1, dtype="uint16", nodata=0, **place) as file:
        file.write(pixels, 1)
FORMS = {
    "1.0, raster:bands": ("1.0.0", {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]}),
    "1.1, bands": ("1.1.0", {"bands": [{"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0}]}),
    "1.1, asset": ("1.1.0", {"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0}),
}


def item(form: str, day: int, **where: object) -> dict:
    stac, about = FORMS[form]
    ring = [[15, 45.1], [15.01, 45.1], [15.01, 45.2], [15, 45.1]]
    grid = {"proj:shape": [SIDE, SIDE], "proj:transform": [10, 0, LEFT, 0, -10, TOP]}
    return {
        "type": "Feature", "stac_version": stac, "id": f"scene-{day}", "collection": "s2", "links": [],
        "stac_extensions": [f"https://stac-extensions.github.io/raster/v{'2.0.0' if stac == '1.1.0' else '1.1.0'}/schema.json"],
        "bbox": [15, 45.1, 15.01, 45.2], "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"2023-08-{day:02}T10:00:00Z"} | grid | where,
        "assets": {b: {"href": f"{b}.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]} | about for b in ("red", "nir")},
    }


items = [item(form, day, **{"proj:epsg": 32633}) for day, form in enumerate(FORMS, 1)]
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    stack = stackstac.stack(items, assets=["red", "nir"]).compute()
red, nir = stack.values[:, 0, 30, 30], stack.values[:, 1, 30, 30]
for form, r, n in zip(FORMS, red, nir, strict=True):
    print(f"{form:18} red {r:8.2f}, NDVI {(n - r) / (n + r):.2f}")
about = [str(w.message) for w in seen if any(word in str(w.message).lower() for word in ("scale", "offset", "raster", "version"))]
print("warnings about it:", about or "none")
try:
    stackstac.stack([item("1.1, bands", 4, **{"proj:code": "EPSG:32633"})], assets=["red"])
    code = "read"
except ValueError as error:
    code = str(error).splitlines()[0]
print("proj:code alone:", code)
assert np.isnan(stack.values[:, :, 0, 30]).all() and np.allclose([red[0], nir[0]], [0.1, 0.3])
assert red[1] == red[2] == 2000 and nir[1] == nir[2] == 4000 and not about, "scale of STAC 1.1 is applied or told: the behaviour changed"
assert "common CRS" in code, "proj:code is read now: the behaviour changed"
PY
echo "confirmed: stackstac leaves Items of STAC 1.1 in counts beside rescaled ones of 1.0"
