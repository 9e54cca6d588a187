"""Exports as other programs open them: GDAL of Debian, the GDAL inside rasterio, QGIS, odc-geo."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from tests.clients.conftest import by_qgis, green
from tests.programs import DEBIAN

pytestmark = pytest.mark.clients
BOX = ("15.2", "45.8", "15.81", "46.2")
FORMS = {
    "own": (),
    "laea": ("--crs", "EPSG:3035", "--compression", "zstd"),
    "austria": ("--crs", "EPSG:31256", "--compression", "lzw"),
    "floats": ("--expression", "(B08-B04)/(B08+B04)"),
    "divided": ("--split", "512"),
}
"""On the mosaic's own grid; in systems whose first axis points north; an index; many sheets."""


@pytest.fixture(scope="module")
def exported(sample_store, tmp_path_factory):
    """The file to open of each form."""
    folder = tmp_path_factory.mktemp("exports")
    found = {}
    for name, options in FORMS.items():
        bands = () if "--expression" in options else ("--bands", "B04,B08")
        command = [
            Path(sys.executable).parent / "terrazzo",
            "export",
            "--store",
            sample_store,
            "--bbox",
            *BOX,
        ]
        subprocess.run(
            [*command, *bands, *options, "-o", folder / f"{name}.tif"], check=True, capture_output=True
        )
        found[name] = folder / (f"{name}.vrt" if name == "divided" else f"{name}.tif")
    return found


def read(path):
    """What the GDAL inside rasterio reads, in the words of `gdal_export.py`."""
    with rasterio.open(path) as file:
        about = {
            "shape": list(file.shape),
            "transform": list(file.transform.to_gdal()),
            "crs": f"EPSG:{file.crs.to_epsg()}",
            "names": list(file.descriptions),
            "sum": int(file.read(1).astype(np.int64).sum()),
        }
        levels = len(file.overviews(1))
    sums = []
    for level in range(levels):
        with rasterio.open(path, overview_level=level) as file:
            sums.append(int(file.read(1).astype(np.int64).sum()))
    return {**about, "levels": sums}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.needs("GDAL")
def test_debians_gdal_reads_every_level_as_rasterios_does(exported, form):
    seen = json.loads(green([DEBIAN, Path(__file__).with_name("gdal_export.py"), exported[form]]))
    ours = read(exported[form])
    if form == "floats":
        # Sums of truncated floats: NaN has no whole number.
        for one in (seen, ours):
            del one["sum"], one["levels"]
    assert {k: seen[k] for k in ours} == ours
    if form not in ("divided", "floats"):
        assert len(seen["levels"]) >= 1
        assert seen["scales"] == [1e-4, 1e-4]


@pytest.mark.parametrize("form", [f for f in FORMS if f != "divided"])
@pytest.mark.needs("GDAL")
def test_the_validators_of_gdal_and_rio_cogeo_call_it_a_cog(exported, form):
    assert cog_validate(exported[form], strict=True) == (True, [], [])
    how = ["-m", "osgeo_utils.samples.validate_cloud_optimized_geotiff", "--full-check=yes"]
    assert "is a valid cloud optimized GeoTIFF" in green([DEBIAN, *how, exported[form]])


@pytest.mark.parametrize("form", [f for f in FORMS if f != "floats"])
@pytest.mark.needs("QGIS")
def test_qgis_draws_an_export(exported, tmp_path, form):
    seen = by_qgis(tmp_path, raster=str(exported[form]), box=list(map(float, BOX)))
    expected = read(exported[form])
    assert (seen["raster"]["valid"], seen["raster"]["bands"]) == (True, 2)
    assert seen["raster"]["crs"] == expected["crs"]
    # QGIS applies the scale: reflectance.
    assert -0.1 < seen["raster"]["low"] < seen["raster"]["high"] < 2
    assert seen["renders"][0]["filled"] >= 0.6


@pytest.mark.parametrize("form", FORMS)
def test_odc_geo_knows_the_grid_of_an_export_and_of_its_overviews(exported, form):
    with rasterio.open(exported[form]) as file:
        box = GeoBox.from_rio(file)
        assert box.shape == file.shape
        assert box.crs.epsg == file.crs.to_epsg()
        assert box.affine == file.transform
        levels = len(file.overviews(1))
    for level in range(levels):
        with rasterio.open(exported[form], overview_level=level) as file:
            # An overview spans the ground of the whole, whatever its sides are.
            assert GeoBox.from_rio(file).boundingbox.bbox == pytest.approx(box.boundingbox.bbox)
