"""What masks take for cloud on most dates and looks the same on them is ground; a cloud over it, and haze that stays, are not."""

import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from terrazzo.bands import SCORE_NODATA, MaskClass
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.explain import explain
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.zone import Merging
from terrazzo.places import PLACES, REMEMBERED_SCORE, place_at, reference_folder
from terrazzo.precompute.normalize.composite import Stack, remembered
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.precompute.clouds.test_own_mask import add_mask
from tests.world.worlds import make_world

SIDE, ROOF = 40, np.s_[10:14, 12:18]
CLEAR, CLOUDED, HAZE = 0.04, 0.45, 0.09
"""Blue reflectance of fields, of cloud, and of fields under haze."""


def series(blue: list[float], roof: list[float], flagged: list[bool]) -> tuple[Stack, np.ndarray]:
    """Dates of fields and a roof: the blue of each, and whether masks flag the fields; the roof they always flag."""
    rng = np.random.default_rng(5)
    values = np.empty((len(blue), SIDE, SIDE), np.float32)
    clear = np.empty(values.shape, bool)
    for d, (ground, white, cloud) in enumerate(zip(blue, roof, flagged, strict=True)):
        values[d], clear[d] = ground, not cloud
        values[d][ROOF], clear[d][ROOF] = white, False
    values *= rng.normal(1, 0.01, values.shape).astype(np.float32)
    around = np.broadcast_to(clear.mean(axis=(1, 2))[:, None, None], values.shape).astype(np.float32)
    return Stack(values, values, values, clear, clear.astype(np.float32), np.arange(len(blue))), around


def test_a_roof_that_masks_call_cloud_is_ground_but_not_under_a_cloud():
    places = remembered(*series([CLEAR] * 4 + [CLOUDED], [0.32] * 4 + [0.55], [False] * 4 + [True]))
    assert places.shown[:4, *ROOF].all()
    assert not places.shown[4].any()
    assert places.level[ROOF] == pytest.approx(0.32, abs=0.02)
    assert (places.alike[ROOF] == 4).all()
    assert (places.seen[ROOF] == 5).all()
    assert np.isfinite(places.level).sum() == places.level[ROOF].size


def test_clear_skies_are_rare_and_the_roof_is_remembered_all_the_same():
    clouds = list(np.linspace(0.4, 0.9, 17))
    places = remembered(*series([CLEAR] * 7 + clouds, [0.32] * 7 + clouds, [False] * 7 + [True] * 17))
    assert places.shown[:7, *ROOF].all()
    assert not places.shown[7:].any()


def test_three_dates_under_one_haze_prove_no_ground():
    places = remembered(*series([HAZE] * 3, [HAZE + 0.2] * 3, [True] * 3))
    assert not places.shown.any()


def test_six_dates_alike_prove_a_salt_lake_with_nothing_clear_around():
    places = remembered(*series([0.4] * 6, [0.4] * 6, [True] * 6))
    assert places.shown.all()


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """Five dates whose masks flag one square on four of them, and all of the last date."""
    base = tmp_path_factory.mktemp("places")
    make_world(base / "p", dates=5, size=(128, 128))
    for number, item in enumerate(sorted((base / "p").glob("*.json"))):
        classes = np.full((64, 64), MaskClass.LAND, np.uint8)
        if number:
            classes[20:30, 20:30] = MaskClass.CLOUD
        if number == 4:
            classes[:] = MaskClass.CLOUD
        add_mask(item, classes)
    done, _ = precompute(base / "p", base / "s", normalize=False, recipe=Recipe("asset:my-mask"))
    return done.version


def test_a_remembered_place_shows_and_the_lock_counts_it(version):
    locked = version.lock["periods"][0]["scenes"]
    assert sorted(s["remembered"] for s in locked) == [0, *[100] * 4]
    for entry in version.entries("all"):
        with rasterio.open(version.store.raster_path(entry.weight_key)) as dataset:
            weight = dataset.read(1)
        shown = np.count_nonzero(weight > 1)
        assert shown == (100 if entry.scene.cloud_share == 1 else np.count_nonzero(weight))


def test_the_account_of_a_remembered_place_says_so(version):
    entry = next(e for e in version.entries("all") if e.scene.cloud_share == 1)
    with rasterio.open(version.store.raster_path(entry.weight_key)) as dataset:
        down, across = np.argwhere(dataset.read(1) > 1)[45]
    row, col = entry.scene.box.row0 + 2 * down, entry.scene.box.col0 + 2 * across
    folder, epsg = reference_folder(entry.weight_key), entry.scene.epsg
    place = place_at(version.store, folder, epsg, row, col)
    assert place is not None
    assert (place.alike, place.flagged, place.seen) == (5, 4, 5)
    assert place_at(version.store, folder, epsg, row - 30, col) is None
    grid = version.store.grid(epsg)
    x, y = grid.transform(PixelBox(row, col, row + 1, col + 1)) @ (0.5, 0.5)
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    engine = Engine(version, Blocks())
    selection = engine.select(PixelRequest(("B02",), method="mean"))
    account = explain(engine, selection, lon, lat)
    assert sum("ground by the memory of places: 5 of 5" in c.verdict for c in account.candidates) == 4
    memory = {k: version.store.read_bytes(k) for k in version.store.list() if k.endswith(PLACES)}
    for key, whole in memory.items():
        version.store.write_bytes(key, whole[:-20])
    without = explain(engine, selection, lon, lat)
    for key, whole in memory.items():
        version.store.write_bytes(key, whole)
    assert without.values == account.values
    assert sum("the memory of places cannot be read" in c.verdict for c in without.candidates) == 4


def test_a_least_score_keeps_a_remembered_place(version):
    engine = Engine(version, Blocks())
    entry = next(e for e in version.entries("all") if e.scene.cloud_share == 1)
    box = entry.scene.box
    plain, scored = (
        engine.select(PixelRequest(("B02",), ids=(entry.scene.id,), min_score=least, fill="none"))
        for least in (None, REMEMBERED_SCORE)
    )
    shown = [engine.zone(s, entry.scene.epsg, 1, box.coarser(2)).pixels.trust > 1 for s in (plain, scored)]
    assert np.count_nonzero(shown[0]) == 100
    np.testing.assert_array_equal(*shown)


def test_the_score_of_a_flagged_pixel_that_nothing_remembers_stays(version):
    engine = Engine(version, Blocks())
    entry = next(e for e in version.entries("all") if e.scene.cloud_share == 1)
    selection = engine.select(PixelRequest(("B02",), ids=(entry.scene.id,)))
    merging = Merging(version, engine.blocks, selection.request, entry.scene.epsg, 1)
    score = merging.score(entry, entry.scene.box.coarser(2))
    number = dict(zip(*np.unique(score[score != SCORE_NODATA], return_counts=True), strict=True))
    assert number == {0: 64 * 64 - 100, REMEMBERED_SCORE: 100}
