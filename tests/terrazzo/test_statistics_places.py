"""Statistics of odd areas: cut to the mosaic before they are projected, worked by blocks, or named with a reason."""

import copy
import json
import struct

import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from pyproj import Geod

from terrazzo.errors import InvalidRequest
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine
from terrazzo.statistics import places, run, tally
from terrazzo.statistics.areas import areas_of_features, read_areas
from terrazzo.statistics.places import blocks, groups, pixels_at_most, placed
from terrazzo.statistics.question import parse_table
from terrazzo.statistics.run import statistics
from terrazzo.statistics.tally import Tally

PARCEL = shapely.box(15.97, 45.8, 15.98, 45.81)
CROSSED = shapely.Polygon([(15.97, 45.8), (15.98, 45.81), (15.97, 45.81), (15.98, 45.8)])
UPPER = shapely.Polygon([(15.975, 45.805), (15.98, 45.81), (15.97, 45.81)])
LOWER = shapely.Polygon([(15.975, 45.805), (15.97, 45.8), (15.98, 45.8)])
YARD = shapely.box(15.973, 45.803, 15.977, 45.807)
COURT = PARCEL - YARD
COUNTY = shapely.box(15.2, 45.75, 16.3, 46.2).difference(shapely.Point(15.8, 46).buffer(0.1))
INDEX = "(B08-B04)/(B08+B04)"
NUMBERS = [
    "count",
    "mean",
    "std",
    "min",
    "max",
    "median",
    "p5",
    "p25",
    "p75",
    "p95",
    "clear_share",
    "age_days",
]


def feature(shape, **properties):
    return {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(shape)}


def table(engine, areas, path, **asked):
    """The rows of a table in the order of its areas, and the line that sums it up."""
    question = parse_table({"period": "all", "bands": "B04", **asked}, engine.version)[0]
    *_, written = statistics(engine, question, areas, path / "table.csv")
    return pd.read_csv(written.path).sort_values(
        [areas.id_name, "name"], ignore_index=True
    ), written.summary()


def rows_of(engine, shapes, path, crs="EPSG:4326", **asked):
    return table(engine, areas_of_features([feature(s) for s in shapes], crs), path, **asked)


def equal(a, b, rtol=1e-9):
    np.testing.assert_allclose(a[NUMBERS].astype(float), b[NUMBERS].astype(float), rtol=rtol)


@pytest.mark.parametrize("rule", ["exact", "centre"])
@pytest.mark.parametrize("asked", [{"bands": "B04,B08"}, {"bands": "", "expression": INDEX}])
def test_an_area_in_blocks_has_the_numbers_of_one_in_one_piece(engine, tmp_path, monkeypatch, rule, asked):
    own = areas_of_features([feature(COUNTY)])
    monkeypatch.setattr(places, "BLOCK", 4096)
    in_one, _ = table(engine, own, tmp_path, rule=rule, **asked)
    monkeypatch.setattr(places, "BLOCK", 200)
    cut = list(blocks(own, engine.version, placed(own, engine.version, np.array([0])), np.array([0])))
    assert len(cut) > 40
    assert max(max(b.target.shape) for b in cut) == 200
    in_blocks, _ = table(engine, own, tmp_path, rule=rule, **asked)
    equal(in_one, in_blocks)
    assert in_one["count"].min() > 1e6


def test_one_huge_area_leaves_the_numbers_of_the_others(engine, tmp_path):
    country = shapely.box(5, 40, 20, 55)
    alone, _ = rows_of(engine, [PARCEL], tmp_path)
    both, line = rows_of(engine, [PARCEL, country], tmp_path)
    equal(both.iloc[:1], alone)
    b = engine.version.bounds
    own, _ = rows_of(
        engine, [shapely.box(b.left - 0.01, b.bottom - 0.01, b.right + 0.01, b.top + 0.01)], tmp_path
    )
    equal(both.iloc[1:], own)
    assert line == "2 rows of 2 areas"


