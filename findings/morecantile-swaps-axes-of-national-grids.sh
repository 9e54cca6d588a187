#!/usr/bin/env bash
# morecantile 7.1.0 with pyproj 3.7.2.
#
# One would guess: morecantile asks the coordinate reference system which axis comes first ("default to CRS's
#   metadata", says custom()), so that pointOfOrigin of a TileMatrixSet follows the system's own axis order, as the OGC
#   standard wants.
# What happens: it looks at the abbreviation of the first axis (Y, LAT or N means swapped), not at its direction. In
#   many national grids X points north, or Y, the first axis, points east: their pointOfOrigin is written in
#   the wrong order, and a correct document is read with its axes swapped, hundreds of kilometres off.
# Why it matters: a server that publishes its own tiling scheme in such a grid draws right in its own client, since
#   the same guess reads it back, and wrong in every other. Give ordered_axes, or compare with axis_info.
# Source: morecantile issues 70 and 26 (other systems, same place); OGC 17-083r4 (its release notes correct the same
#   mistake of EPSG:3035).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="morecantile pyproj" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-morecantile==7.1.0 pyproj==3.7.2}
cd "$dir"
venv/bin/python - <<'PY'
import warnings
from importlib.metadata import version

import pyproj
from morecantile import TileMatrixSet

warnings.simplefilter("ignore")
print("morecantile", version("morecantile"), "pyproj", pyproj.__version__, "PROJ", pyproj.proj_version_str)
GRIDS = [  # grids of European countries, and of Europe
    3035, 31256, 31287, 3416, 31370, 3812, 7801, 2056, 21781, 5514, 31467, 25832, 3301, 2154, 27700, 2100, 3765, 23700,
    2157, 3003, 3346, 3059, 2169, 28992, 2180, 3763, 3844, 3006, 3067, 3794, 8677,
]
wrong = []
for code in GRIDS:
    crs = pyproj.CRS.from_epsg(code)
    first = crs.axis_info[0]
    tms = TileMatrixSet.custom(
        list(crs.area_of_use.bounds), crs, extent_crs=pyproj.CRS.from_epsg(4326), maxzoom=0
    )
    corner = tms.xy_bounds(0, 0, 0)  # always x, y
    north_first = first.direction == "north"
    expected = (corner.top, corner.left) if north_first else (corner.left, corner.top)
    if tuple(tms.tileMatrices[0].pointOfOrigin) != expected:
        wrong.append(code)
        print(f"wrong: EPSG:{code:<6} {crs.name:34} first axis {first.abbrev} points {first.direction}")
print(len(wrong), "of", len(GRIDS), "grids are wrong")

crs = pyproj.CRS.from_epsg(2180)  # Poland: the first axis, x, points north
document = dict(
    crs="http://www.opengis.net/def/crs/EPSG/0/2180",
    tileMatrices=[dict(id="0", scaleDenominator=10000000.0, cellSize=2800.0, cornerOfOrigin="topLeft", tileWidth=256,
                       tileHeight=256, matrixWidth=1, matrixHeight=1, pointOfOrigin=[800000.0, 150000.0])],
)
left, top = TileMatrixSet.model_validate(document).xy_bounds(0, 0, 0)[0::3]
print(f"a document with northing 800 km, easting 150 km is read as easting {left:.0f}, northing {top:.0f}")
assert {31256, 2180, 23700, 21781, 3059} <= set(wrong) and 3035 not in wrong, "the behaviour changed"
assert (left, top) == (800000, 150000), "the behaviour changed"
PY
echo "confirmed: the axis order of many national grids is guessed wrong"
