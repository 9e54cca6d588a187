"""How a classifier does on places it has not seen."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score

from terrazzo.bands import FOUR
from terrazzo.precompute.clouds.model import BANDS, SIX, Model, load_model
from terrazzo.precompute.clouds.train.fit import NO_CIRRUS, Trainer, features_of
from terrazzo.precompute.clouds.train.samples import points
from terrazzo.precompute.clouds.train.scenes import Picked
from terrazzo.precompute.clouds.train.simulate import CLOUD, SHADOW, THIN

BAND_SETS = {"13": BANDS, "12, no B10": NO_CIRRUS, "6": SIX, "4": FOUR}


def probabilities(model: Model, samples: Picked, bands: Sequence[str] = BANDS) -> NDArray[np.float32]:
    """(class, sample) when only some bands are there."""
    return model.of_features(features_of(samples.reflectance, samples.context, bands).T)


def scores(p: NDArray[np.float32], label: NDArray[np.int64]) -> dict[str, float]:
    """Cloud (thick or thin) against the rest, recall of thin cloud and of shadow, and clear against cloud or shadow."""
    cloudy, truth = p[[CLOUD, THIN]].sum(0) > 0.5, np.isin(label, (CLOUD, THIN))
    bad, worse = p[[CLOUD, THIN, SHADOW]].sum(0) > 0.5, np.isin(label, (CLOUD, THIN, SHADOW))
    nan = float("nan")
    both, mixed = 0 < truth.sum() < len(truth), 0 < worse.sum() < len(worse)
    return {
        "cloud_accuracy": float(balanced_accuracy_score(truth, cloudy)) if both else nan,
        "cloud_f1": float(f1_score(truth, cloudy)) if truth.any() else nan,
        "thin_found": float(cloudy[label == THIN].mean()) if (label == THIN).any() else nan,
        "clear_kept": float((~cloudy[~truth]).mean()) if (~truth).any() else nan,
        "shadow_found": float(bad[label == SHADOW].mean()) if (label == SHADOW).any() else nan,
        "with_shadow": float(balanced_accuracy_score(worse, bad)) if mixed else nan,
    }


def left_out(trainer: Trainer) -> dict[str, Model]:
    """A classifier for each place, fitted to all the others."""
    return {str(place): trainer.fit(without=(place,)) for place in np.unique(trainer.real.place)}


def unseen(trainer: Trainer) -> pd.DataFrame:
    """Mean scores over places left out in turn with their standard errors, for the band sets that a product may have.

    A place without cloud (or shadow) has no accuracy of it and does not count in that column.
    """
    models, hand = left_out(trainer), points(trainer.data)
    lines, index = [], []
    for name, bands in BAND_SETS.items():
        if trainer.level == "L2A" and name == "13":
            continue
        for kind, samples in (("labelled", trainer.real), ("simulated sky", trainer.sky)):
            each = pd.DataFrame(
                [
                    scores(
                        probabilities(m, _of(samples, samples.place == place), bands),
                        samples.label[samples.place == place],
                    )
                    for place, m in models.items()
                    if (samples.place == place).any()
                ]
            )
            mean, error = each.mean(), each.std() / np.sqrt(each.count())
            lines.append({k: f"{mean[k]:.3f} ± {error[k]:.3f}" for k in each})
            index.append((name, kind))
        if trainer.level == "L1C":
            parts = [(m, hand.place == place) for place, m in models.items() if (hand.place == place).any()]
            p = np.concatenate([probabilities(m, _of(hand, at), bands) for m, at in parts], axis=1)
            label = np.concatenate([hand.label[at] for _, at in parts])
            lines.append({k: f"{v:.3f}" for k, v in scores(p, label).items()})
            index.append((name, f"{len(label)} pixels labelled by hand"))
    return pd.DataFrame(lines, index=pd.MultiIndex.from_tuples(index, names=["bands", "on"]))


def changes(trainer: Trainer, own: Picked, model: Model) -> pd.DataFrame:
    """Scores of the shipped classifier and of the new one, by place of one's own, and on the labels that were there before.

    A place of one's own is judged by a classifier fitted without it.
    """
    shipped = load_model(trainer.level)
    rows = {}
    for place in np.unique(own.place):
        part = _of(own, own.place == place)
        new = trainer.fit(without=(place,))
        for when, judge in (("before", shipped), ("after", new)):
            rows[(f"{place} ({len(part.label)})", when)] = scores(probabilities(judge, part), part.label)
    old = _of(trainer.real, ~np.isin(trainer.real.place, own.place))
    for when, judge in (("before", shipped), ("after", model)):
        rows[("labels of the data folder, seen by both", when)] = scores(probabilities(judge, old), old.label)
    return pd.DataFrame(rows).T.round(3)


def _of(samples: Picked, which: NDArray[np.bool_]) -> Picked:
    return samples.of(which)
