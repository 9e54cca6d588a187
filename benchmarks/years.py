"""How far the mosaics of two years differ where nothing changed: `python -m benchmarks.years OUT [--seeds 5]`.

One simulated land of 15.8 × 20.9 km at 60 m, seen by six dates in each of two years, each year with weather of its own as in
`benchmarks.simulated`; some crops are harvested from the first to the last date of each year, and in the second year another part of the crops is
stubble from the start. Bias is the median over unchanged pixels of the difference second less first year's mosaic, by
band; `own`: two periods, each normalized to its own reference; `external`: both years brought to the level of the first
year's export; `off`: neither. Weather: `usual` (gains of 2 %), `rough` (5 %), and `hazy`, in which not one date of the second year is free of haze (.01 in blue
at least; the clearest date of all other years has none). A seed's bias is one draw, so its size is what counts: mean of |bias| with 95 % interval, and the largest.
"""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.mosaics import mosaic
from benchmarks.simulated import DATES, HARVESTED, HAZE_LENGTH, PIXEL, SIZE, USUAL, WINDOW
from terrazzo.cli import cli as terrazzo
from terrazzo.raster import reflectance
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import Version
from tests.chain import native
from tests.world.land import Land, landscape
from tests.world.products import Pass, Place, place_of, write_product
from tests.world.sky import observe
from tests.world.worlds import FIRST, FOUR, NORTH, TYPICAL, draw_sky

YEAR = timedelta(days=365)
STUBBLE = 0.25
"""How far the season has gone at the second year's first date: 0 in the first year."""
LEAST_HAZE = 0.01
WEATHER = ("usual", "rough", "hazy")
PERIODS = {
    y: ((FIRST + k * YEAR).date(), (FIRST + k * YEAR + timedelta(days=5 * DATES)).date())
    for k, y in enumerate(("first", "second"))
}
METHODS = ("feather", "robust", "kriging")


def write_years(folder: Path, place: Place, seed: int, weather: str) -> tuple[Land, NDArray[np.bool_]]:
    """Writes both years' products; the land, and (row, col) where it never changes."""
    lands = []
    for year in range(2):
        for number in range(DATES):
            season = STUBBLE * year + HARVESTED * number / (DATES - 1)
            lands.append(landscape(place, FOUR, seed, day=season))
            kind = TYPICAL if weather == "rough" else USUAL
            sky = draw_sky(kind, FOUR, np.random.default_rng([seed, 3, year, number]), number, DATES)
            haze = max(sky.haze, LEAST_HAZE) if weather == "hazy" and year else sky.haze
            day = FIRST + year * YEAR + timedelta(days=5 * number)
            about = Pass(day, "S2A", 79) if number % 2 == 0 else Pass(day, "S2B", 122)
            write_product(folder, observe(lands[-1], replace(sky, haze=haze, haze_length=HAZE_LENGTH)), about)
    return lands[0], np.all([land.kind == lands[0].kind for land in lands], axis=0)


def export(store: Store, place: Place, period: str, out: Path) -> None:
    """Exports a period's composite."""
    box = map(str, place.grid.bounds(place.box))
    asked = ["--store", store.url, "--mosaic", "own", "--bbox", *box, "--bbox-crs", f"EPSG:{place.epsg}"]
    asked += ["--datetime", period, "--method", "robust", "--fill", "none", "-o", str(out)]
    terrazzo.main(["export", *asked], prog_name="terrazzo", standalone_mode=False)


def picture(version: Version, place: Place, period: str, method: str, on: bool) -> NDArray[np.float32]:
    """(band, row, col) reflectance of a mosaic."""
    asked = {"datetime": period, "method": method, "normalize": on, "fill": "none", "resampling": "nearest"}
    return reflectance(native(version, place.box, place.epsg, **asked).values)


def one_seed(folder: Path, seed: int, weather: str) -> list[dict[str, object]]:
    """Rows of a seed and weather: bias in 1e-4 by band of each way and method."""
    shutil.rmtree(folder, ignore_errors=True)
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, *SIZE, PIXEL, WINDOW)
    _, unchanged = write_years(folder / "p", place, seed, weather)
    store = create_store(folder / "s", StoreConfig(PIXEL, 2 * PIXEL, WINDOW, FOUR))
    own = mosaic(folder / "p", store, "own", PERIODS, mask="scl")
    export(store, place, "first", folder / "first.tif")
    external = mosaic(folder / "p", store, "external", PERIODS, external=folder / "first.tif", mask="scl")
    rows: list[dict[str, object]] = []
    for method in METHODS:
        for way, version, on in (("off", own, False), ("own", own, True), ("external", external, True)):
            first, second = (picture(version, place, period, method, on) for period in PERIODS)
            difference = second - first
            bias = 1e4 * np.nanmedian(difference[:, unchanged], axis=1)
            rows.append(
                {"weather": weather, "seed": seed, "method": method, "way": way}
                | dict(zip(FOUR, bias.tolist(), strict=True))
            )
    return rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of |bias|, half its 95 % interval, and the largest, by band."""
    size = (
        table.set_index(["weather", "method", "way"])[list(FOUR)].abs().groupby(level=[0, 1, 2], sort=False)
    )
    n = len(table.seed.unique())
    half = size.std() / np.sqrt(n) * stats.t.ppf(0.975, n - 1)
    return pd.concat({"|bias|": size.mean(), "±": half, "largest": size.max()}, axis=1).round(0)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default=5)
@click.option("--weather", "kinds", multiple=True, type=click.Choice(WEATHER), default=WEATHER)
def main(out: Path, seeds: int, kinds: tuple[str, ...]) -> None:
    """Print the table and keep years.json."""
    rows: list[dict[str, object]] = []
    for weather, seed in product(kinds, range(seeds)):
        rows += one_seed(out / "world", seed, weather)
        (out / "years.json").write_text(json.dumps(rows, indent=1))
    table = pd.DataFrame(rows)
    click.echo(table.round(0).to_string())
    click.echo(summary(table).to_string())


if __name__ == "__main__":
    main()
