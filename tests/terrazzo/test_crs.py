"""Coordinate systems: which axis comes first, and that a file lies where its label says, for every code of EPSG."""

import json
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.database import query_crs_info
from pyproj.exceptions import ProjError

from terrazzo.crs import DEGREES, canonical, crs_of, definition, northing_first, transform
from terrazzo.errors import InvalidRequest
from tests.conftest import CLEAN
from tests.programs import DEBIAN

GEOD = Geod(ellps="WGS84")
PROJECTED = query_crs_info(auth_name="EPSG", pj_types="PROJECTED_CRS", allow_deprecated=True)


@pytest.mark.parametrize(
    ("code", "first"),
    [(31256, True), (2180, True), (3067, False), (4326, True), (3857, False), (2193, True), (2048, False), (5514, False),
     (5513, False), (3031, False), (3413, False), (32661, True), (32761, True), (5041, False), (5482, True)],
)  # fmt: skip
def test_the_directions_of_the_axes_tell_which_comes_first(code, first):
    assert northing_first(CRS.from_epsg(code)) is first


def test_the_order_of_axes_is_that_by_which_proj_swaps_coordinates():
    """PROJ's own step between a system as it is and the same with x before y, in every projected code."""
    wrong = []
    for about in PROJECTED:
        crs = CRS.from_epsg(about.code)
        if len(crs.axis_info) != 2 or crs.coordinate_operation is None or about.area_of_use is None:
            continue
        try:
            plain = Transformer.from_crs(crs.geodetic_crs, crs)
            visual = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
        except ProjError:
            continue
        # Where both axes have the same unit, a swap of the result is all that may differ.
        area = about.area_of_use
        lat = (area.south + area.north) / 2
        lon = (area.west + (area.east if area.east > area.west else area.east + 360)) / 2
        own = crs.geodetic_crs.axis_info[0].unit_conversion_factor / np.radians(1)
        xy = visual.transform(lon / own, lat / own)
        if not np.isfinite(xy).all() or abs(xy[0] - xy[1]) < 1:
            continue
        swapped = np.allclose(plain.transform(lat / own, lon / own), xy[::-1], atol=1e-3)
        if swapped != northing_first(crs):
            wrong.append((about.code, about.name, swapped))
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "told"), [(31275, "use EPSG:8677"), (3907, "use EPSG:8677"), (2327, "no datum shift"), (9311, "beside their place")]
)  # fmt: skip
def test_a_system_that_programs_place_differently_is_refused_by_name_with_what_to_use(code, told):
    with pytest.raises(InvalidRequest, match=told) as refused:
        canonical(f"EPSG:{code}")
    assert f"EPSG:{code}" in str(refused.value)


@pytest.mark.parametrize("code", [4547, 10286, 31256, 8677, 3765])
def test_systems_in_use_are_taken(code):
    assert canonical(f"EPSG:{code}") == f"EPSG:{code}"


def test_a_datum_without_a_shift_is_refused_wherever_coordinates_are_read():
    with pytest.raises(InvalidRequest, match="Xian 1980"):
        transform(CRS.from_epsg(4610), crs_of(DEGREES))


def test_a_zone_beside_a_systems_area_uses_the_shift_of_the_zone_within_it():
    """Pixels of zone 34 reach to 17° E, where Austria's eastern grid is; PROJ itself takes one datum for the other there."""
    lon, lat = 16.9, 47.9
    expected = transform(crs_of(DEGREES), crs_of("EPSG:31256")).transform(lon, lat)
    for zone in ("EPSG:32633", "EPSG:32634"):
        place = transform(crs_of(DEGREES), crs_of(zone)).transform(lon, lat)
        assert transform(crs_of(zone), crs_of("EPSG:31256")).transform(*place) == pytest.approx(
            expected, abs=0.01
        )
        back = transform(crs_of("EPSG:31256"), crs_of(zone)).transform(*expected)
        assert back == pytest.approx(place, abs=0.01)


def middle(about):
    """Longitude and latitude of the middle of an area of use."""
    area = about.area_of_use
    east = area.east if area.east > area.west else area.east + 360
    return ((area.west + east) / 2 + 180) % 360 - 180, (area.south + area.north) / 2


PLACE = """
import json, sys
from osgeo import gdal, osr
gdal.UseExceptions()
degrees = osr.SpatialReference()
degrees.ImportFromEPSG(4326)
degrees.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
found = {}
for code, (path, x, y) in json.load(sys.stdin).items():
    label = gdal.Open(path).GetSpatialRef()
    try:
        way = osr.CoordinateTransformation(label, degrees)
        found[code] = way.TransformPoint(x, y)[:2]
    except RuntimeError as error:
        found[code] = str(error)
print(json.dumps(found))
"""


PARTS = 4


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.needs("GDAL")
def test_every_projected_code_lies_where_its_files_label_says_or_is_refused(tmp_path, part):
    """Debian's GDAL reads the label of a file and places the middle of each area of use, to a metre."""
    asked, expected, refused = {}, {}, {}
    for about in PROJECTED[part::PARTS]:
        name = f"EPSG:{about.code}"
        try:
            crs = crs_of(canonical(name))
        except InvalidRequest as error:
            refused[name] = str(error)
            continue
        if about.area_of_use is None:
            continue
        expected[about.code] = middle(about)
        x, y = transform(crs_of(DEGREES), crs).transform(*expected[about.code])
        path = tmp_path / f"{about.code}.tif"
        how = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
        with rasterio.open(path, "w", crs=definition(name), transform=Affine(10, 0, 0, 0, -10, 0), **how):
            pass
        asked[about.code] = (str(path), x, y)
    assert len(asked) > 1000
    assert all(name in told for name, told in refused.items())
    done = subprocess.run(
        [str(DEBIAN), "-c", PLACE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=CLEAN,
        check=True,
    )
    far = {}
    for code, place in json.loads(done.stdout).items():
        off = place if isinstance(place, str) else GEOD.inv(*expected[code], *place)[2]
        if isinstance(off, str) or not off < 1:
            far[code] = off
    assert far == {}
