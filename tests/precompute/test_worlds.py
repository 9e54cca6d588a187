"""What the simulator's known truth shows: nothing changes where nothing differs, and what differs is taken out."""

import shutil

import numpy as np
import pytest

from terrazzo import gains
from terrazzo.bands import NODATA
from terrazzo.grid import PixelBox, Window
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.precompute.correct import brdf
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.chain import native, precompute, stored
from tests.world.products import Pass
from tests.world.sky import View
from tests.world.worlds import ALL_BANDS, BORDER, FIRST, SOUTH, TYPICAL, Weather, make_world

pytestmark = pytest.mark.slow


def test_identical_scenes_need_no_gain_and_show_no_border(tmp_path):
    """Null case: gain 1 ± 1e-3, offset 0 ± 2e-4, and the mosaic is the scene, whatever the swaths and the order."""
    make_world(tmp_path / "p", dates=4, size=(192, 192), weather=Weather(swath=0.6), neighbour=True)
    done, _ = precompute(tmp_path / "p", tmp_path / "s")
    version = done.version
    for entry in version.entries("all"):
        corners, _ = version.corners(entry)
        gain, offset = gains.decode(corners)
        assert np.abs(gain - 1).max() < 1e-3
        assert np.abs(offset).max() < 2e-4
    box = version.entries("all")[0].scene.box
    one = stored(version.store, next(e.scene for e in version.entries("all") if e.scene.box == box), "B04")
    for ids in ((), tuple(sorted(e.scene.id for e in version.entries("all")))[1:]):
        for method in ("feather", "first", "robust"):
            image = native(version, box, 32633, method=method, resampling="nearest", ids=ids)
            both = (image.values[2] != NODATA) & (one != NODATA)
            assert np.abs(image.values[2][both].astype(int) - one[both]).max() <= 3


@pytest.fixture(scope="module")
def differing(tmp_path_factory):
    """Scenes that differ by gains, offsets, haze and ramps, at the sample's pixel size."""
    base = tmp_path_factory.mktemp("differing")
    weather = Weather(gain=0.05, offset=0.002, haze=0.012, ramp=0.04)
    world = make_world(base / "p", seed=2, pixel=60.0, size=(240, 300), dates=6, weather=weather)
    done, _ = precompute(base / "p", base / "s", pixel=60.0)
    return world, done.version


def whole_truth(world, box):
    (land,) = world.land.values()
    out = np.full((len(land.bands), *box.shape), np.nan, np.float32)
    common = land.place.box.intersection(box)
    out[:, *common.within(box)] = land.rho[:, *common.within(land.place.box)]
    return out


def test_normalization_brings_scenes_together(differing):
    """The spread between scenes of the same ground shrinks in every band; the truth's own level is not known to it."""
    world, version = differing
    box = next(iter(world.land.values())).place.box
    for k, band in enumerate(version.bands):
        spread = {}
        for normalize in (False, True):
            levels = []
            for entry in version.entries("all"):
                image = native(
                    version, box, 32633, ids=(entry.scene.id,), normalize=normalize, method="first",
                    resampling="nearest", fill="none", snow="keep", bands=(band,),
                )  # fmt: skip
                truth = whole_truth(world, box)[k]
                good = image.values[0] != NODATA
                levels.append(np.median((image.values[0] * 1e-4 / truth)[good]) if good.any() else np.nan)
            spread[normalize] = float(np.nanstd(levels))
        assert spread[True] < 0.5 * spread[False], band


def test_true_edges_on_window_borders_are_kept(differing):
    """Contrast that lakes and forests keep on window borders is what any field keeps inside a window, ± 2 %."""
    world, version = differing
    (land,) = world.land.values()
    box = land.place.box
    image = native(version, box, 32633, method="robust", resampling="nearest")
    on_border = (np.arange(box.col0, box.col1 - 1) + 1) % 64 == 0
    shown = image.provenance >= 0
    both = shown[:, 1:] & shown[:, :-1]
    for k, least in ((2, 0.02), (3, 0.1)):
        step = np.diff(image.values[k].astype(float) * 1e-4, axis=1)
        true = np.diff(land.rho[k], axis=1)
        kept = []
        for columns in (on_border, ~on_border):
            strong = (np.abs(true) > least) & columns & both
            assert strong.sum() > 100
            kept.append((step[strong] * np.sign(true[strong])).sum() / np.abs(true[strong]).sum())
        assert kept[0] / kept[1] == pytest.approx(1, abs=0.02)


