#!/usr/bin/env bash
# exactextract 0.3.0 (zonal statistics weighted by the share of a pixel that is covered).
#
# One would guess: where every pixel is covered whole, the median is that of the pixels, as numpy's.
# What happens: pixels of one value are taken for one observation with their weights' sum. The median of 99 zeros and a
#   one is 0.5, their 95th percentile 0.95; numpy says 0 for both.
# Why it matters: satellite bands are whole numbers and classes are few, so values repeat. Medians of calm water, of
#   masks and of thresholds come out between the values, the further off the fewer values there are.
# Source: quantiles are computed from a table of frequencies; the documentation of `quantile` does not tell; we found no issue.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="exactextract numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-exactextract==0.3.0 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

print("exactextract", version("exactextract"))
values = np.zeros((10, 10), np.float32)
values[0, 0] = 1
ring = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
area = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
(feature,) = exact_extract(NumPyRasterSource(values, 0, 0, 10, 10), area, ["count", "median", "quantile(q=0.95)"])
print(feature["properties"], "numpy:", np.median(values), np.quantile(values, 0.95))
assert feature["properties"]["count"] == 100
assert abs(feature["properties"]["median"] - 0.5) < 1e-6, "the median is no longer 0.5: the behaviour changed"
assert np.median(values) == 0
PY
echo "confirmed: the median of 99 zeros and a one is 0.5"
