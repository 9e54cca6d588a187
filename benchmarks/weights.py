"""A learned weight beside the hand-made one: `python -m benchmarks.weights --data FOLDER`.

The store's weight of a pixel is its distance to what cannot be used times its haze against the reference. Here a regressor predicts a
pixel's error against the clear reference instead, from its class probabilities, haze, distance, near infrared against the reference and
days to the reference; it is trained on two series and judged on the third. The series: 30 dates of Italian fields (L1C), 72 of Belgian ones
(L2A), and five of the sample area (L2A). Every place's masks come from a classifier fitted without it.

Mosaics of three clear dates and the cloudy ones nearest in time, merged by `robust` and by `feather`, against the median of the clear ones:
RMSE over pixels and bands, and of B02. What is learned must beat what is made by hand on every series, or it stays out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.series import data_option
from terrazzo.bands import FOUR
from terrazzo.mosaic.merge import merge
from terrazzo.precompute import sample
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.model import BANDS, SIX
from terrazzo.precompute.clouds.train.elsewhere import fields
from terrazzo.precompute.clouds.train.fit import Trainer
from terrazzo.precompute.clouds.train.scenes import images, read
from terrazzo.precompute.normalize import composite
from terrazzo.precompute.normalize.distance import distance_weight
from terrazzo.precompute.normalize.reference import SEEN
from terrazzo.precompute.products.find import find_products

PER_DATE = 4000
"""Pixels of a date that train the regressor."""
CLEAR = 0.9
"""Share of a date's pixels that its mask leaves, from which it may be the truth."""
SOME = 8
"""Mosaics of a series."""

Array = NDArray[np.float32]


class Series(NamedTuple):
    """Dates of one place: days, (date, band, row, col) reflectance of blue, green, red, near infrared and more, (date, class, row, col)
    probability, (date, row, col) whether the mask leaves a pixel, and the pixel's metres."""

    name: str
    day: NDArray[np.int64]
    rho: Array
    p: Array
    clear: NDArray[np.bool_]
    pixel: float


class Judged(NamedTuple):
    """What a selection of dates shows of its pixels: (date, feature, row, col), the hand-made weight 0–1, whether a pixel stays, and the
    (band, row, col) truth."""

    features: Array
    weight: Array
    keep: NDArray[np.bool_]
    truth: Array


def all_series(data: Path) -> list[Series]:
    """The three series."""
    top, surface = Trainer(data, "L1C"), Trainer(data, "L2A")
    model = top.fit(without=("TS2017_146",))
    paths = [p for p in images(data) if p.parent.name == "ts"]
    days = [pd.Timestamp(p.stem.split("_")[2]).toordinal() for p in paths]
    italy = [(d, read(p).astype(np.float32) / 10_000) for d, p in zip(days, paths, strict=True)]
    out = [_series("Italian fields", italy, BANDS, SIX, "L1C", 10.0, model)]
    model = surface.fit(without=("Belgian fields",))
    belgium = [(d.toordinal(), image.astype(np.float32)) for d, image, _ in fields(data)]
    bands = tuple(b for b in BANDS if np.isfinite(belgium[0][1][BANDS.index(b)]).any())
    some = [(d, image[[BANDS.index(b) for b in bands]]) for d, image in belgium]
    out.append(_series("Belgian fields", some, bands, SIX, "L2A", 20.0, model))
    austria = []
    for product in find_products(sample.path()).products:
        if product.mgrs == "33TWL":
            counts = [rasterio.open(product.asset(b)).read(1) for b in FOUR]
            rho = np.stack(counts).astype(np.float32) / 10_000
            rho[:, (np.stack(counts) == 0).any(axis=0)] = np.nan
            austria.append((product.datetime.toordinal(), rho))
    out.append(_series("sample", austria, FOUR, FOUR, "L2A", 120.0, surface.fit()))
    return out


def _series(
    name: str,
    dates: list[tuple[int, Array]],
    bands: tuple[str, ...],
    kept: tuple[str, ...],
    level: str,
    pixel: float,
    model: object,
) -> Series:
    p, clear = [], []
    for _, image in dates:
        made = mask_scene(
            lambda a, b: image[:, a:b],  # noqa: B023
            image.shape[1:],
            bands,
            level=level,
            pixel=pixel,
            sun=None,
            choice="model",
            model=model,  # type: ignore[arg-type]
        )
        p.append(np.where(made.probabilities == 255, 0, made.probabilities) / np.float32(250))
        clear.append(np.isin(made.classes, SEEN) & np.isfinite(image).all(axis=0))
    rho = np.stack([image[[bands.index(b) for b in kept]] for _, image in dates])
    return Series(name, np.array([d for d, _ in dates]), rho, np.stack(p), np.stack(clear), pixel)


