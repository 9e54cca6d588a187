#!/usr/bin/env bash
# rio-tiler 9.4.12 (expressions of TiTiler's tiles, statistics and previews) with numexpr 2.14.1.
#
# One would guess: an expression over bands of 16 bits is computed in floating point, or in integers large enough for it.
# What happens: it is computed in 32 bits with a sign, and wraps without a warning. The product of 50000 and 50000 is
#   -1794967296, and its root, their geometric mean, a valid 0. MSAVI2 goes wrong above 23169: 0 instead of 0.48.
# Why it matters: Landsat Collection 2 and PlanetScope hold reflectance as unsigned 16 bits. A Landsat count of 23170 is a
#   reflectance of 0.44: bright vegetation, sand and cloud get a wrong index in a valid pixel. `1.0*b1*b2` is right.
# Source: numexpr issue 253 asks for wider types for bytes; we found none in rio-tiler. Another page here shows its 0/0.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rio-tiler rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-rio-tiler==9.4.12 rasterio==1.4.4 numexpr==2.14.1 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import rasterio
from rasterio import Affine
from rio_tiler.io import Reader

print("rio-tiler", version("rio-tiler"), "numexpr", version("numexpr"))
MSAVI2 = "(2*b1+1-sqrt((2*b1+1)**2-8*(b1-b2)))/2"


def value(bands, expression):
    """The number and whether the mask calls it valid."""
    with rasterio.open("bands.tif", "w", driver="GTiff", width=8, height=8, count=2, dtype="uint16", crs="EPSG:32633",
                       transform=Affine(30, 0, 500000, 0, -30, 5000000)) as file:
        for i, count in enumerate(bands, start=1):
            file.write(np.full((8, 8), count, np.uint16), i)
    with Reader("bands.tif") as reader:
        image = reader.read(expression=expression)
    print(f"{expression} of {bands}: {image.array.data[0, 0, 0]}, valid: {bool(image.mask[0, 0])}")
    return float(image.array.data[0, 0, 0]), bool(image.mask[0, 0])


product, wide = value((50000, 50000), "b1*b2"), value((50000, 50000), "1.0*b1*b2")
root = value((50000, 50000), "sqrt(b1*b2)")
below, above = value((23000, 12000), MSAVI2), value((23200, 12000), MSAVI2)
right = value((23200, 12000), MSAVI2.replace("(2*b1+1)**", "(2.0*b1+1)**"))
assert wide == (2.5e9, True) and abs(below[0] - 0.478) < 1e-3 and abs(right[0] - 0.483) < 1e-3
assert product == (2_500_000_000 - 2**32, True), "the behaviour changed"
assert root == above == (0, True), "the behaviour changed"
PY
echo "confirmed: the product of two bands is negative"
