#!/usr/bin/env bash
# odc-algo 1.2.2 with geomad 1.0.0 (the compiled geometric median that replaced hdstats).
#
# One would guess: int_geomedian() of integer bands is the geometric median rounded to the nearest integer, and a
#   pixel that shows the same value on four of five dates gets that value.
# What happens: the float result is cut off, not rounded. Composites are half a digital number too dark on average, and
#   since the iteration stops a little short of its limit (1999.9999), the value that four of five dates agree on comes
#   out one too low in a fifth of the samples when the odd date is darker.
# Why it matters: a bias that no averaging removes: differences of two composites by two tools, or tests against
#   a reference, show it everywhere. Compute with xr_geomedian() on floats and round.
# Source: the docstring of int_geomedian() does not tell; hdstats pull request 14 made its integer path.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="odc-algo geomad numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
  ${PACKAGES:-odc-algo==1.2.2 geomad==1.0.0 xarray==2026.9.0 dask==2026.8.0 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
import xarray as xr
from geomad import nangeomedian_pcm
from odc.algo import int_geomedian

warnings.simplefilter("ignore")
print("odc-algo", version("odc-algo"), "geomad", version("geomad"))


def by_odc(dates):
    """int_geomedian of (date, row, column, band)."""
    bands = {
        f"b{i}": (("time", "y", "x"), dates[..., i], {"nodata": 0}) for i in range(dates.shape[-1])
    }
    made = int_geomedian(xr.Dataset(bands, coords={"time": np.arange(len(dates))}))
    return np.stack([made[name].values for name in bands], axis=-1)


dates = np.random.default_rng(0).integers(1000, 3000, (7, 40, 40, 3)).astype(np.uint16)
as_float = nangeomedian_pcm(np.ascontiguousarray(np.moveaxis(dates, 0, -1).astype(np.float32)), eps=1e-4)
as_int = by_odc(dates)
bias = float((as_int - as_float).mean())
print(f"random dates: mean of integer minus float {bias:.3f}")
print("equal to the float cut off:", float((as_int == np.floor(as_float)).mean()),
      "to the float rounded:", float((as_int == np.rint(as_float)).mean()))

agreeing = np.repeat(dates[:1], 5, axis=0)
agreeing[4] -= 500  # one darker date of five
off = by_odc(agreeing).astype(int) - dates[0]
print(f"four of five dates agree: {np.mean(off == -1):.1%} of the samples come out one too low; differences",
      set(off.ravel().tolist()))
assert -0.55 < bias < -0.45 and np.array_equal(as_int, np.floor(as_float)), "it rounds: the behaviour changed"
assert set(off.ravel().tolist()) == {-1, 0}, "the behaviour changed"
PY
echo "confirmed: int_geomedian truncates"
