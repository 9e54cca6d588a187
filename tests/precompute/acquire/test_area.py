"""An area in any form becomes the same place in degrees."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer

from terrazzo.errors import InvalidRequest
from terrazzo.precompute import sample
from terrazzo.precompute.acquire.area import degrees_box, from_box, from_file, from_tile, outline, tile_name

FIELD = shapely.Polygon([(15.9, 45.7), (16.1, 45.72), (16.08, 45.9), (15.92, 45.88)])


def write(path: Path, crs: str, driver: str) -> None:
    to_file = Transformer.from_crs(4326, crs, always_xy=True)
    shape = shapely.transform(
        shapely.segmentize(FIELD, 0.001), lambda xy: np.stack(to_file.transform(xy[:, 0], xy[:, 1]), -1)
    )
    pyogrio.raw.write(
        path,
        geometry=np.array([shapely.to_wkb(shape)]),
        field_data=[np.array(["a"])],
        fields=["name"],
        geometry_type="Polygon",
        crs=crs,
        driver=driver,
    )


@pytest.mark.parametrize(
    ("name", "crs", "driver"),
    [
        ("a.gpkg", "EPSG:32633", "GPKG"),
        ("a.gpkg", "EPSG:3035", "GPKG"),
        ("a.geojson", "EPSG:4326", "GeoJSON"),
        ("a.shp", "EPSG:3857", "ESRI Shapefile"),
        ("a.fgb", "EPSG:2180", "FlatGeobuf"),
    ],
)
def test_a_file_of_any_format_and_crs_is_the_same_field(
    tmp_path: Path, name: str, crs: str, driver: str
) -> None:
    write(tmp_path / name, crs, driver)
    found = from_file(tmp_path / name)
    assert shapely.symmetric_difference(found, FIELD).area < 1e-5 * FIELD.area


def test_several_features_are_one_area(tmp_path: Path) -> None:
    boxes = [shapely.box(15, 45, 15.1, 45.1), shapely.box(16, 46, 16.1, 46.1)]
    features = [
        {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(b))} for b in boxes
    ]
    (tmp_path / "two.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert from_file(tmp_path / "two.geojson").area == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize(
    "content", ["", "no geometry at all", '{"type": "FeatureCollection", "features": []}']
)
def test_a_file_without_an_area_is_refused_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.geojson").write_text(content)
    with pytest.raises(InvalidRequest, match="--geom"):
        from_file(tmp_path / "bad.geojson")


def test_a_file_without_a_coordinate_system_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.shp", "EPSG:32633", "ESRI Shapefile")
    (tmp_path / "a.prj").unlink()
    with pytest.raises(InvalidRequest, match="coordinate system"):
        from_file(tmp_path / "a.shp")


@pytest.mark.parametrize("tile", ["33TWL", "33TWM"])
def test_a_tile_lies_where_its_products_do(tile: str) -> None:
    path = next(sample.path().glob(f"S2B_{tile}_20230820*.json"))
    item = json.loads(path.read_text())
    found = from_tile(tile).bounds
    assert np.abs(np.array(found) - item["bbox"]).max() < 0.002


def test_tiles_on_both_sides_of_the_equator_and_near_the_pole_lie_where_the_archives_have_them(
    data: Path,
) -> None:
    for tile, file in (
        ("06VVN", "stac_planetarycomputer_sentinel-2-l2a_item.json"),
        ("36NYH", "stac_cdse_sentinel-2-l2a_item_N0500.json"),
        ("55WFR", "stac_cdse_sentinel-2-l2a_item_S2C_N0512.json"),
    ):
        item = json.loads((data / "imagery/metadata" / file).read_text())
        assert np.abs(np.array(from_tile(tile).bounds) - item["bbox"]).max() < 0.01
    pass_ = json.loads((data / "imagery/metadata/stac_planetarycomputer_9items_one_pass.geojson").read_text())
    for item in pass_["features"]:
        found = from_tile(item["properties"]["s2:mgrs_tile"]).bounds
        assert np.abs(np.array(found) - item["bbox"]).max() < 0.01


def test_a_tile_over_the_date_line_is_cut_there() -> None:
    found = from_tile("01KAB")
    parts = shapely.get_parts(found)
    assert len(parts) == 2
    assert sum(p.bounds[2] - p.bounds[0] for p in parts) < 2
    assert {round(abs(x)) for p in parts for x in (p.bounds[0], p.bounds[2])} <= {178, 179, 180}


@pytest.mark.parametrize("text", ["35VLG", "t35vlg", " T35VLG "])
def test_a_tile_may_be_written_as_people_do(text: str) -> None:
    assert tile_name(text) == "35VLG"


@pytest.mark.parametrize("text", ["35VL", "61VLG", "35IOG", "forest", ""])
def test_what_is_no_tile_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--tile"):
        tile_name(text)


def test_a_box_over_nothing_is_refused() -> None:
    for box in ((16, 45, 15, 46), (15, 46, 16, 45), (15, 45, 16, 91)):
        with pytest.raises(InvalidRequest, match="--bbox"):
            from_box(*box)


def test_a_box_from_east_to_west_is_cut_at_the_antimeridian() -> None:
    for box in ((170, 0, -170, 1), (170, 0, 190, 1), (-190, 0, -170, 1)):
        found = from_box(*box)
        assert found.equals(shapely.union(shapely.box(170, 0, 180, 1), shapely.box(-180, 0, -170, 1)))
        assert degrees_box(found) == (170, 0, -170, 1)
    assert degrees_box(from_box(15, 45, 16, 46)) == (15, 45, 16, 46)
    for box in ((180.2, 0, 180.4, 1), (-179.8, 0, -179.6, 1)):
        np.testing.assert_allclose(degrees_box(from_box(*box)), (-179.8, 0, -179.6, 1))


def test_a_coast_of_many_vertices_is_sent_as_a_simpler_shape_that_holds_it() -> None:
    angle = np.linspace(0, 2 * np.pi, 20_000)
    radius = 1 + 0.05 * np.sin(200 * angle)
    coast = shapely.Polygon(np.stack([25 + radius * np.cos(angle), 60 + radius * np.sin(angle)], -1))
    sent = outline(coast)
    assert shapely.get_num_coordinates(sent) <= 500
    assert shapely.covers(sent, coast)
    assert sent.area < 1.2 * coast.area
