"""Whether a mosaic's sigma says how far a clear date lies that it does not hold: `python -m benchmarks.sigma OUT --data FOLDER --sample FOLDER`.

The series, and the dates that are left out, are those of `benchmarks.left_out`; the sample's two tiles are a series each. The period around a date begins
1, 3/2 or 1/2 times `--days` before it, in turn, so that a date lies anywhere in it. Of the scenes that are left 1, 2, 3, 5 and all, by chance,
are merged by each method, and their values compared with the date's own clear pixels, corrected and without gains: |value − date| / sigma.

Printed is the share within 1 sigma, within 2 and within `WITHIN_95` (`wide`) by count and band: with the numbers of the code; as `elsewhere`, with ν, F and g learnt on all places
but the judged one, each mosaic's τ scaled by its own dates; and as `table`, what a version has that stores no scatter. Each date weighs the same.
`mean` are those of squares of 16 pixels a side, with the sigma that statistics tell. `--learn` prints the numbers for the code, learnt on all. What an
earlier run observed lies in OUT and is kept.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.left_out import Place, candidates, sample_place, series_options, series_place
from benchmarks.mosaics import mosaic
from benchmarks.series import Series, both
from terrazzo.grid import PixelBox
from terrazzo.mosaic import sigma
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.methods import METHODS
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.scene import Scene
from terrazzo.version import Version

BANDS = tuple(sigma.TABLE)
ASKED = ("feather", "median", "robust", "kriging")
COUNTS = (1, 2, 3, 5, 99)
PIXELS = 400
"""Of a picture, by chance."""
SIDE = 128
"""Pixels to a side of a series that are looked at."""
SQUARE = 16
SHIFTS = (0.0, -0.5, 0.5)
SHOWN = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4-5": (4, 5), "6+": (6, 999)}
"""Counts that are printed together."""


def observations(place: Place, span: int, scene: Scene, number: int) -> pd.DataFrame:
    """What mosaics without a scene's day say of it: a row for each pixel or square, band, method and count."""
    day, same = (
        scene.datetime.date(),
        [s.id for s in place.scenes if s.datetime.date() == scene.datetime.date()],
    )
    shift = round(SHIFTS[number % len(SHIFTS)] * span)
    start, end = (day + timedelta(days=shift + side * span) for side in (-1, 1))
    name = f"sigma-{span}-{scene.mgrs}-{day}"
    version = mosaic(place.products, place.store, name, {"around": (start, end)}, without=same)
    box, rng = place.box(scene), np.random.default_rng([number, span])
    target = Target(f"EPSG:{scene.epsg}", version.store.grid(scene.epsg).bounds(box), *box.shape)
    truth = place.clear(scene, box)
    engine, tables = Engine(version, Blocks()), list[pd.DataFrame]()
    ids = _clear_ids(version, place, scene)
    try:
        for count in (c for c in COUNTS if c <= len(ids) or c == COUNTS[-1]):
            some = tuple(rng.choice(ids, min(count, len(ids)), replace=False).tolist())
            for method in ASKED if count > 1 else ASKED[:1]:
                day_shown = str(day) if METHODS[method].timed else None
                request = PixelRequest(
                    place.bands, ids=some, method=method, fill="none", resampling="nearest", target=day_shown
                )
                for kind, table in _compared(engine, request, target, truth, rng):
                    tables.append(table.assign(kind=kind, method=method))
    finally:
        engine.blocks.close()
    where = f"{place.name} {scene.mgrs}" if place.picture is None else place.name
    rows = pd.concat(tables).assign(series=where, span=span, date=str(day))
    own = sigma.prior_of(version, "around", place.bands).tau[rows.band]
    return rows.assign(intercept=own[:, 0], slope=own[:, 1], stored="around" in version.scatter)


def _clear_ids(version: Version, place: Place, scene: Scene) -> list[str]:
    """The scenes over a place that show a clear part of it."""
    box = place.box(scene)
    near = [e.scene for e in version.entries("around") if not e.scene.box.intersection(box).empty]
    return [s.id for s in near if np.isfinite(place.clear(s, box)).mean() > 0.05]


