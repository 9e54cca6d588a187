#!/usr/bin/env bash
# xarray 2026.9.0 with flox 0.11.2 and numbagg 0.9.6 (both come with `pip install "xarray[accel]"`).
#
# One would guess: `groupby(zones).mean()` of float32 equals `mean()` to six digits or so; sums are kept in float64, or pairwise.
# What happens: with both packages installed, sums run in float32, one pixel after the other. Reflectance
#   around 0.2 stops adding up at 2**22: the mean of 30 million pixels is 0.14. `set_options(use_numbagg=False)` does not help,
#   `use_flox=False` and `engine="flox"` do.
# Why it matters: a Sentinel-2 tile has 120 million pixels, reflectance is kept as float32, and zones are large: means of
#   water, forest or a country come out too low by a third or more, without NaN or warning.
# Source: xarray issue 8515 told of other wrong means from flox and numbagg together (mended); 6902 asks for float64. We
#   found none on this.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="xarray flox numbagg numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-xarray==2026.9.0 flox==0.11.2 numbagg==0.9.6 numba==0.68.1 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import xarray as xr

print({p: version(p) for p in ("xarray", "flox", "numbagg", "numba", "numpy")})
many = 30_000_000  # a quarter of a Sentinel-2 tile
zones = xr.DataArray(np.ones(many, np.int8), dims="pixel", name="zone")
reflectance = 0.15 + 0.1 * np.random.default_rng(0).random(many, np.float32)
field = xr.DataArray(reflectance, dims="pixel")
whole, zonal = float(field.mean()), float(field.groupby(zones).mean()[0])
by_flox = float(field.groupby(zones).mean(engine="flox")[0])
with xr.set_options(use_numbagg=False):
    asked = float(field.groupby(zones).mean()[0])
print(f"mean {whole:.4f}; mean of the one zone {zonal:.4f}, use_numbagg=False {asked:.4f}, engine='flox' {by_flox:.4f}")
assert abs(whole - reflectance.mean(dtype=np.float64)) < 1e-5 and abs(by_flox - whole) < 1e-4
assert zonal == asked and 0.139 < zonal < 0.1405, "the zonal mean is no longer 0.14: the behaviour changed"
PY
echo "confirmed: the zonal mean of 30 million float32 pixels is too low by a third"
