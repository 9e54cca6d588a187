"""How much dates differ on the same ground: true for noise that is known, silent where dates have too little in common."""

import numpy as np
import pytest

from terrazzo.grid import PixelBox
from terrazzo.mosaic.sigma import TABLE, table
from terrazzo.precompute.judge.scatter import LEAST, SIDE, STEP, _patches, differences
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
    # Five days within ten differ less than what the table holds: whole seasons.
    assert (scale[[bands.index(b) for b in TABLE if b in bands]] < 1).all()
