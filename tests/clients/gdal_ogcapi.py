"""Opens a mosaic by GDAL's driver for OGC API in the GDAL that pyogrio carries, and prints what it saw as JSON.

usage: python gdal_ogcapi.py ADDRESS PIXELS [OPTION=VALUE …]; the pixels go to PIXELS as npy. pyogrio itself reads no rasters, so its
library is called as what it is, a C library.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import pyogrio

RASTER, STRICT = 2, 64
address, pixels, *options = sys.argv[1:]
pyogrio.list_drivers()
maps = Path("/proc/self/maps").read_text().splitlines()
gdal = ctypes.CDLL(next(line.split()[-1] for line in maps if "libgdal" in line))
gdal.GDALAllRegister()
gdal.GDALVersionInfo.restype = ctypes.c_char_p
gdal.GDALOpenEx.restype = gdal.GDALGetProjectionRef.restype = ctypes.c_void_p
given = (ctypes.c_char_p * (len(options) + 1))(*(o.encode() for o in options), None)
dataset = ctypes.c_void_p(gdal.GDALOpenEx(address.encode(), RASTER | STRICT, None, given, None))
if not dataset:
    sys.exit(f"GDAL opened nothing at {address}")
width, height, bands = (
    getattr(gdal, f"GDALGetRaster{what}")(dataset) for what in ("XSize", "YSize", "Count")
)
transform = (ctypes.c_double * 6)()
gdal.GDALGetGeoTransform(dataset, transform)
seen = np.zeros((bands, height, width), np.uint8)
failed = gdal.GDALDatasetRasterIO(
    dataset, 0, 0, 0, width, height, ctypes.c_void_p(seen.ctypes.data), width, height, 1, bands, None, 0, 0, 0
)
np.save(pixels, seen)
version = gdal.GDALVersionInfo(b"RELEASE_NAME").decode()
print(json.dumps({"version": version, "failed": failed, "transform": list(transform), "shape": seen.shape}))
