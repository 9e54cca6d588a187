"""GDAL opens an exported file; run by Debian's Python, prints what it read as JSON.

usage: gdal_export.py FILE
"""

import json
import sys

from osgeo import gdal

gdal.UseExceptions()


def main(path):
    """Prints size, place, system, bands, and checksums of all levels of the first band."""
    dataset = gdal.Open(path)
    bands = [dataset.GetRasterBand(i + 1) for i in range(dataset.RasterCount)]
    first = bands[0]
    system = dataset.GetSpatialRef()
    print(
        json.dumps(
            {
                "driver": dataset.GetDriver().ShortName,
                "shape": [dataset.RasterYSize, dataset.RasterXSize],
                "transform": dataset.GetGeoTransform(),
                "crs": f"{system.GetAuthorityName(None)}:{system.GetAuthorityCode(None)}",
                "names": [b.GetDescription() for b in bands],
                "scales": [b.GetScale() for b in bands],
                "sum": int(first.ReadAsArray().astype("int64").sum()),
                "levels": [
                    int(first.GetOverview(i).ReadAsArray().astype("int64").sum())
                    for i in range(first.GetOverviewCount())
                ],
            }
        )
    )


main(*sys.argv[1:])
