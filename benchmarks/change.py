"""How much of a true change the mosaic keeps: `python -m benchmarks.change OUT [--seeds 3]`.

Patches of one size are changed in a simulated world under changing air, gains, haze and clouds: harvested, flooded or burnt, one kind a seed.
`inside` one period the last three of six dates show the change, and the mosaic of the last three is compared with that of the first
three (`datetime`). `between` two periods, each normalized by itself, the three dates of the second show it. Kept is the slope of the mosaics'
difference over the true one, through the origin, over the changed pixels: 1 is all. It holds what air is left too; `change alone` takes off the
difference that the same mosaics show of the same place, under the same skies, without the change; `contrast of the land` is the slope of the
later mosaic over the truth where nothing changes, through the means: what of all differences, also those between fields, is kept.

Up to 50 ha the world has pixels of 20 m and is 7.7 km wide; beyond, 80 m and 46 km. A window is 5.12 km wide in both.
"""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.mosaics import mosaic
from terrazzo.precompute.judge.report import COLOURS
from terrazzo.raster import reflectance
from terrazzo.store import StoreConfig, create_store
from tests.chain import native
from tests.world.land import Land, landscape
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import observe
from tests.world.worlds import FIRST, FOUR, NORTH, Weather, draw_sky

Array = NDArray[np.float32]
HECTARES = (0.6, 50.0, 500.0, 2600.0, 10_000.0, 50_000.0)
FINE, COARSE = (20.0, 384, 256), (80.0, 576, 64)
"""Pixel in metres, side of the world in pixels, window."""
MOST_FINE = 50
WEATHER = Weather(gain=0.02, offset=0.001, haze=0.03, ramp=0.04, cloud=0.15)
KINDS = {
    "harvested": (0.09, 0.12, 0.17, 0.25),
    "flooded": (0.05, 0.05, 0.04, 0.02),
    "burnt": (0.03, 0.035, 0.04, 0.08),
}
"""Reflectance in B02, B03, B04, B08 after the change."""
PATCHES, SHARE = 24, 0.03
"""Patches of a world at most, and the share of it that they may cover; one at least."""
TITLES = {"inside": "inside a period", "between": "between two periods"}
HOW = tuple(TITLES)
DATES = 6
METHODS = ("feather", "robust", "kriging")


class Changed(NamedTuple):
    """The land before and after, and (row, col) where it changed."""

    before: Land
    after: Land
    where: NDArray[np.bool_]


class Pair(NamedTuple):
    """(band, row, col) reflectance of the mosaics before and after the change."""

    before: Array
    after: Array


def unchanged(fine: bool, seed: int) -> Land:
    """The land as it was."""
    pixel, size, window = FINE if fine else COARSE
    mgrs, epsg, top, left = NORTH
    return landscape(place_of(mgrs, epsg, top, left, size, size, pixel, window), FOUR, seed)


def change(before: Land, hectares: float, kind: str, seed: int) -> Changed:
    """A land in which patches of one size change."""
    place = before.place
    side, size = max(1, round(100 * np.sqrt(hectares) / place.pixel)), place.box.height
    rng = np.random.default_rng([seed, 8])
    where = np.zeros(place.box.shape, bool)
    for _ in range(int(np.clip(SHARE * size**2 / side**2, 1, PATCHES))):
        row, col = rng.integers(0, size - side, 2)
        where[row : row + side, col : col + side] = True
    texture = 1 + 0.06 * rng.standard_normal((len(FOUR), *where.shape)).astype(np.float32)
    new = np.array(KINDS[kind], np.float32)[:, None, None] * texture
    return Changed(before, replace(before, rho=np.where(where, new, before.rho)), where)


