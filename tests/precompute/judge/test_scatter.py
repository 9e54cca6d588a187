"""How much dates differ on the same ground: true for noise that is known, silent where dates have too little in common."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.cog import write_cog
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.sigma import TABLE, table
from terrazzo.precompute.judge.scatter import LEAST, SIDE, STEP, _patches, differences, period_scatter
from terrazzo.store import Store
from terrazzo.version import open_version

BANDS = ("B04", "B08")
GROUND = np.random.default_rng(0).uniform(0.02, 0.4, (len(BANDS), 20_000))


def dates(count, times):
    """Dates of one ground under normal noise so many times as large as the table expects."""
    a, b = table(BANDS).T[..., None]
    noise = np.random.default_rng(1).normal(size=(count, *GROUND.shape))
    return (GROUND + times * (a + b * GROUND) * noise).astype(np.float32)


@pytest.mark.parametrize("times", [0.4, 1.0, 1.8])
def test_the_scale_of_noise_is_read_from_pairs(times):
    pairs = differences(dates(4, times), BANDS)
    assert len(pairs) == 6
    np.testing.assert_allclose(pairs, times, rtol=0.08)


def test_pairs_with_too_little_ground_in_common_say_nothing():
    shown = dates(3, 1.0)
    shown[0, :, LEAST - 1 :] = np.nan
    # One band without data is no observation.
    shown[1, 1, : LEAST - 1] = np.nan
    assert len(differences(shown, BANDS)) == 1


def test_one_date_has_no_pairs():
    assert differences(dates(1, 1.0), BANDS) == []


@pytest.mark.parametrize("box", [PixelBox(0, 0, 10_980, 10_980), PixelBox(-37, 5, 300, 411)])
def test_patches_lie_on_whole_pixels_of_every_band_and_mask(box):
    patches = _patches(box)
    assert all(v % STEP == 0 for patch in patches for v in patch)
    assert all(patch.shape == (SIDE, SIDE) for patch in patches)
    assert len({*patches}) == len(patches)


def test_a_version_stores_the_scatter_of_its_periods(sample_store):
    version = open_version(Store(sample_store), "mosaic")
    bands, (own,) = version.bands, version.scatter.values()
    assert tuple(own) == bands
    scale = np.array([own[b] for b in bands]) / table(bands)
    # One factor a band, for intercept and slope.
    np.testing.assert_allclose(scale[:, 0], scale[:, 1], rtol=0.01)
    # Five days within ten differ less than what the table holds, whole seasons, and by more than nothing.
    known = scale[[bands.index(b) for b in TABLE if b in bands]]
    assert ((known > 0.3) & (known < 0.9)).all()


def test_what_no_mosaic_shows_of_a_date_does_not_count(sample_store, tmp_path):
    """Weights of a last resort, 1, and below say that a pixel is not clear."""
    store = Store(shutil.copytree(sample_store, tmp_path / "store"))
    version = open_version(store, "mosaic")
    entries = version.entries("all")
    scenes, weights = [e.scene for e in entries], {e.scene.id: e.weight_key for e in entries}
    cloudy = [e for e in entries if e.scene.datetime.day == 18]
    for entry in cloudy:
        with rasterio.open(store.raster_path(entry.weight_key)) as file:
            about, weight = file.profile, np.minimum(file.read(1), 1)
        path = Path(store.raster_path(entry.weight_key))
        transform, levels = about["transform"], store.mask_grid(entry.scene.epsg).window.bit_length() - 1
        path.unlink()
        write_cog(path, weight, transform, str(about["crs"]), nodata=0, overview="weight", levels=levels)
    others = [s for s in scenes if s.datetime.day != 18]
    blocks = Blocks()
    without, masked = (period_scatter(store, blocks, seen, weights) for seen in (others, scenes))
    blocks.close()
    # The count of dates is another, by which the table weighs a little.
    assert without is not None
    assert masked is not None
    np.testing.assert_allclose(list(masked.values()), list(without.values()), rtol=0.05)
    assert version.scatter["all"] != masked