def _compared(
    engine: Engine,
    request: PixelRequest,
    target: Target,
    truth: NDArray[np.float32],
    rng: np.random.Generator,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Pixels and squares of one mosaic, with how far a date lies from them."""
    selection = engine.select(request)
    image = engine.render(selection, target)
    values, scenes, days, _ = sigma.observed(engine, selection, target, image, "benchmark")
    weight = sigma.weights(selection.request.target, days)[:, None, None, None]
    about = sigma.scatter(values, scenes, weight)
    there = np.flatnonzero((np.isfinite(values - truth) & (about.count > 0)).all(axis=0))
    some = rng.choice(there, min(PIXELS, len(there)), replace=False)
    flat = [a.reshape(len(a), -1)[:, some] for a in (*about, values, values - truth)]
    yield "pixel", _table(flat)
    rows, cols = np.indices(target.shape) // SQUARE
    squares = (rows * (cols.max() + 1) + cols).ravel()
    known = np.isfinite(values - truth)
    values, error = (np.where(known, a, np.nan).reshape(len(a), -1) for a in (values, values - truth))
    count, shares = int(squares.max()) + 1, np.ones(squares.size)
    common, apart = sigma.Common(len(values), count), sigma.Common(len(values), count)
    common.add(values, scenes.reshape(len(scenes), len(values), -1), days, shares, squares)
    apart.add(error, error[None][:0], (), shares, squares)
    level, means = common.scatter(selection.request.target)
    enough = (np.bincount(squares, known.all(axis=0).ravel()) > SQUARE**2 / 2) & (means.count > 0).all(axis=0)
    yield "mean", _table([a[:, enough] for a in (*means, level, apart.scatter(None)[0])])


def _table(columns: Sequence[NDArray[np.floating]]) -> pd.DataFrame:
    names = ("squares", "total", "count", "level", "error")
    flat = {n: c.astype(np.float32).ravel() for n, c in zip(names, columns, strict=True)}
    return pd.DataFrame(flat | {"band": np.repeat(np.arange(len(columns[0])), columns[0].shape[1])})


WORTHS = (1.0, 2.0, 3.0, 4.0, 6.0)
TOGETHER, MOST = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 999)), 6
"""Counts that have one factor, and the first of the last."""


def learnt(rows: pd.DataFrame) -> sigma.Law:
    """ν, F and g from observations whose τ is that of their mosaic."""
    bands, band, weight = np.ones(len(BANDS)), rows.band.to_numpy(), rows.weight.to_numpy()
    for _ in range(2):
        pixel, mean = (_factors(rows[rows.kind == k], bands) for k in ("pixel", "mean"))
        z = judged(rows, sigma.Law(tuple(bands), *pixel, *mean))
        bands = bands * [_factor(z[band == b], weight[band == b]) for b in range(len(BANDS))]
    pixel, mean = (_factors(rows[rows.kind == k], bands) for k in ("pixel", "mean"))
    return sigma.Law(tuple(bands.round(2).tolist()), *pixel, *mean)


def _factors(rows: pd.DataFrame, bands: NDArray[np.float64]) -> tuple[float, tuple[float, ...]]:
    best: tuple[float, float, tuple[float, ...]] = (np.inf, 0.0, ())
    count, error = rows["count"].to_numpy(np.int64), rows.error.abs().to_numpy()
    for worth in WORTHS:
        s, factors = scaled(rows, bands, worth, (1.0,)), list[float]()
        for low, high in TOGETHER:
            here = (count >= low) & (count <= high)
            factors += [_factor((error / s)[here], rows.weight.to_numpy()[here])] * (
                min(high, MOST) - low + 1
            )
        s = s * np.array(factors)[np.minimum(count, MOST) - 1]
        best = min(
            best, (float(np.average(np.log(s) + error / s, weights=rows.weight)), worth, tuple(factors))
        )
    return best[1:]


def _factor(z: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """The factor with which shares within 1 and within 2 come nearest to 68 and 95 %, in units of 3 and 2 %."""
    if not len(z):
        return 1.0
    order = np.argsort(z)
    ranked, share = z[order], np.cumsum(weight[order]) / weight.sum()
    tried = np.geomspace(0.3, 4, 200)
    within = [np.interp(tried * k, ranked, share) for k in (1, 2)]
    return round(
        float(tried[(((within[0] - 0.683) / 0.03) ** 2 + ((within[1] - 0.954) / 0.02) ** 2).argmin()]), 2
    )


def scaled(
    rows: pd.DataFrame, bands: Sequence[float] | NDArray[np.float64], worth: float, factors: Sequence[float]
) -> NDArray[np.float64]:
    """(row,) standard errors of observations.

    Args:
        bands: g by band.
    """
    columns = (rows[n].to_numpy(np.float64) for n in ("squares", "total", "count"))
    about = sigma.Scatter(*columns)
    level, out = rows.level.to_numpy(np.float64), np.zeros(len(rows))
    tau = rows[["intercept", "slope"]].to_numpy(np.float64)
    groups = rows.groupby(["band", "intercept", "slope"]).indices
    for (band, *_), here in groups.items():
        part = sigma.Scatter(*(a[here][None] for a in about))
        error = sigma.standard_error(level[here][None], part, tau[here[:1]], worth, factors)
        out[here] = bands[int(band)] * error[0]
    return out


def judged(rows: pd.DataFrame, law: sigma.Law) -> NDArray[np.float64]:
    """(row,) how many sigma a date lies from the mosaic."""
    out = np.zeros(len(rows))
    for kind, worth, factors in (("pixel", law.worth, law.factors), ("mean", law.common_worth, law.common)):
        here = rows.kind.to_numpy() == kind
        part = rows[here]
        out[here] = part.error.abs() / scaled(part, law.bands, worth, factors)
    return out


def weighed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of which each left-out date of a series and period weighs the same by kind, count and band."""
    rows = rows.assign(shown=_shown(rows["count"]))
    keys = ["kind", "shown", "band", "series", "span", "date"]
    return rows.assign(weight=1 / rows.groupby(keys)["error"].transform("size"))


def _shown(count: pd.Series) -> NDArray[np.object_]:
    out = np.full(len(count), "", object)
    for name, (low, high) in SHOWN.items():
        out[(count >= low) & (count <= high)] = name
    return out


def coverage(rows: pd.DataFrame, z: NDArray[np.float64], by: list[str]) -> pd.DataFrame:
    """Per cent within 1, within 2 and within `WITHIN_95` sigma."""
    limits = {"one": 1.0, "two": 2.0, "wide": sigma.WITHIN_95}
    inside = rows.assign(**{name: 100 * (z <= limit) * rows.weight for name, limit in limits.items()})
    sums = inside.groupby(by, sort=False)[[*limits, "weight"]].sum()
    return sums[[*limits]].div(sums.weight, axis=0)


def report(rows: pd.DataFrame) -> None:
    """Prints the tables."""
    rows = weighed(rows).reset_index(drop=True)
    table = sigma.table(BANDS)[rows.band]
    plain = rows.assign(intercept=table[:, 0], slope=table[:, 1])
    stored, elsewhere = rows.stored.to_numpy(), np.zeros(len(rows))
    code = np.where(stored, judged(rows, sigma.OF_MOSAIC), judged(plain, sigma.OF_TABLE))
    # Two tiles of one place are no place that the other was not learnt on.
    place = rows.series.str.split().str[0]
    for one in place.unique():
        here = (place == one).to_numpy()
        elsewhere[here] = judged(rows[here], learnt(rows[~here]))
    named = rows.assign(band=np.array(BANDS)[rows.band])
    for name, z in (("code", code), ("elsewhere", elsewhere), ("table", judged(plain, sigma.OF_TABLE))):
        for by in ("shown", "band", "series", "method"):
            shares = coverage(named, z, ["kind", by]).unstack("kind").round(1)
            click.echo(f"\nper cent within 1, 2 and {sigma.WITHIN_95:g} sigma, numbers of {name}, by {by}\n{shares.to_string()}")
        pixels = (named.kind == "pixel").to_numpy()
        dates = coverage(named[pixels], z[pixels], ["series", "span", "date"])
        spread = np.percentile(dates.one, [10, 50, 90]).round(0)
        click.echo(f"\nof {len(dates)} dates alone, within 1 sigma: 10, 50 and 90 % of dates {spread}")


@click.command()
@series_options(dates=8)
@click.option("--only", help="first letters of the one series to observe; nothing is judged")
@click.option("--learn", is_flag=True, help="print the numbers for the code")
def main(
    out: Path,
    data: Path | None,
    sample: Path | None,
    spans: tuple[int, ...],
    dates: int,
    only: str | None,
    learn: bool,
) -> None:
    """Observe what is not observed yet, print the tables."""
    for place in _places(out, data, sample, only or ""):
        for span in spans if place.picture is not None else spans[:1]:
            for number, scene in enumerate(candidates(place, span, dates)):
                kept = out / f"{place.name.split()[0]}-{span}-{scene.mgrs}-{scene.datetime.date()}.parquet"
                if not kept.exists():
                    observations(place, span, scene, number).to_parquet(kept)
                    click.echo(kept.stem, err=True)
    tables = [pd.read_parquet(p) for p in sorted(out.glob("*.parquet"))]
    rows = pd.concat(tables, ignore_index=True)
    if only:
        return
    if learn:
        click.echo(json.dumps(learnt(weighed(rows))._asdict()))
    report(rows)


def middle(series: Series) -> Series:
    """A series cut to `SIDE` pixels, in a place that shrinks alike: pixels are drawn from it, and masks of whole scenes cost most."""
    short = (series.dates[0][1].shape[-1] - SIDE) // 2
    if short <= 0:
        return series
    cut, box = (..., slice(short, -short), slice(short, -short)), series.place.box
    half = (box.height - box.height * SIDE // series.dates[0][1].shape[-1]) // 2
    inner = PixelBox(box.row0 + half, box.col0 + half, box.row1 - half, box.col1 - half)
    place = replace(series.place, box=inner, window=series.place.window // 2)
    dates = [(day, image[cut], None if scl is None else scl[cut]) for day, image, scl in series.dates]
    return series._replace(place=place, dates=dates)


def _places(out: Path, data: Path | None, sample: Path | None, only: str) -> Iterator[Place]:
    for series in both(data) if data else ():
        if series.name.startswith(only):
            yield series_place(out / series.name.split()[0], middle(series), BANDS)
    if sample and "sample".startswith(only):
        yield sample_place(out / "sample", sample)


if __name__ == "__main__":
    main()
