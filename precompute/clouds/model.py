"""Runs the trained classifier: class probabilities of pixels from their spectrum and surroundings.

One perceptron for each level takes whatever bands there are: what a feature needs and is missing enters as the mean of the training,
and a flag says so.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import FOUR, MaskClass
from terrazzo.errors import MissingBand
from terrazzo.precompute.clouds.context import CONTEXT
from terrazzo.precompute.clouds.kernels import (
    below_largest,
    bring_to_one,
    clipped,
    normalized_difference,
    outputs,
    whiteness,
)

CLASSES = (
    MaskClass.LAND,
    MaskClass.WATER,
    MaskClass.SNOW,
    MaskClass.CLOUD,
    MaskClass.THIN_CLOUD,
    MaskClass.SHADOW,
)
"""Class of each of the model's outputs."""
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Bands the model may see."""
SIX = (*FOUR, "B11", "B12")
FEWEST = 3
"""Fewest bands that can be classified."""
CHUNK = 1 << 12
"""Pixels at a time: few enough for the processor's cache."""

DIFFERENCES = {
    "B09-B01": ("B09", "B01"),
    "hot": ("B02", "B04"),
    "whiteness": ("B02", "B03", "B04"),
    "B10,B02": ("B10", "B02"),
    "B02,B8A": ("B02", "B8A"),
    "ndvi": ("B08", "B04"),
    "ndwi": ("B03", "B08"),
    "ndsi": ("B03", "B11"),
    "B8A,B11": ("B8A", "B11"),
    "B11,B12": ("B11", "B12"),
}
"""Features of several bands, and the bands they need."""
EVEN = {"B10,B02": 1e-4, "B02,B8A": 1e-3}
"""Added to the sum in a normalized difference; 0.02 for the others, which are of dark bands too."""
SPECTRAL = (*BANDS, *DIFFERENCES)
FEATURES = (*SPECTRAL, *CONTEXT)


def spectral_of(bands: Sequence[str]) -> list[str]:
    """The features of `SPECTRAL` that can be computed from some bands."""
    return [
        *(b for b in BANDS if b in bands),
        *(n for n, needs in DIFFERENCES.items() if set(needs) <= set(bands)),
    ]


