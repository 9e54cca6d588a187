"""How well a day's clouded part is predicted: `python -m benchmarks.hidden OUT --data FOLDER --sample FOLDER`.

The series of `benchmarks.left_out`. Of each clear date a part is hidden under the clouds of another date of the series, turned, and predicted by `fill=predict` from the rest
of it and the dates of `--days` before and after. Judged over the hidden pixels that the date's own mask calls clear, against its own values, in 1e-4. Beside it stand the simple ways of
`left_out` and `kriging`, all of the other dates alone; `share` is the RMSE, mean over dates, over that of the best simple way, the mean of the bands; `median share` the same of the
median absolute difference. Clouds of the mirrored series are mirrored with their pictures, so that no hidden pixel is seen in its mirror.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.left_out import SIMPLE, Place, candidates, places, series_options, simple
from benchmarks.mosaics import mosaic
from benchmarks.series import Array
from terrazzo.bands import NODATA
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.predict import DaySource, filled
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.zone import Merging, Outcome
from terrazzo.raster import reflectance
from terrazzo.scene import Scene
from terrazzo.version import Version
from tests.world.worlds import FOUR

NOWHERE = PixelBox(0, 0, 0, 0)
HIDES = (0.15, 0.85)
"""Shares of a picture that a date's clouds may hide to be laid over another."""


@dataclass(frozen=True)
class Hidden(DaySource):
    """A day of which a part is not seen.

    Attributes:
        name: of the hole; equal names have equal holes.
        hole, over: (row, col) what is hidden, and the box of the zone's grid that it lies over.
    """

    name: str = ""
    hole: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool), compare=False)
    over: PixelBox = NOWHERE

    def seen(self, box: PixelBox) -> Outcome:
        """What the day shows beside the hole; a coarse pixel that is hidden in part is hidden."""
        pixels, problems = super().seen(box)
        if pixels is None:
            return Outcome(None, problems)
        side = 2**self.merging.level
        rows, cols = self.over.height // side, self.over.width // side
        coarse = self.hole[: rows * side, : cols * side].reshape(rows, side, cols, side).any(axis=(1, 3))
        over = PixelBox(*(v // side for v in self.over))
        common = over.intersection(box)
        if common.empty:
            return Outcome(pixels, problems)
        values = pixels.values.copy()
        values[:, *common.within(box)][:, coarse[common.within(over)]] = NODATA
        return Outcome(pixels._replace(values=values), problems)


def holes(place: Place, scene: Scene) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Clouds of other dates over a scene's box, as they are and turned, each with its name."""
    for other in sorted(place.scenes, key=lambda s: s.id):
        if other.mgrs != scene.mgrs or other.box != scene.box or other.id == scene.id:
            continue
        box = place.picture or other.box
        cloud = ~np.isfinite(place.clear(other, box)).all(axis=0)
        middle = cloud[place.box(other).within(box)] if place.picture is None else cloud
        if not HIDES[0] < middle.mean() < HIDES[1]:
            continue
        for name, turned in (("", cloud), (" turned", cloud[::-1, ::-1]), (" mirrored", cloud[:, ::-1])):
            short = [(n - m) // 2 for n, m in zip(scene.box.shape, turned.shape, strict=True)]
            yield other.id + name, np.pad(turned, [(n, n) for n in short], mode="symmetric")


def predicted(place: Place, span: int, scene: Scene, number: int) -> list[dict[str, object]]:
    """Figures of each way over the part of a scene that is hidden."""
    day, reach = scene.datetime.date(), timedelta(days=span)
    every = list(holes(place, scene))
    if not every:
        return []
    name, hole = every[number % len(every)]
    version = mosaic(
        place.products,
        place.store,
        f"hidden-{span}-{scene.mgrs}-{day}",
        {"around": (day - reach, day + reach)},
    )
    engine, box = Engine(version, Blocks()), place.box(scene)
    asked = PixelRequest(FOUR, datetime=day.isoformat(), fill="predict")
    selection = engine.planner.holding(engine.select(asked))
    merging = Merging(version, engine.blocks, selection.request, scene.epsg, 0)
    predicted = filled(Hidden(merging, selection, name=name, hole=hole, over=scene.box), box).pixels
    truth_seen = DaySource(merging, selection).seen(box).pixels
    assert predicted is not None
    assert truth_seen is not None
    ways = _others_alone(place, version, box, day)
    ways["predict"] = reflectance(predicted.values)
    engine.blocks.close()
    # Simple ways know no gains: they are judged against the date as it is, ours against the date as the mosaic shows it.
    plain, ours = place.clear(scene, box), reflectance(truth_seen.values)
    known = [np.isfinite(v).all(axis=0) for v in (plain, ours, *ways.values())]
    over = np.all(known, axis=0) & hole[box.within(scene.box)]
    if over.sum() < 50:
        return []
    rows = []
    for way, values in ways.items():
        d = 1e4 * (values - (ours if way == "predict" else plain))[:, over]
        rows += [{"way": way, "figure": "rmse"} | _by_band(np.sqrt((d**2).mean(axis=1)))]
        rows += [{"way": way, "figure": "median"} | _by_band(np.median(np.abs(d), axis=1))]
    return rows


def _others_alone(place: Place, version: Version, box: PixelBox, day: date) -> dict[str, Array]:
    """What the simple ways and `kriging` predict of a day from the other dates' clear pixels, without gains."""
    others = [e for e in version.entries("around") if e.scene.datetime.date() != day]
    others = [e for e in others if not e.scene.box.intersection(box).empty]
    others.sort(key=lambda e: (abs((e.scene.datetime.date() - day).days), e.scene.id))
    days = np.array([(e.scene.datetime.date() - day).days for e in others], float)
    clear = np.stack([place.clear(e.scene, box) for e in others])
    weight = np.where(np.isfinite(clear).all(axis=1), 255, 0).astype(np.uint8)
    kriging = merge(clear, weight, "kriging", days.astype(np.float32)).values
    return simple(clear, days) | {"kriging": kriging}


def _by_band(values: Array) -> dict[str, float]:
    return dict(zip(FOUR, values.tolist(), strict=True))


def summary(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Shares of the best simple way by series, days and way."""
    table = pd.DataFrame(rows)
    keys = ["series", "days"]
    mean = table.groupby([*keys, "way", "figure"], sort=False)[list(FOUR)].mean()
    out = {}
    for figure, name in (("rmse", "share"), ("median", "median share")):
        own = mean.xs(figure, level="figure")
        relative = (own / own.xs("median", level="way")).mean(axis=1)
        best = relative[relative.index.get_level_values("way").isin(SIMPLE)].groupby(keys).min()
        out[name] = relative / best
    dates = table.groupby(keys, sort=False).date.nunique().rename("dates")
    return pd.DataFrame(out).round(2).join(dates, on=keys)


@click.command()
@series_options()
def main(
    out: Path, data: Path | None, sample: Path | None, spans: tuple[int, ...], dates: int | None
) -> None:
    """Print the table and keep hidden.json."""
    rows = list[dict[str, object]]()
    for place in places(out, data, sample):
        for span in spans if place.picture is not None else spans[:1]:
            for number, scene in enumerate(candidates(place, span, dates)):
                about = {"series": place.name, "days": span, "date": f"{scene.mgrs} {scene.datetime.date()}"}
                rows += [about | row for row in predicted(place, span, scene, number)]
                click.echo(str(about), err=True)
    (out / "hidden.json").write_text(json.dumps(rows, indent=1))
    click.echo(summary(rows).to_string())


if __name__ == "__main__":
    main()
