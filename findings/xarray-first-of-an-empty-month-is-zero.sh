#!/usr/bin/env bash
# xarray 2026.9.0 with flox 0.11.2.
#
# One would guess: resample(time="1MS").first() gives NaN for a month without dates, as mean(), min() and max() do and
#   as xarray's page on resample says of intervals without values; and flox, which xarray uses where it is
#   installed, only makes it faster.
# What happens: with flox installed, first() and last() of integers keep the integer type and give 0 for the
#   empty month. With use_flox=False they give NaN. Floats give NaN either way.
# Why it matters: 0 is a valid digital number, and often nodata or the clear class of a mask. Installing an optional
#   package changes monthly composites of integer bands without a word.
# Source: xarray's documentation of DataArray.resample; xarray issue 10169 is the same place for dates, where it raises.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="xarray flox numpy pandas" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
  ${PACKAGES:-xarray==2026.9.0 flox==0.11.2 numpy==2.4.6 pandas==2.3.3}
cd "$dir"
venv/bin/python - <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import xarray as xr

warnings.simplefilter("ignore")
print("xarray", version("xarray"), "flox", version("flox"), "use_flox by default:", xr.get_options()["use_flox"])
dates = pd.to_datetime(["2025-01-03", "2025-01-20", "2025-03-05"])  # none in February
for dtype in ("uint16", "int16", "float32"):
    series = xr.DataArray(np.array([5, 6, 7], dtype), dims="time", coords={"time": dates})
    months = series.resample(time="1MS")
    for method in ("first", "last", "min", "max", "mean"):
        with_flox = getattr(months, method)()
        with xr.set_options(use_flox=False):
            without = getattr(months, method)()
        print(f"{dtype:8} {method:5} with flox {with_flox.values!s:13} {with_flox.dtype!s:8} without {without.values}")
        assert np.isnan(without.values[1])
        if dtype != "float32" and method in ("first", "last"):
            assert with_flox.dtype == dtype and with_flox.values[1] == 0, "February is no longer 0: it changed"
        else:
            assert np.isnan(with_flox.values[1])
PY
echo "confirmed: first() and last() of integers give 0 for an empty month when flox is installed"
