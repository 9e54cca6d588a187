"""A tile is solved against the tiles around it, whatever else lies in its zone."""

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from terrazzo import gains
from terrazzo.edges import EDGES, Strips, strip_table
from terrazzo.grid import PixelBox
from terrazzo.precompute.normalize.fields import Compared, TileGains, solve_zone
from terrazzo.scene import Scene
from terrazzo.store import Store, StoreConfig, create_store

BANDS, WINDOW, SIDE, APART, DATES = ("B02", "B04", "B08"), 32, 4, 3, 3
TILES = ("33TVL", "33TWL", "33TXL")
"""In a row: the second overlaps both others by a window, the third does not touch the first."""


def scene(mgrs, place, date):
    box = PixelBox(0, place * APART * WINDOW, SIDE * WINDOW, (place * APART + SIDE) * WINDOW)
    when = datetime(2023, 8, 1, tzinfo=UTC) + timedelta(days=5 * date)
    about = {"platform": "S2A", "level": "L2A", "relative_orbit": 79, "datatake": f"S2A_{date}", "box": box}
    shares = {"clear_share": 1.0, "cloud_share": 0.0, "snow_share": 0.0, "haze": 0.0}
    name = f"S2A_{mgrs}_{date}"
    return Scene(name, "0" * 12, name, mgrs, 32633, when, bands=BANDS, **about, **shares)


@pytest.fixture
def zone(tmp_path):
    """A store with strips of three tiles; the scenes, and the gains that two of the tiles keep."""
    store = create_store(tmp_path / "s", StoreConfig(10.0, 20.0, WINDOW, BANDS))
    rng = np.random.default_rng(4)
    scenes = [scene(mgrs, place, date) for place, mgrs in enumerate(TILES) for date in range(DATES)]
    land = rng.uniform(0.03, 0.2, (SIDE, 3 * SIDE, len(EDGES), 2, len(BANDS))).astype(np.float32)
    for number, s in enumerate(scenes):
        windows = store.grid(32633).window_range(s.box)
        true = land[:, windows.col0 : windows.col1]
        seen = true * np.float32(rng.normal(1, 0.05)) + rng.normal(0, 0.002, true.shape).astype(np.float32)
        count = np.full(true.shape, 100_000 if number else 90_000, np.int32)
        table = strip_table(Strips(windows, seen - true, count), BANDS, ("d", "n"))
        table = table.append_column("m", strip_table(Strips(windows, seen, count), BANDS).column("m"))
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        store.write_bytes(s.id, buffer.getvalue())
    whole = solve(store, scenes, {})
    return store, scenes, {m: whole[m] for m in TILES[1:]}


def solve(store, scenes, kept):
    clarity, keys = {s.id: 0.95 for s in scenes}, {s.id: s.id for s in scenes}
    return solve_zone(store, scenes, Compared(clarity, keys), kept)


def test_strips_of_tiles_that_do_not_touch_it_are_not_read(zone):
    store, scenes, kept = zone
    near = solve(store, [s for s in scenes if s.mgrs != TILES[2]], {TILES[1]: kept[TILES[1]]})
    for s in scenes:
        if s.mgrs == TILES[2]:
            store.delete(s.id)
    solved = solve(store, scenes, kept)
    assert set(solved) == {TILES[0]}
    assert (solved[TILES[0]].corners == near[TILES[0]].corners).all()


def test_tiles_that_touch_it_hold_it_in_place(zone):
    store, scenes, kept = zone
    solved = solve(store, scenes, kept)[TILES[0]]
    beside = kept[TILES[1]]
    gain, offset = gains.decode(np.moveaxis(beside.corners, 1, 0))
    corners = np.moveaxis(gains.encode(gain * 1.1, offset), 0, 1)
    brighter = TileGains(beside.windows, beside.scene_ids, corners, beside.about)
    other = solve(store, scenes, kept | {TILES[1]: brighter})[TILES[0]]
    assert (other.corners != solved.corners).any()


def test_the_strips_of_a_scene_are_read_once_a_band(zone, monkeypatch):
    store, scenes, kept = zone
    read = []

    def read_table(self, key, *how):
        read.append(key)
        return whole(self, key, *how)

    whole = Store.read_table
    monkeypatch.setattr(Store, "read_table", read_table)
    solve(store, scenes, kept)
    near = [s.id for s in scenes if s.mgrs != TILES[2]]
    assert sorted(read) == sorted(near * len(BANDS))
