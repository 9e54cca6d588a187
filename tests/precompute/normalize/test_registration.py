"""How far scenes lie off each other is found, told, and acted upon."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from scipy import ndimage

from terrazzo.precompute.normalize.registration import FAR, scene_shift, square_shifts
from terrazzo.scene import read_item
from terrazzo.store import Store
from tests.chain import precompute
from tests.world.sky import View
from tests.world.worlds import make_world


@pytest.fixture(scope="module")
def ground(sample_store):
    """Two clear days of the same real ground, reflectance."""
    days = []
    for day in ("20230813", "20230815"):
        path = next(sample_store.glob(f"scenes/*/*/*TWL_{day}*/*/B04.tif"))
        with rasterio.open(path) as dataset:
            values = dataset.read(1, masked=True).astype(np.float32)
        days.append(values.filled(np.nan)[128:512, 640:1408] * np.float32(1e-4))
    return days


@pytest.mark.parametrize(
    ("down", "right"), [(0.2, 0.0), (0.0, -0.35), (0.5, 0.5), (-1.0, 0.7), (1.5, -1.1), (0, 0)]
)
def test_planted_shifts_between_two_real_days_are_found_to_a_tenth_of_a_pixel(ground, down, right):
    first, second = ground
    known = np.isfinite(second)
    moved = ndimage.shift(np.where(known, second, 0.05), (down, right), order=3, mode="nearest")
    whole = ndimage.binary_erosion(known, iterations=4, border_value=1)
    image = np.where(whole, 0.9 * moved + 0.01, np.nan).astype(np.float32)
    # What the two days themselves lie off each other is no error of ours.
    rest = scene_shift(square_shifts(second, first, 100))
    found = scene_shift(square_shifts(image, first, 100))
    assert found.squares >= 3
    assert found.east - rest.east == pytest.approx(right, abs=0.1)
    assert found.north - rest.north == pytest.approx(-down, abs=0.1)


def test_ground_without_texture_gives_no_shift(ground):
    flat = np.full((256, 256), 0.05, np.float32)
    assert square_shifts(flat, flat, 9) == []
    assert square_shifts(ground[0][:256, :256], np.full((256, 256), np.nan, np.float32), 9) == []
    assert scene_shift([(0.0, 0.0)] * 2) is None


@pytest.fixture(scope="module")
def one_off(tmp_path_factory):
    """Four days, one of which lies a pixel too far south and west; its name, and its true B04."""
    folder = tmp_path_factory.mktemp("off") / "products"
    world = make_world(folder, dates=4, size=(384, 384), view=View())
    name = sorted(world.seen)[1]
    for band in ("B02", "B03", "B04", "B08"):
        with rasterio.open(
            next((folder / name).glob(f"{band}*.tif")), "r+", IGNORE_COG_LAYOUT_BREAK="YES"
        ) as dataset:
            truth = dataset.read(1)
            dataset.write(np.roll(truth, (1, -1), axis=(0, 1)), 1)
    return folder, name


@pytest.mark.slow
def test_a_scene_that_lies_off_the_others_is_reported_and_weighs_less(one_off, tmp_path):
    folder, name = one_off
    heavy, light = (
        precompute(folder, tmp_path / register, register=register)[0] for register in ("off", "flag")
    )
    (note,) = (n for n in light.notes if "off the other dates" in n)
    assert note.startswith(name)
    assert not [n for n in heavy.notes if "off the other dates" in n]
    version = light.version
    rows = pq.read_table(
        tmp_path / f"flag/mosaics/mosaic/versions/{version.name}/scenes.parquet",
        columns=["id", "terrazzo:shift_east", "terrazzo:shift_north"],
    ).to_pylist()
    for row in rows:
        east, north = row["terrazzo:shift_east"] / 10, row["terrazzo:shift_north"] / 10
        if row["id"] == name:
            assert (east, north) == pytest.approx((-1, -1), abs=0.1)
        else:
            assert np.hypot(east, north) < FAR
    means = []
    for done, store in ((heavy, "off"), (light, "flag")):
        entry = next(e for e in done.version.entries("all") if e.scene.id == name)
        with rasterio.open(Store(tmp_path / store).raster_path(entry.weight_key)) as dataset:
            means.append(dataset.read(1).astype(float).mean())
    assert means[1] == pytest.approx(means[0] / 4, rel=0.1)


@pytest.mark.slow
def test_a_scene_that_lies_off_the_others_can_be_moved_and_says_so(one_off, tmp_path):
    folder, name = one_off
    still, moved = (precompute(folder, tmp_path / r, register=r)[0] for r in ("off", "shift"))
    assert not [n for n in moved.notes if "weighs a quarter" in n]
    assert [n for n in moved.notes if n.startswith(name) and "resampled once" in n]

    def red(done):
        scene = next(s for s in done.scenes if s.id == name)
        store = Store(tmp_path / ("off" if done is still else "shift"))
        with rasterio.open(store.raster_path(scene.band_key("B04"))) as dataset:
            return dataset.read(1)[64:320, 64:320].astype(float), read_item(store, scene)["properties"]

    (was, _), (now, item) = red(still), red(moved)
    # Bilinear, so not quite the picture that was shifted.
    there = np.roll(was, (-1, 1), axis=(0, 1))[2:-2, 2:-2]
    assert np.abs(now[2:-2, 2:-2] - there).mean() < 0.1 * np.abs(was[2:-2, 2:-2] - there).mean()
    assert item["terrazzo:moved"]["east_m"] == pytest.approx(10, abs=1)
    assert item["terrazzo:moved"]["north_m"] == pytest.approx(10, abs=1)
    again, _ = precompute(folder, tmp_path / "shift", register="shift")
    assert again.version.name == moved.version.name
