"""The benchmark that hides a part of a date runs on a small world: nothing else would notice that what it stands on has moved."""

from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.hidden import predicted
from benchmarks.left_out import Place
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.world.land import landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import observe
from tests.world.worlds import FIRST, FOUR, NORTH, Weather, draw_sky

SIDE, DATES = 128, 3


def test_a_part_of_a_date_is_hidden_and_predicted(tmp_path: Path) -> None:
    land = landscape(place_of(*NORTH, SIDE, SIDE, 60.0, 64), FOUR, 5)
    for number in range(DATES):
        sky = draw_sky(Weather(cloud=0.3), FOUR, np.random.default_rng([5, number]), number, DATES)
        write_product(tmp_path / "p", observe(land, sky), Pass(FIRST + timedelta(days=5 * number), "S2A", 79))
    done, _ = precompute(tmp_path / "p", tmp_path / "s", pixel=60.0, recipe=Recipe("scl"))
    assert done.version is not None
    place = Place("world", tmp_path / "p", done.version.store, done.scenes, None)
    rows = predicted(place, 20, done.scenes[0], 0)
    # Ground that does not change is known from any other date.
    assert [r["way"] for r in rows if r["figure"] == "rmse" and float(str(r["B08"])) < 100][-1] == "predict"
