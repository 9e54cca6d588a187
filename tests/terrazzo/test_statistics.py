"""Statistics of areas: equal to exactextract on an export, in any number of areas, stopped or not."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource

from terrazzo.cli import cli
from terrazzo.errors import InvalidRequest
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.statistics.areas import read_areas
from terrazzo.statistics.places import MOST_PIXELS, group, groups, placed
from terrazzo.statistics.question import parse_table
from terrazzo.statistics.run import Tabled, statistics
from terrazzo.statistics.zonal import cover, summaries

INDEX = "(B08-B04)/(B08+B04)"
PERIODS = ["2023-08-13", "2023-08-18"]


@pytest.fixture(scope="module")
def stands(tmp_path_factory):
    """400 stands as in a forest, one with a hole, one smaller than a pixel, one without area, one far away, one in two parts."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(570_000, 600_000, 400), rng.uniform(5_070_000, 5_095_000, 400)
    shapes = [
        shapely.Point(a, b).buffer(r, quad_segs=3)
        for a, b, r in zip(x, y, rng.uniform(80, 400, 400), strict=True)
    ]
    shapes[0] = shapes[0].difference(shapes[0].buffer(-60))
    shapes[1] = shapely.box(580_025, 5_080_010, 580_035, 5_080_025)
    shapes[2] = shapely.Polygon()
    shapes[3] = shapely.box(900_000, 5_900_000, 900_300, 5_900_300)
    shapes[4] = shapely.union_all([shapes[4], shapely.affinity.translate(shapes[4], 1500, 300)])
    path = tmp_path_factory.mktemp("stands") / "stands.gpkg"
    pyogrio.write_arrow(
        table_of(shapes),
        path,
        layer="stands",
        geometry_name="geom",
        geometry_type="Unknown",
        crs="EPSG:32633",
    )
    return path


def table_of(shapes):
    import pyarrow as pa

    return pa.table(
        {"stand": [f"S{i}" for i in range(len(shapes))], "geom": pa.array([s.wkb for s in shapes])}
    )


def told(engine, areas, path, **asked):
    question = parse_table({"period": PERIODS, **asked}, engine.version)[0]
    steps = list(statistics(engine, question, areas, path))
    assert steps[:-1] == sorted(steps[:-1])
    assert isinstance(steps[-1], Tabled)
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def by_exactextract(engine, stands, tmp_path, **asked):
    """The same of exports of everything, by the library itself."""
    shapes = pyogrio.read_dataframe(stands)
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(g), "properties": {"stand": s}}
        for s, g in zip(shapes.stand, shapes.geometry, strict=True)
        if not g.is_empty
    ]
    found = []
    for period in PERIODS:
        file = tmp_path / f"{period}.tif"
        raw = {
            "bbox": [560_000, 5_060_000, 610_000, 5_105_000],
            "bbox_crs": "EPSG:32633",
            "extras": "none",
            "dtype": "float32",
            **asked,
        }
        list(export(engine, parse_order({**raw, "datetime": period}, engine.version), file))
        ops = ["count", "mean", "stdev", "min", "max", "median", "quantile(q=0.05)", "quantile(q=0.95)"]
        rows = exact_extract(
            str(file), JSONFeatureSource(features), ops, include_cols=["stand"], output="pandas"
        )
        found.append(rows.assign(period=period))
    return pd.concat(found)


@pytest.mark.parametrize("asked", [{"expression": INDEX}, {"bands": ["B04"]}])
def test_statistics_equal_exactextract_on_an_export(engine, stands, tmp_path, asked):
    own = told(engine, read_areas(stands, "stand"), tmp_path / "own.parquet", **asked)
    assert len(own) == 400 * 2
    assert set(own.name) == {asked.get("expression", "B04")}
    both = own.merge(
        by_exactextract(engine, stands, tmp_path, **asked), on=["stand", "period"], suffixes=("", "_ee")
    )
    both = both[both.stand != "S3"]
    assert (both["count"] > 0).mean() > 0.5
    for name, theirs in {
        "count": "count_ee",
        "mean": "mean_ee",
        "std": "stdev",
        "min": "min_ee",
        "max": "max_ee",
    }.items():
        np.testing.assert_allclose(both[name], both[theirs], rtol=1e-9, err_msg=name)
    # Its quantiles take equal pixels for one, and are rounded to float32.
    if "expression" in asked:
        few = both["count"] > 0
        for name, theirs in {"median": "median_ee", "p5": "quantile_5", "p95": "quantile_95"}.items():
            apart = (both[name] - both[theirs])[few].abs()
            assert (apart < 1e-6).mean() > 0.5


