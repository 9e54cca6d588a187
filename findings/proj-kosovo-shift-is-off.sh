#!/usr/bin/env bash
# pyproj 3.7.2 (PROJ 9.5.1), and the GDAL 3.10.3 that rasterio 1.4.4 brings.
#
# One would guess: where EPSG has several datum shifts for a place, they agree within the accuracies that they are given,
#   and the one that PROJ takes by default is the best of them.
# What happens: for MGI 1901 over Kosovo and its surroundings the default is EPSG's "MGI 1901 to WGS 84 (14)", said to be good
#   to 1 m. It lies more than a kilometre from the shifts (1), (10) and (15), said to be good to 5, 2 and 1 m, which agree with
#   each other within 15 m. GDAL takes the same one. So the two most used libraries agree on a place that is off, and a check
#   of one against the other sees nothing. Over the neighbouring countries the default changes from place to place, so that a map
#   of Macedonia (EPSG:6204) can tear by a kilometre.
# Why it matters: exports, boxes and grids in the national systems of this datum (EPSG:6204, 6316, 9945 and others).
# What can be done: ask pyproj's TransformerGroup for all shifts, and refuse or choose where they contradict each other.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="pyproj rasterio" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
  ${PACKAGES:-pyproj==3.7.2 rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import math
import re

import pyproj
import rasterio
from pyproj.transformer import Transformer, TransformerGroup
from rasterio.warp import transform

print("PROJ", pyproj.proj_version_str, "GDAL", rasterio.__gdal_version__)
LON, LAT, CODE = 21.16, 42.66, 6316  # Pristina, MGI 1901 / Balkans zone 7
places = {}
for t in TransformerGroup(4326, CODE, always_xy=True).transformers:
    number = int(re.search(r"MGI 1901 to WGS 84 \((\d+)\)", t.description)[1])
    places[number] = t.transform(LON, LAT)
    print(f"shift ({number}), said to be good to {t.accuracy:g} m: {places[number][0]:.1f}, {places[number][1]:.1f}")
default = Transformer.from_crs(4326, CODE, always_xy=True).transform(LON, LAT)
gdal = tuple(v[0] for v in transform("EPSG:4326", f"EPSG:{CODE}", [LON], [LAT]))
print(f"pyproj's default {default[0]:.1f}, {default[1]:.1f}; GDAL's {gdal[0]:.1f}, {gdal[1]:.1f}")
others = [p for n, p in places.items() if n != 14]
spread = max(math.dist(a, b) for a in others for b in others)
away = min(math.dist(places[14], p) for p in others)
print(f"the others lie within {spread:.0f} m of each other, (14) at least {away:.0f} m from them")
assert math.dist(default, places[14]) < 0.1 and math.dist(gdal, places[14]) < 0.1, "the default is another one now"
assert spread < 30 and away > 1000, "the shifts agree now"
PY
