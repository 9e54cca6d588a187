#!/usr/bin/env bash
# rasterio 1.4.4 (1.5.2 does the same).
#
# One would guess: rasterio.open() of an open file object reads what is needed, as it does of a path: the head of the
#   file, then the blocks of a window.
# What happens: before GDAL sees anything, the file is read to its end into memory, even when only its size is asked for.
#   opener=, which takes a function that opens files, reads parts. rasterio 1.3.11 gave the object to GDAL as
#   /vsipythonfilelike/ and did not read it to its end.
# Why it matters: the file objects of fsspec, obstore and zipfile are passed this way, so that a small window of a
#   remote COG costs all of it, in requests as small as the reader's buffer, and as much memory.
# Source: pull request 3233 of rasterio added a note about it to the documentation; the docstring of open() only says
#   that names are more efficient.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="rasterio numpy" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-rasterio==1.4.4 numpy==2.4.6}
cd "$dir"
venv/bin/python - <<'PY'
import io
import os

import numpy as np
import rasterio

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
os.environ["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
pixels = np.random.default_rng(0).integers(0, 10000, (1, 2048, 2048)).astype("uint16")
profile = dict(driver="GTiff", width=2048, height=2048, count=1, dtype="uint16", crs="EPSG:32633", tiled=True,
               blockxsize=256, blockysize=256, transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000))
with rasterio.open("a.tif", "w", **profile) as file:
    file.write(pixels)


class Counting(io.FileIO):
    """A file that counts the bytes which are read of it."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


def share(opened, counted):
    """Share of the file's bytes read after the size, and after one block of 64."""
    whole = os.path.getsize("a.tif")
    with opened as dataset:
        size = dataset.width
        first = sum(f.count for f in counted) / whole
        block = dataset.read(1, window=((0, 256), (0, 256)))
        assert size == 2048 and np.array_equal(block, pixels[0, :256, :256])
    return first, sum(f.count for f in counted) / whole


file = Counting("a.tif")
as_file = share(rasterio.open(file), [file])
print("open file:  {:.1%} of the bytes after its size, {:.1%} after one block of 64".format(*as_file))

files = []


def opener(path, mode="rb"):
    files.append(Counting(path))
    return files[-1]


by_opener = share(rasterio.open("a.tif", opener=opener), files)
print("opener=:    {:.1%} of the bytes after its size, {:.1%} after one block of 64".format(*by_opener))
assert as_file[0] == 1.0, "open files are read in parts: the behaviour changed"
assert by_opener[1] < 0.05, "opener= reads more than the block: the behaviour changed"
PY
echo "confirmed: rasterio reads an open file to its end"
