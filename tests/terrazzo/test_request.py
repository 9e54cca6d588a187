"""The pieces of the request language: boxes, days, formulas, coordinate systems, and the table itself."""

import re
from datetime import date
from typing import get_args

import pytest
import rasterio.crs
from pyproj import CRS

from terrazzo.bands import STYLES
from terrazzo.config import Origin, day_interval
from terrazzo.crs import canonical, in_units
from terrazzo.errors import InvalidRequest
from terrazzo.expression import LONGEST, checked
from terrazzo.grid import Bounds
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.request.boxes import box_of, numbers_of_box, touch
from terrazzo.request.kinds import READERS, read
from terrazzo.request.parameters import EXPORT, PICTURE, SHOWN_STYLES, TABULATED, Kind, Parameter
from terrazzo.request.parse import joined, values
from terrazzo.server.layers import LAYERS


def test_the_table_lists_what_there_is():
    assert set(get_args(Origin)) == set(ORIGINS)
    assert set(SHOWN_STYLES) == {*STYLES, *LAYERS}
    assert set(READERS) == set(get_args(Kind))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2023-08-03", ("2023-08-03", "2023-08-03")),
        ("2023-02", ("2023-02-01", "2023-02-28")),
        ("2023-12", ("2023-12-01", "2023-12-31")),
        ("2023", ("2023-01-01", "2023-12-31")),
        ("2023-08-03/..", ("2023-08-03", None)),
        ("2023-08-03/", ("2023-08-03", None)),
        ("../2023-08", (None, "2023-08-31")),
        ("/2023-08", (None, "2023-08-31")),
        ("2023-08-03T00:00:00Z", ("2023-08-03", "2023-08-03")),
        ("2023-08-01T00:00:00Z/2023-09-01T00:00:00Z", ("2023-08-01", "2023-08-31")),
        ("2023-08-01T00:00:00Z/2023-08-31T23:59:59.999Z", ("2023-08-01", "2023-08-31")),
        ("2023-08-01T02:00:00+02:00/..", ("2023-08-01", None)),
        ("2023-08-01T02:00:00 02:00/..", ("2023-08-01", None)),
    ],
)
def test_days_are_those_of_utc(text, days):
    assert day_interval(text) == tuple(d and date.fromisoformat(d) for d in days)


@pytest.mark.parametrize(
    "text",
    [
        "2023-08-03T10:07:53Z",
        "2023-08-03T00:00:00+02:00",
        "2023-08-03T12:00Z/..",
        "2023-08-01/2023-08-03T12:00Z",
    ],
)
def test_a_part_of_a_day_is_refused(text):
    with pytest.raises(InvalidRequest, match="whole days of UTC"):
        day_interval(text)


def test_a_moment_lies_in_its_day_of_utc():
    assert day_interval("2023-08-04T01:30:00+02:00", moments=True) == (date(2023, 8, 3), date(2023, 8, 3))


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("(B08 B04)", "(B08+B04)"),
        ("B08   B04", "B08+B04"),
        ("B04 (B08)", "B04+(B08)"),
        ("1e 3*B04", "1e+3*B04"),
        ("maximum (B04, B08)", "maximum(B04, B08)"),
        ("B08 - B04", "B08 - B04"),
        (" B04 ; B08 ;", "B04;B08"),
        ("where(B04 > 0.1, B04, -B08)", "where(B04 > 0.1, B04, -B08)"),
    ],
)
def test_a_formula_is_read_as_it_was_meant(given, understood):
    assert checked(given) == understood


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("B8", "B8 is no band; did you mean B08 or B8A?"),
        ("B4+B08", "B4 is no band; did you mean B04?"),
        ("nir-red", "nir is no band; did you mean B08?"),
        ("B04^2", "for a power use **"),
        ("where(B04)", "cannot be computed"),
        ("B04 & B08", "its operands do not go together"),
        ("2*3", "over bands"),
    ],
)
def test_a_formula_that_cannot_be_computed_is_refused_before_anything_is_read(given, told):
    with pytest.raises(InvalidRequest, match=re.escape(told)):
        checked(given)


@pytest.mark.parametrize(
    "given", ["3035", "EPSG:3035", "epsg:3035", "urn:ogc:def:crs:EPSG::3035", CRS.from_epsg(3035).to_wkt()]
)
def test_every_name_of_a_coordinate_system_gives_one_that_all_libraries_read(given):
    assert canonical(given) == "EPSG:3035"
    assert rasterio.crs.CRS.from_user_input(canonical(given)).to_epsg() == 3035


def test_a_coordinate_system_without_a_code_is_read_by_all_libraries():
    text = canonical("+proj=laea +lat_0=50 +lon_0=16 +ellps=GRS80 +units=m")
    assert rasterio.crs.CRS.from_user_input(text).is_projected
    assert canonical(text) == text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("EPSG:99999", "no coordinate system 'EPSG:99999'"),
        ("nowhere", "no coordinate system 'nowhere'"),
        ("EPSG:5703", "no plane"),
        ("EPSG:31275", "use EPSG:8677"),
        ("EPSG:2327", "no datum shift is known"),
    ],
)
def test_a_coordinate_system_that_cannot_be_used_is_named_as_it_was_given(given, told):
    with pytest.raises(InvalidRequest, match=re.escape(told)):
        canonical(given)


