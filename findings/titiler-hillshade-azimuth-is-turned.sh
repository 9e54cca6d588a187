#!/usr/bin/env bash
# titiler-core 2.4.0 (`algorithm=hillshade` of TiTiler's tiles).
#
# One would guess: `azimuth` is the compass bearing of the sun, clockwise from north, as in gdaldem: at 315 slopes to the
#   north-west are bright.
# What happens: it counts clockwise from the west, a quarter turn off. At 0 slopes to the west are bright, at 90 those to the
#   north, at 180 those to the east, and at 315, everybody's default, those to the south-west. TiTiler's default, 45, lights
#   from the north-west, so that nobody sees it until they set a bearing.
# Why it matters: relief lit from below turns inside out to the eye: valleys look like ridges. With the sun's azimuth of a
#   scene the shading lies across the image's shadows, and a cast of light computed of it is wrong.
# Source: the gradients along rows and columns change places; TiTiler's 985 mended an earlier fault of the same algorithm. We
#   found no issue on the azimuth, and the documentation does not tell how it counts.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="titiler-core numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-titiler-core==2.4.0 rio-tiler==9.4.12 rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from rio_tiler.models import ImageData
from titiler.core.algorithm import algorithms

print("titiler-core", version("titiler-core"))
row, col = np.mgrid[0:32, 0:32].astype(np.float32)
# Planes that fall by a metre a pixel to where they face; north is up.
facing = {"N": row, "NE": row - col, "E": -col, "SE": -row - col, "S": -row, "SW": col - row, "W": col, "NW": row + col}
hillshade = algorithms.get("hillshade")
brightest = {}
for azimuth in range(0, 360, 45):
    shades = {
        name: int(hillshade(azimuth=azimuth, angle_altitude=45, buffer=0)(
            ImageData(np.ma.array(plane[None]), crs="EPSG:32633", bounds=(500000, 4999968, 500032, 5000000))
        ).array[0, 16, 16])
        for name, plane in facing.items()
    }
    brightest[azimuth] = max(shades, key=shades.get)
    print(f"azimuth {azimuth}: brightest slope faces {brightest[azimuth]} {shades}")
bearings = dict(zip(range(0, 360, 45), facing))
assert all(brightest[a] == bearings[(a - 90) % 360] for a in bearings), "the azimuth is no longer 90 degrees off: changed"
PY
echo "confirmed: at azimuth 315 slopes to the south-west are lit"
