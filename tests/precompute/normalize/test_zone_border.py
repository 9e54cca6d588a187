"""Where two zones see the same ground their gains agree: the border between them does not show."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from terrazzo import places
from terrazzo.grid import PixelBox
from terrazzo.mosaic.warp import transformer
from terrazzo.precompute.normalize.across import across_tasks, measure_across
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.raster import reflectance
from tests.chain import native, precompute
from tests.world.worlds import BORDER, DATE_LINE, EQUATOR, SOUTH_BORDER, Weather, make_border

pytestmark = pytest.mark.slow
PIXEL, WINDOW = 60.0, 32
RAMP = 25
"""Pixels within which a zone's weight falls to 0 at the end of its tile."""
WEATHER = Weather(gain=0.02, haze=0.02, cloud=0.1)


def run(folders, store):
    return precompute(folders, store, pixel=PIXEL, window=WINDOW, recipe=Recipe("scl"))[0].version


class Border:
    """The mosaic of a border's two tiles, on the grid of the first."""

    def __init__(self, version, world):
        self.version = version
        self.west, east = (land.place for land in world.land.values())
        self.zones = self.west.epsg, east.epsg
        carried = transformer(f"EPSG:{east.epsg}", f"EPSG:{self.west.epsg}")
        covered = self.west.grid.box_from_bounds(*carried.transform_bounds(*east.grid.bounds(east.box)))
        # Without the slant between the grids.
        self.both = self.west.box.intersection(covered).grown(-5)

    def shown(self, box, **request):
        return reflectance(native(self.version, box, self.zones[0], method="robust", **request).values)

    def ids(self, zone):
        return tuple(e.scene.id for e in self.version.entries("all") if e.scene.epsg == zone)

    def difference(self, **request):
        """(band, end) median difference of the zones at the western and the eastern end of what both see in full."""
        inner = self.both.grown(-RAMP)
        west, east = (self.shown(inner, ids=self.ids(z), **request) for z in self.zones)
        ends = np.split(east - west, [RAMP, -RAMP], axis=2)
        return np.stack([np.nanmedian(ends[i], axis=(1, 2)) for i in (0, 2)], -1)

    def step(self, land, end, **request):
        """(band,) mean error step across the end of a zone's tile, over places 24 px long: 0 west, 1 east."""
        col = (self.both.col0, self.both.col1)[end]
        box = PixelBox(self.both.row0, col - 2 * RAMP, self.both.row1, col + 2 * RAMP)
        error = self.shown(box, **request) - land.rho[:, *box.within(land.place.box)]
        # Where the tile begins its weight is 0; full it is a ramp further in.
        near, far = (
            (slice(RAMP, 2 * RAMP), slice(3 * RAMP, None))
            if end == 0
            else (slice(0, RAMP), slice(2 * RAMP, 3 * RAMP))
        )
        sides = (np.ma.masked_invalid(error[:, :, side]) for side in (near, far))
        a, b = (
            np.ma.stack([p.mean(axis=(1, 2)) for p in np.array_split(s, box.height // 24, axis=1)])
            for s in sides
        )
        return np.abs(a - b).mean(axis=0).filled(np.nan)


@pytest.mark.parametrize(
    "border", [BORDER, DATE_LINE, SOUTH_BORDER, EQUATOR], ids=["border", "date line", "south", "equator"]
)
def test_zones_agree_where_both_see_the_ground(tmp_path, border):
    world, _ = make_border(tmp_path / "p", border=border, weather=WEATHER, level=1.05, seed=1)
    found = Border(run(tmp_path / "p", tmp_path / "s"), world)
    off, on = np.abs(found.difference(normalize=False)), np.abs(found.difference())
    assert off[3].min() > 0.008
    assert on.max() < 0.0015


@pytest.fixture(scope="module")
def border(tmp_path_factory):
    """A border whose eastern tile lacks its last scene, which lies in a folder of its own; the land."""
    base = tmp_path_factory.mktemp("border")
    world, land = make_border(base / "p", weather=WEATHER, level=1.05, seed=2, dates=4)
    (new,) = (base / "p").glob("*_34TBR_20230818_*.json")
    (base / "late").mkdir()
    for path in (new, base / "p" / new.stem):
        shutil.move(path, base / "late" / path.name)
    return base, world, land, run(base / "p", base / "s")


def test_the_border_shows_no_more_than_a_single_scene_errs(border):
    _, world, land, version = border
    found = Border(version, world)
    shown = np.sum([found.step(land, end) for end in (0, 1)], axis=0)
    alone = np.sum(
        [
            np.mean([found.step(land, end, ids=(i,)) for i in found.ids(zone)], axis=0)
            for end, zone in enumerate(found.zones)
        ],
        axis=0,
    )
    assert (shown < 1.1 * alone).all()


def test_a_new_scene_of_one_zone_is_solved_against_the_other(border):
    base, world, _, before = border
    after = run([base / "p", base / "late"], base / "s")
    found = Border(after, world)
    everywhere = PixelBox(-100_000, -100_000, 100_000, 100_000)
    same = [before.cells(z, everywhere, "all") == after.cells(z, everywhere, "all") for z in found.zones]
    assert same == [True, False]
    assert np.abs(found.difference(normalize=False)[3]).min() > 0.008
    assert np.abs(found.difference()).max() < 0.0015


def test_of_a_tile_only_the_squares_that_a_scene_reaches_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SQUARE", 2 * WINDOW)
    make_border(tmp_path / "p", weather=WEATHER, level=1.05, seed=1, dates=2, size=(128, 192), overlap=96)
    version = run(tmp_path / "p", tmp_path / "s")
    store, (period,) = version.store, version.lock["periods"]
    hashes = {s["id"]: s["weight"] for s in period["scenes"]}
    entries = version.entries("all")
    tile = [e.scene for e in entries if e.scene.epsg == 32633]
    tasks = list(
        across_tasks(
            store,
            [e.scene for e in entries],
            {tile[0].mgrs: tile},
            {e.scene.id: (e.weight_key, hashes[e.scene.id]) for e in entries},
            f"mosaics/mosaic/references/{period['reference']}",
        )
    )
    assert [t.scene.epsg for t in tasks] == [32634, 32634]
    west = tile[0].box.col0 // (2 * WINDOW)
    for square in (tmp_path / "s" / tasks[0].references / "32633").glob(f"*_{west}"):
        shutil.rmtree(square)
    for task in tasks:
        measure_across(replace(task, key="again.parquet"))
        assert store.read_bytes("again.parquet") == store.read_bytes(task.key)
        store.delete("again.parquet")