def test_the_sun_is_taken_to_one_height_where_that_is_asked(tmp_path):
    """The same ground under two suns: alike with `nadir+sun`, apart by what the model predicts with `nadir`."""
    found = {}
    for height in (30.0, 55.0):
        folder = tmp_path / f"p{height:g}"
        view = View(sun_zenith=height, forward=0.0)
        world = make_world(folder, dates=1, size=(192, 240), view=view)
        for how in ("nadir", "nadir+sun"):
            done, _ = precompute(
                folder, tmp_path / f"{height:g}{how}", normalize=False, recipe=Recipe("scl", how)
            )
            scene, seen = done.scenes[0], next(iter(world.seen.values()))
            at = seen.land.place.box.within(scene.box)
            land = (stored(done.version.store, scene, "mask")[at] == 1) & (seen.land.kind != 0)
            values = stored(done.version.store, scene, "B08")[at] * 1e-4
            # The simulator's ground keeps its value at nadir under any sun: what is added is the sun's part alone.
            found[height, how] = np.median(values[land] / seen.land.rho[3][land])
    for height in (30.0, 55.0):
        assert found[height, "nadir"] == pytest.approx(1, abs=1e-3)
        factor = brdf.nbar_factor("B08", height, 0.0, 0.0, brdf.SUN)
        assert abs(factor - 1) > 0.01
        assert found[height, "nadir+sun"] == pytest.approx(factor, abs=2e-3)


def test_scenes_are_the_same_bytes_whatever_the_number_of_processes(tmp_path):
    make_world(tmp_path / "p", dates=3, weather=TYPICAL, view=View())
    found = []
    for workers in (1, 2):
        precompute(tmp_path / "p", tmp_path / str(workers), only="strips", workers=workers)
        root = tmp_path / str(workers) / "scenes"
        files = (f for f in root.rglob("*") if f.is_file() and f.name != "item.json")
        found.append({f.relative_to(root): f.read_bytes() for f in files})
    assert len(found[0]) == 3 * 8
    assert found[0] == found[1]


def test_two_orbits_agree_over_ground_of_its_own_directional_reflectance(tmp_path, monkeypatch):
    """The ground's kernels differ from those the correction assumes, by a tenth either way from band to band."""
    rng = np.random.default_rng(3)
    true = {
        b: (iso, geo * rng.uniform(0.9, 1.1), vol * rng.uniform(0.9, 1.1))
        for b, (iso, geo, vol) in brdf.COEFFICIENTS.items()
    }
    with monkeypatch.context() as ground:
        ground.setattr(brdf, "COEFFICIENTS", true)
        world = make_world(
            tmp_path / "p",
            dates=2,
            size=(192, 240),
            view=View(sun_azimuth=120.0, tilt=(0.21, 1e-7), forward=0.0),
        )
    done, _ = precompute(tmp_path / "p", tmp_path / "s", normalize=False, recipe=Recipe("scl"))
    east, west = done.scenes
    pair = [world.seen[s.id] for s in (east, west)]
    at = pair[0].land.place.box.within(east.box)
    land = (pair[0].land.kind != 0) & pair[0].clear & pair[1].clear
    before, after = [], []
    for k, band in enumerate(done.version.bands):
        a, b = (stored(done.version.store, s, band)[at] * 1e-4 for s in (east, west))
        after.append(np.median(a[land] / b[land]) - 1)
        before.append(np.median(pair[0].rho[k][land] / pair[1].rho[k][land]) - 1)
    assert np.abs(before).max() > 0.09
    assert np.abs(after).max() <= 0.01, (before, after)


def test_view_angles_are_taken_out_without_a_stripe_at_detector_joins(tmp_path):
    world = make_world(tmp_path / "p", dates=1, size=(192, 240), view=View())
    done, _ = precompute(tmp_path / "p", tmp_path / "s", normalize=False, recipe=Recipe("scl"))
    scene, seen = done.scenes[0], next(iter(world.seen.values()))
    at = seen.land.place.box.within(scene.box)
    classes = stored(done.version.store, scene, "mask")[at]
    for k, band in enumerate(done.version.bands):
        values = stored(done.version.store, scene, band)[at] * 1e-4
        land = (classes == 1) & (seen.land.kind != 0)
        ratio = values[land] / seen.land.rho[k][land]
        for detector in np.unique(seen.detector):
            part = ratio[seen.detector[land] == detector]
            assert np.median(part) == pytest.approx(1, abs=1e-3), (band, detector)
        before = seen.rho[k][land] / seen.land.rho[k][land]
        assert np.ptp([np.median(before[seen.detector[land] == d]) for d in np.unique(seen.detector)]) > 0.005


def test_a_southern_zone_is_served_where_it_lies(tmp_path):
    world = make_world(tmp_path / "p", dates=2, size=(96, 96), where=SOUTH)
    done, _ = precompute(tmp_path / "p", tmp_path / "s", normalize=False)
    box = world.land["19HCC"].place.box
    image = native(done.version, box, 32719, method="first", resampling="nearest")
    assert done.version.bounds.top < 0
    assert image.values * 1e-4 == pytest.approx(world.land["19HCC"].rho, abs=1.01e-4)


