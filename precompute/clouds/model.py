"""Runs the trained classifier: class probabilities of pixels from their spectrum, in plain numpy."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

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
BANDS = ("B02", "B03", "B04", "B08")
"""Bands the model sees."""
CHUNK = 1 << 18


def features(reflectance: NDArray[np.floating]) -> NDArray[np.float32]:
    """(pixel, feature) inputs of the model from (band, pixel) reflectance of `BANDS`.

    Logarithms make ratios differences; the floor keeps the over-corrected blue of dark pixels finite.
    """
    rho = np.clip(reflectance, -0.04, 1.3).astype(np.float32)
    logs = np.log(rho + 0.05)
    b02, b03, b04, b08 = rho
    hot = b02 - 0.5 * b04
    ndvi = (b08 - b04) / (np.abs(b08) + np.abs(b04) + 0.02)
    visible = rho[:3]
    whiteness = (visible.max(0) - visible.min(0)) / (visible.mean(0) + 0.05)
    ndwi = (b03 - b08) / (np.abs(b03) + np.abs(b08) + 0.02)
    return np.stack([*logs, hot * 5, ndvi, whiteness, ndwi], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Model:
    """A multilayer perceptron: weights of its layers, scaling of its inputs, temperature of its output."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    temperature: float
    sha256: str

    def probabilities(self, reflectance: NDArray[np.floating]) -> NDArray[np.float32]:
        """(class, pixel) probabilities from (band, pixel) reflectance; NaN where a band is NaN."""
        out = np.full((len(CLASSES), reflectance.shape[1]), np.nan, np.float32)
        for start in range(0, reflectance.shape[1], CHUNK):
            part = reflectance[:, start : start + CHUNK]
            known = np.isfinite(part).all(axis=0)
            x = (features(part[:, known]) - self.mean) / self.scale
            for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
                x = np.maximum(x @ w + b, 0)
            logits = (x @ self.weights[-1] + self.biases[-1]) / self.temperature
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
            out[:, start : start + CHUNK][:, known] = (e / e.sum(axis=1, keepdims=True)).T
        return out


@cache
def load_model(level: str) -> Model:
    """The shipped model for `L1C` (top of the atmosphere) or `L2A` (surface) reflectance."""
    data = files("precompute.clouds").joinpath(f"model_{level.lower()}.npz")
    with data.open("rb") as file:
        raw = file.read()
    with data.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        layers = sum(1 for name in arrays.files if name.startswith("w"))
        return Model(
            arrays["mean"],
            arrays["scale"],
            tuple(arrays[f"w{i}"] for i in range(layers)),
            tuple(arrays[f"b{i}"] for i in range(layers)),
            float(arrays["temperature"]),
            hashlib.sha256(raw).hexdigest(),
        )


def class_probabilities(
    reflectance: NDArray[np.floating], bands: tuple[str, ...], level: str
) -> NDArray[np.float32]:
    """(class, row, col) probabilities of `CLASSES` from (band, row, col) reflectance, 0–1, NaN without data.

    Raises:
        MissingBand: a band the model needs is not there.
    """
    missing = [b for b in BANDS if b not in bands]
    if missing:
        raise MissingBand(f"the cloud model needs {', '.join(BANDS)}; {', '.join(missing)} is missing")
    chosen = reflectance[[bands.index(b) for b in BANDS]]
    shape = chosen.shape[1:]
    flat = chosen.reshape(len(BANDS), -1)
    return load_model(level).probabilities(flat).reshape(len(CLASSES), *shape)