def test_lengths_are_in_the_unit_of_their_coordinate_system():
    assert in_units("EPSG:32633", 10) == 10
    assert in_units("EPSG:4326", 111_319.490_793) == pytest.approx(1)
    assert in_units("EPSG:2263", 0.3048006096) == pytest.approx(1)


@pytest.mark.parametrize("given", ["1,2,3,4", "1 2 3 4", " 1, 2,3 4 ", [1, 2, "3", 4.0]])
def test_a_box_is_four_numbers(given):
    assert numbers_of_box(given) == Bounds(1, 2, 3, 4)


@pytest.mark.parametrize(
    "given",
    [
        "1,2,3",
        "1,2,3,4,5",
        "1,2,3,x",
        "1,2,3,nan",
        "1,2,3,1_5",
        "1,2,3,\u0664",
        [1, 2, 3, True],
        [1, 2, 3, 10**400],
        None,
        {"a": 1},
    ],
)
def test_what_is_not_four_numbers_is_no_box(given):
    with pytest.raises(InvalidRequest, match="four finite numbers"):
        numbers_of_box(given)


def test_a_box_from_east_to_west_crosses_the_antimeridian():
    assert box_of(Bounds(170, 0, -170, 1)) == Bounds(170, 0, 190, 1)
    with pytest.raises(InvalidRequest, match="W below E"):
        box_of(Bounds(16, 45, 15, 46))


def test_boxes_touch_around_the_globe():
    fiji = Bounds(177, -19, 183, -16)
    assert touch(Bounds(-178, -18, -177, -17), fiji)
    assert touch(Bounds(179, -18, -179, -17), fiji)
    assert not touch(Bounds(-170, -18, -160, -17), fiji)
    assert not touch(Bounds(0, -18, 10, -17), fiji)


def test_lists_that_are_given_in_parts_are_joined():
    pairs = [("bands", "B04"), ("method", ""), ("bands", "B03"), ("rescale", "0,1"), ("rescale", "0,2")]
    assert joined(pairs, PICTURE) == {"bands": "B04,B03", "rescale": "0,1;0,2"}
    assert values(joined(pairs, PICTURE), PICTURE) == {
        "bands": ("B04", "B03"),
        "rescale": ((0.0, 1.0), (0.0, 2.0)),
    }


@pytest.mark.parametrize(
    ("kind", "same"),
    [
        ("names", ["a,b", ["a", "b"], " a , b,"]),
        ("numbers", ["5,95", [5, 95], ["5", "95"]]),
        ("pairs", ["0,0.3", [0, 0.3], [[0, 0.3]], ["0,0.3"]]),
        ("number", ["60", 60, 60.0]),
        ("switch", ["on", True, "true", "ON"]),
        ("crs", ["3035", 3035, "EPSG:3035"]),
        ("box", ["1 2 3 4", [1, 2, 3, 4]]),
    ],
)
def test_text_and_json_give_the_same_value(kind, same):
    parameter = Parameter("it", kind, "", low=0, high=100)
    first, *others = [read(parameter, value) for value in same]
    assert all(other == first for other in others)


@pytest.mark.parametrize("table", [PICTURE, EXPORT, TABULATED])
@pytest.mark.parametrize("value", [None, "", " ", [], {}])
def test_an_empty_value_is_none(table, value):
    assert values(dict.fromkeys(table, value), table) == {}


def test_false_and_zero_are_values():
    assert values({"normalize": False, "max_cloud": 0}, PICTURE) == {"normalize": False, "max_cloud": 0.0}


def test_an_unknown_name_is_answered_with_the_one_that_was_meant():
    with pytest.raises(InvalidRequest, match="did you mean rescale or resampling"):
        values({"resample": "nearest"}, PICTURE)


@pytest.mark.parametrize(("name", "given"), [("rescale", [0, 10**400]), ("max_cloud", 10**400)])
def test_a_number_larger_than_any_float_is_refused_in_words(name, given):
    with pytest.raises(InvalidRequest, match=name):
        values({name: given}, PICTURE)


def test_a_list_of_no_names_is_refused_and_an_empty_value_counts_as_not_given():
    for text in (",", " , "):
        with pytest.raises(InvalidRequest, match="it names nothing"):
            values({"ids": text}, PICTURE)
    assert values({"ids": "", "bands": []}, PICTURE) == {}


def test_an_expression_has_one_limit():
    for length in (LONGEST + 1, 10 * LONGEST):
        with pytest.raises(InvalidRequest, match=f"expression: at most {LONGEST} characters"):
            values({"expression": "B04+" * (length // 4) + "B08 "}, PICTURE)