def spectral_features(
    reflectance: NDArray[np.floating],
    bands: Sequence[str] = BANDS,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """(feature, pixel) of (band, pixel) reflectance, the features that `spectral_of` lists; NaN where what they need is."""
    rho = np.empty(reflectance.shape, np.float32)
    clipped(reflectance, np.float32(-0.04), np.float32(1.3), rho)
    band = dict(zip(bands, rho, strict=True))
    names = spectral_of(bands)
    if out is None:
        out = np.empty((len(names), rho.shape[1]), np.float32)
    singles = [b for b in names if b in band]
    logs = out[: len(singles)]
    for row, name in zip(logs, singles, strict=True):
        np.add(band[name], np.float32(0.05), out=row)
    np.log(logs, out=logs)
    for row, name in zip(out[len(singles) :], names[len(singles) :], strict=True):
        if name == "B09-B01":
            np.subtract(band["B09"], band["B01"], out=row)
            row *= 5
        elif name == "hot":
            np.multiply(band["B04"], np.float32(-0.5), out=row)
            row += band["B02"]
            row *= 5
        elif name == "whiteness":
            whiteness(*(band[b] for b in DIFFERENCES["whiteness"]), row)
        else:
            a, b = (band[n] for n in DIFFERENCES[name])
            normalized_difference(a, b, np.float32(EVEN.get(name, 0.02)), row)
    return out


@dataclass(frozen=True)
class Model:
    """A multilayer perceptron: weights of its layers, scaling of its inputs, temperature of its output."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    temperature: float
    sha256: str

    def of_features(
        self, features: NDArray[np.float32], names: Sequence[str] = FEATURES
    ) -> NDArray[np.float32]:
        """(class, pixel) probabilities from (feature, pixel) of the named features, NaN for what is missing.

        The inputs are the scaled features, then a flag for each that is known. A feature that every pixel has, or none, costs no flag.
        """
        return self.prepared(tuple(names))(features)

    def prepared(self, names: tuple[str, ...]) -> "Perceptron":
        """The same for many calls with the same features."""
        at = [FEATURES.index(n) for n in names]
        first, flag = (half[at] for half in np.split(self.weights[0], 2))
        return Perceptron(self, self.mean[at], first / self.scale[at, None], flag)


class Perceptron:
    """A model on some features, see `Model.of_features`; what follows from which of them are known is computed once.

    Args:
        mean, scaled, flag: (feature, …) mean of each feature, and weights of its scaled number and of its flag in the first layer.
    """

    def __init__(
        self,
        model: Model,
        mean: NDArray[np.float32],
        scaled: NDArray[np.float32],
        flag: NDArray[np.float32],
    ) -> None:
        self._model, self._mean, self._scaled, self._flag = model, mean, scaled, flag
        self._first: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(class, pixel) probabilities from (feature, pixel)."""
        model, scaled, flag = self._model, self._scaled, self._flag
        # A sum is finite only if every number is, and costs less than asking each.
        every = np.isfinite(features.sum(axis=1))
        some = ~every
        some[some] = np.isfinite(features[some]).any(axis=1)
        weights, bias = self._of_known(every)
        known = features if every.all() else features[every]
        if some.any():
            there = np.isfinite(features[some])
            x = weights.T @ known
            x += bias[:, None]
            x += scaled[some].T @ np.where(there, features[some] - self._mean[some, None], 0)
            x += flag[some].T @ there.astype(np.float32)
            x = outputs(np.maximum(x, 0, out=x), model.weights[1:], model.biases[1:])
        else:
            x = outputs(known, (weights, *model.weights[1:]), (bias, *model.biases[1:]))
        below_largest(x, np.float32(model.temperature))
        np.exp(x, out=x)
        bring_to_one(x)
        return x

    def _of_known(self, every: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and (node) bias of the first layer where these features are known of all pixels."""
        key = every.tobytes()
        if key not in self._first:
            weights = self._scaled[every]
            bias = self._model.biases[0] + self._flag[every].sum(axis=0) - self._mean[every] @ weights
            self._first[key] = weights, bias
        return self._first[key]


@cache
def load_model(level: str) -> Model:
    """The shipped model of a level, `L1C` or `L2A`."""
    with files("terrazzo.precompute.clouds").joinpath(f"model_{level.lower()}.npz").open("rb") as file:
        raw = file.read()
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        mean, scale, weights, biases, temperature = unpacked(dict(arrays))
    return Model(mean, scale, weights, biases, temperature, hashlib.sha256(raw).hexdigest())


def unpacked(arrays: dict[str, NDArray[np.float32]]) -> tuple[Any, ...]:
    """Fields of a model, but for its hash, from the arrays of a file."""
    layers = range(sum(1 for n in arrays if n.startswith("w")))
    weights, biases = (tuple(arrays[f"{x}{i}"] for i in layers) for x in "wb")
    return arrays["mean"], arrays["scale"], weights, biases, float(arrays["temperature"])


def model_hash(level: str) -> str:
    """What the masks of a level are made by."""
    return load_model(level).sha256


def class_probabilities(
    reflectance: NDArray[np.floating],
    bands: Sequence[str],
    model: Model,
    context: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """(class, row, col) probabilities of `CLASSES` from (band, row, col) reflectance, 0–1, NaN without data.

    A pixel has data where those of `FOUR` have that are given, or all bands if none of them is: a number of 0 in
    the short-wave infrared or in B10 may be dark ground as well as no data, and counts as unknown.

    Args:
        bands: which bands, of `BANDS`, in any order; at least `FEWEST`.
        context: (feature, row, col) of the pixels' surroundings, see `terrazzo.precompute.clouds.context`; with it classification is better.

    Raises:
        MissingBand: too few bands.
    """
    known = [b for b in BANDS if b in bands]
    if len(known) < FEWEST:
        raise MissingBand(
            f"the cloud model needs at least {FEWEST} of the bands {', '.join(BANDS)}; there are {', '.join(bands)}"
        )
    shape = reflectance.shape[1:]
    needed = [k for k, b in enumerate(bands) if b in (FOUR if set(FOUR) & set(known) else known)]
    spectral = spectral_of(known)
    perceptron = model.prepared((*spectral, *(CONTEXT if context is not None else ())))
    width = len(spectral) + (len(CONTEXT) if context is not None else 0)
    flat = reflectance.reshape(len(reflectance), -1)
    around = context.reshape(len(CONTEXT), -1) if context is not None else None
    out = np.full((len(CLASSES), flat.shape[1]), np.nan, np.float32)
    for start in range(0, flat.shape[1], CHUNK):
        part = flat[:, start : start + CHUNK]
        valid = np.isfinite(part[needed[0]])
        for k in needed[1:]:
            valid &= np.isfinite(part[k])
        at = np.flatnonzero(valid)
        if not len(at):
            continue
        whole = len(at) == len(valid)
        features = np.empty((width, len(at)), np.float32)
        spectral_features(part if whole else part.take(at, 1), bands, features[: len(spectral)])
        if around is not None:
            beside = around[:, start : start + CHUNK]
            features[len(spectral) :] = beside if whole else beside.take(at, 1)
        out[:, slice(start, start + CHUNK) if whole else start + at] = perceptron(features)
    return out.reshape(len(CLASSES), *shape)
