"""The simulator: its worlds are what they say they are."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from terrazzo.precompute.products.find import find_products
from tests.world.land import KINDS, landscape
from tests.world.products import Pass
from tests.world.sky import Sky, View, observe, tangents
from tests.world.worlds import (
    ALL_BANDS,
    BORDER,
    FIRST,
    FOUR,
    NORTH,
    SOUTH,
    TYPICAL,
    Weather,
    make_world,
    place_of,
)

PLACE = place_of(*NORTH, 240, 300, 10.0, 64)
LAND = landscape(PLACE, FOUR, 0)


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_world(tmp_path / name, seed=seed, dates=1, size=(48, 48), weather=TYPICAL)
    (a,), (b,), (c,) = (list(tmp_path.glob(f"{n}/*/B04.tif")) for n in "abc")
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()


def test_lakes_and_forests_end_on_window_borders():
    row, col = np.nonzero(np.diff(LAND.kind == KINDS.index("water"), axis=1))
    assert len(row)
    assert set((col + 1 + PLACE.box.col0) % 64) == {0}


def test_a_clear_sky_shows_the_ground_and_a_gain_is_a_gain():
    assert (observe(LAND, Sky()).rho == LAND.rho).all()
    seen = observe(LAND, Sky(gain={"B04": 1.2}, offset={"B04": 0.01}))
    assert seen.rho[2] == pytest.approx(1.2 * LAND.rho[2] + 0.01, rel=1e-5)
    assert (seen.rho[1] == LAND.rho[1]).all()


def test_clouds_cover_what_was_asked_and_brighten():
    seen = observe(LAND, Sky(cloud=0.3, missed=0.05, seed=4))
    assert seen.cloud.mean() == pytest.approx(0.3, abs=0.01)
    assert seen.missed.mean() == pytest.approx(0.05, abs=0.03)
    assert (seen.rho[0][seen.cloud] > 0.4).all()
    assert (seen.rho[:, seen.clear] == LAND.rho[:, seen.clear]).all()
    assert (seen.rho[3][seen.shadow] < 0.5 * LAND.rho[3][seen.shadow]).all()


def test_angles_differ_between_neighbouring_detectors():
    east, north = tangents(PLACE, View(), np.array([1, 2]), np.array([5e5, 5e5]))
    assert east[0] == east[1]
    assert north[0] == -north[1] != 0


def test_products_are_found_with_all_they_have(tmp_path):
    about = Pass(FIRST, claims="contradictory", added=0, fine=True)
    make_world(tmp_path, dates=2, size=(48, 60), bands=ALL_BANDS, view=View(), about=about)
    found = find_products(tmp_path)
    assert [p.id for p in found.products] == ["S2A_33TWL_20230803_0_L2A", "S2B_33TWL_20230808_0_L2A"]
    product = found.products[0]
    assert set(product.assets) == {*ALL_BANDS, "SCL", "CLDPRB", "DETFOO", "granule_metadata"}
    assert product.claims == {"boa_offset_applied": True, "raster_offset": -0.1}
    for band in ALL_BANDS:
        with rasterio.open(product.assets[band]) as dataset:
            assert dataset.res == (10, 10)


def test_bands_have_their_own_resolution_unless_asked_otherwise(tmp_path):
    make_world(tmp_path, dates=1, size=(48, 60), bands=("B01", "B02", "B05"))
    sizes = {p.stem: rasterio.open(p).res[0] for p in tmp_path.glob("*/B*.tif")}
    assert sizes == {"B01": 60, "B02": 10, "B05": 20}


def test_a_southern_product_lies_where_southern_products_lie(tmp_path):
    world = make_world(tmp_path, dates=1, size=(48, 60), where=SOUTH)
    (path,) = tmp_path.glob("*/B02.tif")
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_epsg() == 32719
        assert dataset.transform.f % 60 == 40
    assert world.land["19HCC"].place.box.row0 == 390_000


def test_two_zones_see_the_same_ground(tmp_path):
    world = make_world(tmp_path, dates=1, where=BORDER[0], zones=True)
    here, there = world.land["33TYL"], world.land["34TBR"]
    assert there.place.epsg == 32634
    assert np.median(there.rho, axis=(1, 2)) == pytest.approx(np.median(here.rho, axis=(1, 2)), rel=0.05)


def test_harvest_changes_fields_between_dates(tmp_path):
    world = make_world(tmp_path, dates=2, phenology=1.0, weather=Weather())
    first, last = (world.seen[i].rho[3] for i in sorted(world.seen))
    changed = np.abs(first - last) > 0.02
    assert 0.1 < changed.mean() < 0.5


def test_a_neighbour_sees_the_same_in_the_overlap(tmp_path):
    world = make_world(tmp_path, dates=1, neighbour=True, weather=replace(TYPICAL, swath=1.0))
    west, east = (world.seen[i] for i in sorted(world.seen))
    assert (west.rho[:, :, 192:] == east.rho[:, :, :108]).all()
    assert json.loads((tmp_path / "S2A_33TXL_20230803_0_L2A.json").read_text())["type"] == "Feature"
