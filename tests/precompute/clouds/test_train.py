"""What the cloud classifier is trained on: real pixels and real images under simulated skies and snow."""

import signal
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from terrazzo.precompute.clouds.model import BANDS, FEATURES
from terrazzo.precompute.clouds.train.elsewhere import CROPS, clear_elsewhere, elsewhere, fields
from terrazzo.precompute.clouds.train.fit import fit
from terrazzo.precompute.clouds.train.scenes import simulated
from terrazzo.precompute.clouds.train.simulate import B10, B11, CLOUD, SHADOW, SNOW, THIN

B03, B08 = BANDS.index("B03"), BANDS.index("B08")


@pytest.fixture(scope="module")
def snow(data: Path) -> np.ndarray:
    table = pd.read_csv(data / "imagery/reference_spectra/ecostress_snow_mixtures_S2A.csv")
    return table[table["B03"] > 0.5][list(BANDS)].to_numpy(float)


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_pixels_of_further_places_look_like_their_classes(data: Path, level: str) -> None:
    found = elsewhere(data, level, np.random.default_rng(1))
    assert set(CROPS) < set(np.unique(found.place))
    rho = found.reflectance
    white = rho[found.label == SNOW]
    assert (white[:, B03] > white[:, B11]).mean() > 0.99
    assert np.nanmedian(rho[found.label == CLOUD][:, B03]) > 0.25
    assert np.isnan(rho[:, B10]).all() == (level == "L2A")


def test_the_belgian_series_has_its_days(data: Path) -> None:
    days = [day for day, *_ in fields(data)]
    assert (len(days), days[0], days[-1]) == (72, date(2018, 8, 4), date(2019, 11, 27))
    assert days == sorted(days)


def test_a_clear_image_stays_as_it_is_where_the_sky_is_clear_and_the_air_its_own(data: Path) -> None:
    toa = next(clear_elsewhere(data)).reflectance
    same = []
    for seed in range(8):
        sky = simulated(toa, 10.0, "L1C", np.random.default_rng(seed))
        clear = sky.label < CLOUD
        if clear.mean() > 0.05:
            same.append(np.abs(sky.reflectance - toa)[:9, clear].mean())
    # Half of the skies have another air.
    assert min(same) < 0.004 < max(same)


def test_snow_covers_the_ground_between_clouds_and_their_shadows(data: Path, snow: np.ndarray) -> None:
    toa = next(clear_elsewhere(data)).reflectance
    seen = [simulated(toa, 10.0, "L1C", np.random.default_rng(seed), snow) for seed in range(6)]
    labels = np.concatenate([s.label.ravel() for s in seen])
    rho = np.concatenate([s.reflectance.reshape(len(BANDS), -1) for s in seen], axis=1)
    assert set(np.unique(labels)) >= {SNOW, CLOUD, THIN, SHADOW}
    white = rho[:, labels == SNOW]
    assert ((white[B03] - white[B11]) / (white[B03] + white[B11]) > 0.3).mean() > 0.9
    assert np.median(white[B08]) > 2 * np.median(rho[B08, labels == SHADOW])


def test_a_fit_that_is_interrupted_ends() -> None:
    x = np.random.default_rng(1).normal(size=(60_000, len(FEATURES))).astype(np.float32)
    label = np.random.default_rng(2).integers(0, 6, len(x))
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.8)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(x, label)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
