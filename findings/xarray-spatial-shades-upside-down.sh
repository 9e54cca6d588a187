#!/usr/bin/env bash
# xarray-spatial 0.10.20 (terrain analysis of xarray objects).
#
# One would guess: aspect and hillshade of a DataArray follow its coordinates, or at least agree on where north is: with the sun
#   at azimuth 0 the slopes of aspect 0 are the bright ones, however the rows are stored.
# What happens: both look at the order of rows alone, and take it differently. `aspect` has the first row in the north,
#   `hillshade` in the south. With y descending, as in GeoTIFF, azimuth 315 lights the slopes to the south-west; with y
#   ascending, as in NetCDF, the light is right and every aspect is mirrored. Nothing warns.
# Why it matters: one of the two is wrong for every raster. Relief lit from below turns inside out to the eye; northness, and
#   an illumination correction made of the aspect, change sign.
# Source: pull request 867 rewrote the hillshade to match GDAL's, issue 2170 mended the row order in `rasterize`; we found none
#   on this.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# xarray-spatial needs Python 3.12: an older python3 gives way to a newer one beside it.
for python in python3 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23]*/bin/python3; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$dir/venv"
# PACKAGES="xarray-spatial numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-xarray-spatial==0.10.20 xarray==2026.9.0 numba==0.68.1 numpy==2.5.5}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import xarray as xr
from xrspatial import aspect, hillshade

print("xarray-spatial", version("xarray-spatial"))
y, x = 5000000.0 - 10 * np.arange(20), 500000.0 + 10 * np.arange(20)
to_south, to_east = np.mgrid[0:20, 0:20].astype(np.float32) * 5
# Planes that fall to where they face.
facing = {0: to_south, 45: to_south - to_east, 90: -to_east, 135: -to_south - to_east, 180: -to_south,
          225: to_east - to_south, 270: to_east, 315: to_south + to_east}
down = {bearing: xr.DataArray(p, dims=("y", "x"), coords={"y": y, "x": x}) for bearing, p in facing.items()}
up = {bearing: plane.sortby("y") for bearing, plane in down.items()}
assert all((down[b] - up[b] == 0).all() for b in facing)  # xarray aligns them: the same terrain
middle = {"y": 4999900.0, "x": 500100.0}
seen = {}
for name, planes in (("y descending", down), ("y ascending", up)):
    aspects = {b: round(float(aspect(p).sel(middle))) for b, p in planes.items()}
    lit = {}
    for azimuth in facing:
        shades = {b: float(hillshade(p, azimuth=azimuth, angle_altitude=30).sel(middle)) for b, p in planes.items()}
        lit[azimuth] = max(shades, key=shades.get)
    print(f"{name}\n  slopes that face {list(facing)}\n  have the aspects {list(aspects.values())}\n"
          f"  and the sun there lights those that face {list(lit.values())}")
    seen[name] = aspects, lit
right, mirrored = {b: b for b in facing}, {b: (180 - b) % 360 for b in facing}
assert seen["y descending"] == (right, mirrored), "the behaviour changed"
assert seen["y ascending"] == (mirrored, right), "the behaviour changed"
PY
echo "confirmed: of aspect and hillshade one is mirrored, whichever way the rows lie"
