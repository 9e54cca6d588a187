"""GDAL's WMTS driver draws a layer in many tile matrix sets; run by Debian's Python, prints the shifts as JSON.

usage: gdal_grids.py, with [[CAPABILITIES, TRUTH, [SET, …]], …] on standard input.
TRUTH is a GeoTIFF of the same picture on the pixels' own grid.
"""

import json
import os
import sys
import tempfile
import urllib.request

import numpy as np
from gdal_wmts import shift
from osgeo import gdal

SIDE = 256
gdal.UseExceptions()


def seen(name, truth):
    """Contrast of the truth, shift in pixels and mean difference of the middle of a layer's finest level."""
    dataset = gdal.Open(name)
    left, width, _, top, _, height = dataset.GetGeoTransform()
    system = dataset.GetSpatialRef()
    there = gdal.Warp("", truth, format="VRT", dstSRS=system)
    place = there.GetGeoTransform()
    x, y = place[0] + place[1] * there.RasterXSize / 2, place[3] + place[5] * there.RasterYSize / 2
    col, row = int((x - left) / width) - SIDE // 2, int((y - top) / height) - SIDE // 2
    if not (0 <= col <= dataset.RasterXSize - SIDE and 0 <= row <= dataset.RasterYSize - SIDE):
        return f"the picture lies at {x:.0f}, {y:.0f}, outside the set that begins at {left:.0f}, {top:.0f}"
    west, north = left + col * width, top + row * height
    expected = gdal.Warp(
        "", truth, format="MEM", dstSRS=system, outputBounds=(west, north + SIDE * height, west + SIDE * width, north),
        width=SIDE, height=SIDE, resampleAlg="bilinear", dstNodata=0, errorThreshold=0,
    ).ReadAsArray().astype(float)  # fmt: skip
    drawn = dataset.ReadAsArray(col, row, SIDE, SIDE).astype(float)[:3]
    known = expected[0] > 0
    both = drawn[0] * known, expected[0]
    return [
        float(expected[0][known].std()),
        float(np.hypot(*shift(*both))),
        float(np.abs(drawn - expected)[:, known].mean()),
    ]


def main():
    """Prints {set: [contrast, shift, difference] or a reason}."""
    found = {}
    for number, (address, path, names) in enumerate(json.load(sys.stdin)):
        capabilities = f"{os.getcwd()}/{number}.xml"
        with urllib.request.urlopen(address, timeout=600) as answer, open(capabilities, "wb") as file:
            file.write(answer.read())
        truth = gdal.Open(path)
        for name in names:
            try:
                found[name] = seen(
                    f"WMTS:{capabilities},layer=mosaic,tilematrixset={name},style=natural", truth
                )
            except RuntimeError as error:
                found[name] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    # GDAL keeps tiles in the working folder, and would show an old server's.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main()
