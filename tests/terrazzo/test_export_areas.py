"""Which areas an export takes: polygons, places, boxes across the antimeridian, files; and which it refuses."""

import json

import click
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.transform import rowcol

from terrazzo.bulk.area import area_of_box, area_of_geometry
from terrazzo.bulk.outlines import geojson_of_file
from terrazzo.cli import cli
from terrazzo.errors import InvalidRequest, OutsideCoverage
from terrazzo.export.order import parse_order
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import transformer
from terrazzo.request.parameters import EXPORT
from tests.terrazzo.exports import BOX, OUTLINE, ordered, written

HOLE = [[15.94, 45.81], [15.94, 45.82], [15.96, 45.82], [15.96, 45.81], [15.94, 45.81]]


def test_a_polygon_keeps_what_it_touches_and_leaves_its_hole_out(engine, tmp_path):
    polygon = {"type": "Polygon", "coordinates": [OUTLINE, HOLE]}
    written(engine, tmp_path / "a.tif", geometry=polygon)
    with rasterio.open(tmp_path / "a.tif") as file:
        held = file.read(1) != file.nodata
        to_file = transformer("EPSG:4326", file.crs.to_string())

        def has(lon, lat):
            return bool(held[rowcol(file.transform, *to_file.transform(lon, lat))])

        assert has(15.935, 45.815)
        assert has(15.95, 45.8015)
        assert not has(15.95, 45.815)
        assert not has(15.932, 45.828)


def test_a_place_is_one_pixel_and_it_is_the_points(engine, tmp_path):
    lon, lat = 15.9501, 45.8101
    written(
        engine,
        tmp_path / "a.tif",
        geometry={"type": "Point", "coordinates": [lon, lat]},
        resampling="nearest",
    )
    order = ordered(engine, resampling="nearest")
    point = engine.points(engine.select(order.pixels), "EPSG:4326", np.array([lon]), np.array([lat]))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.shape == (1, 1)
        assert (file.read()[:, 0, 0] == point.values[:, 0, 0]).all()


def test_boxes_and_polygons_across_the_antimeridian_are_narrow():
    assert area_of_box(Bounds(179.5, -17, -179.5, -16)).bounds == (179.5, -17, 180.5, -16)
    east = [[179.5, -17], [180, -17], [180, -16], [179.5, -16], [179.5, -17]]
    west = [[-180, -17], [-179.5, -17], [-179.5, -16], [-180, -16], [-180, -17]]
    both = area_of_geometry({"type": "MultiPolygon", "coordinates": [[west], [east]]})
    assert both.bounds == (179.5, -17, 180.5, -16)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [999, 1], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[["a", 0], [9, 1], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[10**400, 0], [9, 1], [1, 1], [10**400, 0]]]},
        "{broken",
        None,
        7,
    ],
)
def test_what_is_no_area_is_refused(geometry):
    with pytest.raises(InvalidRequest, match="geometry"):
        area_of_geometry(geometry)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"dtype": "int8"}, "uint16"),
        ({"dtype": "uint8"}, "scale"),
        ({"scale": 0}, "above 0"),
        ({"nodata": 1e9}, "int16"),
        ({"stage": "raw", "scale": 2}, "whole numbers"),
        ({"split": 3}, "512"),
        ({"extras": "weather"}, "quality"),
        ({"extras": "spread", "stage": "mask"}, "spread"),
        ({"compression": "jpeg"}, "deflate"),
        ({"colour": 1}, ", ".join(EXPORT)),
        ({"geometry": {"type": "Point", "coordinates": [16, 45]}, "bbox": BOX}, "either"),
        ({"bbox": "1,2,3"}, "four finite numbers"),
        ({"orbit": 900}, "143"),
    ],
)
def test_a_wrong_order_is_answered_with_what_is_right(engine, asked, told):
    with pytest.raises(InvalidRequest, match=told):
        parse_order({"bbox": BOX, **asked} if "geometry" not in asked else asked, engine.version)


def test_a_box_without_data_is_reported_and_leaves_no_file(engine, tmp_path):
    with pytest.raises(OutsideCoverage, match="covers"):
        written(engine, tmp_path / "a.tif", bbox=(14.0, 45.0, 14.1, 45.1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "driver", "option"), [("a.gpkg", "GPKG", "--geometry"), ("a.shp", "ESRI Shapefile", "--geom")]
)
def test_an_area_may_be_any_file_that_ogr_reads(sample_store, engine, tmp_path, name, driver, option):
    shape = shapely.Polygon(OUTLINE)
    to_file = transformer("EPSG:4326", "EPSG:3035")
    turned = shapely.transform(shape, lambda xy: np.stack(to_file.transform(xy[:, 0], xy[:, 1]), -1))
    pyogrio.raw.write(
        tmp_path / name,
        geometry=np.array([shapely.to_wkb(turned)]),
        field_data=[np.array(["a"])],
        fields=["name"],
        geometry_type="Polygon",
        crs="EPSG:3035",
        driver=driver,
    )
    dry = ["export", "--store", str(sample_store), option, str(tmp_path / name), "--dry-run"]
    result = CliRunner().invoke(cli, dry)
    assert result.exit_code == 0, result.output
    area = area_of_geometry(json.loads(geojson_of_file(tmp_path / name)))
    assert np.allclose(area.bounds, shape.bounds, atol=2e-3)


@pytest.mark.parametrize("command", ["export", "series", "statistics", "get", "acquire", "watch"])
def test_every_command_calls_the_file_of_an_area_alike(command):
    options = {name for p in cli.get_command(click.Context(cli), command).params for name in p.opts}
    assert {"--geom", "--geometry"} <= options
