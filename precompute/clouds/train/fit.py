"""Fits the classifier of a level to labelled pixels of all places, or of all but some."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from terrazzo.bands import FOUR
from terrazzo.precompute.clouds.context import CONTEXT, LOOKED_AT
from terrazzo.precompute.clouds.model import BANDS, FEATURES, SIX, Model, spectral_features
from terrazzo.precompute.clouds.train.elsewhere import clear_elsewhere, elsewhere
from terrazzo.precompute.clouds.train.samples import hollstein, labelled
from terrazzo.precompute.clouds.train.scenes import Picked, under_clouds
from terrazzo.precompute.clouds.train.simulate import SNOW, simulate

SEED = 20231
HIDDEN = (64, 32)
NO_CIRRUS = tuple(b for b in BANDS if b != "B10")
SETS = ((BANDS, 0.3), (NO_CIRRUS, 0.15), (SIX, 0.2), (FOUR, 0.2), ((), 0.15))
"""Bands that samples keep, and in which share of the samples; () drops each band with probability 0.3."""
ALONE = 0.25
"""Share of the samples that lose their surroundings."""
FOLDS = 5
"""Turns in which places are left out for calibration."""
PER_CLASS, SIMULATED, DRAWN = 6000, 4000, 3000
"""Samples of a class: labelled at most, simulated without surroundings, drawn from the Hollstein histogram (L1C)."""


class Trainer:
    """What all fits of one level share.

    Attributes:
        real: labelled pixels; sky: pixels of clear images under simulated clouds.
    """

    def __init__(self, data: Path, level: str, added: Picked | None = None) -> None:
        self.level, self.data = level, data
        spectra = data / "imagery" / "reference_spectra"
        land = pd.read_csv(spectra / "earthlib_surface_reflectance_S2A.csv")
        land = land[land["LEVEL_2"].isin(["bare", "vegetation", "built", "npv"])]
        # Bare soils are more than half of the library: draw the covers in equal numbers.
        surfaces = land.groupby("LEVEL_2")[list(BANDS)].apply(
            lambda g: g.sample(1500, replace=True, random_state=SEED)
        )
        mixtures = pd.read_csv(spectra / "ecostress_snow_mixtures_S2A.csv")
        # The library mixes down to bare ground; here snow is mixed with what lies there.
        snow = mixtures[mixtures["B03"] > 0.5][list(BANDS)].to_numpy(float)
        self.simulated = simulate(
            surfaces.to_numpy(float), snow, level, SIMULATED, np.random.default_rng(SEED)
        )
        rng = np.random.default_rng(SEED)
        self.real = labelled(data, level).and_also(elsewhere(data, level, rng))
        if added is not None:
            self.real = self.real.and_also(added)
        self.sky = under_clouds(data, level, SEED, snow, list(clear_elsewhere(data)))

    def fit(self, without: Sequence[str] = ()) -> Model:
        """A perceptron fitted to all places but some, as sure of itself as it may be on places it has not seen."""
        return replace(self._fitted(without), temperature=self.temperature)

    @cached_property
    def temperature(self) -> float:
        """What the logarithms of probabilities are divided by, so that they are likeliest on places left out in `FOLDS` turns."""
        places = np.unique(np.concatenate([self.real.place, self.sky.place]))
        logs, labels = [], []
        for fold in range(FOLDS):
            out = places[fold::FOLDS]
            model = self._fitted(tuple(out))
            for samples in (self.real, self.sky):
                at = np.isin(samples.place, out)
                for bands in (BANDS, SIX):
                    x = features_of(samples.reflectance[at], samples.context[at], bands)
                    logs.append(np.log(np.clip(model.of_features(x.T), 1e-9, 1)))
                    labels.append(samples.label[at])
        every, label = np.concatenate(logs, axis=1), np.concatenate(labels)

        def loss(temperature: float) -> float:
            z = every / temperature
            return float((np.log(np.exp(z).sum(axis=0)) - z[label, np.arange(len(label))]).mean())

        return float(min(np.geomspace(0.8, 4, 60), key=loss))

    def _fitted(self, without: Sequence[str]) -> Model:
        rng = np.random.default_rng(SEED)
        real = balanced(self.real, without, rng)
        sky = self.sky.of(~np.isin(self.sky.place, without))
        none = np.full((len(self.simulated.label), len(CONTEXT)), np.nan, np.float32)
        rho = np.concatenate([self.simulated.reflectance, real.reflectance, sky.reflectance])
        context = np.concatenate([none, real.context, sky.context])
        label = np.concatenate([self.simulated.label, real.label, sky.label])
        rho, context, label = np.tile(rho, (2, 1)), np.tile(context, (2, 1)), np.tile(label, 2)
        x = with_fewer_bands(rho, context, label, self.level, rng)
        if self.level == "L1C":
            drawn, of = hollstein(self.data, DRAWN, rng)
            x, label = np.concatenate([x, drawn]), np.concatenate([label, of])
        return fit(x, label)


def balanced(samples: Picked, without: Sequence[str], rng: np.random.Generator) -> Picked:
    """At most `PER_CLASS` samples of each class, each place's share bounded by a third, some places left out."""
    picked = []
    for c in np.unique(samples.label):
        rows = [
            rng.permutation(np.flatnonzero((samples.label == c) & (samples.place == p)))[: PER_CLASS // 3]
            for p in np.unique(samples.place)
            if p not in without
        ]
        picked.append(rng.permutation(np.concatenate(rows))[:PER_CLASS])
    at = np.concatenate(picked)
    return Picked(*(column[at] for column in samples))


def with_fewer_bands(
    rho: NDArray[np.float64],
    context: NDArray[np.float32],
    label: NDArray[np.int64],
    level: str,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(sample, feature) with bands put to NaN by `SETS` and surroundings left out; surface reflectance has no B10.

    Of snow seen by four bands, which looks like cloud, there is a third only: what is bright and white shall be cloud then.
    """
    some = rho.copy()
    which = rng.choice(len(SETS), len(rho), p=[share for _, share in SETS])
    four = [bands for bands, _ in SETS].index(FOUR)
    which[(which == four) & (label == SNOW) & (rng.random(len(rho)) < 2 / 3)] = 0
    for i, (bands, _) in enumerate(SETS):
        here = np.flatnonzero(which == i)
        if bands:
            some[np.ix_(here, np.array([k for k, b in enumerate(BANDS) if b not in bands], int))] = np.nan
        else:
            part = some[here]
            part[rng.random(part.shape) < 0.3] = np.nan
            some[here] = part
    if level == "L2A":
        some[:, BANDS.index("B10")] = np.nan
    around = np.where(rng.random((len(rho), 1)) < ALONE, np.float32(np.nan), context)
    return features_of(some, around)


def features_of(
    rho: NDArray[np.float64], context: NDArray[np.float32], bands: Sequence[str] = BANDS
) -> NDArray[np.float32]:
    """(sample, feature) of (sample, band) reflectance of `BANDS` and (sample, context feature), when only some bands are there."""
    some = rho.copy()
    some[:, [k for k, b in enumerate(BANDS) if b not in bands]] = np.nan
    around = context.copy()
    for prefix, needs in LOOKED_AT.items():
        columns = np.array([k for k, name in enumerate(CONTEXT) if name.startswith(prefix)], int)
        lost = np.isnan(some[:, [BANDS.index(b) for b in needs]]).all(axis=1)
        around[np.ix_(lost, columns)] = np.nan
    out = np.concatenate([spectral_features(some.T).T, around], axis=1)
    assert out.shape[1] == len(FEATURES)
    return np.asarray(out, np.float32)


def fit(x: NDArray[np.float32], y: NDArray[np.int64]) -> Model:
    """A perceptron of (sample, feature), not calibrated."""
    mean, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1)
    mean = np.where(np.isfinite(mean), mean, 0)
    z = (x - mean) / scale
    z = np.concatenate([np.nan_to_num(z), np.isfinite(z)], axis=1)
    network = MLPClassifier(
        HIDDEN, alpha=1e-3, batch_size=1024, max_iter=20, learning_rate_init=2e-3, random_state=SEED
    )
    # Batches are small: on them a second thread waits more than it works.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        # Twenty rounds are meant: more of them fit the places that are there.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # scikit-learn takes Ctrl-C and SIGTERM for the wish to go on with a half fitted network, and warns.
        warnings.filterwarnings("error", "Training interrupted", UserWarning)
        try:
            network.fit(z, y)
        except UserWarning:
            raise KeyboardInterrupt from None
    weights = tuple(w.astype(np.float32) for w in network.coefs_)
    biases = tuple(b.astype(np.float32) for b in network.intercepts_)
    return Model(mean.astype(np.float32), scale.astype(np.float32), weights, biases, 1.0, "")


def fit_all(trainer: Trainer, path: Path) -> Model:
    """A classifier fitted to every place, written without pickle."""
    model = trainer.fit()
    layers = {f"w{i}": w for i, w in enumerate(model.weights)} | {
        f"b{i}": b for i, b in enumerate(model.biases)
    }
    scaling = {"mean": model.mean, "scale": model.scale, "temperature": np.float32(model.temperature)}
    np.savez(path, **scaling, **layers)  # type: ignore[arg-type]
    return model
