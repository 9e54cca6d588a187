"""Runs the trained classifier: class probabilities of pixels from their spectrum and surroundings, in plain numpy.

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

from precompute.clouds.context import CONTEXT
from terrazzo.bands import MaskClass
from terrazzo.errors import MissingBand

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
FOUR = ("B02", "B03", "B04", "B08")
SIX = (*FOUR, "B11", "B12")
FEWEST = 3
"""Bands below which nothing can be told."""
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


def spectral_features(reflectance: NDArray[np.floating]) -> NDArray[np.float32]:
    """(feature, pixel) of (band, pixel) reflectance of `BANDS`, NaN for a missing band and what needs it."""
    rho = np.clip(reflectance, -0.04, 1.3).astype(np.float32)
    band = dict(zip(BANDS, rho, strict=True))
    visible = rho[1:4]
    out = list(np.log(rho + np.float32(0.05)))
    for name, needs in DIFFERENCES.items():
        if name == "B09-B01":
            out.append(5 * (band["B09"] - band["B01"]))
        elif name == "hot":
            out.append(5 * (band["B02"] - np.float32(0.5) * band["B04"]))
        elif name == "whiteness":
            out.append(
                (visible.max(0) - visible.min(0)) / (np.maximum(visible.mean(0), 0) + np.float32(0.05))
            )
        else:
            a, b = (band[n] for n in needs)
            out.append((a - b) / (np.abs(a) + np.abs(b) + np.float32(EVEN.get(name, 0.02))))
    return np.stack(out)


@dataclass(frozen=True)
class Model:
    """A multilayer perceptron: weights of its layers, scaling of its inputs, temperature of its output."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    temperature: float
    sha256: str

    def of_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(class, pixel) probabilities from (feature, pixel) of `FEATURES`, NaN for what is missing.

        The inputs are the scaled features, then a flag for each that is known. A feature that every pixel has, or none, costs no flag.
        """
        known = np.isfinite(features)
        every = known.all(axis=1)
        some = known.any(axis=1) & ~every
        first, flag = np.split(self.weights[0], 2)
        scaled = first / self.scale[:, None]
        bias = self.biases[0] + flag[every].sum(axis=0) - self.mean[every] @ scaled[every]
        x = scaled[every].T @ features[every]
        x += bias[:, None]
        if some.any():
            there = known[some]
            x += scaled[some].T @ np.where(there, features[some] - self.mean[some, None], 0)
            x += flag[some].T @ there.astype(np.float32)
        for w, b in zip(self.weights[1:], self.biases[1:], strict=True):
            np.maximum(x, 0, out=x)
            x = w.T @ x
            x += b[:, None]
        x /= np.float32(self.temperature)
        x -= x.max(axis=0)
        np.exp(x, out=x)
        x /= x.sum(axis=0)
        return x


@cache
def load_model(level: str) -> Model:
    """The shipped model of a level, `L1C` or `L2A`."""
    with files("precompute.clouds").joinpath(f"model_{level.lower()}.npz").open("rb") as file:
        raw = file.read()
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        return Model(*unpacked(dict(arrays)), hashlib.sha256(raw).hexdigest())


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
        context: (feature, row, col) of the pixels' surroundings, see `precompute.clouds.context`; they are better told with it.

    Raises:
        MissingBand: too few bands.
    """
    known = [b for b in BANDS if b in bands]
    if len(known) < FEWEST:
        raise MissingBand(
            f"the cloud model needs at least {FEWEST} of the bands {', '.join(BANDS)}; there are {', '.join(bands)}"
        )
    shape = reflectance.shape[1:]
    rows, at = [list(bands).index(b) for b in known], [BANDS.index(b) for b in known]
    needed = [list(bands).index(b) for b in known if b in FOUR] or rows
    none = np.full((len(CONTEXT), 1, 1), np.nan, np.float32)
    around = np.broadcast_to(none if context is None else context, (len(CONTEXT), *shape)).reshape(
        len(CONTEXT), -1
    )
    flat = reflectance.reshape(len(reflectance), -1)
    out = np.full((len(CLASSES), flat.shape[1]), np.nan, np.float32)
    for start in range(0, flat.shape[1], CHUNK):
        part, beside = flat[:, start : start + CHUNK], around[:, start : start + CHUNK]
        valid = np.isfinite(part[needed]).all(axis=0)
        if not valid.any():
            continue
        if not valid.all():
            part, beside = part[:, valid], beside[:, valid]
        every = np.full((len(BANDS), part.shape[1]), np.nan, np.float32)
        for k, row in zip(at, rows, strict=True):
            every[k] = part[row]
        features = np.concatenate([spectral_features(every), beside])
        out[:, start : start + CHUNK][:, valid] = model.of_features(features)
    return out.reshape(len(CLASSES), *shape)
