"""Plans an answer: its scenes, the zones that hold it, and for each the overview level, the source and the box to read."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.errors import Damaged, TooLarge
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic.predict import MARGIN, RADIUS, SIDE, widened
from terrazzo.mosaic.pyramid import Part, read_pyramid
from terrazzo.mosaic.request import PixelRequest, Resolved
from terrazzo.mosaic.selection import Selection, adjacent, adjacent_periods, select
from terrazzo.mosaic.warp import (
    Points,
    Target,
    box_around,
    lattice,
    level_of,
    locate,
    may_touch,
    own_box,
    places,
    transformer,
)
from terrazzo.version import Entry, Version

log = logging.getLogger(__name__)
MOST_PIXELS = 4096 * 4096
"""Pixels of one answer, and zone pixels read for it; exports cut larger areas."""
MOST_SCENES = 600
"""Scenes that are merged for one picture."""
KEPT_SELECTIONS = 32
"""Requests whose scenes are remembered."""
KEPT_PLANS = 16
"""Pictures whose plans are remembered, since fetching and rendering ask for the same one."""
KEPT_PIXELS = 1024 * 1024
"""Pixels of the largest picture whose plan is remembered: it holds two coordinates of each."""
LEVEL = b"level of the day"
"""Tells the pixels of methods that show one day from those of releases without its level."""
RIM = 0.1
"""Degrees around a zone's scenes within which a picture counts as near."""


class ZonePlan(NamedTuple):
    """Where the pixels of an answer lie in one zone.

    Attributes:
        part: of the pyramid; None: the scenes.
        box: what is read, of the level's grid.
        own: the box that the pixels asked for are, where they are the level's own; None: they lie at `places`.
    """

    epsg: int
    level: int
    part: Part | None
    box: PixelBox
    own: PixelBox | None
    places: tuple[NDArray[np.float64], NDArray[np.float64]] | None


