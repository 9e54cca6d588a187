"""How well the mosaic predicts a clear date that it does not hold: `python -m benchmarks.left_out OUT --data FOLDER --sample FOLDER`.

Three real series: 30 dates of Italian fields (L1C, 10 m) and 72 of Belgian ones (L2A, 20 m), written as products and brought through
`terrazzo precompute` with the shipped masks, the Italian ones through the atmospheric correction; and the sample's five days (L2A, 60 m), two tiles
with borders of swaths. For each date that is clear, and has two clear ones beside it, a mosaic of the other dates of `--days` before and after is
made, the date itself excluded, and read through the engine. `--dates N` takes N dates of each series and period, spread evenly.

Judged over the date's own corrected pixels where its mask calls them clear, in 1e-4: RMSE, median absolute difference and signed median difference
(mosaic less date). `level` takes from every prediction one line (gain and offset) a band and date first: the date's own level, which no other date can
tell. Beside the methods stand simple ways, all of the clear dates without normalization: each pixel's date nearest in time, the line between the
last before and the first after, median, geometric median, medoid. `share` is the RMSE, mean over dates, over that of the best simple way,
the mean of the bands.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial, reduce
from itertools import product
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.mosaics import SILENT, mosaic
from benchmarks.series import Array, Command, Series, both, data_option, write_series
from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.grid import PixelBox
from terrazzo.mosaic.merge import merge
from terrazzo.precompute.pipeline import Options, run
from terrazzo.raster import reflectance
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
SIMPLE = ("nearest", "linear", "median", "geometric median", "medoid")
METHODS = ("feather", "median", "robust", "kriging")
SIDE = 512
"""Pixels of the middle of a whole scene that are judged."""
FIGURES = ("rmse", "median", "signed")


class Place(NamedTuple):
    """A series in a store: its scenes, and of each the pixels that are judged when it is left out."""

    name: str
    products: Path
    store: Store
    scenes: Sequence[Scene]
    picture: PixelBox | None
    bands: tuple[str, ...] = FOUR

    def box(self, scene: Scene) -> PixelBox:
        """The pixels of the zone's grid that are judged."""
        if self.picture is not None:
            return self.picture
        row, col = (scene.box.row0 + scene.box.row1) // 2, (scene.box.col0 + scene.box.col1) // 2
        half = SIDE // 2
        return PixelBox(row - half, col - half, row + half, col + half).intersection(scene.box)

    def clear(self, scene: Scene, box: PixelBox) -> Array:
        """(band, row, col) corrected reflectance of a box where a scene's mask calls it clear ground, NaN elsewhere."""
        out = np.full((len(self.bands), *box.shape), np.nan, np.float32)
        inner = box.intersection(scene.box)
        if not inner.empty:
            at = inner.within(scene.box)
            rho = np.stack([stored(self.store, scene, b)[at] for b in self.bands])
            seen = np.isin(stored(self.store, scene, "mask")[at], GROUND) & (rho != NODATA).all(axis=0)
            out[:, *inner.within(box)] = np.where(seen, rho * np.float32(SCALE), np.float32(np.nan))
        return out


def series_place(folder: Path, series: Series, bands: tuple[str, ...] = FOUR) -> Place:
    """A series of pictures as a store; the pictures are the middle of its mirrored scenes."""
    rows, cols = series.dates[0][1].shape[1:]
    box, pixel = series.place.box, series.place.pixel
    row, col = box.row0 + (box.height - rows) // 2, box.col0 + (box.width - cols) // 2
    products = folder / "products"
    write_series(products, series)
    store = create_store(folder / "store", StoreConfig(pixel, 2 * pixel, series.place.window, bands))
    scenes = run([products], store, "all", Options(), only="strips", console=SILENT).scenes
    return Place(series.name, products, store, scenes, PixelBox(row, col, row + rows, col + cols), bands)


def sample_place(folder: Path, sample: Path, bands: tuple[str, ...] = FOUR) -> Place:
    """The sample as a store of 60 m."""
    store = create_store(folder / "store", StoreConfig(60.0, 60.0, 256, bands))
    scenes = run([sample], store, "all", Options(), only="strips", console=SILENT).scenes
    return Place("sample", sample, store, scenes, None, bands)


