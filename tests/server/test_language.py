"""One request language: each parameter has the same value, or is refused in the same words, at every endpoint."""

import pytest

from terrazzo.request.parameters import MEASURED, PICTURE
from tests.server.interfaces import MOSAIC, TILE, Interfaces

NAMES = tuple(n for n in vars(Interfaces) if not n.startswith("_") and n != "picture")
LACKS = {
    "resampling": ("statistics", "table"),
    "expression": ("gdal",),
    "baseline": ("gdal", "dates"),
}
"""What an endpoint cannot have: statistics read pixels as they are; `gdal.xml` is a raster of bands; days are those of one time."""
SILENT = ("scenes", "table")
"""Interfaces that do not repeat what they understood."""


def answers(interfaces, asked, leave=()):
    bands = {} if {"bands", "expression"} & set(asked) else {"bands": "B04"}
    out = {n for name in asked for n in LACKS.get(name, ())} | set(leave)
    return {name: getattr(interfaces, name)({**bands, **asked}) for name in NAMES if name not in out}


UNDERSTOOD = [
    ({"bands": "B08,B04,B03"}, "bands=B08,B04,B03"),
    ({"bands": " B08, B04 ,B03"}, "bands=B08,B04,B03"),
    ({"expression": "(B08-B04)/(B08+B04)"}, "expression=(B08-B04)/(B08+B04)"),
    ({"datetime": "all"}, "period=all"),
    ({"datetime": "2023-08-03"}, "datetime=2023-08-03"),
    ({"datetime": "2023-08-03/.."}, "datetime=2023-08-03/.."),
    ({"datetime": "../2023-08-04"}, "datetime=../2023-08-04"),
    (
        {"datetime": "2023-08-03T00:00:00Z/2023-08-04T00:00:00Z"},
        "datetime=2023-08-03T00:00:00Z/2023-08-04T00:00:00Z",
    ),
    ({"baseline": "2023-08-03", "datetime": "2023-08-08"}, "baseline=2023-08-03"),
    ({"max_cloud": "60"}, "max_cloud=60.0"),
    ({"min_score": "1"}, "min_score=1.0"),
    ({"orbit": "122"}, "orbit=122"),
    ({"ids": "S2A_33TWL_20230803_0_L2A"}, "ids=S2A_33TWL_20230803_0_L2A"),
    ({"method": "median"}, "method=median"),
    ({"method": "percentile:25"}, "method=percentile:25"),
    ({"method": "kriging", "target": "2023-08-05"}, "target=2023-08-05"),
    ({"normalize": "off"}, "stage=merged"),
    ({"stage": "corrected"}, "stage=corrected"),
    ({"fill": "none"}, "fill=none"),
    ({"snow": "drop"}, "snow=drop"),
    ({"resampling": "nearest"}, "resampling=nearest"),
]
REFUSED = [
    ({"bands": "B99"}, "bands=B99: this mosaic has B02, B03, B04, B08"),
    ({"bands": "B8"}, "did you mean B08?"),
    ({"bands": "red"}, "did you mean B04?"),
    ({"bands": "B04,B04"}, "a band is named twice"),
    ({"expression": "B8-B04"}, "expression: B8 is no band; did you mean B08 or B8A?"),
    ({"expression": "B8A-B04"}, "expression=B8A: this mosaic has B02, B03, B04, B08"),
    ({"expression": "B04^2"}, "use **"),
    ({"expression": "where(B04)"}, "cannot be computed"),
    ({"expression": "B04", "stage": "mask"}, "expression and stage=mask contradict each other"),
    ({"expression": "B04", "stage": "raw"}, "expression and stage=raw contradict each other"),
    ({"expression": "B04", "bands": "B04"}, "expression and bands contradict each other"),
    ({"datetime": "yesterday"}, "not understood"),
    ({"datetime": "1999"}, "lies in no period"),
    ({"datetime": "2023-08-03T10:07:53Z"}, "whole days of UTC"),
    ({"datetime": "2023-08-03T00:00:00+02:00/2023-08-04"}, "whole days of UTC"),
    ({"datetime": "2023-08-04/2023-08-03"}, "the end lies before the start"),
    ({"baseline": "1999"}, "lies in no period"),
    ({"max_cloud": "lots"}, "max_cloud=lots: a number"),
    ({"max_cloud": "nan"}, "max_cloud=nan: a finite number"),
    ({"max_cloud": "120"}, "max_cloud=120: 0 to 100"),
    ({"min_score": "high"}, "min_score=high: a number"),
    ({"min_score": "101"}, "min_score=101: 0 to 100"),
    ({"orbit": "144"}, "orbit=144: 1 to 143"),
    ({"orbit": "2.5"}, "orbit=2.5: a whole number"),
    ({"orbit": "1"}, "orbit=1: this mosaic has scenes of the orbits"),
    ({"ids": ",".join(f"S{i}" for i in range(51))}, "ids: up to 50 names"),
    ({"ids": "S2A_33TWL_20230803_0_L2B"}, "no scene of that name; did you mean S2A_33TWL_20230803_0_L2A"),
    ({"method": "magic"}, "method=magic: use one of feather, first, median, mean, robust"),
    ({"target": "2023-08-05"}, "method=feather shows no single day; add method=kriging"),
    ({"target": "2023-08", "method": "kriging"}, "target=2023-08: one day, such as"),
    ({"target": "2024-08-03", "method": "kriging"}, "target=2024-08-03: scenes of 2023-08-"),
    ({"normalize": "perhaps"}, "normalize=perhaps: use on or off"),
    ({"stage": "done"}, "stage=done: use one of raw, mask, corrected, merged, normalized"),
    ({"stage": "merged", "normalize": "on"}, "stage=merged and normalize=on contradict each other"),
    ({"fill": "all"}, "fill=all: use one of adjacent, none, best"),
    ({"snow": "melt"}, "snow=melt: use one of avoid, keep, drop"),
    ({"resampling": "cubic"}, "resampling=cubic: use one of bilinear, nearest"),
]


