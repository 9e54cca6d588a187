#!/usr/bin/env bash
# rasterio 1.4.4 (JP2OpenJPEG driver of its wheel, GDAL 3.10.3).
#
# One would guess: reading a JPEG 2000 file whose end is missing raises, as it does for a GeoTIFF.
# What happens: it raises where one thread decodes. Where the read spans several code-stream tiles and several threads
#   decode them, as they do by default on a machine with more than one processor, the read succeeds, and tiles that
#   could not be decoded keep what the caller's memory held before. Only a line on standard error tells. STRICT=YES, the default, does not change it.
# Why it matters: a product that was cut off in transfer becomes an image with wrong pixels, and
#   nothing downstream knows. Read with GDAL_NUM_THREADS=1, or compare checksums.
# Source: the driver decodes the tiles of a read ahead in worker threads. We found no issue of GDAL that tells of it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - 2>stderr <<'PY'
import numpy as np
import rasterio
from rasterio import Affine

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
size, tile = 640, 128
image = np.random.default_rng(1).integers(1, 4000, (size, size)).astype(np.uint16)
profile = dict(
    width=size, height=size, count=1, dtype="uint16", crs="EPSG:32633",
    transform=Affine(10, 0, 500000, 0, -10, 5000000), tiled=True, blockxsize=tile, blockysize=tile,
)
lossless = dict(driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
for name, options in (("a.jp2", lossless), ("a.tif", dict(driver="GTiff"))):
    with rasterio.open(name, "w", **profile, **options) as file:
        file.write(image, 1)
    with open(name, "r+b") as file:
        file.truncate(file.seek(0, 2) // 2)


def read(name, threads):
    """The share of wrong pixels in what is read, or None where the read raises."""
    try:
        with rasterio.Env(GDAL_NUM_THREADS=threads), rasterio.open(name) as file:
            return float((file.read(1, out=np.full_like(image, 65535)) != image).mean())
    except rasterio.RasterioIOError:
        return None


for threads in ("1", "2", "4"):
    tif, jp2 = read("a.tif", threads), read("a.jp2", threads)
    said = "raises" if jp2 is None else f"succeeds, {100 * jp2:.0f} % wrong pixels"
    print(f"{threads} threads: half a GeoTIFF {'raises' if tif is None else 'succeeds'}, half a JP2 {said}")
    assert tif is None
    assert (jp2 is None) == (threads == "1"), "several threads raise: the behaviour changed"
    assert jp2 is None or jp2 > 0.4
PY
echo "confirmed: with several threads a read of half a JP2 succeeds"
