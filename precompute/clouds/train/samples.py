"""Labelled pixels from files: reflectances with labels and places, and the Hollstein histogram's features."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terrazzo.errors import InvalidRequest
from terrazzo.precompute.clouds.context import CONTEXT
from terrazzo.precompute.clouds.model import BANDS, CLASSES, FEATURES, FEWEST
from terrazzo.precompute.clouds.train.scenes import CIRRUS, Picked, ground_class, surroundings
from terrazzo.precompute.clouds.train.simulate import CLOUD, LAND, SHADOW, SNOW, THIN, WATER

DARK = dict(zip(BANDS, (0.01, 0.01, 0.012, 0.008, 0.006, 0.003, *[0.0] * 7), strict=True))
"""Surface reflectance of the darkest pixels of a place."""
HOLLSTEIN = {10: LAND, 20: WATER, 30: SHADOW, 40: THIN, 50: CLOUD, 60: SNOW}


def labelled(data: Path, level: str) -> Picked:
    """The labelled pixels with their surroundings; for L2A the air of each place is taken off by its darkest pixels.

    Pixels called clear under cirrus that the labels' bands cannot see are left out.
    """
    table = pd.read_parquet(data / "labelled" / "silver_pixels.parquet")
    table = table[(table["label"] != 0) | (table["B10"] < 10_000 * CIRRUS)]
    return _at(data, table, table["label"].to_numpy(), table["group"].to_numpy(str), level)


def points(data: Path) -> Picked:
    """The pixels that people labelled, uncertain ones left out, at the top of the atmosphere."""
    table = pd.read_csv(data / "labelled" / "points.csv")
    table = table[table["label"] != "uncertain"]
    raw = table["label"].map({"clear": 0, "thin_or_edge_cloud": 1, "thick_cloud": 2, "shadow": 3})
    place = table["patch"].str.replace(r"_p\d+_cloudy$", "", regex=True).to_numpy(str)
    return _at(data, table, raw.to_numpy(int), place, "L1C")


def _at(
    data: Path, table: pd.DataFrame, raw: NDArray[np.int64], place: NDArray[np.str_], level: str
) -> Picked:
    """Labels 0 clear, 1 thin, 2 thick, 3 shadow as classes."""
    counts = table[list(BANDS)].to_numpy(np.int64)
    rho = counts / 10_000
    label = np.choose(raw, [ground_class(rho), *(np.full(len(raw), c) for c in (THIN, CLOUD, SHADOW))])
    context = surroundings(data, counts)
    if level == "L2A":
        for p in np.unique(place):
            here = place == p
            rho[here] = without_air(rho[here], np.isin(label[here], (LAND, WATER, SHADOW)))
        # Logarithms with a floor change with the air, so surroundings of the top are none of the surface.
        context[:] = np.nan
    return Picked(rho, context, label, place)


def without_air(rho: NDArray[np.float64], ground: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Surface reflectance, about, of a place's pixels: its darkest ground shows the air. No B09 and B10 then."""
    air = np.percentile(rho[ground] if ground.any() else rho, 0.5, axis=0)
    path = np.maximum(air - np.array([DARK[b] for b in BANDS]), 0)
    out = (rho - path) / (1 - 1.4 * path)
    out[:, [BANDS.index("B09"), BANDS.index("B10")]] = np.nan
    return np.asarray(out)


def hollstein(
    data: Path, per_class: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(sample, feature) draws from the histogram of Hollstein et al. 2016 (doi 10.3390/rs8080666) and their classes.

    Bins that the histogram lacks are NaN.
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


def own_labels(path: Path, level: str) -> Picked:
    """Pixels of one level of a user's own table; without surroundings.

    Raises:
        InvalidRequest: a column is missing or a class is unknown.
    """
    table = pd.read_parquet(path)
    missing = [c for c in ("class", "place") if c not in table] or (
        [] if sum(b in table for b in BANDS) >= FEWEST else [f"at least {FEWEST} of {', '.join(BANDS)}"]
    )
    if missing:
        raise InvalidRequest(f"{path} lacks {', '.join(missing)}; terrazzo train --help describes the table")
    wrong = sorted(set(table["class"]) - {int(c) for c in CLASSES})
    if wrong:
        raise InvalidRequest(f"{path}: class {', '.join(map(str, wrong))} is unknown; 1 to 6 are allowed")
    table = table[(table["level"] if "level" in table else pd.Series("L1C", table.index)) == level]
    rho = table.reindex(columns=list(BANDS)).to_numpy(float) / 10_000
    label = table["class"].map({int(c): k for k, c in enumerate(CLASSES)}).to_numpy(np.int64)
    context = np.full((len(table), len(CONTEXT)), np.nan, np.float32)
    return Picked(rho, context, label, table["place"].to_numpy(str))
