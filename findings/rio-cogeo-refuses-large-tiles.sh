#!/usr/bin/env bash
# rio-cogeo 7.0.4; the files are made by GDAL 3.10.3's COG driver (rasterio 1.4.4).
#
# One would guess: rio-cogeo calls a file "not tiled" when it is stored in strips. A file that GDAL's COG driver wrote
#   with 1024-pixel tiles is valid.
# What happens: it takes "a block is as wide as the image" for "not tiled", from 512 pixels on. So a COG with tiles of
#   1024 pixels is refused when the image or one of its overviews is exactly 1024 wide: 1024 and
#   2048 pixels fail, 1100 and 4100 pass. The tags TileWidth and TileLength say that it is tiled.
# Why it matters: 2048, 4096 and so on are the sizes that tiling schemes produce, and 1024-pixel tiles suit object
#   stores; a check in CI refuses good files depending on their width.
# Source: rio-cogeo pull request 278 introduced the test of block shapes to follow GDAL's checker; that one has the same
#   test, but only for blocks wider than 1024 (quoted in GDAL issue 1403).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rio-cogeo rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
  ${PACKAGES:-rio-cogeo==7.0.4 rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import struct
from importlib.metadata import version

import numpy as np
import rasterio
from rio_cogeo import cog_validate

print("rio-cogeo", version("rio-cogeo"), "rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
TILE_WIDTH, TILE_OFFSETS, STRIP_OFFSETS = 322, 324, 273


def directories(name):
    """The tags of each image in a little-endian classic TIFF, with their first value."""
    data = open(name, "rb").read()
    assert data[:4] == b"II*\0"
    (at,) = struct.unpack_from("<I", data, 4)
    while at:
        (count,) = struct.unpack_from("<H", data, at)
        entries = (struct.unpack_from("<HHII", data, at + 2 + 12 * i) for i in range(count))
        yield {tag: value & 0xFFFF if kind == 3 else value for tag, kind, _, value in entries}
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)


refused = {}
for size, block in ((1024, 512), (1024, 1024), (2048, 1024), (1100, 1024), (4100, 1024)):
    pixels = np.random.default_rng(0).integers(0, 255, (1, size, size)).astype(np.uint8)
    profile = dict(driver="COG", width=size, height=size, count=1, dtype="uint8", crs="EPSG:3857", blocksize=block,
                   transform=rasterio.Affine(10, 0, 0, 0, -10, 0))
    with rasterio.open("a.tif", "w", **profile) as file:
        file.write(pixels)
    images = list(directories("a.tif"))
    assert all(tags[TILE_WIDTH] == block and TILE_OFFSETS in tags and STRIP_OFFSETS not in tags for tags in images)
    valid, errors, _ = cog_validate("a.tif", quiet=True)
    refused[size, block] = not valid
    print(f"{size} pixels, tiles of {block}, {len(images)} images, all tiled: valid {valid} {errors}")
assert [key for key, value in refused.items() if value] == [(1024, 1024), (2048, 1024)], "the behaviour changed"
PY
echo "confirmed: rio-cogeo calls tiled files untiled when a tile is as wide as the image"