def test_the_table_of_this_test_names_every_parameter_that_is_measured():
    assert {n for asked, _ in UNDERSTOOD for n in asked} == set(MEASURED) - {"version"}
    assert {n for asked, _ in REFUSED for n in asked} == set(MEASURED) - {"version"}


@pytest.mark.parametrize(("asked", "told"), UNDERSTOOD, ids=lambda v: str(v)[:60])
def test_a_value_is_understood_alike_in_every_interface(interfaces, asked, told):
    found = answers(interfaces, asked)
    assert told in found["point"]
    different = {k: v for k, v in found.items() if v != (None if k in SILENT else found["point"])}
    assert not different


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=lambda v: str(v)[:60])
def test_a_value_is_refused_in_the_same_words_in_every_interface(interfaces, asked, told):
    found = answers(
        interfaces, asked, ("statistics", "table") if asked.get("stage") in ("mask", "raw") else ()
    )
    assert told in found["point"]
    assert found["point"].startswith("refused: ")
    different = {k: v for k, v in found.items() if v != found["point"]}
    assert not different


@pytest.mark.parametrize("name", [n for n in MEASURED if n != "version"])
def test_an_empty_value_counts_as_none_in_every_interface(interfaces, name):
    with_one = answers(interfaces, {name: ""})
    bands = {} if name in ("bands", "expression") else {"bands": "B04"}
    assert with_one == {k: getattr(interfaces, k)(bands) for k in with_one}


def test_a_version_that_is_none_is_refused_alike(interfaces):
    found = answers(interfaces, {"version": "000000000000"}, ("wmts", "wmts_upper", "wmts_path"))
    # The command line says where it looked, too.
    lines = {str(answer).partition(" (")[0] for answer in found.values()}
    assert lines == {found["point"]}
    assert "000000000000" in found["point"]


SHOWN = [
    ({"style": "neon"}, "style=neon: this mosaic has natural, infrared"),
    ({"style": "ndvi", "bands": "B04"}, "style and bands contradict each other"),
    ({"style": "date", "rescale": "0,1"}, "style=date and rescale contradict each other"),
    ({"rescale": "1"}, "rescale=1: min,max with min below max, such as 0,0.3"),
    ({"colormap_name": "viridi"}, "did you mean viridis or viridis_r?"),
    ({"quality": "0"}, "quality=0: 1 to 100"),
]


@pytest.mark.parametrize(("asked", "told"), SHOWN, ids=lambda v: str(v)[:60])
def test_what_cannot_be_shown_is_refused_in_the_same_words_in_every_interface(interfaces, asked, told):
    style = asked.get("style")
    found = [
        getattr(interfaces, n)(asked)
        for n in ("tile", "box", "point", "explain", "scenes", "tilejson", "python")
    ]
    if style is None:
        found += [interfaces.wmts(asked), interfaces.wmts_upper(asked), interfaces.wmts_path(asked)]
    assert told in found[0]
    assert set(found) == {found[0]}


PICTURES = [
    {"style": "ndvi"},
    {"style": "date"},
    {"rescale": "0,0.3"},
    {"rescale": "0,0.3;0,0.2;0,0.1"},
    {"bands": "B08", "colormap_name": "viridis", "rescale": "0,0.5"},
    {"expression": "(B08-B04)/(B08+B04)", "colormap_name": "rdylgn"},
    {"stage": "mask"},
]


def test_the_table_of_pictures_names_every_parameter_that_only_shows():
    assert {n for asked in PICTURES for n in asked} >= set(PICTURE) - set(MEASURED) - {"quality"}


@pytest.mark.parametrize("asked", PICTURES, ids=str)
def test_a_picture_has_the_same_pixels_in_every_interface(interfaces, asked):
    plain, found = interfaces.picture(asked)
    assert plain.startswith(b"\x89PNG")
    assert {name: body == plain for name, body in found.items()} == dict.fromkeys(found, True)


def test_the_quality_of_a_lossy_picture_is_understood_in_every_interface(interfaces):
    (low, lows), (high, highs) = (interfaces.picture({"quality": q}, "jpg") for q in ("5", "95"))
    assert len(low) < len(high)
    assert set(lows.values()) == {low}
    assert set(highs.values()) == {high}


@pytest.mark.parametrize("name", PICTURE)
def test_an_empty_value_shows_the_same_picture(interfaces, name):
    path = f"{MOSAIC}/tiles/WebMercatorQuad/{TILE.z}/{TILE.x}/{TILE.y}.png"
    plain = interfaces.http.get(path)
    empty = interfaces.http.get(path, params={name: ""})
    assert (empty.status_code, empty.headers["etag"]) == (200, plain.headers["etag"])
