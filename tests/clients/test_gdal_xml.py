"""Values in a GIS: GDAL and QGIS open `gdal.xml` as multiband reflectance, equal to an export number by number."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.clients.conftest import by_qgis
from tests.conftest import CLEAN
from tests.waiting import PATIENCE

pytestmark = pytest.mark.clients
BOX = ("15.6", "45.9", "15.9", "46.1")


def translated(address, tmp_path, query, name, *options):
    """What gdal_translate reads of a description, as a file."""
    out = tmp_path / name
    command = ["gdal_translate", "-q", *options, f"/vsicurl/{address}/mosaics/mosaic/gdal.xml?{query}", out]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return out


def exported(store, tmp_path, *options):
    out = tmp_path / "export.tif"
    command = [
        Path(sys.executable).parent / "terrazzo",
        "export",
        "--store",
        store,
        "--bbox",
        *BOX,
        *options,
        "-o",
        out,
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


def described(dataset: rasterio.DatasetReader) -> tuple[object, ...]:
    """What a file says of its numbers and its place."""
    numbers = (dataset.descriptions, dataset.scales, dataset.offsets, dataset.nodatavals)
    return (*numbers, dataset.transform, dataset.crs)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", ()),
        ("bands=B08,B04&datetime=2023-08-13/2023-08-15", ("--bands", "B08,B04", "--datetime", "2023-08-13/2023-08-15")),
        ("bands=B04&normalize=off&method=first", ("--bands", "B04", "--normalize", "off", "--method", "first")),
    ],
)  # fmt: skip
@pytest.mark.needs("GDAL")
def test_gdal_translate_reads_what_export_writes(address, sample_store, tmp_path, query, options):
    with rasterio.open(exported(sample_store, tmp_path, *options)) as dataset:
        values, profile, box = dataset.read(), dataset.profile, dataset.bounds
        told = described(dataset)
    corners = [str(v) for v in (box.left, box.top, box.right, box.bottom)]
    with rasterio.open(translated(address, tmp_path, query, "wms.tif", "-projwin", *corners)) as dataset:
        assert described(dataset) == told
        assert dataset.profile["dtype"] == profile["dtype"] == "int16"
        assert (dataset.read() == values).all()
    assert (values != -32768).mean() > 0.9


@pytest.mark.needs("GDAL")
def test_the_whole_area_is_a_raster_of_whole_windows_with_overviews(address, tmp_path):
    done = subprocess.run(
        ["gdalinfo", "-json", f"/vsicurl/{address}/mosaics/mosaic/gdal.xml?bands=B04"],
        capture_output=True, text=True, env=CLEAN, cwd=tmp_path, check=True,
    )  # fmt: skip
    about = json.loads(done.stdout)
    band = about["bands"][0]
    assert band["description"] == "B04"
    assert (band["scale"], band["offset"], band["noDataValue"]) == (0.0001, 0, -32768)
    assert about["geoTransform"][1] == 60
    small = next(o for o in band["overviews"] if o["size"][0] < about["size"][0] // 3)
    shape = [str(v) for v in small["size"]]
    with rasterio.open(
        translated(address, tmp_path, "bands=B04", "small.tif", "-outsize", *shape)
    ) as dataset:
        assert 0.02 < np.ma.median(dataset.read(1, masked=True)) * 1e-4 < 0.2


@pytest.mark.needs("QGIS")
def test_qgis_opens_it_as_reflectance(address, tmp_path):
    """QGIS applies scale and offset, so its raster calculator sees 0–1."""
    url = f"/vsicurl/{address}/mosaics/mosaic/gdal.xml?bands=B04,B08"
    seen = by_qgis(tmp_path, raster=url)["raster"]
    assert seen["valid"]
    assert (seen["bands"], seen["crs"]) == (2, "EPSG:32633")
    assert -0.1 < seen["low"] < seen["high"] < 2


def test_what_is_no_band_is_refused(address):
    import urllib.error
    import urllib.request

    for query in ("style=natural", "expression=B04*2", "tms=UTM34N", "bands=B99"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"{address}/mosaics/mosaic/gdal.xml?{query}", timeout=PATIENCE)