@pytest.mark.parametrize("asked", [[0.5, 0.05, 0.25, 0.95, 0, 1]])
def test_quantiles_count_every_pixel_of_a_value(asked):
    rng = np.random.default_rng(2)
    values = np.stack([np.zeros((10, 10)), rng.integers(0, 4, (10, 10)), rng.normal(size=(10, 10))]).astype(
        np.float32
    )
    values[0, 0, 0] = 1
    values[2, 3:5] = np.nan
    target = Target("EPSG:32633", Bounds(0, 0, 10, 10), 10, 10)
    shapes = np.array(
        [shapely.box(0, 0, 10, 10), shapely.box(2, 1, 7, 9), shapely.box(20, 20, 21, 21)], object
    )
    for rule in ("exact", "centre"):
        table = summaries(values, cover(shapes, target, rule), asked)
        assert table[0, 0, 5] == 0
        for area, (rows, cols) in enumerate([(slice(0, 10), slice(0, 10)), (slice(1, 9), slice(2, 7))]):
            for channel in range(3):
                own = values[channel, rows, cols].astype(np.float64)
                own = own[np.isfinite(own)]
                expected = [own.size, own.mean(), own.std(), own.min(), own.max(), *np.quantile(own, asked)]
                np.testing.assert_allclose(table[area, channel], expected, rtol=1e-9, atol=1e-12)
        assert (table[2, :, 0] == 0).all()
        assert np.isnan(table[2, :, 1:]).all()


def test_quantiles_weigh_pixels_by_the_share_that_is_covered():
    target = Target("EPSG:32633", Bounds(0, 0, 3, 1), 1, 3)
    values = np.array([[[1, 2, 4]]], np.float32)
    (row,) = summaries(
        values, cover(np.array([shapely.box(0.5, 0, 2.25, 1)], object), target, "exact"), [0.5]
    )
    # Shares .5, 1, .25: places 0, 1 * 1 + 2 * .5 = 2 and 2 * .25 + 2 * 1.5 = 3.5; half of 2 * 1.75 is 1.75.
    assert row[0].tolist() == pytest.approx(
        [1.75, (0.5 + 2 + 1) / 1.75, 0.9258, 1, 4, 1 + 1.75 / 2], abs=1e-4
    )


def test_areas_that_tile_a_grid_share_out_the_middles_on_their_edges():
    target = Target("EPSG:32633", Bounds(600000, 5000000, 600200, 5000200), 20, 20)
    west, south = np.meshgrid(np.arange(600005, 600185, 30), np.arange(5000005, 5000185, 30))
    squares = shapely.box(west, south, west + 30, south + 30).ravel()
    covered = cover(squares, target, "centre")
    assert np.unique(np.diff(covered.starts)).tolist() == [9]
    assert np.unique(covered.cells).size == covered.cells.size == 9 * len(squares)


def test_an_area_has_its_clear_share_its_age_and_its_version(engine, stands, tmp_path):
    own = told(engine, read_areas(stands, "stand"), tmp_path / "own.parquet", bands="B04", period="all")
    assert set(own.version) == {engine.version.name}
    metadata = pq.read_schema(tmp_path / "own.parquet").metadata
    assert metadata[b"terrazzo:version"].decode() == engine.version.name
    assert b"Copernicus" in metadata[b"attribution"]
    held = own[own["count"] > 0]
    assert held.clear_share.between(0, 1 + 1e-9).all()
    assert held.clear_share.max() > 0.99
    assert held.age_days.between(0, 10).all()
    assert (held.filled_share == 0).all()
    for stand in ("S2", "S3"):
        nothing = own[own.stand == stand].iloc[0]
        assert nothing["count"] == 0
        assert np.isnan(nothing["mean"])


def test_centre_of_pixel_counts_whole_pixels_as_rasterizing_does(engine, stands, tmp_path):
    own = told(
        engine, read_areas(stands, "stand"), tmp_path / "own.csv", bands="B04", rule="centre", period="all"
    )
    list(
        export(
            engine,
            parse_order(
                {"bbox": [560_000, 5_060_000, 610_000, 5_105_000], "bbox_crs": "EPSG:32633", "bands": "B04"},
                engine.version,
            ),
            tmp_path / "all.tif",
        )
    )
    shapes = pyogrio.read_dataframe(stands)
    with rasterio.open(tmp_path / "all.tif") as file:
        values = file.read(1, masked=True)
        for stand in ("S0", "S4", "S9"):
            shape = shapes.geometry[shapes.stand == stand].iloc[0]
            inside = rasterio.features.rasterize([shape], file.shape, transform=file.transform) == 1
            row = own[own.stand == stand].iloc[0]
            assert row["count"] == values[inside].count()
            assert row["mean"] == pytest.approx(values[inside].mean() * 1e-4, rel=1e-6)
            assert row["median"] == pytest.approx(np.median(values[inside].compressed()) * 1e-4, rel=1e-6)


