"""Which pictures a film shows: pixels of the engine, step by step."""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import STYLES, MaskClass
from terrazzo.bulk.area import area_of_box
from terrazzo.bulk.windows import export_target, touching
from terrazzo.config import Stage
from terrazzo.edges import Strips, strips_from_table
from terrazzo.errors import OutsideCoverage
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure, choose
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.precompute.film.drawing import CLASSES, Frame, masked, natural, with_strips
from terrazzo.scene import STRIPS
from terrazzo.version import Entry
from terrazzo.words import counted

BANDS = STYLES["natural"].bands
LONGEST = 900
"""Pixels of the longer side of the film's picture, about."""
MOST_DAYS = 4


class Day(NamedTuple):
    """The scenes of one day, in their period's order."""

    day: date
    entries: tuple[Entry, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the scenes."""
        return tuple(e.scene.id for e in self.entries)

    def __str__(self) -> str:
        return f"{self.day.day} {self.day:%B %Y}"


def frames(engine: Engine, bounds: Bounds, datetime: str | None = None) -> Iterator[Frame]:
    """The film over a box in degrees: raw scenes, masks, corrected, edge medians, merged, normalized.

    Every pixel is the engine's; the medians are the stored ones that gains are solved from.

    Raises:
        InvalidRequest: the box is empty, or the mosaic lacks bands of natural colour or normalization.
        OutsideCoverage: no scene has pixels in the box.
    """
    target = film_target(engine, bounds)
    view = _View(engine, target, datetime)
    days = view.days()
    raw = {d: natural(view.pixels("raw", d.ids)) for d in days}
    for d in days:
        yield Frame(raw[d], 0, str(d), "Numbers of the product, no offset", (), 900)
    for d in days:
        classes = view.pixels("mask", d.ids)[0]
        yield Frame(masked(raw[d], classes), 1, str(d), "Classes of the mask", _legend(classes), 1200)
    corrected = {d: natural(view.pixels("corrected", d.ids)) for d in days}
    for d in days:
        yield Frame(corrected[d], 2, str(d), "Surface reflectance of each scene, corrected", (), 900)
    for d in days:
        strips = [(e, _medians(engine, e)) for e in d.entries if target.crs == f"EPSG:{e.scene.epsg}"]
        drawn = with_strips(engine.version.store, target, corrected[d], strips)
        text = "Windows, and their edges in the colour of the median of the clear pixels there"
        yield Frame(drawn, 3, str(d), text, (), 1200)
    yield from _merged(view)


def film_target(engine: Engine, bounds: Bounds) -> Target:
    """The film's pixels: a box in degrees in the zone nearest to it, about `LONGEST` pixels long.

    Raises:
        InvalidRequest: the box is empty.
    """
    area = area_of_box(bounds, coverage=engine.version.bounds)
    b = export_target(engine.version, area).bounds
    return export_target(engine.version, area, resolution=max(b.right - b.left, b.top - b.bottom) / LONGEST)


class _View:
    """A box of a mosaic at a time."""

    def __init__(self, engine: Engine, target: Target, datetime: str | None) -> None:
        self.engine, self.target, self.datetime = engine, target, datetime
        whole = choose(engine, Measure(PixelRequest(BANDS, datetime=datetime, stage="normalized")))
        self.entries = touching(engine, whole, target)

    def days(self) -> list[Day]:
        """Days with pixels here, oldest first; of many, some spread over time."""
        by_day: dict[date, list[Entry]] = {}
        for entry in self.entries:
            by_day.setdefault(entry.scene.datetime.date(), []).append(entry)
        days = [Day(d, tuple(by_day[d])) for d in sorted(by_day)]
        days = [d for d in days if (self.pixels("mask", d.ids) > MaskClass.NODATA).any()]
        if not days:
            raise OutsideCoverage(
                f"no scene has pixels in the box; the mosaic covers {tuple(self.engine.version.bounds)}"
            )
        kept = np.linspace(0, len(days) - 1, min(MOST_DAYS, len(days))).round().astype(int)
        return [days[i] for i in kept]

    def pixels(self, stage: Stage, ids: tuple[str, ...] = ()) -> NDArray[np.int16]:
        """(band, row, col) of some scenes at a stage, of all for no ids."""
        request = PixelRequest(
            BANDS, datetime=self.datetime, ids=ids, stage=stage, fill="none" if ids else None
        )
        return self.engine.part(request, self.target).values


def _merged(view: _View) -> Iterator[Frame]:
    ids = tuple(e.scene.id for e in sorted(view.entries, key=lambda e: e.rank))
    for number in np.unique(np.linspace(1, len(ids), min(5, len(ids) + 1)).astype(int))[:-1]:
        picture = natural(view.pixels("merged", ids[:number]))
        shown = f"{number} of {len(ids)} scenes"
        yield Frame(picture, 4, shown, "Pixels that the masks leave, merged; not normalized yet", (), 700)
    before, after = natural(view.pixels("merged")), natural(view.pixels("normalized"))
    shown = counted(len(ids), "scene")
    yield Frame(before, 4, shown, "All scenes merged; not normalized yet", (), 2000)
    text = "The same scenes, each fitted by its gains and offsets before they are merged"
    for share in np.linspace(0, 1, 10)[1:-1]:
        border = round(float(share) * view.target.width)
        mixed = before.copy()
        mixed[:, :border] = after[:, :border]
        mixed[:, border - 1 : border + 1] = 255
        yield Frame(mixed, 5, shown, text, (), 140)
    yield Frame(after, 5, shown, text, (), 3500)


def _legend(classes: NDArray[np.int16]) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """The classes that are there, with their share of the day's pixels."""
    seen = np.count_nonzero(classes > MaskClass.NODATA)
    shares = {c: np.count_nonzero(classes == c) / seen for c in CLASSES}
    return tuple(
        (f"{c.name.lower().replace('_', ' ')} {_per_cent(shares[c])}", rgb)
        for c, rgb in CLASSES.items()
        if shares[c]
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"


def _medians(engine: Engine, entry: Entry) -> Strips:
    store, scene = engine.version.store, entry.scene
    table = store.read_table(scene.key(STRIPS))
    return strips_from_table(table, store.grid(scene.epsg).window_range(scene.box), BANDS)
