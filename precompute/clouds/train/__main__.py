"""Trains the classifiers, measures them on unseen places, writes weights and prints the model card's table."""

import json
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.neural_network import MLPClassifier

from precompute.clouds.model import BANDS, FOUR, SIX, Model, four_band_features, spectral_features
from precompute.clouds.train.samples import hollstein, labelled, points
from precompute.clouds.train.simulate import CLOUD, SHADOW, THIN, Samples, simulate

SEED = 20231
HIDDEN = {True: (32, 16), False: (64, 32)}
SETS = (
    (BANDS, 0.35),
    (tuple(b for b in BANDS if b != "B10"), 0.15),
    (SIX, 0.2),
    ((*SIX, "B8A"), 0.15),
    ((), 0.15),
)
"""Bands that samples keep, and in which share of the samples; () drops each band with probability 0.3."""
PER_CLASS, SIMULATED, DRAWN = 6000, 9000, 8000
"""Samples of a class: labelled at most, simulated, drawn from the Hollstein histogram (L1C)."""


class Trainer:
    """What all fits of one level share."""

    def __init__(self, data: Path, level: str) -> None:
        self.level, self.data = level, data
        spectra = data / "imagery" / "reference_spectra"
        land = pd.read_csv(spectra / "earthlib_surface_reflectance_S2A.csv")
        land = land[land["LEVEL_2"].isin(["bare", "vegetation", "built", "npv"])]
        # Bare soils are more than half of the library: draw the covers in equal numbers.
        surfaces = land.groupby("LEVEL_2")[list(BANDS)].apply(
            lambda g: g.sample(1500, replace=True, random_state=SEED)
        )
        snow = pd.read_csv(spectra / "ecostress_snow_mixtures_S2A.csv")[list(BANDS)].to_numpy(float)
        self.simulated = simulate(
            surfaces.to_numpy(float), snow, level, SIMULATED, np.random.default_rng(SEED)
        )
        self.real, self.place = labelled(data, level)

    def fit(self, *, four: bool, without: str = "") -> Model:
        """A perceptron fitted to all places but one."""
        rng = np.random.default_rng(SEED)
        known = balanced(self.real, self.place, without, rng)
        rho = np.concatenate([self.simulated.reflectance, known.reflectance])
        label = np.concatenate([self.simulated.label, known.label])
        if four:
            x = four_band_features(rho[:, [BANDS.index(b) for b in FOUR]].T).T
        else:
            x = spectral_features(with_fewer_bands(np.tile(rho, (2, 1)), self.level, rng).T).T
            label = np.tile(label, 2)
            if self.level == "L1C":
                drawn, of = hollstein(self.data, DRAWN, rng)
                x, label = np.concatenate([x, drawn]), np.concatenate([label, of])
        return fit(x, label, HIDDEN[four], flags=not four)


