"""How seamless a version is: reads its pixels through the engine, on one zone's grid, and takes its figures."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.bands import NODATA, MaskClass
from terrazzo.config import Method, Stage
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.zone import LAST_RESORT
from terrazzo.precompute.judge import figures as metrics
from terrazzo.raster import reflectance
from terrazzo.version import Entry, Version

BANDS = ("B02", "B03", "B04", "B08")
LONGEST = 2000
"""Pixels of the longer side that figures are taken from; larger mosaics are read at an overview."""
BUDGET = 4e8
"""Bytes of scenes' pixels held at once; more scenes are read at a coarser overview."""
NEAR, WIDE = 8, 48
"""Pixels on each side of a border that a step is taken over: a line, and a change of tone along it."""
SITES = 400
"""Places along the borders of one kind at which steps are taken."""


@dataclass(frozen=True)
class View:
    """A zone's part of a version, at the overview whose pixels fit the budget.

    Attributes:
        longest: pixels of the longer side at most.
    """

    version: Version
    period: str
    epsg: int
    longest: int = LONGEST
    blocks: Blocks = field(default_factory=Blocks)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The zone's scenes of the period, in its order."""
        return tuple(e for e in self.version.entries(self.period) if e.scene.epsg == self.epsg)

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """The bands that figures are taken of."""
        return tuple(b for b in BANDS if b in self.version.bands)

    @cached_property
    def full(self) -> PixelBox:
        """Pixels of the zone grid that the scenes cover."""
        return reduce(PixelBox.union, (e.scene.box for e in self.entries))

    @cached_property
    def level(self) -> int:
        """Overview level."""
        side = max(self.full.shape) / self.longest
        held = math.prod(self.full.shape) * len(self.entries) * len(self.bands) * 4 / BUDGET
        wanted = math.ceil(math.log2(max(side, math.sqrt(held), 1)))
        return min(wanted, self.version.store.config.window.bit_length() - 1)

    @property
    def pixel(self) -> float:
        """Pixel size in metres."""
        return float(self.version.store.config.pixel * 2**self.level)

    @cached_property
    def target(self) -> Target:
        """The view's pixels, those of the zone grid at its level."""
        h, w = (n >> self.level for n in self.full.shape)
        return Target(f"EPSG:{self.epsg}", self.version.store.grid(self.epsg).bounds(self.full), h, w)

    def composite(self, method: Method, stage: Stage, ids: Sequence[str] = ()) -> Image:
        """The merged picture as the engine makes it, with the count of all scenes."""
        request = PixelRequest(
            self.bands,
            datetime=self.period,
            method=method,
            stage=stage,
            ids=tuple(ids),
            fill="adjacent",
            max_cloud=100.0,
            resampling="nearest",
        )
        engine = Engine(self.version, self.blocks)
        return engine.render(engine.select(request), self.target, count_to=ALL)

    def scene(self, entry: Entry, stage: Stage) -> NDArray[np.int16]:
        """(band, row, col) int16 of one scene where it is clear, no data elsewhere."""
        request = PixelRequest(
            self.bands,
            datetime=self.period,
            method="first",
            stage=stage,
            ids=(entry.scene.id,),
            fill="none",
            max_cloud=100.0,
            resampling="nearest",
        )
        engine = Engine(self.version, self.blocks)
        return engine.render(engine.select(request), self.target).values

    def classes(self, entry: Entry) -> NDArray[np.uint8]:
        """(row, col) mask classes of a scene."""
        request = PixelRequest(self.bands, datetime=self.period, stage="mask", ids=(entry.scene.id,))
        engine = Engine(self.version, self.blocks)
        classes = engine.render(engine.select(request), self.target).values[0]
        return np.where(classes == NODATA, 0, classes).astype(np.uint8)


