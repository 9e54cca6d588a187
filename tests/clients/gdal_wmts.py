"""GDAL's WMTS driver reads a layer and compares it with the truth; run by Debian's Python, prints what it saw as JSON.

usage: gdal_wmts.py CAPABILITIES LAYER SET TRUTH RESAMPLING rest|kvp
LAYER is a regular expression over GDAL's names of subdatasets; TRUTH a GeoTIFF of the same picture.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

import numpy as np
from osgeo import gdal

SIDE = 512
gdal.UseExceptions()


def shift(seen, truth):
    """Rows and columns by which a picture lies beside the truth: a whole part, then the slope of the cross spectrum's phase."""
    n = len(seen)
    window = np.outer(np.hanning(n), np.hanning(n))
    a, b = (np.fft.fft2((p - p.mean()) * window) for p in (seen, truth))
    cross = a * np.conj(b)
    peak = np.fft.ifft2(cross / (np.abs(cross) + 1e-9)).real
    whole = (np.array(np.unravel_index(peak.argmax(), peak.shape)) + n // 2) % n - n // 2
    rows, cols = np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n), indexing="ij")
    low = (np.hypot(rows, cols) < 0.15) & (np.hypot(rows, cols) > 0.01)
    phase = np.angle(cross * np.exp(2j * np.pi * (rows * whole[0] + cols * whole[1])))[low]
    weight = np.sqrt(np.abs(cross[low]))
    slopes = np.stack([rows[low], cols[low]], 1) * -2 * np.pi * weight[:, None]
    return whole + np.linalg.lstsq(slopes, phase * weight, rcond=None)[0]


def nearest_level(name, pixel):
    """The dataset at the zoom level whose pixels are nearest in size to `pixel`; GDAL opens the finest."""
    best = None
    for zoom in range(40):
        try:
            dataset = gdal.Open(f"{name},zoom_level={zoom}")
        except RuntimeError:
            continue
        away = abs(np.log2(dataset.GetGeoTransform()[1] / pixel))
        if best is None or away < best[0] - 0.01:
            best = away, dataset, f"{name},zoom_level={zoom}"
    return best[1:]


def main(capabilities, layer, tms, truth_path, resampling, binding):
    """Prints the shift in pixels, the mean difference, the share of equal pixels, and what is at the middle pixel."""
    if binding == "kvp":
        text = urllib.request.urlopen(capabilities, timeout=600).read().decode()
        capabilities = f"{os.getcwd()}/capabilities.xml"
        with open(capabilities, "w") as file:
            file.write(
                re.sub(r"<ResourceURL[^>]*/>|<ResourceURL.*?</ResourceURL>", "", text, flags=re.DOTALL)
            )
    names = [n for n, _ in gdal.Open(f"WMTS:{capabilities}").GetSubDatasets()]
    name = next(n for n in names if re.search(layer, n) and tms in n.rsplit("layer=", 1)[-1])
    system = gdal.Open(name).GetSpatialRef()
    truth = gdal.Open(truth_path)
    there = gdal.Warp("", truth, format="VRT", dstSRS=system)
    place = there.GetGeoTransform()
    dataset, name = nearest_level(name, place[1])
    left, width, _, top, _, height = dataset.GetGeoTransform()
    middle = place[0] + place[1] * there.RasterXSize / 2, place[3] + place[5] * there.RasterYSize / 2
    col = min(max(0, int((middle[0] - left) / width) - SIDE // 2), dataset.RasterXSize - SIDE)
    row = min(max(0, int((middle[1] - top) / height) - SIDE // 2), dataset.RasterYSize - SIDE)
    west, north = left + col * width, top + row * height
    box = (west, north + SIDE * height, west + SIDE * width, north)
    expected = gdal.Warp(
        "", truth, format="MEM", dstSRS=system, outputBounds=box, width=SIDE, height=SIDE,
        resampleAlg=resampling, dstNodata=0, errorThreshold=0,
    ).ReadAsArray().astype(float)  # fmt: skip
    seen = dataset.ReadAsArray(col, row, SIDE, SIDE).astype(float)[:3]
    known = expected[0] > 0
    corner = [
        "gdal_translate",
        "-q",
        "-srcwin",
        str(col),
        str(row),
        "256",
        "256",
        name,
        f"{os.getcwd()}/corner.tif",
    ]
    subprocess.run(corner, check=True)
    # A window far from the data reads as nothing, and raises nothing.
    dataset.ReadAsArray(0, 0, 64, 64)
    at = f"Pixel_{col + SIDE // 2}_{row + SIDE // 2}"
    result = {
        "contrast": float(expected[0][known].std()),
        "shift": float(np.hypot(*shift(seen[0], expected[0]))),
        "difference": float(np.abs(seen - expected)[:, known].mean()),
        "equal": float((seen == expected).all(axis=0)[known].mean()),
        "at": dataset.GetRasterBand(1).GetMetadataItem(at, "LocationInfo") or "",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    # GDAL keeps tiles in the working folder, and would show an old server's.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main(*sys.argv[1:])
