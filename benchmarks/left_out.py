"""How well the mosaic foretells a clear date that it does not hold: `python -m benchmarks.left_out OUT --data FOLDER`.

Two real series: 30 dates of Italian fields (L1C, 10 m) and 72 of Belgian ones (L2A, 20 m), written as products and brought through
`terrazzo precompute` with the shipped masks, the Italian ones through the atmospheric correction. For each date that is clear, and has two
clear ones beside it, a mosaic of the other dates of `--days` before and after is made, the date itself excluded, and read through the engine.
Judged is the median absolute difference to the date's own corrected pixels where its mask calls them clear, beside what is simple: each
pixel's clear date nearest in time, the median of the clear ones, the robust merge without normalization. `level` takes from every
prediction one line (gain and offset) a band and date first: the date's own level, which no other date can tell. Ways in brackets are
none of the product's, they tell the parts of the error: single clear dates by their distance in days (20 for 20 to 29), the nearest date after normalization, and
robust merges in which all that is kept weighs the same, or dates less the farther they lie from the middle of the period.
"""

import json
import shutil
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.made import SILENT, mosaic
from benchmarks.series import Array, Series, both, write_series
from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.grid import PixelBox
from terrazzo.mosaic.merge import merge
from terrazzo.precompute.judge.seams import reflectance
from terrazzo.precompute.pipeline import Options, run
from terrazzo.scene import Scene
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import Version
from tests.chain import native, stored, weight_of
from tests.world.worlds import FOUR

CLEAR = 0.9
"""Share of a date that its mask leaves, from which it may be left out."""
OTHERS = 2
"""Other clear dates that a mosaic has at least."""
GROUND = (MaskClass.LAND, MaskClass.WATER, MaskClass.TERRAIN_SHADOW)
DECAY = 8.0
"""Days from the middle at which a date weighs .61, where days weigh."""
SIMPLE = ("nearest", "median", "robust, off")


class Picture:
    """Pictures of a series' middle, (band, row, col) reflectance."""

    def __init__(self, series: Series) -> None:
        rows, cols = series.dates[0][1].shape[1:]
        box = series.place.box
        row, col = box.row0 + (box.height - rows) // 2, box.col0 + (box.width - cols) // 2
        self.epsg, self.box = series.place.epsg, PixelBox(row, col, row + rows, col + cols)

    def of(self, version: Version, **request: object) -> Array:
        """What the engine shows."""
        asked = {"bands": FOUR, "resampling": "nearest", "fill": "none", **request}
        return reflectance(native(version, self.box, self.epsg, **asked).values)

    def clear(self, store: Store, scene: Scene) -> Array:
        """A scene's corrected reflectance where its mask calls it clear ground."""
        at = self.box.within(scene.box)
        rho = np.stack([stored(store, scene, b)[at] for b in FOUR])
        seen = np.isin(stored(store, scene, "mask")[at], GROUND) & (rho != NODATA).all(axis=0)
        return np.where(seen, rho * np.float32(SCALE), np.float32(np.nan))


def predictions(picture: Picture, made: Version, clear: dict[str, Array], day: date) -> dict[str, Array]:
    """What the mosaic and the simple ways foretell of a day."""
    out = {
        f"{method}, {'on' if on else 'off'}": picture.of(made, method=method, normalize=on)
        for method in ("feather", "robust")
        for on in (True, False)
    }
    entries = sorted(made.entries("around"), key=lambda e: abs((e.scene.datetime.date() - day).days))
    seen = np.stack([clear[e.scene.id] for e in entries])
    out["nearest"], out["median"] = nearest(seen), np.nanmedian(seen, axis=0)
    weight = np.stack([weight_of(made.store, e)[picture.box.within(e.scene.box)] for e in entries])
    equal = np.where((weight > 1) & np.isfinite(seen).all(axis=1), 255, 0).astype(np.uint8)
    out["(robust, off, weights equal)"] = merge(seen, equal, "robust").values
    normalized = np.stack(
        [picture.of(made, method="first", normalize=True, ids=(e.scene.id,)) for e in entries]
    )
    normalized = np.where((weight > 1)[:, None], normalized, np.float32(np.nan))
    out["(nearest, on)"] = nearest(normalized)
    days = np.array([(e.scene.datetime.date() - day).days for e in entries])
    near = np.exp(-((days / DECAY) ** 2) / 2)[:, None, None]
    weight = np.where(weight > 1, np.maximum(np.rint(weight * near), 1), 0).astype(np.uint8)
    out["(robust, on, days weigh)"] = merge(normalized, weight, "robust").values
    return out