def simple(clear: Array, days: NDArray[np.float64]) -> dict[str, Array]:
    """What the simple ways predict of day 0.

    Args:
        clear: (scene, band, row, col) reflectance, NaN where not clear; days: (scene,) of each, the nearest first.
    """
    weight = np.where(np.isfinite(clear).all(axis=1), 255, 0).astype(np.uint8)
    out = {"nearest": nearest(clear), "linear": linear(clear, days)}
    names = {"median": "median", "geometric median": "geomedian", "medoid": "medoid"}
    return out | {name: merge(clear, weight, method).values for name, method in names.items()}  # type: ignore[arg-type]


def nearest(scenes: Array) -> Array:
    """The first of (scene, band, row, col) that shows something, pixel by pixel."""
    first = np.isfinite(scenes).all(axis=1).argmax(axis=0)
    return np.take_along_axis(scenes, first[None, None], axis=0)[0]


def linear(scenes: Array, days: NDArray[np.float64]) -> Array:
    """The line between the last clear date before and the first after day 0; the nearest where one side has none."""
    sides, off = [], []
    for side in (days <= 0, days > 0):
        seen = scenes[side] if side.any() else np.full((1, *scenes.shape[1:]), np.nan, np.float32)
        own = np.abs(days[side]) if side.any() else np.zeros(1)
        first = np.isfinite(seen).all(axis=1).argmax(axis=0)
        sides.append(np.take_along_axis(seen, first[None, None], axis=0)[0])
        off.append(own[first])
    share = (off[0] / np.maximum(off[0] + off[1], 1e-9)).astype(np.float32)
    both_sides = (1 - share) * sides[0] + share * sides[1]
    return np.where(np.isfinite(both_sides), both_sides, nearest(scenes))


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


def left_out(place: Place, span: int, scene: Scene, keep: Path | None) -> tuple[dict[str, Array], Array]:
    """Predictions of a scene by a mosaic without its day, and its own clear pixels.

    Args:
        keep: folder to which what was merged is written, to try methods on.
    """
    day, reach = scene.datetime.date(), timedelta(days=span)
    same_day = [s.id for s in place.scenes if s.datetime.date() == day]
    name = f"{span}-{scene.mgrs}-{day}"
    period = {"around": (day - reach, day + reach)}
    version = mosaic(place.products, place.store, name, period, without=same_day)
    box = place.box(scene)
    entries = sorted(version.entries("around"), key=lambda e: abs((e.scene.datetime.date() - day).days))
    entries = [e for e in entries if not e.scene.box.intersection(box).empty]
    days = np.array([(e.scene.datetime.date() - day).days for e in entries], float)
    clear = np.stack([place.clear(e.scene, box) for e in entries])
    out = simple(clear, days)
    picture = partial(_picture, version, box, scene.epsg)
    for method, on in product(METHODS, (True, False)):
        out[f"{method}, {'on' if on else 'off'}"] = picture(method=method, normalize=on)
    truth = place.clear(scene, box)
    if keep is not None:
        ids = [e.scene.id for e in entries]
        on = [picture(method="first", normalize=True, ids=(i,)) for i in ids]
        weight = [_weight(version, e, box) for e in entries]
        haze = [e.haze for e in entries]
        arrays = {"on": np.stack(on), "weight": np.stack(weight), "clear": clear, "truth": truth}
        np.savez(keep / f"{place.name.split()[0]}-{name}.npz", days=days, haze=haze, **arrays)
    return out, truth


def _picture(version: Version, box: PixelBox, epsg: int, **request: object) -> Array:
    asked = {"bands": FOUR, "resampling": "nearest", "fill": "none", **request}
    return reflectance(native(version, box, epsg, **asked).values)


def _weight(version: Version, entry: object, box: PixelBox) -> NDArray[np.uint8]:
    out = np.zeros(box.shape, np.uint8)
    scene = entry.scene  # type: ignore[attr-defined]
    inner = box.intersection(scene.box)
    out[inner.within(box)] = weight_of(version.store, entry)[inner.within(scene.box)]  # type: ignore[arg-type]
    return out


def candidates(place: Place, span: int, most: int | None) -> list[Scene]:
    """The scenes to be left out in turn."""
    share = {s.id: float(np.isfinite(place.clear(s, place.box(s))).all(axis=0).mean()) for s in place.scenes}
    good = sorted((s for s in place.scenes if share[s.id] >= CLEAR), key=lambda s: (s.datetime, s.id))
    reach = timedelta(days=span)
    others = {s.id: {o.datetime.date() for o in good if abs(o.datetime - s.datetime) <= reach} for s in good}
    asked = [s for s in good if len(others[s.id]) > OTHERS]
    if most is None or len(asked) <= most:
        return asked
    return [asked[i] for i in np.unique(np.linspace(0, len(asked) - 1, most).round().astype(int))]