def test_a_table_that_was_stopped_goes_on_where_it_was(engine, stands, tmp_path, monkeypatch):
    monkeypatch.setattr("terrazzo.statistics.places.BLOCK", 64)
    areas, question = read_areas(stands), parse_table({"period": PERIODS, "bands": "B04"}, engine.version)[0]
    whole = told(engine, areas, tmp_path / "whole.parquet", bands="B04")
    steps = statistics(engine, question, areas, tmp_path / "again.parquet")
    for _ in range(5):
        next(steps)
    steps.close()
    drawn, render = [], Engine.render
    monkeypatch.setattr(
        Engine, "render", lambda self, s, target, **k: drawn.append(target) or render(self, s, target, **k)
    )
    again = told(engine, areas, tmp_path / "again.parquet", bands="B04")
    pd.testing.assert_frame_equal(whole, again)
    more = len(drawn)
    told(engine, areas, tmp_path / "third.parquet", bands="B04")
    assert 0 < more < len(drawn) - more
    assert not list(tmp_path.glob(".*"))


def test_the_order_of_areas_and_the_kind_of_file_change_nothing(engine, stands, tmp_path):
    geoparquet, geojson = tmp_path / "stands.parquet", tmp_path / "stands.geojson"
    shapes = pyogrio.read_dataframe(stands)
    shapes.iloc[::-1].to_parquet(geoparquet)
    shapes.to_crs(4326).to_file(geojson, driver="GeoJSON", COORDINATE_PRECISION=12)
    tables = [
        told(engine, read_areas(p, "stand"), tmp_path / f"{i}.csv", bands="B04")
        .set_index(["stand", "period"])
        .sort_index()
        for i, p in enumerate((stands, geoparquet, geojson))
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0], tables[2], rtol=1e-5)


def test_the_command_writes_geoparquet_that_opens_with_its_geometry(sample_store, stands, tmp_path):
    out = tmp_path / "ndvi.parquet"
    command = [
        "statistics",
        f"--geom={stands}",
        "--store",
        sample_store,
        "--id",
        "stand",
        "--expression",
        INDEX,
        "-o",
        out,
    ]
    done = CliRunner().invoke(cli, [str(c) for c in command])
    assert done.exit_code == 0, done.output
    import geopandas

    table = geopandas.read_parquet(out)
    assert table.crs.to_epsg() == 32633
    assert len(table) == 400
    assert table.geometry.area.max() > 1e4
    refused = CliRunner().invoke(cli, [str(c) for c in [*command[:4], "--id", "name", "-o", out]])
    assert "no column name; it has stand" in refused.output