def balanced(samples: Samples, place: NDArray[np.str_], without: str, rng: np.random.Generator) -> Samples:
    """At most `PER_CLASS` samples of each class, each place's share bounded by a third, one place left out."""
    chosen = []
    for c in np.unique(samples.label):
        rows = [
            rng.permutation(np.flatnonzero((samples.label == c) & (place == p)))[: PER_CLASS // 3]
            for p in np.unique(place)
            if p != without
        ]
        chosen.append(rng.permutation(np.concatenate(rows))[:PER_CLASS])
    return Samples(samples.reflectance[np.concatenate(chosen)], samples.label[np.concatenate(chosen)])


def with_fewer_bands(rho: NDArray[np.float64], level: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """(sample, band) with bands put to NaN by `SETS`; surface reflectance has no B10."""
    out = rho.copy()
    which = rng.choice(len(SETS), len(rho), p=[share for _, share in SETS])
    for i, (bands, _) in enumerate(SETS):
        here = np.flatnonzero(which == i)
        if bands:
            out[np.ix_(here, [k for k, b in enumerate(BANDS) if b not in bands])] = np.nan
        else:
            part = out[here]
            part[rng.random(part.shape) < 0.3] = np.nan
            out[here] = part
    if level == "L2A":
        out[:, BANDS.index("B10")] = np.nan
    return out


def fit(x: NDArray[np.float32], y: NDArray[np.int64], hidden: tuple[int, ...], *, flags: bool) -> Model:
    """A perceptron of (sample, feature), its temperature calibrated on a tenth that was held back."""
    mean, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1)
    mean = np.where(np.isfinite(mean), mean, 0)
    held = np.random.default_rng(SEED).random(len(y)) < 0.1
    z = (x - mean) / scale
    if flags:
        z = np.concatenate([np.nan_to_num(z), np.isfinite(z)], axis=1)
    network = MLPClassifier(
        hidden, alpha=1e-3, batch_size=1024, max_iter=30, learning_rate_init=2e-3, random_state=SEED
    )
    network.fit(z[~held], y[~held])
    model = Model(
        mean.astype(np.float32),
        scale.astype(np.float32),
        tuple(w.astype(np.float32) for w in network.coefs_),
        tuple(b.astype(np.float32) for b in network.intercepts_),
        1.0,
        "",
    )
    p = np.clip(model.of_features(x[held].T), 1e-9, 1)

    def loss(t: float) -> float:
        q = p ** (1 / t)
        return float(-np.log(q[y[held], np.arange(held.sum())] / q.sum(0)).mean())

    best = min(np.geomspace(0.5, 3, 40), key=loss)
    return Model(model.mean, model.scale, model.weights, model.biases, float(best), "")


def features_of(rho: NDArray[np.float64], bands: tuple[str, ...]) -> NDArray[np.float32]:
    """(feature, sample) of (sample, band) reflectance of `BANDS` when only some bands are there."""
    if bands == FOUR:
        return four_band_features(rho[:, [BANDS.index(b) for b in FOUR]].T)
    some = rho.copy()
    some[:, [k for k, b in enumerate(BANDS) if b not in bands]] = np.nan
    return spectral_features(some.T)


def scores(p: NDArray[np.float32], label: NDArray[np.int64]) -> dict[str, float]:
    """Cloud (thick or thin) against the rest, recall of thin cloud, and clear against cloud or shadow."""
    cloudy, truth = p[[CLOUD, THIN]].sum(0) > 0.5, np.isin(label, (CLOUD, THIN))
    bad, worse = p[[CLOUD, THIN, SHADOW]].sum(0) > 0.5, np.isin(label, (CLOUD, THIN, SHADOW))
    return {
        "balanced_accuracy": float(balanced_accuracy_score(truth, cloudy)),
        "f1": float(f1_score(truth, cloudy, zero_division=1)),
        "thin_recall": float(cloudy[label == THIN].mean()) if (label == THIN).any() else float("nan"),
        "clear_kept": float((~cloudy[~truth]).mean()) if (~truth).any() else float("nan"),
        "with_shadow": float(balanced_accuracy_score(worse, bad)),
    }


def write(model: Model, path: Path) -> None:
    """Weights without pickle."""
    layers = {f"w{i}": w for i, w in enumerate(model.weights)} | {
        f"b{i}": b for i, b in enumerate(model.biases)
    }
    np.savez(path, mean=model.mean, scale=model.scale, temperature=np.float32(model.temperature), **layers)


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="folder with labelled/ and imagery/",
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(__file__).parent.parent, show_default=True
)
@click.option(
    "--measure/--no-measure", default=True, help="leave each place out in turn and print the scores"
)
def main(data: Path, output: Path, measure: bool) -> None:
    """Trains the classifiers and prints how they do on places they have not seen."""
    for level in ("L1C", "L2A"):
        trainer = Trainer(data, level)
        for four in (False, True):
            write(trainer.fit(four=four), output / f"model_{level.lower()}{'_four' if four else ''}.npz")
            if measure:
                for line in unseen(trainer, four):
                    click.echo(json.dumps(line))


def unseen(trainer: Trainer, four: bool) -> list[dict[str, object]]:
    """Mean scores over places left out in turn, with their standard error, for the band sets that a product may have."""
    hand, where = points(trainer.data)
    sets = (
        {"4": FOUR}
        if four
        else {"13": BANDS, "12 without B10": tuple(b for b in BANDS if b != "B10"), "6": SIX}
    )
    if trainer.level == "L2A":
        sets.pop("13", None)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    pooled: dict[str, list[tuple[NDArray[np.float32], NDArray[np.int64]]]] = {n: [] for n in sets}
    for place in np.unique(trainer.place):
        model = trainer.fit(four=four, without=place)
        here = trainer.place == place
        for name, bands in sets.items():
            p = model.of_features(features_of(trainer.real.reflectance[here], bands))
            found.setdefault((name, "labelled"), []).append(scores(p, trainer.real.label[here]))
            at = where == place
            if trainer.level == "L1C" and at.any():
                q = model.of_features(features_of(hand.reflectance[at], bands))
                pooled[name].append((q, hand.label[at]))
    lines: list[dict[str, object]] = []
    for (name, kind), each in found.items():
        table = pd.DataFrame(each)
        mean, error = table.mean().round(3), (table.std() / np.sqrt(table.count())).round(3)
        lines.append(
            {"level": trainer.level, "bands": name, "on": kind, "places": len(each)}
            | {k: [mean[k], error[k]] for k in table}
        )
    for name, parts in pooled.items():
        if parts:
            p, label = np.concatenate([a for a, _ in parts], axis=1), np.concatenate([b for _, b in parts])
            rounded = {k: round(v, 3) for k, v in scores(p, label).items()}
            lines.append(
                {"level": trainer.level, "bands": name, "on": "hand-labelled", "pixels": len(label)} | rounded
            )
    return lines


if __name__ == "__main__":
    main()
