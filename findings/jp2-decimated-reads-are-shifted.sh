#!/usr/bin/env bash
# rasterio 1.4.4 (JP2OpenJPEG driver of its wheel, GDAL 3.10.3; rasterio 1.5.2 with GDAL 3.12.2 does the same).
#
# One would guess: a reduced read of a lossless JPEG 2000 file covers the same ground as the same read of a GeoTIFF; an
#   "average" of 8 x 8 pixels lies at the middle of those pixels.
# What happens: the reduced resolutions of JPEG 2000 hold samples at every 2nd, 4th, 8th pixel position, counted from
#   the first pixel, and GDAL serves them as if each lay at the middle of its block. So everything lies
#   .5, 1.5 and 3.5 pixels off at factors 2, 4 and 8, in both directions, whatever the resampling method.
# Why it matters: Sentinel-2 is delivered as JPEG 2000. A preview or registration at an eighth of the resolution is
#   35 m off a 10 m band, and a mosaic from JP2 and COG copies of the same scenes does not fit together.
# Source: follows from the wavelet of ISO/IEC 15444-1 (the low-pass samples keep the even positions). We
#   found neither an issue of GDAL or OpenJPEG nor a page of the driver that tells of it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import numpy as np
import rasterio
from rasterio import Affine
from rasterio.enums import Resampling

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
size, step = 1024, 8
ramp = np.broadcast_to((np.arange(size) * step).astype(np.uint16), (size, size))
profile = dict(
    width=size, height=size, count=1, dtype="uint16", crs="EPSG:32633",
    transform=Affine(10, 0, 500000, 0, -10, 5000000),
)
lossless = dict(driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
for name, image, options in (
    ("columns.jp2", ramp, lossless), ("rows.jp2", ramp.T, lossless), ("columns.tif", ramp, dict(driver="GTiff")),
):
    with rasterio.open(name, "w", **profile, **options) as file:
        file.write(image, 1)
    with rasterio.open(name) as file:
        assert np.array_equal(file.read(1), image), "not lossless"


def offset(name, factor, method):
    """How many full pixels the content of a reduced read lies off the middles of its pixels."""
    with rasterio.open(name) as file:
        small = file.read(1, out_shape=(size // factor, size // factor), resampling=method).astype(float)
    line = (small.T if name.startswith("rows") else small)[size // factor // 2]
    middle = (np.arange(size // factor) + 0.5) * factor - 0.5
    return round(float((line / step - middle)[8:-8].mean()), 3)


for factor, expected in ((2, -0.5), (4, -1.5), (8, -3.5)):
    for method in (Resampling.average, Resampling.bilinear, Resampling.cubic):
        columns, rows, tif = (offset(n, factor, method) for n in ("columns.jp2", "rows.jp2", "columns.tif"))
        print(f"factor {factor} {method.name:8}  JP2 columns {columns:5} rows {rows:5}  GeoTIFF {tif:5}")
        assert tif == 0
        assert columns == rows == expected, "the shift is gone: the behaviour changed"
PY
echo "confirmed: reduced reads of JP2 lie .5, 1.5 and 3.5 pixels off"
