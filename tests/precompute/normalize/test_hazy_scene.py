"""Where only a hazy scene sees the ground, it comes out at the level of the clear ones, though all its strips are called cloud."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from terrazzo.bands import NODATA, SCALE
from terrazzo.precompute.normalize.weigh import difference_key
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import Chain, native, precompute
from tests.world.land import Land, landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import Sky, observe
from tests.world.worlds import FIRST, FOUR, NORTH

HOLE = np.s_[100:150, 110:170]
"""Where clouds lie in the clear passes."""
HAZE = 0.03


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Land]:
    """Three clear passes with one hole, and one in even haze without."""
    base = tmp_path_factory.mktemp("hazy")
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, 240, 300, 60.0, 64)
    land = landscape(place, FOUR, 2)
    for number in range(4):
        hazy = number == 3
        seen = observe(land, Sky(haze=HAZE if hazy else 0.0, haze_length=40_000, seed=number + 7))
        if not hazy:
            cloud = seen.cloud.copy()
            cloud[HOLE] = True
            seen = replace(seen, cloud=cloud, rho=np.where(cloud, np.float32(0.6), seen.rho))
        about = Pass(FIRST + timedelta(days=5 * number), "S2A", 79)
        write_product(base / "products", seen, about)
    done, _ = precompute(base / "products", base / "store", pixel=60.0, recipe=Recipe("scl"))
    assert done.version is not None
    return Chain(base, done.version.store), land


def test_the_hole_is_at_the_level_of_the_land(chain: tuple[Chain, Land]) -> None:
    made, land = chain
    inner = tuple(slice(s.start + 10, s.stop - 10) for s in HOLE)
    error = {}
    for normalize in (False, True):
        values = native(made.version, land.place.box, 32633, method="feather", normalize=normalize).values
        shown = np.where(values == NODATA, np.nan, values * SCALE)
        error[normalize] = np.abs(np.nanmean((shown - land.rho)[:, *inner], axis=(1, 2)))
    assert error[False][0] > 0.015, error
    assert (error[True] < [0.004, 0.004, 0.004, 0.008]).all(), error


def test_its_strips_are_marked_hazy_and_those_of_clear_scenes_are_not(
    chain: tuple[Chain, Land],
) -> None:
    made, _ = chain
    store = made.store
    share = []
    for entry in made.entries:
        folder = f"mosaics/mosaic/differences/{Path(entry.weight_key).parent.name}"
        table = pq.read_table(store.raster_path(difference_key(folder, entry.scene)))
        share.append(np.mean(table.column("hazy").to_numpy()))
    assert max(share) > 0.5
    assert sorted(share)[-2] < 0.05