@pytest.mark.parametrize(
    ("shape", "crs"),
    [
        (shapely.box(0, -90, 180, 90), "EPSG:4326"),
        (shapely.box(-180, -90, 180, 90), "EPSG:4326"),
        (shapely.box(360, 0, 400, 90), "EPSG:4326"),
        (shapely.Point(0, 0).buffer(9e6, quad_segs=90), "EPSG:3413"),
        (shapely.box(-2e7, -2e7, 2e7, 2e7), "EPSG:3857"),
        (shapely.box(2.5e6, 1.5e6, 7.5e6, 5.5e6), "EPSG:3035"),
    ],
)
def test_a_hemisphere_a_pole_and_the_globe_hold_the_mosaics_pixels_and_no_others(
    engine, tmp_path, shape, crs
):
    b = engine.version.bounds
    own, _ = rows_of(
        engine, [shapely.box(b.left - 0.01, b.bottom - 0.01, b.right + 0.01, b.top + 0.01)], tmp_path
    )
    large, line = rows_of(engine, [shape], tmp_path, crs)
    # The edges of the mosaic's bounds are bent in other systems, beyond its data.
    equal(large.drop(columns="clear_share").assign(clear_share=0), own.assign(clear_share=0), 1e-9)
    assert large.clear_share[0] == pytest.approx(own.clear_share[0], rel=1e-4)
    assert "without pixels" not in line


def test_areas_far_away_have_no_numbers_and_a_reason(engine, tmp_path):
    far = [
        shapely.box(-180, -90, 0, 90),
        shapely.box(-125, 24, -66, 50),
        shapely.box(112, -44, 154, -10),
        PARCEL,
        shapely.box(45.8, 15.9, 45.85, 15.95),
        shapely.box(15, 95, 16, 96),
    ]
    rows, line = rows_of(engine, far, tmp_path)
    assert (rows["count"] > 0).tolist() == [False, False, False, True, False, False]
    assert rows.loc[rows["count"] == 0, NUMBERS[1:]].isna().all(axis=None)
    assert rows.reason[:3].tolist() == ["outside the mosaic"] * 3
    assert pd.isna(rows.reason[3])
    assert "did you swap" in rows.reason[4]
    assert "check its coordinates" in rows.reason[5]
    assert line.startswith("6 rows of 6 areas; 5 without pixels: 3 outside the mosaic")
    assert "\n" not in line


def test_an_area_half_outside_has_the_numbers_of_its_inner_half(engine, tmp_path):
    right = engine.version.bounds.right
    whole, inner = (shapely.box(right - 0.1, 45.8, right + away, 45.9) for away in (1.0, 0.01))
    rows, _ = rows_of(engine, [whole, inner], tmp_path)
    equal(rows.iloc[:1], rows.iloc[1:])
    assert rows["mean"].between(0, 0.6).all()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param(CROSSED, shapely.union_all([UPPER, LOWER]), id="a bow tie"),
        pytest.param(shapely.MultiPolygon([COURT, YARD]), PARCEL, id="a hole and what fills it"),
        pytest.param(shapely.MultiPolygon([PARCEL, YARD]), PARCEL, id="one polygon within another"),
        pytest.param(shapely.MultiPolygon([PARCEL, PARCEL]), PARCEL, id="one polygon twice"),
        pytest.param(
            shapely.Polygon(PARCEL.exterior, [shapely.box(15.97, 45.803, 15.975, 45.807).exterior]),
            PARCEL - shapely.box(15.97, 45.803, 15.975, 45.807),
            id="a hole that touches the outline",
        ),
        pytest.param(shapely.Polygon(PARCEL.exterior.coords[::-1]), PARCEL, id="a reversed ring"),
        pytest.param(shapely.force_3d(PARCEL, 120), PARCEL, id="with heights"),
    ],
)
def test_polygons_that_cross_or_touch_cover_what_their_parts_do(engine, tmp_path, given, meant):
    rows, _ = rows_of(engine, [given, meant], tmp_path)
    assert rows["count"][1] > 10
    equal(rows[:1].reset_index(drop=True), rows[1:].reset_index(drop=True))


def test_points_lines_and_nothing_are_named_and_the_rest_is_answered(engine, tmp_path):
    line = shapely.LineString([(15.97, 45.8), (15.98, 45.81)])
    shapes = [
        shapely.Point(15.97, 45.8),
        line,
        PARCEL,
        shapely.Polygon(),
        shapely.Polygon([(15.9, 45.8)] * 4),
    ]
    features = [*map(feature, shapes), {"type": "Feature", "properties": {}, "geometry": None}]
    rows, summary = table(engine, areas_of_features(features), tmp_path)
    assert (rows["count"] > 0).tolist() == [False, False, True, False, False, False]
    reasons = rows.reason.fillna("").tolist()
    for reason, part in zip(
        reasons, ["a point", "a line", "", "an empty", "without area", "no geometry"], strict=True
    ):
        assert part in reason
        assert part in summary