@dataclass(frozen=True)
class Planner:
    """Plans answers from one version of a mosaic; safe to use from several threads."""

    version: Version

    def select(self, request: PixelRequest) -> Selection:
        """The request with every default filled in, and its scenes.

        Raises:
            InvalidRequest: a value is unknown.
        """
        return self._selected(request)

    @cached_property
    def _selected(self) -> Callable[[PixelRequest], Selection]:
        return lru_cache(maxsize=KEPT_SELECTIONS)(partial(select, self.version))

    @cached_property
    def adjacent(self) -> Callable[[Resolved], list[Selection]]:
        """The same request over the other periods, the nearest in time first."""
        return lru_cache(maxsize=KEPT_SELECTIONS)(partial(adjacent, self.version))

    def holding(self, selection: Selection) -> Selection:
        """A selection with the scenes behind it that predict its holes, where that is asked for."""
        return self._widened(selection) if selection.request.fill == "predict" else selection

    @cached_property
    def _widened(self) -> Callable[[Selection], Selection]:
        return lru_cache(maxsize=KEPT_SELECTIONS)(partial(widened, self.version))

    def zones(self, selection: Selection, where: Target | Points) -> tuple[ZonePlan, ...]:
        """The zones that hold pixels of a selection where they are asked for.

        Raises:
            TooLarge: too many scenes or pixels lie there.
        """
        if isinstance(where, Target) and where.height * where.width <= KEPT_PIXELS:
            return self._kept(selection, where)
        return self._zones(selection, where)

    @cached_property
    def _kept(self) -> Callable[[Selection, Target], tuple[ZonePlan, ...]]:
        return lru_cache(maxsize=KEPT_PLANS)(self._zones)

    def cells(self, selection: Selection, target: Target) -> Iterator[bytes]:
        """What the scenes that may show in a target are known by, zone by zone; nothing outside all data.

        A tile that is in the cache is answered from this alone: it reads no scene and locates no pixel.
        """
        request = selection.request
        names = [request.period]
        if request.fill == "adjacent":
            names += adjacent_periods(self.version, request.period)
        baked = self._baked(selection)
        for epsg in self._near(target):
            grid = self.version.store.grid(epsg)
            level, part = self._level(target, epsg, baked.get(epsg))
            box = box_around(*places(target.crs, target.outline(), grid, level))
            if box is None:
                continue
            # A rim for what the outline's curve and the interpolation reach beyond its points.
            rim = MARGIN + 2 if request.fill == "predict" else 2
            windows = PixelBox(*(v * 2**level for v in box.grown(rim))).coarser(grid.window)
            # Windows of predictions are as large as those of the grid, or larger where pixels are coarse.
            larger = max(1, (SIDE << level) // grid.window)
            reach = (RADIUS + 1) * larger - 1 if request.fill == "predict" else 0
            if request.target is not None or reach:
                # The level of a day reads the corners of these windows, which scenes beside them decide too.
                reach += 1
            cells = [self.version.cells(epsg, windows.grown(reach), name) for name in names]
            if any(cells):
                yield LEVEL if request.target is not None else b""
                mesh = lattice(target.crs, grid, level, self.area)
                # Below its finest level a pyramid's pixels are averages of merged ones.
                where = (level, mesh) if part is None else (level, mesh, part.level)
                yield from (*cells, repr(where).encode())

    def level(self, where: Target | Points, epsg: int) -> int:
        """The overview level that a zone's scenes are read at."""
        return self._level(where, epsg, None)[0]

    def _level(self, where: Target | Points, epsg: int, part: Part | None) -> tuple[int, Part | None]:
        """The overview level a zone is read at, and `part` where that has it; None: the scenes have.

        Args:
            part: of the pyramid, that holds what is asked for; None if none does.
        """
        if where.resolution is None:
            return 0, None
        b = self.version.bounds
        centre = ((b.left + b.right) / 2, (b.bottom + b.top) / 2)
        grid = self.version.store.grid(epsg)
        scenes = grid.window.bit_length() - 1
        level = level_of(where.crs, where.resolution, centre, grid, part.deepest if part else scenes)
        return level, part if part and level >= part.level else None

    def _baked(self, selection: Selection) -> dict[int, Part]:
        """The parts of the pyramid, by zone, that hold what a selection asks for: all a period has, by the defaults."""
        if not selection.entries or not self._pyramid:
            return {}
        period = selection.entries[0].period
        usual = self.select(PixelRequest(selection.request.bands, datetime=period))
        asked = replace(selection.request, period=period, resampling=usual.request.resampling)
        if asked != usual.request or len(selection.entries) != len(usual.entries):
            return {}
        return {epsg: part for (name, epsg), part in self._pyramid.items() if name == period}

    @property
    def pyramid_problem(self) -> str:
        """Why low zooms are merged from scenes though the version has a pyramid; empty where they are not."""
        return self._read_pyramid[1]

    @property
    def _pyramid(self) -> Mapping[tuple[str, int], Part]:
        return self._read_pyramid[0]

    @cached_property
    def _read_pyramid(self) -> tuple[Mapping[tuple[str, int], Part], str]:
        try:
            return read_pyramid(self.version.store, self.version.mosaic_id, self.version.name), ""
        except Damaged as error:
            log.error("low zooms are merged from scenes: %s", error)
            return {}, f"pyramid: {error}"

    def _near(self, where: Target | Points) -> list[int]:
        """The zones whose scenes may lie where pixels are asked for, by longitude and latitude."""
        if len(self.version.zones) < 3:
            return list(self.version.zones)
        if isinstance(where, Target):
            asked = Bounds(*transformer(where.crs, "EPSG:4326").transform_bounds(*where.bounds))
        else:
            x, y = transformer(where.crs, "EPSG:4326").transform(where.x, where.y)
            asked = Bounds(x.min(), y.min(), x.max(), y.max())
        if not np.isfinite(asked).all() or asked.left > asked.right:
            return list(self.version.zones)
        return [
            epsg
            for epsg, b in self._zone_bounds.items()
            if b.left > b.right
            or (
                (b.left <= asked.right and asked.left <= b.right)
                and (b.bottom <= asked.top and asked.bottom <= b.top)
            )
        ]

    @cached_property
    def _zone_bounds(self) -> Mapping[int, Bounds]:
        """Degrees around each zone's scenes, with a rim; left > right across the antimeridian."""
        every = [self.version.places(p) for p in self.version.periods]
        epsg, boxes = np.concatenate([p.epsg for p in every]), np.concatenate([p.boxes for p in every])
        bounds_of = {}
        for zone in self.version.zones:
            own = boxes[epsg == zone]
            (row0, col0), (row1, col1) = own[:, :2].min(axis=0), own[:, 2:].max(axis=0)
            bounds = self.version.store.grid(zone).bounds(
                PixelBox(int(row0), int(col0), int(row1), int(col1))
            )
            b = transformer(f"EPSG:{zone}", "EPSG:4326").transform_bounds(*bounds)
            bounds_of[zone] = Bounds(b[0] - RIM, b[1] - RIM, b[2] + RIM, b[3] + RIM)
        return bounds_of

    def shown(self, selection: Selection, where: Target | Points) -> list[Entry]:
        """The scenes of a selection that lie where pixels are asked for."""
        entries: list[Entry] = []
        outline = where.outline() if isinstance(where, Target) else (where.x, where.y)
        for epsg in self._near(where):
            if epsg in selection.zones:
                grid = self.version.store.grid(epsg)
                level, _ = self._level(where, epsg, None)
                box = box_around(*places(where.crs, outline, grid, level))
                entries += [] if box is None else [e for _, e in selection.shown(epsg, level, box)]
        return entries

    @cached_property
    def area(self) -> Bounds:
        """Whole degrees around all scenes."""
        b = self.version.bounds
        return Bounds(
            math.floor(b.left - 0.1),
            math.floor(b.bottom - 0.1),
            math.ceil(b.right + 0.1),
            math.ceil(b.top + 0.1),
        )

    def _zones(self, selection: Selection, where: Target | Points) -> tuple[ZonePlan, ...]:
        planned, baked = [], self._baked(selection)
        for epsg in self._near(where):
            if epsg not in selection.zones:
                continue
            level, part = self._level(where, epsg, baked.get(epsg))
            grid, covered = self.version.store.grid(epsg), selection.covered(epsg, level)
            if isinstance(where, Target) and not may_touch(where, grid, level, covered):
                continue
            own = own_box(where, grid, level)
            located = None if own else locate(where, grid, level, self.area)
            box = own or box_around(*located)  # type: ignore[misc]
            if box is None:
                continue
            box = box.intersection(covered)
            if box.empty:
                continue
            if box.height * box.width > 2 * MOST_PIXELS:
                raise TooLarge("the area is too large for its resolution: ask for a smaller one")
            planned.append(ZonePlan(epsg, level, part, box, own, located))
        _bounded(sum(len(selection.shown(t.epsg, t.level, t.box)) for t in planned if not t.part))
        return tuple(planned)


def _bounded(shown: int) -> None:
    if shown > MOST_SCENES:
        raise TooLarge(
            f"{shown} scenes lie in this picture, at most {MOST_SCENES} are merged for one: zoom in, choose fewer by datetime,"
            " max_cloud, orbit or ids, or take a whole period with the mosaic's defaults, which is kept ready for low zooms"
        )