@dataclass(frozen=True)
class Scenes:
    """All scenes of a view at one stage.

    Attributes:
        values: (scene, band, row, col) int16, no data where a scene is not clear.
        classes: (scene, row, col) uint8 mask classes.
    """

    view: View
    values: NDArray[np.int16]
    classes: NDArray[np.uint8]

    @property
    def dates(self) -> list[str]:
        """Day of each scene."""
        return [e.scene.datetime.date().isoformat() for e in self.view.entries]

    @cached_property
    def blocks(self) -> NDArray[np.float32]:
        """(scene, band, row, col) means of 8 × 8 px blocks of clear land."""
        h, w = (n // metrics.BLOCK * metrics.BLOCK for n in self.values.shape[2:])
        land = self.classes[:, :h, :w] == MaskClass.LAND
        return np.stack(
            [
                [metrics.block_means(reflectance(band[:h, :w]), there) for band in scene]
                for scene, there in zip(self.values, land, strict=True)
            ]
        )

    @cached_property
    def by_date(self) -> dict[str, NDArray[np.float32]]:
        """(band, row, col) reflectance a day, the mean of its tiles."""
        groups: dict[str, list[int]] = defaultdict(list)
        for i, d in enumerate(self.dates):
            groups[d].append(i)
        return {d: _mean([reflectance(self.values[i]) for i in g]) for d, g in sorted(groups.items())}


def read_scenes(view: View, *stages: Stage) -> tuple[Scenes, ...]:
    """Reads every scene of a view, at each of some stages."""
    classes = np.stack([view.classes(e) for e in view.entries])
    return tuple(Scenes(view, np.stack([view.scene(e, s) for e in view.entries]), classes) for s in stages)


def _mean(pictures: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    if len(pictures) == 1:
        return pictures[0]
    count = sum(np.isfinite(p).astype(np.float32) for p in pictures)
    total = sum(np.nan_to_num(p) for p in pictures)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


# --- agreement -------------------------------------------------------------------------------------------


def same_day(scenes: Scenes) -> list[dict[str, Any]]:
    """How the tiles of one pass agree in their overlap: median ratio less 1 by band."""
    out = []
    entries = scenes.view.entries
    for i, a in enumerate(entries):
        for j, b in enumerate(entries):
            if a.scene.datatake != b.scene.datatake or a.scene.mgrs >= b.scene.mgrs:
                continue
            agreements = [
                metrics.agreement(x, y) for x, y in zip(scenes.blocks[i], scenes.blocks[j], strict=True)
            ]
            if agreements[0].blocks:
                out.append(
                    {
                        "date": scenes.dates[i],
                        "tiles": f"{a.scene.mgrs}/{b.scene.mgrs}",
                        "blocks": agreements[0].blocks,
                        "step": {
                            k: round(f.median - 1, 4)
                            for k, f in zip(scenes.view.bands, agreements, strict=True)
                        },
                    }
                )
    return sorted(out, key=lambda row: (row["date"], row["tiles"]))


def between_dates(scenes: Scenes) -> list[dict[str, Any]]:
    """How every two days agree on blocks of clear land: median ratio less 1, share of blocks within 5 %."""
    days = sorted(set(scenes.dates))
    blocks = {
        d: _mean([scenes.blocks[i] for i, other in enumerate(scenes.dates) if other == d]) for d in days
    }
    out = []
    for i, a in enumerate(days):
        for b in days[i + 1 :]:
            agreements = [metrics.agreement(x, y) for x, y in zip(blocks[b], blocks[a], strict=True)]
            if agreements[0].blocks:
                out.append(
                    {
                        "dates": f"{b}/{a}",
                        "blocks": agreements[0].blocks,
                        "median": {
                            k: round(f.median - 1, 4)
                            for k, f in zip(scenes.view.bands, agreements, strict=True)
                        },
                        "within5": {
                            k: round(f.within, 3) for k, f in zip(scenes.view.bands, agreements, strict=True)
                        },
                    }
                )
    return out


def residual_cloud(scenes: Scenes, image: Image) -> dict[str, float]:
    """Share of pixels with a clear date that show cloud, and of the area without any clear date."""
    blue, red = scenes.view.bands.index("B02"), scenes.view.bands.index("B04")
    hot = np.stack([_hot(v, blue, red) for v in scenes.values])
    clearest = np.where(np.isfinite(hot), hot, np.inf).min(axis=0)
    clearest = np.where(np.isfinite(clearest), clearest, np.nan).astype(np.float32)
    rho = reflectance(image.values)
    shown = image.values[0] != NODATA
    return {
        "cloud": metrics.residual_cloud_share(rho[blue], rho[red], clearest),
        "no_clear_date": float((shown & ~np.isfinite(clearest)).sum() / max(shown.sum(), 1)),
        "flagged": float((image.quality[shown] & LAST_RESORT > 0).mean()) if shown.any() else 0.0,
    }


def _hot(values: NDArray[np.int16], blue: int, red: int) -> NDArray[np.float32]:
    return reflectance(values[blue]) - np.float32(0.5) * reflectance(values[red])


# --- borders ---------------------------------------------------------------------------------------------


def borders(scenes: Scenes) -> dict[str, list[NDArray[np.bool_]]]:
    """Lines along which a seam could show, by kind, each as the region on one side of it.

    Swaths end where an orbit's scenes do and another orbit's go on; tiles end where a tile's scenes do and
    another tile's go on; holes are what a mask takes out of a mostly clear scene, away from its edges.
    """
    entries = scenes.view.entries
    seen = scenes.classes != MaskClass.NODATA
    regions: dict[str, list[NDArray[np.bool_]]] = {"swath": [], "tile": [], "hole": []}
    kinds: dict[str, Callable[[Entry], str]] = {
        "swath": lambda e: str(e.scene.relative_orbit),
        "tile": lambda e: e.scene.mgrs,
    }
    for kind, key in kinds.items():
        for name in sorted({key(e) for e in entries}):
            regions[kind].append(seen[[key(e) == name for e in entries]].any(axis=0))
    for i, e in enumerate(entries):
        if e.scene.clear_share > 0.3:
            inner = ndimage.binary_erosion(seen[i], iterations=2 * NEAR)
            regions["hole"].append(inner & (scenes.values[i, 0] == NODATA))
    return regions


def sites(
    region: NDArray[np.bool_], covered: NDArray[np.bool_], reach: int, most: int, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of at most `most` places on a region's outline that have the mosaic on both sides.

    Args:
        covered: (row, col) where any scene lies.
        reach: pixels around a place that must lie in the picture.
    """
    beyond = covered & ~region
    outline = region & ndimage.binary_dilation(beyond)
    # A step of a few pixels is no border: there, one side would be too small to measure.
    outline &= ndimage.uniform_filter(beyond.astype(np.float32), 2 * NEAR + 1) > 0.2
    r, c = np.nonzero(outline)
    inside = (r >= reach) & (c >= reach) & (r < region.shape[0] - reach) & (c < region.shape[1] - reach)
    r, c = r[inside], c[inside]
    if len(r) > most:
        picked = np.sort(np.random.default_rng(seed).choice(len(r), most, replace=False))
        r, c = r[picked], c[picked]
    return r, c


@dataclass(frozen=True)
class SeamPlaces:
    """Squares around places on borders.

    Attributes:
        rows, cols: (site, k) pixels of the squares.
        inside: (site, k) whether a pixel lies in the region.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    inside: NDArray[np.bool_]

    def of(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """(band, site, k) a picture's pixels in the squares."""
        return picture[:, self.rows, self.cols]

    def steps(self, error: NDArray[np.float32]) -> NDArray[np.float64]:
        """(site, band) mean inside less mean outside; NaN where less than a fifth of the square is known.

        Args:
            error: (band, site, k), NaN where it is not known.
        """
        known = np.isfinite(error[0])
        filled = np.where(known, error, 0)
        sides = []
        for side in (self.inside, ~self.inside):
            here = (known & side).astype(np.float32)
            count = here.sum(axis=1)
            total = np.einsum("bsk,sk->bs", filled, here, dtype=np.float64)
            sides.append(np.where(count >= 0.2 * here.shape[1], total / np.maximum(count, 1), np.nan))
        return np.asarray((sides[0] - sides[1]).T)

    def moved(self, by: int, shape: tuple[int, int]) -> "SeamPlaces":
        """The same squares elsewhere, where no border need be: `by` pixels down and right, or up and left."""
        down = np.where(self.rows.max(axis=1) + by < shape[0], by, -by)[:, None]
        right = np.where(self.cols.max(axis=1) + by < shape[1], by, -by)[:, None]
        rows, cols = self.rows + down, self.cols + right
        inside = (rows.min(axis=1) >= 0) & (cols.min(axis=1) >= 0)
        return SeamPlaces(rows[inside], cols[inside], self.inside[inside])


def places(scenes: Scenes, reach: int, most: int = SITES) -> dict[str, SeamPlaces]:
    """Squares of 2·reach pixels a side around places on the borders of each kind."""
    offset = np.arange(-reach, reach, max(1, reach // 8)) + 1
    dr, dc = (v.ravel() for v in np.meshgrid(offset, offset, indexing="ij"))
    covered = (scenes.classes != MaskClass.NODATA).any(axis=0)
    out = {}
    for kind, regions in borders(scenes).items():
        rows, cols, inside = [], [], []
        for region in regions:
            r, c = sites(region, covered, reach + 1, most // max(len(regions), 1))
            y, x = r[:, None] + dr, c[:, None] + dc
            rows.append(y)
            cols.append(x)
            inside.append(region[y, x])
        if sum(map(len, rows)):
            out[kind] = SeamPlaces(np.concatenate(rows), np.concatenate(cols), np.concatenate(inside))
    return out


@dataclass(frozen=True)
class Steps:
    """Steps across the borders of one kind: of what is shown and of the land, see `error_step`.

    Attributes:
        error: (band,) mean over places and days of |step of the picture − step of that day|.
        single: (band,) the same of every single day against every other: what land changes by itself.
        count: places times days.
    """

    error: NDArray[np.float64]
    single: NDArray[np.float64]
    count: int


def error_step(
    where: SeamPlaces,
    pictures: Mapping[str, NDArray[np.float32]],
    lands: Mapping[str, NDArray[np.float32]],
) -> Steps:
    """Error steps of a composite across borders, beside those of single days at the same places.

    A day's picture shows the land's own step where it is clear on both sides. Judged by a day, a composite
    should not hold that day: then it and a single other day are on equal footing.

    Args:
        pictures: the composite that each day judges, (band, row, col), by day.
        lands: the days' own pictures.
    """
    errors, singles = [], []
    days = {name: where.of(land) for name, land in lands.items()}
    if len(days) < 2:
        # No other day to compare with.
        nothing = np.full(len(next(iter(lands.values()), ())), np.nan)
        return Steps(nothing, nothing, 0)
    for day, land in days.items():
        step = where.steps(where.of(pictures[day]) - land)
        alone = [where.steps(other - land) for name, other in days.items() if name != day]
        # Only places at which some single day can be compared too.
        both = np.isfinite(step).all(axis=1) & np.isfinite(np.stack(alone)).all(axis=2).any(axis=0)
        errors.append(np.abs(step[both]))
        singles += [np.abs(a[both & np.isfinite(a).all(axis=1)]) for a in alone]
    error, single = np.concatenate(errors), np.concatenate(singles)
    if not len(error):
        nothing = np.full(len(next(iter(lands.values()))), np.nan)
        return Steps(nothing, nothing, 0)
    return Steps(error.mean(axis=0), single.mean(axis=0), len(error))


def step_ratio(
    where: SeamPlaces, picture: NDArray[np.float32], lands: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float64]:
    """(band,) mean step of a composite across borders over the land's own there (SSR): 1 is invisible.

    Over real land it says little, for steps of fields are far larger than seams; see `error_step`.
    """
    shown = np.abs(where.steps(where.of(picture)))
    land = np.stack([np.abs(where.steps(where.of(day))) for day in lands.values()])
    both = np.isfinite(shown).all(axis=1) & np.isfinite(land).all(axis=2)
    if not both.any():
        return np.full(shown.shape[1], np.nan)
    steps = [shown[b] for b in both]
    return np.asarray(np.concatenate(steps).mean(axis=0) / land[both].mean(axis=0))


def window_grid(picture: NDArray[np.float32], window: int) -> NDArray[np.float64]:
    """(band,) mean step from pixel to pixel across window borders over that inside windows; 1 shows no grid.

    Args:
        picture: (band, row, col) reflectance from a window's corner on, NaN without data.
        window: window side in the picture's pixels, at least 2.
    """
    border, inner = [], []
    for axis in (1, 2):
        step = np.moveaxis(np.abs(np.diff(picture, axis=axis)), axis, 1)
        at = (np.arange(step.shape[1]) + 1) % window == 0
        border.append(step[:, at].reshape(len(step), -1))
        inner.append(step[:, ~at].reshape(len(step), -1))
    across, inside = (np.concatenate(v, axis=1) for v in (border, inner))
    ratio = np.full(len(picture), np.nan)
    # A band may lack all steps of one kind: it has no data, or holds one number.
    for band, (border_steps, inner_steps) in enumerate(zip(across, inside, strict=True)):
        outer, inner_known = (steps[np.isfinite(steps)] for steps in (border_steps, inner_steps))
        if outer.size and inner_known.any():
            ratio[band] = outer.mean(dtype=np.float64) / inner_known.mean(dtype=np.float64)
    return ratio
