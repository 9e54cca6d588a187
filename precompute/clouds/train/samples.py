"""Labelled pixels from files: reflectances with labels and places, and the Hollstein histogram's features."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from precompute.clouds.model import BANDS, FEATURES
from precompute.clouds.train.simulate import CLOUD, LAND, SHADOW, SNOW, THIN, WATER, Samples

DARK = dict(zip(BANDS, (0.01, 0.01, 0.012, 0.008, 0.006, 0.003, *[0.0] * 7), strict=True))
"""Surface reflectance of the darkest pixels of a place."""
HOLLSTEIN = {10: LAND, 20: WATER, 30: SHADOW, 40: THIN, 50: CLOUD, 60: SNOW}


def labelled(data: Path, level: str) -> tuple[Samples, NDArray[np.str_]]:
    """The labelled pixels with their places; for L2A the air of each place is taken off by its darkest pixels."""
    table = pd.read_parquet(data / "labelled" / "silver_pixels.parquet")
    rho, label = _with_water(table[list(BANDS)].to_numpy(float) / 10_000, table["label"].to_numpy())
    group = table["group"].to_numpy(str)
    if level == "L2A":
        for place in np.unique(group):
            rho[group == place] = without_air(
                rho[group == place], np.isin(label[group == place], (LAND, WATER, SHADOW))
            )
    return Samples(rho, label), group


def points(data: Path) -> tuple[Samples, NDArray[np.str_]]:
    """The pixels that people labelled, uncertain ones left out, with their places."""
    table = pd.read_csv(data / "labelled" / "points.csv")
    table = table[table["label"] != "uncertain"]
    raw = (
        table["label"].map({"clear": 0, "thin_or_edge_cloud": 1, "thick_cloud": 2, "shadow": 3}).to_numpy(int)
    )
    rho, label = _with_water(table[list(BANDS)].to_numpy(float) / 10_000, raw)
    place = table["patch"].str.replace(r"_p\d+_cloudy$", "", regex=True).to_numpy(str)
    return Samples(rho, label), place


def _with_water(
    rho: NDArray[np.float64], raw: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Labels 0 clear, 1 thin, 2 thick, 3 shadow as classes, clear ones split into land and water."""
    b03, b08 = rho[:, BANDS.index("B03")], rho[:, BANDS.index("B08")]
    clear = np.where((b03 > b08) & (b08 < 0.12), WATER, LAND)
    rest = [np.full_like(clear, c) for c in (THIN, CLOUD, SHADOW)]
    return rho, np.choose(raw, [clear, *rest])


def without_air(rho: NDArray[np.float64], ground: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Surface reflectance, about, of a place's pixels: its darkest ground shows the air. No B09 and B10 then."""
    air = np.percentile(rho[ground], 0.5, axis=0)
    path = np.maximum(air - np.array([DARK[b] for b in BANDS]), 0)
    out = (rho - path) / (1 - 1.4 * path)
    out[:, [BANDS.index("B09"), BANDS.index("B10")]] = np.nan
    return np.asarray(out)


def hollstein(
    data: Path, per_class: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(sample, feature) draws from the histogram of Hollstein et al. 2016 (doi 10.3390/rs8080666) and their classes.

    What the histogram does not tell is NaN.
    """
    folder = data / "imagery" / "reference_spectra"
    table = pd.read_parquet(folder / "hollstein_s2_l1c_6class_hist.parquet")
    edges = {
        k: np.array(v) for k, v in json.loads((folder / "hollstein_edges.json").read_text())["edges"].items()
    }
    rows = []
    for code in HOLLSTEIN:
        part = table[table["class"] == code]
        share = part["count"] / part["count"].sum()
        rows.append(
            part.sample(per_class, replace=True, weights=share, random_state=int(rng.integers(1 << 31)))
        )
    drawn = pd.concat(rows)
    out = np.full((len(drawn), len(FEATURES)), np.nan, np.float32)
    columns = {
        "B03": ("i_B03", "B03"),
        "B12": ("i_B12", "B12"),
        "B09-B01": ("i_B09mB01", "B09-B01"),
        "B10,B02": ("i_ndB10B02", "(B10-B02)/(B10+B02)"),
        "B02,B8A": ("i_ndB02B8A", "(B02-B8A)/(B02+B8A)"),
    }
    for feature, (column, name) in columns.items():
        i = drawn[column].to_numpy(int)
        low, high = edges[name][i], edges[name][i + 1]
        value = low + (high - low) * rng.random(len(i))
        if feature in BANDS:
            value = np.log(np.clip(value, -0.04, 1.3) + 0.05)
        elif feature == "B09-B01":
            value = 5 * value
        out[:, FEATURES.index(feature)] = value
    return out, drawn["class"].map(HOLLSTEIN).to_numpy(int)