@pytest.mark.parametrize(
    ("asked", "told_why"),
    [
        ({"stage": "mask"}, "statistics are of"),
        ({"percentiles": "5,200"}, "0 to 100"),
        ({"rule": "touched"}, "exact, centre"),
        ({"colour": 1}, "unknown parameter"),
        ({"resampling": "nearest"}, "unknown parameter"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_one_that_does(engine, asked, told_why):
    with pytest.raises(InvalidRequest, match=told_why):
        parse_table(asked, engine.version)


def test_an_area_across_the_antimeridian_lies_where_its_parts_are(engine, tmp_path):
    parts = [shapely.box(179.99, 45, 180, 45.01), shapely.box(-180, 45, -179.99, 45.01)]
    path = tmp_path / "across.geojson"
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(shapely.MultiPolygon(parts)),
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert transformer("EPSG:4326", "EPSG:32660").transform(-179.99, 45)[0] > 7e5
    own = told(engine, read_areas(path), tmp_path / "own.csv", bands="B04", period="all")
    assert own["count"].tolist() == [0]


def features_of(path, shapes, **columns):
    features = [
        {
            "type": "Feature",
            "properties": {k: v[i] for k, v in columns.items()},
            "geometry": shapely.geometry.mapping(shape),
        }
        for i, shape in enumerate(shapes)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_an_area_of_polygons_and_lines_is_its_polygons(engine, tmp_path):
    square = shapely.box(15.95, 45.8, 15.96, 45.81)
    line = shapely.LineString([(15.96, 45.81), (15.98, 45.83)])
    spike = shapely.Polygon([*square.exterior.coords[:2], *line.coords, *square.exterior.coords[1:]])
    assert not spike.is_valid
    path = features_of(tmp_path / "a.geojson", [square, shapely.GeometryCollection([square, line]), spike])
    question = parse_table({"bands": "B04", "period": "all"}, engine.version)[0]
    for rule in ("exact", "centre"):
        *_, table = statistics(
            engine, replace(question, rule=rule), read_areas(path), tmp_path / f"{rule}.csv"
        )
        rows = pd.read_csv(table.path)
        assert rows["count"].iloc[0] > 50
        assert (rows.drop(columns=["fid", "reason"]).nunique() == 1).all()


def test_areas_that_lie_over_each_other_are_worked_on_a_bounded_number_of_pixels_at_once(engine, tmp_path):
    path = features_of(tmp_path / "a.geojson", [shapely.box(15.9, 45.75, 16.0, 45.85)] * 1800)
    areas = read_areas(path)
    parts = groups(areas, engine.version)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1800))
    target = group(placed(areas, engine.version, parts[0][:1]), engine.version, parts[0][:1]).target
    pixels = target.height * target.width
    assert max(len(p) for p in parts) * pixels <= MOST_PIXELS + pixels


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_areas_may_be_known_by_a_column_that_the_table_has_too(engine, tmp_path, ending):
    path = features_of(tmp_path / "a.geojson", [shapely.box(15.95, 45.8, 15.96, 45.81)], name=["oak"])
    question = parse_table({"bands": "B04", "period": "all"}, engine.version)[0]
    *_, table = statistics(engine, question, read_areas(path, "name"), tmp_path / f"b.{ending}")
    rows = pd.read_csv(table.path) if ending == "csv" else pd.read_parquet(table.path)
    assert (rows["area_name"][0], rows["name"][0]) == ("oak", "B04")


@pytest.mark.parametrize(
    "geo",
    [
        "{",
        "[]",
        "{}",
        '{"primary_column": "geometry", "columns": {}}',
        '{"primary_column": "lost", "columns": {"lost": {"encoding": "WKB"}}}',
        '{"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": "nowhere"}}}',
    ],
)
def test_a_geoparquet_file_that_contradicts_itself_is_refused(tmp_path, geo):
    table = pa.table({"geometry": pa.array([b""], pa.binary())})
    pq.write_table(table.replace_schema_metadata({"geo": geo}), tmp_path / "a.parquet")
    with pytest.raises(InvalidRequest, match=r"a\.parquet"):
        read_areas(tmp_path / "a.parquet")


def test_a_geoparquet_file_without_crs_is_in_degrees_and_one_with_null_is_refused(tmp_path):
    def areas(**said):
        geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", **said}}}
        table = pa.table({"geometry": pa.array([shapely.box(15, 45, 16, 46).wkb], pa.binary())})
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "a.parquet")
        return read_areas(tmp_path / "a.parquet")

    assert areas().crs.to_epsg() == 4326
    with pytest.raises(InvalidRequest, match="coordinate system is not known; write it with one"):
        areas(crs=None)


@pytest.mark.parametrize("rule", ["exact", "centre"])
def test_a_band_among_others_has_the_statistics_that_it_has_alone(engine, tmp_path, rule):
    path = features_of(tmp_path / "a.geojson", [shapely.box(15.95, 45.8, 15.98, 45.82)])
    asked = {"period": "all", "rule": rule}
    both = told(engine, read_areas(path), tmp_path / "both.parquet", **asked, bands="B04,B08").set_index(
        "name"
    )
    for band in ("B04", "B08"):
        alone = told(engine, read_areas(path), tmp_path / f"{band}.parquet", **asked, bands=band)
        for name in ("mean", "std", "min", "max", "median", "p5"):
            assert both.loc[band, name] == alone[name][0]
    assert both.loc["B04", "mean"] < 0.8 * both.loc["B08", "mean"]


def test_areas_in_a_system_without_a_datum_shift_are_refused_by_name(tmp_path):
    path = tmp_path / "areas.gpkg"
    square = shapely.box(7_500_000, 5_100_000, 7_500_600, 5_100_600)
    how = {"geometry_type": "Polygon", "crs": "EPSG:2327", "driver": "GPKG"}
    pyogrio.raw.write(path, np.array([square.wkb], object), [], [], **how)
    with pytest.raises(InvalidRequest, match=r"Xian 1980.*no datum shift"):
        read_areas(path, None, None)
