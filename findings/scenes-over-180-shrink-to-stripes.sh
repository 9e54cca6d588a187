#!/usr/bin/env bash
# rasterio 1.4.4 with GDAL 3.10.3, rioxarray 0.19.0, rio-tiler 9.4.12.
#
# One would guess: since `transform_bounds` of a scene over 180 degrees gives west > east, warping to EPSG:4326 keeps its resolution, on one
#   side of 180 or around the globe, or raises.
# What happens: GDAL suggests a grid whose pixels share out the diagonal of the whole globe: a scene of 1098 × 1098 pixels becomes 1557 × 4,
#   of a quarter degree, and 99.7 % of these are gaps. `calculate_default_transform`, `WarpedVRT` and `rio.reproject` follow it, without a
#   warning. rio-tiler takes its zooms from the same: `maxzoom` is 3, so maps stay blurred where 11 would show the pixels.
# Why it matters: Sentinel-2's tiles of Fiji, Chukotka and the Aleutians (01, 60) lie there. A catalogue's quicklook, a mosaic in
#   degrees or a TileJSON is made of one row for 30 km.
# What can be done: warp to `+proj=longlat +datum=WGS84 +lon_wrap=180`, or name the resolution.
# Source: GDAL's issue 15266 tells of a smaller raster whose suggested grid has no rows; an error is proposed for that alone.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio rioxarray rio-tiler numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-rasterio==1.4.4 rioxarray==0.19.0 rio-tiler==9.4.12 numpy==2.4.6 xarray==2026.9.0}
cd "$dir"
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
import rasterio
import rioxarray
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, transform_bounds
from rio_tiler.io import Reader

print({p: version(p) for p in ("rasterio", "rioxarray", "rio-tiler", "numpy")}, "GDAL", rasterio.__gdal_version__)
SIDE, LEFT, TOP = 1098, 780000, 8209800  # a tile of Fiji with pixels of 100 m
WRAPPED = "+proj=longlat +datum=WGS84 +lon_wrap=180"


def scene(name: str, left: int) -> tuple:
    place = {"width": SIDE, "height": SIDE, "crs": "EPSG:32760", "transform": from_origin(left, TOP, 100, 100)}
    with rasterio.open(name, "w", driver="GTiff", count=1, dtype="uint16", nodata=0, **place) as file:
        file.write(np.full((SIDE, SIDE), 1000, np.uint16), 1)
        return file.bounds


shapes = {}
for name, left in (("across.tif", LEFT), ("west.tif", LEFT - 300000)):
    bounds = scene(name, left)
    west, _, east, _ = transform_bounds("EPSG:32760", "EPSG:4326", *bounds)
    _, width, height = calculate_default_transform("EPSG:32760", "EPSG:4326", SIDE, SIDE, *bounds)
    _, wide, high = calculate_default_transform("EPSG:32760", WRAPPED, SIDE, SIDE, *bounds)
    with rasterio.open(name) as file, WarpedVRT(file, crs="EPSG:4326") as vrt:
        data = float((vrt.read(1) > 0).mean())
        assert (vrt.width, vrt.height) == (width, height)
    raster = rioxarray.open_rasterio(name)
    with Reader(name) as reader:
        zoom = reader.maxzoom
    shapes[name] = (width, height), raster.rio.reproject("EPSG:4326").shape[1:][::-1], (wide, high), zoom
    print(f"{name:10} west {west:.2f}, east {east:.2f}: {width} × {height} px, {data:.1%} data; lon_wrap {wide} × {high}; maxzoom {zoom}")
(beside, by_riox, _, zoom_beside), (across, riox_across, wrapped, zoom_across) = shapes["west.tif"], shapes["across.tif"]
assert min(beside) > 1000 and beside == by_riox and zoom_beside >= 10
assert across == riox_across and across[1] < 10 and zoom_across <= 4, "the scene keeps its pixels now: the behaviour changed"
assert min(wrapped) > 1000, "lon_wrap no longer helps: the behaviour changed"
PY
echo "confirmed: warped to degrees, a scene over 180 degrees of 1098 x 1098 pixels has four rows"
