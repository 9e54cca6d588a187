"""Exports as MBTiles, PMTiles and GeoPackage hold the pixels that tiles show."""

import io
import os
import sqlite3

import pytest
import rasterio
from pmtiles.reader import MmapSource, Reader
from pmtiles.tile import TileType

from terrazzo.errors import InvalidRequest
from terrazzo.export import tiles
from terrazzo.export.order import parse_order
from terrazzo.export.pieces import stored_values
from terrazzo.export.run import Exported, export
from tests.terrazzo.exports import BOX, SMALL, target_of


@pytest.mark.parametrize("kind", ["gpkg", "mbtiles"])
def test_a_picture_for_tablets_opens_with_the_pixels_that_tiles_show(engine, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    order = parse_order({"bbox": BOX, "format": kind}, engine.version)
    assert isinstance(list(export(engine, order, path, workers=2))[-1], Exported)
    assert order.picture.zoom == 11
    expected = stored_values(expected_values(engine, order), order)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3857
        assert file.count == 4
        assert file.overviews(1)[0] == 2
        target = target_of(engine, order)
        window = rasterio.windows.from_bounds(*target.bounds, file.transform).round_offsets().round_lengths()
        found = file.read(window=window, boundless=True, fill_value=0)
        if kind == "mbtiles":
            assert "Copernicus" in file.tags()["attribution"]
            assert file.tags()["terrazzo_version"] == engine.version.name
        else:
            assert "Copernicus" in file.tags()["ATTRIBUTION"]
    seen = expected[3] == 255
    assert seen.any()
    assert (found[3] == expected[3]).all()
    assert (found[:, seen] == expected[:, seen]).all()
    assert not list(tmp_path.glob(".*"))


def expected_values(engine, order):
    return engine.render(engine.select(order.pixels), target_of(engine, order)).values


def test_pmtiles_hold_the_tiles_of_mbtiles(engine, tmp_path):
    asked = {"bbox": BOX, "bands": ["B08"], "rescale": "0,0.5"}
    for kind in ("mbtiles", "pmtiles"):
        order = parse_order({**asked, "format": kind}, engine.version)
        list(export(engine, order, tmp_path / f"a.{kind}"))
    with sqlite3.connect(tmp_path / "a.mbtiles") as file:
        tiles = file.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles").fetchall()
    assert {z for z, *_ in tiles} == {10, 11}
    with (tmp_path / "a.pmtiles").open("rb") as file:
        reader = Reader(MmapSource(file))
        assert (reader.header()["max_zoom"], reader.header()["tile_type"]) == (11, TileType.PNG)
        assert "Copernicus" in reader.metadata()["attribution"]
        for z, x, row, data in tiles:
            assert reader.get(z, x, 2**z - 1 - row) == data
            with rasterio.open(io.BytesIO(data)) as picture:
                assert picture.shape == (256, 256)


def test_pictures_of_one_name_do_not_meet_while_they_are_written(engine, tmp_path, monkeypatch):
    asked = {"bbox": SMALL, "bands": ["B08"], "rescale": "0,0.5"}
    first, second = (
        parse_order({**asked, "format": kind}, engine.version) for kind in ("pmtiles", "mbtiles")
    )
    copy = tiles.copy_raster

    def interrupted(*arguments, **options):
        monkeypatch.undo()
        copy(*arguments, **options)
        list(export(engine, second, tmp_path / "a.mbtiles"))

    monkeypatch.setattr(tiles, "copy_raster", interrupted)
    list(export(engine, first, tmp_path / "a.pmtiles"))
    assert sorted(os.listdir(tmp_path)) == [
        *("a.mbtiles", "a.mbtiles.lock.json", "a.pmtiles", "a.pmtiles.lock.json")
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"format": "jpeg"}, "tif, gpkg, mbtiles, pmtiles"),
        ({"format": "gpkg", "dtype": "int16"}, "format=gpkg and dtype contradict"),
        ({"zoom": 9}, "format=tif and zoom contradict"),
        ({"format": "gpkg", "style": "ndvi"}, "natural"),
        ({"format": "gpkg", "bands": ["B02", "B03"]}, "one or three bands"),
        ({"format": "gpkg", "rescale": "3,1"}, "min below max"),
        ({"format": "mbtiles", "stage": "mask"}, "reflectance"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(engine, asked, told):
    with pytest.raises(InvalidRequest, match=told):
        parse_order({"bbox": BOX, **asked}, engine.version)