def test_what_a_parcel_between_the_middles_of_pixels_lacks_is_named(engine, tmp_path):
    tiny = shapely.box(580_021, 5_080_001, 580_024, 5_080_004)
    rows, _ = rows_of(engine, [tiny], tmp_path, "EPSG:32633", rule="centre")
    assert (rows["count"][0], rows.reason[0]) == (0, "no pixel's middle lies inside: ask with rule exact")


def arc(x, y, radius):
    """A circle of two arcs as a CURVEPOLYGON in well-known binary."""
    corners = [(x - radius, y), (x, y + radius), (x + radius, y), (x, y - radius), (x - radius, y)]
    ring = struct.pack("<BII", 1, 8, 5) + b"".join(struct.pack("<dd", *c) for c in corners)
    return struct.pack("<BII", 1, 10, 1) + ring


def test_curves_of_a_geopackage_are_circles(engine, tmp_path):
    straight = shapely.box(580_000, 5_080_000, 580_600, 5_080_600)
    wkb = np.array([straight.wkb, arc(585_000, 5_080_000, 600), arc(590_000, 5_080_000, 300)], object)
    names = [np.array(["square", "large", "small"], object)]
    how = {"geometry_type": "Unknown", "crs": "EPSG:32633", "driver": "GPKG"}
    pyogrio.raw.write(tmp_path / "curves.gpkg", wkb, names, ["n"], **how)
    rows, _ = table(engine, read_areas(tmp_path / "curves.gpkg", "n"), tmp_path)
    count = rows.set_index("n")["count"]
    assert count["square"] == pytest.approx(100)
    # GDAL puts a position every 4 degrees, which cuts .08 % off.
    assert count["large"] == pytest.approx(np.pi * 10**2, rel=1e-3)
    assert count["small"] == pytest.approx(np.pi * 5**2, rel=1e-3)


GML = """<?xml version="1.0"?><fields xmlns="http://fields" xmlns:gml="http://www.opengis.net/gml/3.2"><gml:featureMember><field>
<shape><gml:Polygon srsName="EPSG:32633"><gml:exterior><gml:Ring><gml:curveMember><gml:Curve><gml:segments><gml:ArcString><gml:posList>
{}</gml:posList></gml:ArcString></gml:segments></gml:Curve></gml:curveMember></gml:Ring></gml:exterior></gml:Polygon></shape>
</field></gml:featureMember></fields>"""


def test_arcs_of_gml_are_circles(engine, tmp_path):
    x, y, r = 585_000, 5_080_000, 600
    corners = f"{x - r} {y} {x} {y + r} {x + r} {y} {x} {y - r} {x - r} {y}"
    (tmp_path / "arcs.gml").write_text(GML.format(corners))
    rows, _ = table(engine, read_areas(tmp_path / "arcs.gml"), tmp_path)
    assert rows["count"].tolist() == pytest.approx([np.pi * 10**2], rel=1e-3)


def test_long_edges_lie_where_their_dense_positions_do_in_tables_and_exports(engine, tmp_path):
    long = shapely.Polygon([(15.1, 45.75), (16.4, 45.75), (16.4, 45.76), (15.1, 45.76)])
    close = shapely.segmentize(long, 0.001)
    rows, _ = rows_of(engine, [long, close], tmp_path)
    equal(rows.iloc[:1], rows.iloc[1:], 1e-4)
    counts = []
    for name, shape in (("long", long), ("dense", close)):
        geometry = json.loads(shapely.to_geojson(shape))
        order = parse_order({"geometry": geometry, "bands": "B04", "extras": "none"}, engine.version)
        *_, written = export(engine, order, tmp_path / f"{name}.tif")
        counts.append(written.share)
    assert counts[0] == pytest.approx(counts[1], rel=1e-3)