def nearest(scenes: Array) -> Array:
    """The first of (scene, band, row, col) that shows something, pixel by pixel."""
    first = np.isfinite(scenes).all(axis=1).argmax(axis=0)
    return np.take_along_axis(scenes, first[None, None], axis=0)[0]


def level(prediction: Array, truth: Array) -> Array:
    """A prediction brought to the truth's level by one line a band, fitted where both are, outliers left away."""
    out = np.empty_like(prediction)
    for k, (x, y) in enumerate(zip(prediction, truth, strict=True)):
        use = np.isfinite(x) & np.isfinite(y)
        for _ in range(5):
            a, b = np.polyfit(x[use], y[use], 1)
            rest = np.abs(a * x + b - y)
            use = np.isfinite(rest) & (rest < 3 * np.nanmedian(rest[use]))
        out[k] = a * x + b
    return out


def one_series(folder: Path, series: Series, spans: tuple[int, ...]) -> list[dict[str, object]]:
    """Rows of a date, a way, and its error in 1e-4 by band, as it is and at the date's own level."""
    shutil.rmtree(folder, ignore_errors=True)
    products, pixel = folder / "products", series.place.pixel
    write_series(products, series)
    store = create_store(folder / "store", StoreConfig(pixel, 2 * pixel, series.place.window, FOUR))
    scenes = run([products], store, "all", Options(), only="strips", console=SILENT).scenes
    picture = Picture(series)
    clear = {s.id: picture.clear(store, s) for s in scenes}
    good = sorted((s for s in scenes if np.isfinite(clear[s.id]).mean() >= CLEAR), key=lambda s: s.datetime)
    rows: list[dict[str, object]] = []
    for span, scene in product(spans, good):
        day, reach = scene.datetime.date(), timedelta(days=span)
        if sum(abs(o.datetime - scene.datetime) <= reach for o in good) <= OTHERS:
            continue
        period = {"around": (day - reach, day + reach)}
        made = mosaic(products, store, f"{span}-{day}", period, without=scene.id)
        found = predictions(picture, made, clear, day)
        judged = np.all([np.isfinite(p).all(axis=0) for p in found.values()], axis=0)
        truth = np.where(judged, clear[scene.id], np.nan)
        off = {o.id: abs((o.datetime.date() - day).days) for o in good if o is not scene}
        pairs = [
            (f"(clear date {n // 10 * 10} days off)", clear[i])
            for i, n in sorted(off.items(), key=lambda x: x[1])
            if n <= span
        ]
        for (way, values), kind in product([*found.items(), *pairs], ("as it is", "level")):
            p = level(values, truth) if kind == "level" else values
            error = 1e4 * np.nanmedian(np.abs(p - truth), axis=(1, 2))
            row = {"series": series.name, "days": span, "date": str(day), "judged": kind, "way": way}
            rows.append(row | dict(zip(FOUR, error.tolist(), strict=True)))
        click.echo(f"{series.name} {span} {day} {judged.mean():.2f}", err=True)
    return rows


def summary(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Mean error over the dates, and its share of the best simple way's by band."""
    table = pd.DataFrame(rows)
    keys = ["series", "days", "judged"]
    mean = (
        table.groupby([*keys, "way"], sort=False)[list(FOUR)]
        .mean()
        .sort_index(level=keys, sort_remaining=False)
    )
    best = mean[mean.index.get_level_values("way").isin(SIMPLE)].groupby(level=keys, sort=False).min()
    share = (mean / best.reindex(mean.index.droplevel("way")).to_numpy()).round(2).add_suffix(" ÷ best")
    dates = table.groupby(keys, sort=False).date.nunique().rename("dates")
    return pd.concat([mean.round(0), share], axis=1).join(dates, on=keys)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="folder with labelled/ and imagery/",
)
@click.option(
    "--days", "spans", multiple=True, default=(20, 45), help="days before and after that a mosaic holds"
)
def main(out: Path, data: Path, spans: tuple[int, ...]) -> None:
    """Print the table and keep left_out.json."""
    rows = [r for s in both(data) for r in one_series(out / s.name.split()[0], s, spans)]
    (out / "left_out.json").write_text(json.dumps(rows, indent=1))
    click.echo(summary(rows).to_string())


if __name__ == "__main__":
    main()
