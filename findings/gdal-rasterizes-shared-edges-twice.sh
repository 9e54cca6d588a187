#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4's wheel).
#
# One would guess: polygons that tile an area share out the pixels: a middle that lies on a common edge goes to one of the
#   two, as in every rule for filling polygons.
# What happens: so it is on vertical and slanted edges. On horizontal edges both polygons take the pixel.
# Why it matters: parcels, blocks and tiles have edges at multiples of 10 m, and so have the pixel middles of a 20 m grid. Of
#   25 squares of 100 m each counts 30 pixels instead of 25: areas are a fifth too large, and a burnt map depends on the
#   order of its polygons, though none overlap.
# Source: GDAL issues 8918 and 9822 tell of middles on edges otherwise; we found none on shared horizontal edges.
#   rasterio 1.5.2 with GDAL 3.12.2 does the same.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio numpy shapely" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-rasterio==1.4.4 numpy==2.4.6 shapely==2.1.2}
cd "$dir"
venv/bin/python - <<'PY'
import numpy as np
import rasterio
import shapely
from rasterio import Affine
from rasterio.features import rasterize

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
grid = Affine(20, 0, 499980, 0, -20, 5000040)


def pixels(polygons):
    """(polygon, row, col) the pixels that each polygon takes by itself."""
    return np.stack([rasterize([p], (60, 60), transform=grid) for p in polygons])


def twice(polygons):
    return int((pixels(polygons).sum(axis=0) > 1).sum())


west, south = 499990, 4999510  # pixel middles lie at these coordinates plus multiples of 20 m
squares = [shapely.box(west + x, south + y, west + x + 100, south + y + 100)
           for y in range(0, 500, 100) for x in range(0, 500, 100)]
assert shapely.unary_union(squares).area == sum(s.area for s in squares) == 250_000
taken = pixels(squares)
area = int(taken.sum()) * 400
print(f"25 squares of 100 m: {set(taken.sum(axis=(1, 2)).tolist())} pixels each, {area} m2 in all of 250000 m2; "
      f"{twice(squares)} pixels counted twice")
beside, above = twice([squares[0], squares[1]]), twice([squares[0], squares[5]])
corners = shapely.get_coordinates(squares[0])
slanted = twice([shapely.Polygon(corners[:3]), shapely.Polygon(corners[[2, 3, 0]])])
print(f"pixels taken twice: two squares side by side {beside}, one above the other {above}, two triangles {slanted}")
first = rasterize([(squares[0], 1), (squares[5], 2)], (60, 60), transform=grid)
second = rasterize([(squares[5], 2), (squares[0], 1)], (60, 60), transform=grid)
print("pixels of a burnt map that depend on the order:", int((first != second).sum()))
assert beside == 0 and slanted == 0
assert above == 5 and area == 300_000 and int((first != second).sum()) == 5, "the behaviour changed"
PY
echo "confirmed: on shared horizontal edges two polygons take the same pixels"
