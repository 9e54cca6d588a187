"""Real pixels of further places: three clear crops of both levels, one of them snow, and two series with the archive's masks.

The crops (TerraMind's examples, 282D on a tropical coast, 433D in the Andes' foothills, 609U boreal forest under snow) show one scene at
both levels, so that they show what clear ground looks like at the surface. The series are of Alpine forest (L1C, masks of s2cloudless) and
of Belgian fields (L2A, Sen2Cor's classification), whose masks are believed only where they are sure.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray

from terrazzo.precompute.clouds.context import context_features
from terrazzo.precompute.clouds.model import BANDS
from terrazzo.precompute.clouds.train.scenes import PIXEL, Array, Picked, ground_class
from terrazzo.precompute.clouds.train.simulate import CLOUD, LAND, SHADOW, SNOW, THIN, WATER

CROPS = {
    "282D_485L_3_3": (0.0, (LAND, WATER)),
    "433D_629L_3_1": (-0.1, (LAND, WATER)),
    "609U_541L_3_0": (0.0, (LAND, SNOW)),
}
"""Offset of the crops at the surface, which the darkest pixels in the short-wave infrared show (at the top all have -0.1), and what is on
them: surf and shaded forest would be labelled snow and water by rule."""
PER_CLASS = 600
"""Pixels of a class drawn from a place."""
SURE = 0.95
"""Share of a date that has to be clear for its pixels to count as such."""


class Clear(NamedTuple):
    """A clear (band, row, col) image at the top of the atmosphere, and its place."""

    reflectance: Array
    place: str


def clear_elsewhere(data: Path) -> Iterator[Clear]:
    """The crops, and the Alpine forest's clear days."""
    for crop in CROPS:
        yield Clear(_crop(data, crop, "L1C"), crop)
    for image, cloud in forest(data):
        if np.isfinite(image).all() and (cloud < 20).mean() > SURE:
            yield Clear(image, "Alpine forest")


def elsewhere(data: Path, level: str, rng: np.random.Generator) -> Picked:
    """Labelled pixels of a level, at most `PER_CLASS` of a class and place."""
    parts = []
    for crop in CROPS:
        image = _crop(data, crop, level)
        ground = ground_class(_crop(data, crop, "L2A").reshape(len(BANDS), -1).T)
        label = np.where(np.isin(ground, CROPS[crop][1]), ground, -1)
        parts.append(_picked(image, label, crop, level, rng))
    if level == "L1C":
        days = [
            _picked(image, _sure(image, cloud), "Alpine forest", level, rng) for image, cloud in forest(data)
        ]
    else:
        days = [
            _picked(image, _believed(image, scl), "Belgian fields", level, rng)
            for _, image, scl in fields(data)
        ]
    series = Picked(*(np.concatenate(column) for column in zip(*days, strict=True)))
    picked = [rng.permutation(np.flatnonzero(series.label == c))[:PER_CLASS] for c in range(6)]
    parts.append(Picked(*(column[np.concatenate(picked)] for column in series)))
    return Picked(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _picked(
    image: Array, label: NDArray[np.int64], place: str, level: str, rng: np.random.Generator
) -> Picked:
    """Some pixels of each class of an image; -1 is none."""
    flat = image.reshape(len(BANDS), -1).T
    picked = [rng.permutation(np.flatnonzero(label == c))[:PER_CLASS] for c in range(6)]
    at = np.concatenate(picked)
    context = context_features(image.astype(np.float32), BANDS, PIXEL)
    around = context.reshape(len(context), -1).T[at]
    return Picked(flat[at], around, label[at], np.full(len(at), place))


def _crop(data: Path, crop: str, level: str) -> Array:
    with rasterio.open(data / "labelled" / "terramind" / f"S2{level}_{crop}.tif", driver="GTiff") as source:
        rho = source.read().astype(np.float64) / 10_000
    if level == "L1C":
        return np.asarray(rho - 0.1)
    out = np.full((len(BANDS), *rho.shape[1:]), np.nan)
    out[[k for k, b in enumerate(BANDS) if b != "B10"]] = rho + CROPS[crop][0]
    return out


def forest(data: Path) -> Iterator[tuple[Array, NDArray[np.uint8]]]:
    """Images of the Alpine series, NaN without data, and the probability of cloud in per cent."""
    for path in sorted((data / "imagery" / "stack_l1c_slovenia_10m").glob("S2A_*_cloud.tif")):
        with rasterio.open(path, driver="GTiff") as source:
            cloud = source.read(2)
        with rasterio.open(path.with_name(path.name.replace("_cloud", "")), driver="GTiff") as source:
            counts = source.read().astype(np.float64)
        counts[:, (counts[:12] == 0).any(axis=0)] = np.nan
        yield counts[:, :100] / 10_000, cloud[:100]


def _sure(image: Array, cloud: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes where s2cloudless is sure; bright clouds count as thick."""
    flat, percent = image.reshape(len(BANDS), -1).T, cloud.ravel()
    label = np.where(percent <= 15, ground_class(flat), -1)
    blue = flat[:, BANDS.index("B02")]
    label = np.where(percent >= 70, np.where(blue > 0.3, CLOUD, THIN), label)
    return np.where(np.isfinite(blue), label, -1)


def fields(data: Path) -> Iterator[tuple[date, Array, NDArray[np.float64]]]:
    """Day, (band, row, col) image at 20 m and Sen2Cor's classes of each date of the Belgian series; no B01, B09, B10."""
    ten, twenty = sorted((data / "imagery" / "timeseries_l2a_31UES_10m").glob("*.nc"))
    coarse = {n: _layers(twenty, n) for n in ("B05", "B06", "B07", "B8A", "B11", "B12", "SCL")}
    fine = {n: _layers(ten, n) for n in ("B02", "B03", "B04", "B08")}
    for number, (day, scl) in enumerate(zip(_days(twenty), coarse.pop("SCL"), strict=True)):
        out = np.full((len(BANDS), *scl.shape), np.nan)
        for name, layers in coarse.items():
            out[BANDS.index(name)] = layers[number] / 10_000
        for name, layers in fine.items():
            rows, cols = scl.shape
            out[BANDS.index(name)] = layers[number].reshape(rows, 2, cols, 2).mean((1, 3)) / 10_000
        yield day, out, scl


def _days(path: Path) -> list[date]:
    with rasterio.open(f"netcdf:{path}:SCL", driver="netCDF") as source:
        unit = source.tags()["timestamp#units"].removeprefix("seconds since ")
        seconds = [float(source.tags(k)["NETCDF_DIM_timestamp"]) for k in source.indexes]
    return [(datetime.fromisoformat(unit) + timedelta(seconds=s)).date() for s in seconds]


def _layers(path: Path, name: str) -> NDArray[np.float64]:
    with rasterio.open(f"netcdf:{path}:{name}", driver="netCDF") as source:
        return np.asarray(source.read(), np.float64)


def _believed(image: Array, scl: NDArray[np.float64]) -> NDArray[np.int64]:
    """Classes where Sen2Cor's are to be believed: ground on clear days; thick clouds; thin ones and shadows on other days."""
    flat, value = image.reshape(len(BANDS), -1).T, scl.ravel()
    clear = np.isin(value, (4, 5, 6))
    if np.isin(value, (4, 5, 6, 7)).mean() >= SURE:
        return np.where(clear, ground_class(flat), -1)
    label = np.where(value == 9, CLOUD, -1)
    if not clear.mean() > 0.5:
        label = np.where(np.isin(value, (8, 10)), THIN, label)
    return np.where(value == 3, SHADOW, label)
