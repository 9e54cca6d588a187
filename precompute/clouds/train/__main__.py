"""Trains both heads, measures them on unseen places, writes weights and the model card's table."""

import json
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.neural_network import MLPClassifier

from precompute.clouds.model import BANDS, CLASSES, Model, features
from precompute.clouds.train.simulate import CLOUD, LAND, SHADOW, THIN, WATER, Samples, simulate

SEED = 20231
HIDDEN = (32, 16)
CLOUDY = (CLOUD, THIN)


def labelled(data: Path, level: str) -> tuple[Samples, NDArray[np.str_]]:
    """The labelled pixels with their places; for L2A the air of each place is taken off by its darkest pixels."""
    table = pd.read_parquet(data / "labelled" / "silver_pixels.parquet")
    rho = table[list(BANDS)].to_numpy(float) / 10_000
    group = table["group"].to_numpy(str)
    raw = table["label"].to_numpy()
    ndwi = (rho[:, 1] - rho[:, 3]) / (rho[:, 1] + rho[:, 3])
    clear = np.where((ndwi > 0) & (rho[:, 3] < 0.12), WATER, LAND)
    label = np.choose(
        raw, [clear, np.full_like(clear, THIN), np.full_like(clear, CLOUD), np.full_like(clear, SHADOW)]
    )
    if level == "L2A":
        for place in np.unique(group):
            here = group == place
            air = np.percentile(rho[here & np.isin(raw, (0, 3))], 0.5, axis=0)
            rho[here] = (rho[here] - np.maximum(air - [0.01, 0.012, 0.008, 0.0], 0)) / (1 - 1.4 * air)
    return Samples(rho, label), group


def balanced(samples: Samples, per_class: int, rng: np.random.Generator) -> Samples:
    """At most `per_class` samples of each class."""
    chosen = [
        rng.permutation(np.flatnonzero(samples.label == c))[:per_class] for c in np.unique(samples.label)
    ]
    rows = np.concatenate(chosen)
    return Samples(samples.reflectance[rows], samples.label[rows])


def fit(samples: Samples, seed: int) -> Model:
    """A perceptron fitted to samples, its temperature calibrated on a tenth that was held back."""
    x, y = features(samples.reflectance.T), samples.label
    mean, scale = x.mean(0), x.std(0)
    rng = np.random.default_rng(seed)
    held = rng.random(len(y)) < 0.1
    z = (x - mean) / scale
    network = MLPClassifier(HIDDEN, alpha=1e-4, batch_size=512, max_iter=40, random_state=seed)
    network.fit(z[~held], y[~held])
    model = Model(
        mean.astype(np.float32),
        scale.astype(np.float32),
        tuple(w.astype(np.float32) for w in network.coefs_),
        tuple(b.astype(np.float32) for b in network.intercepts_),
        1.0,
        "",
    )
    p = np.clip(model.probabilities(samples.reflectance[held].T), 1e-9, 1)
    choices = np.geomspace(0.5, 3, 40)

    def loss(t: float) -> float:
        q = p ** (1 / t)
        return float(-np.log(q[y[held], np.arange(held.sum())] / q.sum(0)).mean())

    best = min(choices, key=loss)
    return Model(model.mean, model.scale, model.weights, model.biases, float(best), "")


def is_cloud(model: Model, reflectance: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether cloud and thin cloud together are more probable than all else."""
    p = model.probabilities(reflectance.T)
    return np.asarray(p[list(CLOUDY)].sum(0) > 0.5)


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
def main(data: Path, output: Path) -> None:
    """Trains the classifier and prints how it does on places it has not seen."""
    spectra = data / "imagery" / "reference_spectra"
    land = pd.read_csv(spectra / "earthlib_surface_reflectance_S2A.csv")
    land = land[land["LEVEL_2"].isin(["bare", "vegetation", "built", "npv"])]
    # Bare soils are more than half of the library: draw the covers in equal numbers.
    surfaces = land.groupby("LEVEL_2")[list(BANDS)].apply(
        lambda g: g.sample(1500, replace=True, random_state=SEED)
    )
    snow = pd.read_csv(spectra / "ecostress_snow_mixtures_S2A.csv")[list(BANDS)].to_numpy(float)
    for level in ("L1C", "L2A"):
        rng = np.random.default_rng(SEED)
        simulated = simulate(surfaces.to_numpy(float), snow, level, 9000, rng)
        real, place = labelled(data, level)
        scores = []
        for left_out in np.unique(place):
            here = place == left_out
            known = balanced(Samples(real.reflectance[~here], real.label[~here]), 6000, rng)
            model = fit(_joined(simulated, known), SEED)
            truth = np.isin(real.label[here], CLOUDY)
            found = is_cloud(model, real.reflectance[here])
            scores.append((balanced_accuracy_score(truth, found), f1_score(truth, found, zero_division=1)))
        model = fit(_joined(simulated, balanced(real, 6000, rng)), SEED)
        arrays = {f"w{i}": w for i, w in enumerate(model.weights)} | {
            f"b{i}": b for i, b in enumerate(model.biases)
        }
        np.savez(
            output / f"model_{level.lower()}.npz",
            mean=model.mean,
            scale=model.scale,
            temperature=np.float32(model.temperature),
            **arrays,
        )
        accuracy, f1 = np.array(scores).mean(0)
        click.echo(
            json.dumps(
                {
                    "level": level,
                    "classes": [c.name for c in CLASSES],
                    "places": len(scores),
                    "balanced_accuracy": round(float(accuracy), 3),
                    "worst_place": round(float(np.array(scores)[:, 0].min()), 3),
                    "f1": round(float(f1), 3),
                    "temperature": round(model.temperature, 2),
                }
            )
        )


def _joined(a: Samples, b: Samples) -> Samples:
    return Samples(np.concatenate([a.reflectance, b.reflectance]), np.concatenate([a.label, b.label]))


if __name__ == "__main__":
    main()
