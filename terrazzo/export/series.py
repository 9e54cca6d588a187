"""Writes an area day by day without gaps: what a day shows, and what the other dates predict where it shows nothing."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from terrazzo.bulk.windows import export_target, reaching
from terrazzo.errors import InvalidRequest, NameTaken, OutsideCoverage
from terrazzo.export.order import Order
from terrazzo.export.run import Exported, export, publish
from terrazzo.mosaic.engine import Engine

MOST_DAYS = 1000
"""Days of one series."""
EXTRAS = ("quality", "date")
"""Layers that say of each value whether it was seen or predicted."""
ABOUT = "series.json"
"""File that says which series a folder holds."""


class WrittenDay(NamedTuple):
    """A day of a series that is done.

    Attributes:
        share: of the pixels that hold data, 0–1; None where the day was there already.
        files: its rasters, the bands first; none where neither the day nor any other date within reach shows anything.
    """

    day: date
    share: float | None
    files: tuple[Path, ...]
    problems: tuple[str, ...]


def days_between(start: date | None, end: date | None, every: int) -> list[date]:
    """Every so many days of an interval, its first one first.

    Raises:
        InvalidRequest: the interval has an open end, or more than `MOST_DAYS` days are asked for.
    """
    if start is None or end is None or end < start:
        raise InvalidRequest(
            "datetime: name the first and the last day of the series, such as 2025-06-01/2025-08-31"
        )
    days = [start + timedelta(days=n) for n in range(0, (end - start).days + 1, every)]
    if len(days) > MOST_DAYS:
        raise InvalidRequest(f"{len(days)} days: at most {MOST_DAYS}; raise --every, or divide the series")
    return days


def write_days(
    engine: Engine, order: Order, days: Sequence[date], folder: Path, *, workers: int, overwrite: bool = False
) -> Iterator[float | WrittenDay]:
    """Writes DAY.tif, DAY_quality.tif, DAY_date.tif and DAY.lock.json of each day; yields the share that is done, and each day when it is.

    Stopped anywhere, the same call goes on where it was: days that are there are not written again.

    Args:
        order: of any day.
        overwrite: whether another series in the folder is replaced.

    Raises:
        InvalidRequest: a day lies in no period.
        NameTaken: the folder holds another series.
        OutsideCoverage: no scene of any day, or within reach of it, lies in the area.
    """
    orders = [_order_of(order, day) for day in days]
    # Of all days, so that one that lies in no period is refused before the first is written.
    holding = [engine.planner.holding(engine.select(one.pixels)).entries for one in orders]
    target = export_target(engine.version, order.area, order.crs, order.resolution)
    if not any(reaching(engine, entries, target) for entries in holding):
        raise OutsideCoverage(
            f"no scene of these days, or within reach of them, lies in the area; the mosaic covers {tuple(engine.version.bounds)}"
        )
    _take(folder, _name(engine, order), overwrite)
    for number, (day, one) in enumerate(zip(days, orders, strict=True)):
        path = folder / f"{day}.tif"
        if not (path.exists() and path.with_suffix(".lock.json").exists()):
            yield from _written(engine, one, day, path, workers, number / len(days), len(days))
        else:
            yield WrittenDay(day, None, _rasters(path), ())
        yield (number + 1) / len(days)


def _written(
    engine: Engine, order: Order, day: date, path: Path, workers: int, before: float, count: int
) -> Iterator[float | WrittenDay]:
    try:
        for step in export(engine, order, path, workers=workers):
            if isinstance(step, Exported):
                yield WrittenDay(day, step.share, _rasters(path), step.problems)
            else:
                yield before + step / count
    except OutsideCoverage:
        yield WrittenDay(day, 0.0, (), ())


def _order_of(order: Order, day: date) -> Order:
    pixels = replace(order.measure.pixels, datetime=day.isoformat(), fill="predict")
    return replace(order, measure=replace(order.measure, pixels=pixels), extras=EXTRAS)


def _rasters(path: Path) -> tuple[Path, ...]:
    return (path, *(path.with_name(f"{path.stem}_{name}.tif") for name in EXTRAS))


def _name(engine: Engine, order: Order) -> str:
    """What determines a series' pixels besides its days."""
    pixels = replace(order.measure.pixels, datetime=None, fill=None)
    what = (
        *(engine.version.name, order.area.geometry, order.area.bounds, pixels, order.measure.expression),
        *(order.crs, order.resolution, order.encoding, order.compression),
    )
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()


def _take(folder: Path, name: str, overwrite: bool) -> None:
    """Makes a folder this series' own.

    Raises:
        NameTaken: it holds files of something else, or is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise NameTaken(f"{folder} is a file: name a folder for the days, or NAME.zarr")
    about = folder / ABOUT
    if about.exists() and json.loads(about.read_text())["series"] == name:
        return
    if folder.exists() and any(folder.iterdir()):
        # A folder out of sight was left by a cube that was stopped.
        if not (overwrite and (about.exists() or folder.name.startswith("."))):
            raise NameTaken(
                f"{folder} holds other files"
                + (", of another series or version; replace them with --overwrite" if about.exists() else "")
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    publish(about, json.dumps({"series": name}))
