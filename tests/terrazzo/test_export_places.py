"""Exports where grids meet: zones, the antimeridian, bands of 20 and 60 m; the same values as points, by every method."""

from typing import get_args

import numpy as np
import pytest
import rasterio

from terrazzo.bands import NODATA
from terrazzo.config import Method
from terrazzo.export.order import parse_order
from terrazzo.export.run import Exported, export
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target, transformer
from tests.chain import precompute
from tests.world.worlds import BORDER, DATE_LINE, Weather, make_world

STORED = ("B01", "B02", "B04", "B08", "B11")
BANDS = ("B01", "B04", "B11")


def two_zones(base, where, other):
    weather = Weather(gain=0.03, haze=0.01, cloud=0.2)
    make_world(
        base / "p",
        dates=3,
        size=(192, 192),
        where=where,
        zones=other,
        bands=(*STORED, "B03"),
        weather=weather,
    )
    done, _ = precompute(base / "p", base / "s", bands=STORED, normalize=False)
    return Engine(done.version, Blocks())


@pytest.fixture(scope="module")
def border(tmp_path_factory):
    return two_zones(tmp_path_factory.mktemp("border"), BORDER[0], True)


@pytest.fixture(scope="module")
def date_line(tmp_path_factory):
    return two_zones(tmp_path_factory.mktemp("date"), DATE_LINE[0], DATE_LINE[1])


def written(engine, path, **asked):
    order = parse_order({"extras": "none", **asked}, engine.version)
    assert isinstance(list(export(engine, order, path))[-1], Exported)
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs.to_string()


def points(engine, request, crs, transform, rows, cols):
    x, y = transform.c + (cols + 0.5) * transform.a, transform.f + (rows + 0.5) * transform.e
    return engine.points(engine.select(request), crs, x, y).values[:, 0]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32634"])
@pytest.mark.parametrize("method", get_args(Method))
def test_across_a_zone_border_an_export_has_the_values_of_points_and_of_tiles(border, tmp_path, method, crs):
    place = transformer("EPSG:32633", "EPSG:4326").transform_bounds(735_100, 4_998_300, 736_800, 4_999_900)
    values, transform, told = written(
        border, tmp_path / "a.tif", bbox=list(place), crs=crs, bands=list(BANDS), method=method
    )
    assert told == crs
    assert (values != NODATA).all(axis=0).mean() > 0.95
    rows, cols = np.random.default_rng(0).integers(0, min(values.shape[1:]), (2, 300))
    request = PixelRequest(BANDS, method=method)
    assert (points(border, request, crs, transform, rows, cols) == values[:, rows, cols]).all()
    # A tile of the same grid, as a client would ask for it.
    left, top = transform.c + 40 * transform.a, transform.f + 30 * transform.e
    box = type(border.version.bounds)(left, top - 640, left + 640, top)
    tile = border.render(border.select(request), Target(crs, box, 64, 64)).values
    assert (tile == values[:, 30:94, 40:104]).all()


def test_at_the_antimeridian_an_export_is_whole_and_has_the_values_of_points(date_line, tmp_path):
    to_degrees = transformer("EPSG:32660", "EPSG:4326")
    (west, east), (south, north) = to_degrees.transform([735_300, 736_700], [4_998_600, 4_999_700])
    assert west > 179
    assert -180 <= east < -179
    values, transform, crs = written(
        date_line, tmp_path / "a.tif", bbox=[west, south, east, north], bands=list(BANDS)
    )
    assert max(values.shape) < 200
    assert (values != NODATA).all(axis=0).mean() > 0.9
    rows, cols = np.random.default_rng(0).integers(0, min(values.shape[1:]), (2, 200))
    assert (points(date_line, PixelRequest(BANDS), crs, transform, rows, cols) == values[:, rows, cols]).all()
    polygon = {
        "type": "MultiPolygon",
        "coordinates": [
            [[[west, south], [180, south], [180, north], [west, north], [west, south]]],
            [[[-180, south], [east, south], [east, north], [-180, north], [-180, south]]],
        ],
    }
    outlined, *_ = written(date_line, tmp_path / "b.tif", geometry=polygon)
    assert abs(outlined.shape[1] - values.shape[1]) <= 2
    assert abs(outlined.shape[2] - values.shape[2]) <= 2


@pytest.mark.parametrize(("band", "side"), [("B11", 2), ("B01", 2)])
def test_coarse_bands_come_at_the_pixel_of_the_others(border, tmp_path, band, side):
    """Bands of 60 m are stored at 20 m, so that both repeat over two pixels where nothing is interpolated."""
    values, transform, _ = written(
        border,
        tmp_path / "a.tif",
        bbox=[735_180, 4_998_360, 735_780, 4_998_960],
        bbox_crs="EPSG:32633",
        bands=[band],
        method="first",
        resampling="nearest",
        stage="corrected",
        ids=[e.scene.id for e in border.version.entries("all") if e.scene.epsg == 32633],
    )
    assert transform.a == 10
    blocks = values[0].reshape(values.shape[1] // side, side, values.shape[2] // side, side)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert len(np.unique(values)) > 50


def test_an_area_between_pixels_is_one_pixel_and_one_without_ground_is_refused(border, tmp_path):
    (lon,), (lat,) = transformer("EPSG:32633", "EPSG:4326").transform([735_503], [4_999_003])
    tiny = [[lon, lat], [lon + 1e-6, lat], [lon + 1e-6, lat + 1e-6], [lon, lat + 1e-6], [lon, lat]]
    values, *_ = written(border, tmp_path / "a.tif", geometry={"type": "Polygon", "coordinates": [tiny]})
    assert values.shape[1:] == (1, 1)
    assert (values != NODATA).all()