def judged(predictions: dict[str, Array], truth: Array) -> Iterator[dict[str, object]]:
    """Figures of each way by band, where all ways show something."""
    seen = np.all([np.isfinite(p).all(axis=0) for p in predictions.values()], axis=0)
    truth = np.where(seen, truth, np.nan)
    for (way, values), kind in product(predictions.items(), ("as it is", "level")):
        d = 1e4 * ((level(values, truth) if kind == "level" else values) - truth)
        figures = (
            np.sqrt(np.nanmean(d**2, axis=(1, 2))),
            np.nanmedian(np.abs(d), axis=(1, 2)),
            np.nanmedian(d, axis=(1, 2)),
        )
        for figure, numbers in zip(FIGURES, figures, strict=True):
            row = {"judged": kind, "way": way, "figure": figure}
            yield row | dict(zip(FOUR, numbers.tolist(), strict=True))


def summary(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Means over the dates by series, period and way, and the RMSE's share of the best simple way's."""
    table = pd.DataFrame(rows)
    keys = ["series", "days", "judged"]
    mean = table.groupby([*keys, "way", "figure"], sort=False)[list(FOUR)].mean()
    rmse = mean.xs("rmse", level="figure")
    out = {}
    for key, ours in rmse.groupby(keys, sort=False):
        to_median = ours / ours.xs("median", level="way").iloc[0]
        best = to_median[to_median.index.get_level_values("way").isin(SIMPLE)].mean(axis=1).min()
        out[key] = to_median.mean(axis=1) / best
    share = pd.concat(out.values()).rename("share")
    flat = mean.round(0).unstack("figure").swaplevel(axis=1)[list(FIGURES)]
    flat.columns = [f"{figure} {band}" for figure, band in flat.columns]
    dates = table.groupby(keys, sort=False).date.nunique().rename("dates")
    return pd.DataFrame(share.round(3)).join(flat.astype(int)).join(dates, on=keys).sort_index(level=keys)


def series_options(dates: int | None = None) -> Callable[[Command], Command]:
    """The arguments of a benchmark that leaves dates of the series out.

    Args:
        dates: how many of a series and period, if not all.
    """
    folder = click.Path(exists=True, path_type=Path)
    around = {"multiple": True, "default": (20, 45), "help": "days before and after that a period holds"}
    options = (
        click.argument("out", type=click.Path(path_type=Path)),
        data_option(),
        click.option("--sample", type=folder, help="folder of the sample"),
        click.option("--days", "spans", **around),
        click.option("--dates", type=int, default=dates, help="dates of a series and period at most"),
    )
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


@click.command()
@series_options()
@click.option("--keep", type=click.Path(path_type=Path), help="folder for what was merged")
def main(
    out: Path,
    data: Path | None,
    sample: Path | None,
    spans: tuple[int, ...],
    dates: int | None,
    keep: Path | None,
) -> None:
    """Print the table and keep left_out.json."""
    rows = list[dict[str, object]]()
    for place in places(out, data, sample):
        # The sample has ten days in all: a longer period holds the same scenes.
        for span in spans if place.picture is not None else spans[:1]:
            for scene in candidates(place, span, dates):
                start = time.process_time()
                predictions, truth = left_out(place, span, scene, keep)
                about = {"series": place.name, "days": span, "date": f"{scene.mgrs} {scene.datetime.date()}"}
                rows += [about | row for row in judged(predictions, truth)]
                click.echo(f"{about} {time.process_time() - start:.1f} s", err=True)
    (out / "left_out.json").write_text(json.dumps(rows, indent=1))
    with pd.option_context("display.width", 250):
        click.echo(summary(rows).to_string())


def places(out: Path, data: Path | None, sample: Path | None) -> Iterator[Place]:
    for series in both(data) if data else ():
        folder = out / series.name.split()[0]
        shutil.rmtree(folder, ignore_errors=True)
        yield series_place(folder, series)
    if sample:
        shutil.rmtree(out / "sample", ignore_errors=True)
        yield sample_place(out / "sample", sample)


if __name__ == "__main__":
    main()
