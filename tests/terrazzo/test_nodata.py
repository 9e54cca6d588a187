"""Where a mosaic has no data, every file of an export and every tile says so, whatever the type of its numbers."""

import io
import math

import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient

from terrazzo.bands import NODATA
from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.server.app import create_app
from terrazzo.server.layers import LAYERS
from terrazzo.server.settings import Settings
from tests.chain import precompute
from tests.world.worlds import FOUR, make_world

pytestmark = pytest.mark.pythons

ROWS, COLS, OUTSIDE = 192, 240, 36
"""Pixels of the area that is asked for; its last columns lie beyond the data: 15 of 100."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three clear dates over one tile, and the corners of an area that reaches beyond it in the east."""
    base = tmp_path_factory.mktemp("nodata")
    made = make_world(base / "p", seed=3, pixel=60.0, size=(ROWS, COLS), dates=3)
    done, _ = precompute(base / "p", base / "s", pixel=60.0, recipe=Recipe("scl"))
    (land,) = made.land.values()
    box = land.place.box
    # A pixel of the mask, two of the bands wide, that the product covers in part has no data.
    end = box.col1 // 2 * 2 + OUTSIDE
    asked = PixelBox(box.row0, end - COLS, box.row1, end)
    return base / "s", Engine(done.version, Blocks()), done.version.store.grid(32633).bounds(asked)


def exported(world, path, **asked):
    _, engine, bounds = world
    order = {"bbox": tuple(bounds), "bbox_crs": "EPSG:32633", "crs": "EPSG:32633", "extras": "none", **asked}
    list(export(engine, parse_order(order, engine.version), path))
    with rasterio.open(path) as file:
        return file.nodata, file.read(), file.read_masks()


def beyond():
    """(row, col) which pixels have no data."""
    return np.broadcast_to(np.arange(COLS) >= COLS - OUTSIDE, (ROWS, COLS))


@pytest.mark.parametrize("chosen", [{"bands": FOUR}, {"bands": ["B04"], "baseline": "2023"}])
def test_each_extra_has_as_many_pixels_without_data_as_the_area_has(world, tmp_path, chosen):
    # A standard error is of one time.
    names = tuple(n for n in ORIGINS if n != "sigma" or "baseline" not in chosen)
    exported(world, tmp_path / "a.tif", extras=names, method="geomedian", **chosen)
    for name in names:
        with rasterio.open(tmp_path / f"a_{name}.tif") as file:
            by_band = ORIGINS[name].by_band is not None
            nodata, kind = (math.nan, "float32") if by_band else (NODATA, "int16")
            assert np.array_equal(file.nodata, nodata, equal_nan=True)
            assert file.dtypes == (kind,) * (len(chosen["bands"]) if by_band else 1)
            empty = np.isnan(file.read(1)) if by_band else file.read(1) == NODATA
            assert (empty == beyond()).all(), name
            assert ((file.read_masks(1) == 0) == beyond()).all(), name


@pytest.mark.parametrize(
    ("asked", "nodata"),
    [
        ({}, NODATA),
        ({"nodata": 0}, 0),
        ({"dtype": "uint16"}, 0),
        ({"dtype": "uint16", "nodata": 65535}, 65535),
        ({"dtype": "uint8", "scale": 0.002}, 0),
        ({"dtype": "uint8", "scale": 0.002, "nodata": 255}, 255),
        ({"dtype": "float32"}, math.nan),
        ({"dtype": "float32", "nodata": -9999}, -9999),
        ({"stage": "raw"}, NODATA),
        ({"stage": "mask", "bands": None}, NODATA),
        ({"expression": "B08/B04", "bands": None}, math.nan),
        ({"expression": "B08/B04", "bands": None, "dtype": "uint16", "nodata": 7}, 7),
    ],
)
def test_bands_of_each_type_declare_what_pixels_without_data_hold(world, tmp_path, asked, nodata):
    declared, values, masks = exported(world, tmp_path / "a.tif", **{"bands": ["B04", "B08"], **asked})
    assert np.array_equal(declared, nodata, equal_nan=True)
    held = np.isnan(values) if math.isnan(nodata) else values == nodata
    assert (held == beyond()).all()
    assert ((masks == 0) == beyond()).all()


@pytest.mark.parametrize("style", [None, *LAYERS])
def test_tiles_of_numbers_and_pictures_have_no_data_there(world, style):
    store, _, bounds = world
    box = ",".join(map(str, bounds))
    address = f"/mosaics/mosaic/bbox/{box}/{COLS}x{ROWS}"
    query = {"coord_crs": "EPSG:32633", "dst_crs": "EPSG:32633"} | ({"style": style} if style else {})
    with TestClient(create_app(Settings(store=str(store)))) as client:
        answers = {form: client.get(f"{address}.{form}", params=query) for form in ("tif", "npy", "png")}
    assert {a.status_code for a in answers.values()} == {200}, answers["tif"].text
    with rasterio.open(io.BytesIO(answers["tif"].content)) as file:
        assert file.nodata == NODATA
        assert ((file.read() == NODATA) == beyond()).all()
    *values, valid = np.load(io.BytesIO(answers["npy"].content))
    assert ((np.stack(values) == NODATA) == beyond()).all()
    assert ((valid == 0) == beyond()).all()
    with rasterio.open(io.BytesIO(answers["png"].content)) as picture:
        assert ((picture.read(picture.count) == 0) == beyond()).all()