def test_all_bands_at_their_resolutions_come_through(tmp_path):
    bands = tuple(b for b in ALL_BANDS if b != "B10")
    world = make_world(tmp_path / "p", dates=1, size=(96, 96), bands=ALL_BANDS, about=Pass(FIRST, fine=True))
    done, _ = precompute(tmp_path / "p", tmp_path / "s", bands=bands, normalize=False)
    land = world.land["33TWL"]
    image = native(
        done.version, land.place.box, 32633, method="first", resampling="nearest", bands=("B03", "B11")
    )
    assert image.values[0] * 1e-4 == pytest.approx(land.rho[2], abs=1.01e-4)
    assert np.median(image.values[1] * 1e-4) == pytest.approx(np.median(land.rho[11]), rel=0.03)


def test_two_zones_meet_without_a_step(tmp_path):
    world = make_world(tmp_path / "p", dates=2, size=(192, 192), where=BORDER[0], zones=True)
    done, _ = precompute(tmp_path / "p", tmp_path / "s", normalize=False)
    version = done.version
    assert version.zones == (32633, 32634)
    land = world.land["33TYL"]
    inner = PixelBox(*land.place.box).grown(-24)
    image = native(version, inner, 32633, method="first")
    truth = land.rho[:, *inner.within(land.place.box)]
    shown = {version.entries("all")[n].scene.epsg for n in np.unique(image.provenance)}
    assert shown <= {32633, 32634}
    error = image.values[2] * 1e-4 - truth[2]
    # The second zone's pixels are resampled twice, so fine texture is smoothed; the level is the same.
    assert abs(float(np.median(error))) < 1e-3
    assert (image.values != NODATA).all()


PERIODS = """
[[periods]]
name = "early"
start = 2023-08-01
end = 2023-08-09
[[periods]]
name = "late"
start = 2023-08-10
end = 2023-08-31
[[parents]]
name = "august"
members = ["early", "late"]
"""


def test_periods_and_parents_have_scenes_and_gains_of_their_own(tmp_path):
    make_world(tmp_path / "p", dates=4, size=(96, 96), weather=Weather(gain=0.05))
    precompute(tmp_path / "p", tmp_path / "s", normalize=False)
    Store(tmp_path / "s").write_bytes("mosaics/mosaic/mosaic.toml", PERIODS.encode())
    done, _ = precompute(tmp_path / "p", tmp_path / "s")
    version = done.version
    days = {p: sorted(e.scene.datetime.day for e in version.entries(p)) for p in version.periods}
    assert days == {"early": [3, 8], "late": [13, 18], "august": [3, 8, 13, 18]}
    engine = Engine(version, Blocks())
    chosen = {
        asked: engine.select(PixelRequest(version.bands, datetime=asked)).request.period
        for asked in ("2023-08-05", "2023-08-10/2023-08-20", "2023-08-05/2023-08-20", "august")
    }
    assert list(chosen.values()) == ["early", "late", "august", "august"]
    assert engine.select(PixelRequest(version.bands)).request.period == "late"
    corners = [version.corners(version.entries(p)[0])[0] for p in ("early", "august")]
    assert not np.array_equal(corners[0], corners[1])


def test_a_new_scene_leaves_the_windows_of_the_next_tile_as_they_were(tmp_path):
    """Cells are what ETags are made of."""
    make_world(tmp_path / "p", dates=4, size=(192, 192), weather=Weather(gain=0.04), neighbour=True)
    late = tmp_path / "late"
    late.mkdir()
    (new,) = tmp_path.glob("p/*_33TXL_20230818_*.json")
    shutil.move(tmp_path / "p" / new.stem, late / new.stem)
    shutil.move(new, late / new.name)
    before, _ = precompute(tmp_path / "p", tmp_path / "s")
    after, _ = precompute([tmp_path / "p", late], tmp_path / "s")
    assert len(after.scenes) == len(before.scenes) + 1
    assert after.version.name != before.version.name
    store = Store(tmp_path / "s")
    old, new_version = (open_version(store, "mosaic", v.version.name) for v in (before, after))
    grid = store.grid(32633)
    touched = next(e.scene.box for e in new_version.entries("all") if e.scene.id == new.stem)
    same = changed = 0
    for entry in new_version.entries("all"):
        for wy, wx in grid.windows(entry.scene.box):
            one = PixelBox(wy, wx, wy + 1, wx + 1)
            differs = old.cells(32633, one, "all") != new_version.cells(32633, one, "all")
            under = not grid.window_box(Window(wy, wx)).intersection(touched).empty
            assert under or not differs
            same, changed = same + (not differs), changed + differs
    assert same > 3
    assert changed > 3
    again, _ = precompute([tmp_path / "p", late], tmp_path / "s")
    assert again.version.name == after.version.name