def judged(series: Series, chosen: NDArray[np.int64], good: NDArray[np.int64]) -> Judged:
    """A selection of dates by the product's own rules, against the median of the good ones."""
    rho, clear = series.rho[chosen], series.clear[chosen]
    truth = np.nanmedian(np.where(series.clear[good][:, None], series.rho[good], np.nan), axis=0)
    distance = np.stack([distance_weight(c, series.pixel) for c in clear])
    stack = composite.Stack(rho[:, 0], rho[:, 2], rho[:, 3], clear, distance, np.arange(len(chosen)))
    stack = stack._replace(clear=clear | composite.steady(stack))
    weights = composite.date_weights(stack)
    usable = np.where(stack.clear, np.maximum(distance, 1e-3), 0).astype(np.float32)
    reference = np.stack(
        [
            composite.weighted_median(composite.by_date(v, usable, stack.date), weights)
            for v in (stack.blue, stack.red, stack.nir)
        ]
    )
    out = np.stack(
        [
            composite.outliers(*three, reference)
            for three in zip(stack.blue, stack.red, stack.nir, strict=True)
        ]
    )
    keep = stack.clear & ~out
    base = composite.indices(reference[0], reference[1])
    excess = np.stack(
        [
            np.min([composite.smoothed(index) for index in composite.indices(b, r) - base], axis=0)
            for b, r in zip(stack.blue, stack.red, strict=True)
        ]
    )
    near = np.stack([distance_weight(k, series.pixel) for k in keep])
    haze = np.where(np.isfinite(excess), composite.haze_weight(np.nan_to_num(excess)), 1)
    days = np.abs(series.day[chosen] - np.median(series.day[good]))
    features = np.concatenate(
        [
            series.p[chosen],
            excess[:, None],
            near[:, None],
            (stack.nir / reference[2])[:, None],
            np.broadcast_to(days[:, None, None, None], (len(chosen), 1, *near.shape[1:])),
        ],
        axis=1,
    )
    return Judged(
        features.astype(np.float32), (near * haze).astype(np.float32), keep, truth.astype(np.float32)
    )


def selections(series: Series) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Three clear dates beside each other with the five less clear ones nearest in time; and the clear ones."""
    share = series.clear.mean(axis=(1, 2))
    good = np.flatnonzero(share >= min(CLEAR, np.sort(share)[-3]))
    for first in np.unique(np.linspace(0, len(good) - 3, SOME).astype(int)):
        three = good[first : first + 3]
        rest = np.flatnonzero((share < CLEAR) & (share > 0.05))
        rest = rest[np.argsort(np.abs(series.day[rest] - series.day[three[1]]), kind="stable")][:5]
        yield np.concatenate([three, rest]), three


def learned(others: list[Series]) -> HistGradientBoostingRegressor:
    """Predicts the logarithm of a pixel's error over all bands."""
    x, y = [], []
    rng = np.random.default_rng(5)
    for series in others:
        for chosen, good in selections(series):
            seen = judged(series, chosen, good)
            for d, date in enumerate(chosen):
                error = np.abs(series.rho[date] - seen.truth).mean(axis=0)
                at = np.argwhere(seen.keep[d] & np.isfinite(error))
                for r, c in at[rng.permutation(len(at))[: PER_DATE // len(others)]]:
                    x.append(seen.features[d, :, r, c])
                    y.append(np.log(error[r, c] + 1e-3))
    model = HistGradientBoostingRegressor(max_iter=150, max_leaf_nodes=15, random_state=5)
    return model.fit(np.array(x), np.array(y))


def predicted(model: HistGradientBoostingRegressor, seen: Judged) -> Array:
    """(date, row, col) weight 0–1: the inverse of the square of the expected error, against the least of each place."""
    shape = seen.weight.shape
    flat = np.moveaxis(seen.features, 1, -1).reshape(-1, seen.features.shape[1])
    error = np.exp(model.predict(flat)).reshape(shape)
    least = np.where(seen.keep, error, np.inf).min(axis=0)
    return np.clip((np.where(np.isfinite(least), least, error) / error) ** 2, 0, 1).astype(np.float32)


def rmse(
    series: Series, chosen: NDArray[np.int64], seen: Judged, weight: Array, method: str
) -> tuple[float, float]:
    """Root mean square error of a mosaic over its bands, and in blue."""
    stored = np.where(seen.keep, np.maximum(np.rint(255 * weight), 2), 0).astype(np.uint8)
    share = seen.keep.mean(axis=(1, 2))
    order = np.argsort(-share, kind="stable")
    values = merge(np.nan_to_num(series.rho[chosen])[order], stored[order], method=method).values
    error = (values - seen.truth)[:, seen.keep.any(axis=0)]
    return float(np.sqrt(np.nanmean(error**2))), float(np.sqrt(np.nanmean(error[0] ** 2)))


@click.command()
@data_option(required=True)
def main(data: Path) -> None:
    """Print the table."""
    every = all_series(data)
    rows = []
    for series in every:
        model = learned([s for s in every if s is not series])
        for chosen, good in selections(series):
            seen = judged(series, chosen, good)
            flat = np.ones_like(seen.weight)
            ours = {"none": flat, "by hand": seen.weight, "learned": predicted(model, seen)}
            ours["both"] = ours["by hand"] * ours["learned"]
            for name, weight in ours.items():
                for method in ("robust", "feather"):
                    every_band, blue = rmse(series, chosen, seen, weight, method)  # type: ignore[arg-type]
                    rows.append((series.name, method, name, every_band, blue))
    table = pd.DataFrame(rows, columns=["series", "method", "weight", "RMSE", "RMSE B02"])
    click.echo(table.groupby(["series", "method", "weight"], sort=False).mean().round(5).to_string())


if __name__ == "__main__":
    main()