def pictures(folder: Path, lands: tuple[Land, Land], how: str, seed: int) -> dict[tuple[str, bool], Pair]:
    """The mosaics of a world whose land is one before and another after, by method and whether normalized."""
    shutil.rmtree(folder, ignore_errors=True)
    place, half = lands[0].place, DATES // 2
    apart = timedelta(days=365) if how == "between" else timedelta(days=5 * half)
    days = [FIRST + apart * late + timedelta(days=5 * n) for late in (0, 1) for n in range(half)]
    for number, day in enumerate(days):
        sky = draw_sky(WEATHER, FOUR, np.random.default_rng([seed, 3, number]), number % half, half)
        seen = observe(lands[number // half], replace(sky, haze_length=6000.0))
        write_product(folder / "products", seen, Pass(day, "S2A", 79))
    store = create_store(folder / "store", StoreConfig(place.pixel, 2 * place.pixel, place.window, FOUR))
    spans = [(days[k].date(), days[k + half - 1].date()) for k in (0, half)]
    periods = {"all": (spans[0][0], spans[1][1])}
    if how == "between":
        periods = dict(zip(("before", "after"), spans, strict=True))
    version = mosaic(folder / "products", store, "mosaic", periods, mask="scl")
    out = {}
    for method, on in product(METHODS, (True, False)):
        asked = {"method": method, "normalize": on, "resampling": "nearest", "fill": "none"}
        shown = (native(version, place.box, place.epsg, datetime=f"{a}/{b}", **asked) for a, b in spans)
        out[method, on] = Pair(*(reflectance(s.values) for s in shown))
    return out


@cache
def control(folder: Path, fine: bool, how: str, seed: int) -> dict[tuple[str, bool], Pair]:
    """The mosaics of the same skies over land that does not change."""
    land = unchanged(fine, seed)
    return pictures(folder, (land, land), how, seed)


def slope(true: Array, told: Array, use: NDArray[np.bool_], *, centred: bool = False) -> dict[str, float]:
    """By band, over the chosen pixels; through the origin, or through the means where `centred`."""
    use = use & np.isfinite(told).all(axis=0)
    t, d = (v[:, use].astype(np.float64) for v in (true, told))
    if centred:
        t, d = (v - v.mean(axis=1, keepdims=True) for v in (t, d))
    return dict(zip(FOUR, ((t * d).sum(axis=1) / (t * t).sum(axis=1)).tolist(), strict=True))


def one_world(folder: Path, hectares: float, how: str, seed: int) -> list[dict[str, object]]:
    """Rows of a world by method, with and without normalization."""
    kind, fine = tuple(KINDS)[seed % len(KINDS)], hectares <= MOST_FINE
    changed = change(unchanged(fine, seed), hectares, kind, seed)
    told = pictures(folder, (changed.before, changed.after), how, seed)
    air = control(folder, fine, how, seed)
    true, land = changed.after.rho - changed.before.rho, changed.before.rho
    rows: list[dict[str, object]] = []
    for way, pair in told.items():
        key = {"ha": hectares, "how": how, "seed": seed, "kind": kind, "method": way[0], "on": way[1]}
        whole, none = pair.after - pair.before, air[way].after - air[way].before
        rows.append(key | {"judged": "whole"} | slope(true, whole, changed.where))
        rows.append(key | {"judged": "change alone"} | slope(true, whole - none, changed.where))
        contrast = slope(land, air[way].after, np.ones_like(changed.where), centred=True)
        rows.append(key | {"judged": "contrast of the land"} | contrast)
    return rows


def draw(table: pd.DataFrame, path: Path) -> None:
    """The share of the change that `feather` keeps over the patches' size: mean of the seeds, and from the least to the largest."""
    figure = Figure((7, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, how in zip(axes, HOW, strict=True):
        here = table[(table.how == how) & (table.method == "feather") & table.on & (table.judged == "whole")]
        for band, colour in COLOURS.items():
            kept = here.groupby("ha")[band]
            ax.fill_between(kept.mean().index, kept.min(), kept.max(), color=colour, alpha=0.15, lw=0)
            ax.plot(kept.mean(), "o-", color=colour, ms=3, label=band)
        ax.plot([min(HECTARES), 2600, 2600, max(HECTARES)], [0.98, 0.98, 0.9, 0.9], "k:", lw=1, label="goal")
        ax.set(xscale="log", xlabel="patch in hectares", title=TITLES[how])
    axes[0].set_ylabel("share of the true change")
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default=3)
@click.option("--size", "sizes", multiple=True, default=HECTARES, help="hectares of a patch")
@click.option("--picture", type=click.Path(path_type=Path), help="draw the curve")
def main(out: Path, seeds: int, sizes: tuple[float, ...], picture: Path | None) -> None:
    """Print the table and keep change.json."""
    rows: list[dict[str, object]] = []
    for hectares, how, seed in product(sizes, HOW, range(seeds)):
        rows += one_world(out / "world", hectares, how, seed)
        click.echo(f"{hectares:g} ha {how} {seed}", err=True)
        (out / "change.json").write_text(json.dumps(rows, indent=1))
    if picture:
        draw(pd.DataFrame(rows), picture)
    table = pd.DataFrame(rows).groupby(["judged", "how", "method", "on", "ha"])[list(FOUR)]
    click.echo(
        pd.concat([table.mean().round(3), table.min().round(3).add_prefix("least ")], axis=1).to_string()
    )


if __name__ == "__main__":
    main()
