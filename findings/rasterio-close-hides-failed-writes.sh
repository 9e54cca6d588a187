#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL 3.10.3 of its wheel; rasterio 1.5.2 with GDAL 3.12.2 does the same).
#
# One would guess: when a disk or a quota is full, write() or the end of the with block raises.
# What happens: when only the last kilobytes do not fit (up to 50 kB here), nothing raises: write() succeeds, the with
#   block ends well, and the file is cut off. It is so for GeoTIFF and for COG; failures further from the end raise.
#   libtiff writes a line to standard error. Probably the last buffer of the file is written at close().
# Why it matters: a batch job reports success, moves the file into place and deletes its source. Only reading the
#   pixels back proves a file; opening it succeeds, since the directory of tags comes first.
# Source: GDAL's RFC 91 gave GDALClose() a return code for exactly this. We found no issue of rasterio that tells
#   of it. A limit on the size of a file stands in for a full disk: no root is needed.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
cat > write.py <<'PY'
import resource
import signal
import sys

import numpy as np
import rasterio

driver, name, size, limit, compress = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
pixels = np.random.default_rng(0).integers(0, 65535, (1, size, size)).astype("uint16")
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit returns an error, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
profile = dict(driver=driver, width=size, height=size, count=1, dtype="uint16", crs="EPSG:3857", compress=compress,
               transform=rasterio.Affine(10, 0, 0, 0, -10, 0))
with rasterio.open(name, "w", **profile) as file:
    file.write(pixels)
print("the with block ended without an exception")
PY
cat > read.py <<'PY'
import sys

import rasterio

with rasterio.open(sys.argv[1]) as file:
    print("opens:", file.shape)
    file.read()
PY
check() { # driver, side in pixels, bytes that are missing, compression
  venv/bin/python write.py "$1" whole.tif "$2" 0 "$4" > /dev/null
  venv/bin/python read.py whole.tif > /dev/null
  local limit=$(($(wc -c < whole.tif) - $3))
  venv/bin/python write.py "$1" cut.tif "$2" "$limit" "$4" 2> errors.txt \
    || { echo "$1: the write raised: the behaviour changed"; tail -1 errors.txt; exit 1; }
  echo "$1 $4: no exception at $limit of $(wc -c < whole.tif) bytes; standard error: $(sort -u errors.txt)"
  if venv/bin/python read.py cut.tif 2> errors.txt; then echo "the file is whole: the behaviour changed"; exit 1; fi
  tail -1 errors.txt
  rm -f cut.tif
}
check GTiff 600 50000 NONE
check GTiff 1024 30000 LZW
check COG 600 1000 DEFLATE
echo "confirmed: a failed write passes silently at close()"
