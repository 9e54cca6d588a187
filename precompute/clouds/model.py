"""Runs the trained classifier: class probabilities of pixels from their spectrum, in plain numpy.

A perceptron for each level takes whatever bands there are: what a feature needs and is missing enters as the mean of the training,
and a flag says so. Where the six bands of `SIX` are there, only these are used: on places it has not seen, that does better than all
thirteen. Where only B02, B03, B04 and B08 are there, a perceptron trained on these alone is used.
"""

import hashlib
from collections.abc import Sequence
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
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Bands the model may see."""
FOUR = ("B02", "B03", "B04", "B08")
SIX = (*FOUR, "B11", "B12")
FEWEST = 3
"""Bands below which nothing can be told."""
CHUNK = 1 << 15

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
FEATURES = (*BANDS, *DIFFERENCES)


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


def four_band_features(reflectance: NDArray[np.floating]) -> NDArray[np.float32]:
    """(feature, pixel) of (band, pixel) reflectance of `FOUR`.

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
    return np.stack([*logs, hot * 5, ndvi, whiteness, ndwi]).astype(np.float32)


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
        """(class, pixel) probabilities from (feature, pixel), NaN for what is missing; flags are added if it has any."""
        x = (features.T - self.mean) / self.scale
        first, bias = self.weights[0], self.biases[0]
        if len(first) == 2 * len(self.mean):
            # A column that is known, or missing, in all pixels has one flag: it goes into the bias.
            known = np.isfinite(x)
            always, never = known.all(axis=0), ~known.any(axis=0)
            values, flags = first[: len(self.mean)], first[len(self.mean) :]
            mixed = ~always & ~never
            x = np.concatenate([np.where(known, x, 0)[:, ~never], known[:, mixed]], axis=1, dtype=np.float32)
            first, bias = np.concatenate([values[~never], flags[mixed]]), bias + flags[always].sum(axis=0)
        x = np.maximum(x @ first + bias, 0)
        for w, b in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            x = np.maximum(x @ w + b, 0)
        logits = (x @ self.weights[-1] + self.biases[-1]) / np.float32(self.temperature)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray((e / e.sum(axis=1, keepdims=True)).T, np.float32)


@cache
def load_model(name: str) -> Model:
    """A shipped model: `l1c` or `l2a` for any bands, `l1c_four`, `l2a_four` for four."""
    data = files("precompute.clouds").joinpath(f"model_{name}.npz")
    with data.open("rb") as file:
        raw = file.read()
    with data.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        layers = sum(1 for n in arrays.files if n.startswith("w"))
        return Model(
            arrays["mean"],
            arrays["scale"],
            tuple(arrays[f"w{i}"] for i in range(layers)),
            tuple(arrays[f"b{i}"] for i in range(layers)),
            float(arrays["temperature"]),
            hashlib.sha256(raw).hexdigest(),
        )


def model_hash(level: str) -> str:
    """What the masks of a level are made by."""
    both = load_model(level.lower()).sha256 + load_model(f"{level.lower()}_four").sha256
    return hashlib.sha256(both.encode()).hexdigest()


def class_probabilities(
    reflectance: NDArray[np.floating], bands: Sequence[str], level: str
) -> NDArray[np.float32]:
    """(class, row, col) probabilities of `CLASSES` from (band, row, col) reflectance, 0–1, NaN without data.

    A pixel has data where those of `FOUR` have that are given, or all bands if none of them is: a number of 0 in
    the short-wave infrared or in B10 may be dark ground as well as no data, and counts as unknown.

    Args:
        bands: which bands, of `BANDS`, in any order; at least `FEWEST`.
        level: `L1C` or `L2A`.

    Raises:
        MissingBand: too few bands.
    """
    known = [b for b in BANDS if b in bands]
    if len(known) < FEWEST:
        raise MissingBand(
            f"the cloud model needs at least {FEWEST} of the bands {', '.join(BANDS)}; there are {', '.join(bands)}"
        )
    if set(SIX) <= set(known):
        known = list(SIX)
    shape = reflectance.shape[1:]
    four = tuple(known) == FOUR
    model = load_model(f"{level.lower()}_four" if four else level.lower())
    rows = [list(bands).index(b) for b in known]
    needed = [list(bands).index(b) for b in known if b in FOUR] or rows
    flat = reflectance.reshape(len(reflectance), -1)
    out = np.full((len(CLASSES), flat.shape[1]), np.nan, np.float32)
    for start in range(0, flat.shape[1], CHUNK):
        valid = np.isfinite(flat[needed, start : start + CHUNK]).all(axis=0)
        part = flat[rows, start : start + CHUNK]
        if not valid.any():
            continue
        if four:
            features = four_band_features(part[:, valid])
        else:
            every = np.full((len(BANDS), int(valid.sum())), np.nan, np.float32)
            every[[BANDS.index(b) for b in known]] = part[:, valid]
            features = spectral_features(every)
        out[:, start : start + CHUNK][:, valid] = model.of_features(features)
    return out.reshape(len(CLASSES), *shape)