def test_an_area_across_zones_is_counted_in_each_zones_own_pixels(engine):
    version = copy.copy(engine.version)
    version.zones, version.bounds = tuple(range(32630, 32636)), Bounds(-6.0, 44.0, 30.0, 48.0)
    shape = shapely.box(-5, 45, 29, 47)
    areas = areas_of_features([feature(shape)])
    parts = list(blocks(areas, version, placed(areas, version, np.array([0])), np.array([0])))
    assert {p.target.crs for p in parts} == {f"EPSG:{z}" for z in version.zones}
    area = sum(p.polygons[0].area for p in parts)
    ring = shapely.segmentize(shape, 0.01).exterior.coords
    true = abs(Geod(ellps="WGS84").polygon_area_perimeter(*zip(*ring, strict=True))[0])
    assert area == pytest.approx(true, rel=1e-3)


def test_a_large_area_can_be_stopped_between_its_blocks(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "BLOCK", 64)
    monkeypatch.setattr(run, "BEAT", 0.01)
    drawn, render = [], Engine.render
    monkeypatch.setattr(
        Engine, "render", lambda self, s, target, **k: drawn.append(target) or render(self, s, target, **k)
    )
    areas = areas_of_features([feature(COUNTY)])
    question = parse_table({"period": "all", "bands": "B04"}, engine.version)[0]
    every = len(
        list(blocks(areas, engine.version, placed(areas, engine.version, np.array([0])), np.array([0])))
    )
    steps = statistics(engine, question, areas, tmp_path / "table.csv")
    while not drawn:
        next(steps)
    steps.close()
    assert 0 < len(drawn) < every
    assert not (tmp_path / "table.csv").exists()


def test_what_answers_at_once_refuses_a_large_area_and_names_the_job(engine):
    areas = areas_of_features([feature(PARCEL), feature(COUNTY)])
    with pytest.raises(InvalidRequest, match=r"area 1 has a box of more than 1000 px.*exports/statistics"):
        groups(areas, engine.version, 1000)


def test_the_pixels_of_an_area_are_bounded_by_its_box_in_the_mosaic(engine):
    own = [PARCEL, shapely.box(-180, -90, 180, 90), shapely.box(0, 0, 1, 1)]
    most = pixels_at_most(areas_of_features([feature(s) for s in own]), engine.version)
    assert 240 < most[0] < 500
    assert 2.9e6 < most[1] < 6e6
    assert most[2] == 0


@pytest.mark.parametrize("kinds", [50, 5_000])
def test_a_tally_has_the_quantiles_of_all_its_values(monkeypatch, kinds):
    monkeypatch.setattr(tally, "MOST_VALUES", 1_000)
    rng, asked = np.random.default_rng(4), [0.5, 0.0, 0.05, 0.37, 0.99, 1.0]
    values = rng.integers(0, kinds, 100_000).astype(np.float32) / 100
    values[::7] = np.nan
    counted = Tally()
    for part in np.array_split(values, 33):
        counted.add(part, np.ones(len(part)))
    held = values[np.isfinite(values)].astype(np.float64)
    row = counted.row(asked)
    np.testing.assert_allclose(
        row[:5], [held.size, held.mean(), held.std(), held.min(), held.max()], rtol=1e-9
    )
    if kinds <= tally.MOST_VALUES:
        np.testing.assert_allclose(row[5:], np.quantile(held, asked), rtol=1e-9)
    else:
        ordered = np.sort(held)
        apart = [
            abs(np.searchsorted(ordered, v) / held.size - q) for v, q in zip(row[5:], asked, strict=True)
        ]
        assert max(apart) <= 4 / tally.MOST_VALUES


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 2]]]}},
            "a ring must end",
        ),
        ({"geometry": {"type": "Polygon", "coordinates": [0, 1]}}, "do not fit each other"),
        ({"geometry": {"type": "Circle", "coordinates": [0, 1]}}, "Unknown geometry type"),
        ({"geometry": {"type": "Polygon"}}, "do not fit each other"),
        ({"properties": {}}, "has a member `geometry`"),
        (None, "has a member `geometry`"),
    ],
)
def test_a_feature_that_is_none_is_named_with_what_is_wrong(broken, said):
    with pytest.raises(InvalidRequest, match=rf"features\[1\].*{said}"):
        areas_of_features([feature(COUNTY), broken])
