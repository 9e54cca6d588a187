"""The engine: a request and a place in, pixels out; every product of Terrazzo comes through here."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
from morecantile import Tile, TileMatrixSet
from numpy.typing import NDArray

from terrazzo import PIXELS
from terrazzo.bands import NODATA
from terrazzo.cells import digest
from terrazzo.errors import InvalidRequest, TooLarge
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic import kernels
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.pyramid import Part, read_pyramid
from terrazzo.mosaic.request import CLASSES_BAND, PixelRequest, Resolved
from terrazzo.mosaic.selection import Selection, adjacent, select
from terrazzo.mosaic.warp import (
    Points,
    Target,
    box_around,
    gather,
    lattice,
    level_of,
    locate,
    may_touch,
    own_box,
    places,
    transformer,
)
from terrazzo.mosaic.zone import Merging, ZonePixels
from terrazzo.version import Entry, Version

MOST_PIXELS = 4096 * 4096
"""Pixels of one answer, and zone pixels read for it; exports cut larger areas."""
KEPT_SELECTIONS = 32
"""Requests whose scenes are remembered."""
MOST_SCENES = 600
"""Scenes that are merged for one picture."""
RIM = 0.1
"""Degrees around a zone's scenes within which a picture counts as near."""
FILLED, LAST_RESORT = 1, 2
"""Bits of the quality layer: from another period; no date is clear, the least hazy one shows."""


class Image(NamedTuple):
    """Pixels of an answer.

    Attributes:
        bands: name of each band of `values`.
        values: (band, row, col) int16, scale 1e-4, nodata −32768; for `stage=mask` classes, for `raw` counts.
        provenance: (row, col) int16 index into `entries`, −1 none.
        count: (row, col) uint8 usable scenes; of `first` and `feather` as many as were looked at, of points all.
        quality: (row, col) uint8 bits FILLED, LAST_RESORT; `terrazzo.mosaic.quality` tells more.
        problems: scenes that were left out, and why.
    """

    bands: tuple[str, ...]
    values: NDArray[np.int16]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]
    quality: NDArray[np.uint8]
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """Renders one version of a mosaic; safe to use from several threads."""

    version: Version
    blocks: Blocks

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
    def _adjacent(self) -> Callable[[Resolved], list[Selection]]:
        return lru_cache(maxsize=KEPT_SELECTIONS)(partial(adjacent, self.version))

    def tile(
        self, request: PixelRequest, tms: TileMatrixSet, x: int, y: int, z: int, size: int | None = None
    ) -> Image:
        """A tile of a tile matrix set, `size` pixels a side (default: the set's own)."""
        return self.render(self.select(request), tile_target(tms, x, y, z, size))

    def part(self, request: PixelRequest, target: Target) -> Image:
        """A rectangle of any coordinate system."""
        return self.render(self.select(request), target)

    def render(self, selection: Selection, target: Target, *, counted: bool = False) -> Image:
        """The pixels of a target.

        Args:
            counted: whether `count` must be that of all scenes.

        Raises:
            TooLarge: the answer or what must be read for it is past `MOST_PIXELS`.
        """
        if target.height * target.width > MOST_PIXELS:
            raise TooLarge(
                f"{target.width} × {target.height} px: at most {MOST_PIXELS} px in one answer; `terrazzo export` has no such limit"
            )
        return self._render(selection, target, counted=counted)

    def points(self, selection: Selection, crs: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Image:
        """Values at places, at full resolution, as an image of one row."""
        return self._render(selection, Points(crs, x, y), counted=True)

    def content_hash(self, selection: Selection, target: Target) -> str:
        """Hash of everything that determines a target's pixels, without rendering; empty outside all data."""
        request = selection.request
        names = [request.period]
        if request.fill == "adjacent":
            names += [p.name for p in self.version.periods.values() if p.name not in names]
        parts, baked = [], self._baked(selection)
        for epsg in self._near(target):
            grid = self.version.store.grid(epsg)
            level, _ = self._level(target, epsg, baked.get(epsg))
            box = box_around(*places(target.crs, target.outline(), grid, level))
            if box is None:
                continue
            # A rim for what the outline's curve and the interpolation reach beyond its points.
            windows = PixelBox(*(v * 2**level for v in box.grown(2))).coarser(grid.window)
            cells = [self.version.cells(epsg, windows, name) for name in names]
            if any(cells):
                mesh = lattice(target.crs, grid, level, self.area)
                parts += [*cells, repr((level, mesh)).encode()]
        if not parts:
            return ""
        where = repr((target.crs, target.bounds, target.height, target.width))
        return digest(request.text().encode(), where.encode(), PIXELS.to_bytes(4, "little"), *parts).hex()

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

    @cached_property
    def _pyramid(self) -> Mapping[tuple[str, int], Part]:
        return read_pyramid(self.version.store, self.version.mosaic_id, self.version.name)

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
        found = {}
        for zone in self.version.zones:
            own = boxes[epsg == zone]
            (row0, col0), (row1, col1) = own[:, :2].min(axis=0), own[:, 2:].max(axis=0)
            bounds = self.version.store.grid(zone).bounds(
                PixelBox(int(row0), int(col0), int(row1), int(col1))
            )
            b = transformer(f"EPSG:{zone}", "EPSG:4326").transform_bounds(*bounds)
            found[zone] = Bounds(b[0] - RIM, b[1] - RIM, b[2] + RIM, b[3] + RIM)
        return found

    def shown(self, selection: Selection, target: Target) -> list[Entry]:
        """The scenes of a selection that lie in a target."""
        found: list[Entry] = []
        for epsg in self._near(target):
            if epsg in selection.zones:
                grid = self.version.store.grid(epsg)
                level, _ = self._level(target, epsg, None)
                box = box_around(*places(target.crs, target.outline(), grid, level))
                found += [] if box is None else [e for _, e in selection.shown(epsg, level, box)]
        return found

    def zone(
        self, selection: Selection, epsg: int, level: int, box: PixelBox, problems: list[str]
    ) -> ZonePixels | None:
        """Merged pixels of a zone's own grid at an overview level, before any warp; count and trust of all scenes."""
        entries = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == epsg]
        merging = Merging(self.version, self.blocks, selection.request, epsg, level)
        return merging.pixels(entries, box, problems, counted=True, trusted=True)

    def fetch(self, selection: Selection, target: Target, *, counted: bool = False) -> None:
        """Brings what rendering a target will read from an object store into memory; nothing to do for a folder."""
        if self.version.store.root is not None:
            return
        for near in self._touched(selection, target):
            if near.part is None:
                merging = Merging(self.version, self.blocks, selection.request, near.epsg, near.level)
                shown = [e for _, e in selection.shown(near.epsg, near.level, near.box)]
                merging.fetch(shown, near.box, counted=counted)

    def fetch_zone(self, selection: Selection, epsg: int, level: int, box: PixelBox) -> None:
        """The same for `zone`."""
        entries = [e for e in selection.entries if e.scene.epsg == epsg]
        Merging(self.version, self.blocks, selection.request, epsg, level).fetch(entries, box, counted=True)

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

    def _render(self, selection: Selection, where: Target | Points, *, counted: bool) -> Image:
        entries, problems = selection.entries, list[str]()
        image = self._merged(selection, where, problems, counted=counted)
        lacks = bool(((image.quality == LAST_RESORT) | (image.values[0] == NODATA)).any())
        if lacks and selection.request.fill == "adjacent":
            for other in self._adjacent(selection.request):
                more = self._merged(other, where, problems, counted=counted)
                # Provenance has 16 bits: only what shows is numbered on.
                numbers = np.unique(more.provenance[more.provenance >= 0])
                at = len(entries) + np.searchsorted(numbers, more.provenance)
                more = more._replace(provenance=np.where(more.provenance >= 0, at, -1).astype(np.int16))
                entries += tuple(other.entries[n] for n in numbers)
                image = _filled(image, more)
        bands = (CLASSES_BAND,) if selection.request.stage == "mask" else selection.request.bands
        return Image(bands, *image, entries, tuple(dict.fromkeys(problems)))

    def _touched(self, selection: Selection, where: Target | Points) -> "list[_Touched]":
        """The zones that hold pixels of a selection where they are asked for.

        Raises:
            TooLarge: too many scenes or pixels lie there.
        """
        touched, baked = [], self._baked(selection)
        for epsg in self._near(where):
            if epsg not in selection.zones:
                continue
            level, part = self._level(where, epsg, baked.get(epsg))
            grid, covered = self.version.store.grid(epsg), selection.covered(epsg, level)
            if isinstance(where, Target) and not may_touch(where, grid, level, covered):
                continue
            own = own_box(where, grid, level)
            found = None if own else locate(where, grid, level, self.area)
            box = own or box_around(*found)  # type: ignore[misc]
            if box is None:
                continue
            box = box.intersection(covered)
            if box.empty:
                continue
            if box.height * box.width > 2 * MOST_PIXELS:
                raise TooLarge("the area is too large for its resolution: ask for a smaller one")
            touched.append(_Touched(epsg, level, part, box, own, found))
        _bounded(sum(len(selection.shown(t.epsg, t.level, t.box)) for t in touched if not t.part))
        return touched

    def _merged(
        self, selection: Selection, where: Target | Points, problems: list[str], *, counted: bool
    ) -> "_Layers":
        """Merges each zone on its own grid, warps it once, and blends zones by their weights."""
        bands = 1 if selection.request.stage == "mask" else len(selection.request.bands)
        touched = self._touched(selection, where)
        layers, total = None, np.zeros(0)
        for epsg, level, part, box, own, found in touched:
            merging = Merging(self.version, self.blocks, selection.request, epsg, level)
            if part is not None:
                numbered = [(n, selection.entries[n]) for n in selection.zones[epsg][0].tolist()]
                pixels = merging.baked(part, numbered, box, problems)
            else:
                # Where two zones meet they are weighed by the trust of all their scenes.
                pixels = merging.pixels(
                    selection.shown(epsg, level, box),
                    box,
                    problems,
                    counted=counted,
                    trusted=len(touched) > 1,
                )
            if pixels is None:
                continue
            if len(touched) == 1 and own is not None:
                return _placed(pixels, box, own)
            rows, cols = found or locate(where, self.version.store.grid(epsg), level, self.area)
            if len(touched) == 1:
                return _warped(pixels, box, rows, cols, selection.request)
            if layers is None:
                layers, total = _empty(bands, where.shape), np.zeros(where.shape)
            total = _blend(layers, total, pixels, box, rows, cols, selection.request)
        return _empty(bands, where.shape) if layers is None else layers


class _Touched(NamedTuple):
    """Where a zone's pixels that are asked for lie.

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


class _Layers(NamedTuple):
    values: NDArray[np.int16]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]
    quality: NDArray[np.uint8]


def _empty(bands: int, shape: tuple[int, ...]) -> _Layers:
    return _Layers(
        np.full((bands, *shape), NODATA, np.int16),
        np.full(shape, -1, np.int16),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
    )


def _bounded(shown: int) -> None:
    if shown > MOST_SCENES:
        raise TooLarge(
            f"{shown} scenes lie in this picture, at most {MOST_SCENES} are merged for one: zoom in, choose fewer by datetime,"
            " max_cloud, orbit or ids, or take a whole period with the mosaic's defaults, which is kept ready for low zooms"
        )


def _placed(pixels: ZonePixels, box: PixelBox, own: PixelBox) -> _Layers:
    """A zone's pixels where they are those asked for."""
    if box == own:
        return _Layers(pixels.values, pixels.provenance, pixels.count, pixels.quality)
    layers, (rows, cols) = _empty(len(pixels.values), own.shape), box.within(own)
    layers.values[:, rows, cols] = pixels.values
    layers.provenance[rows, cols] = pixels.provenance
    layers.count[rows, cols] = pixels.count
    layers.quality[rows, cols] = pixels.quality
    return layers


def _warped(
    pixels: ZonePixels,
    box: PixelBox,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    request: Resolved,
) -> _Layers:
    """A zone's pixels at the places asked for."""
    values = gather(pixels.values, box, rows, cols, NODATA, request.resampling)
    layers = _empty(0, rows.shape)
    kernels.gather_layers(
        pixels.provenance, pixels.count, pixels.quality, rows - box.row0, cols - box.col0, *layers[1:]
    )
    return layers._replace(values=values)


def _blend(
    layers: _Layers,
    total: NDArray[np.float64],
    pixels: ZonePixels,
    box: PixelBox,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    request: Resolved,
) -> NDArray[np.float64]:
    """Adds a zone's pixels to an answer, weighted where an earlier zone has data too; returns the weights."""
    new = _warped(pixels, box, rows, cols, request)
    values = new.values
    trust = gather(pixels.trust[None].astype(np.int16), box, rows, cols, -1, "bilinear")[0]
    here = values[0] != NODATA
    weight = np.where(here, np.maximum(trust, 1e-3), 0.0)
    both = here & (total > 0)
    if both.any() and request.stage != "mask":
        share = weight[both] / (weight[both] + total[both])
        mixed = layers.values[:, both] * (1 - share) + values[:, both] * share
        layers.values[:, both] = np.rint(mixed).astype(np.int16)
    alone = here & (total == 0)
    layers.values[:, alone] = values[:, alone]
    rules = here & (weight > total)
    layers.provenance[rules] = new.provenance[rules]
    layers.count[rules], layers.quality[rules] = new.count[rules], new.quality[rules]
    return total + weight


def _filled(image: _Layers, other: _Layers) -> _Layers:
    """Puts another period's clear pixels where this one has none or only a last resort."""
    bad = (image.values[0] == NODATA) | (image.quality == LAST_RESORT)
    good = (other.values[0] != NODATA) & (other.quality == 0)
    # What was never clear anywhere shows at least something.
    take = bad & good | (image.values[0] == NODATA) & (other.values[0] != NODATA)
    image.values[:, take] = other.values[:, take]
    image.provenance[take], image.count[take] = other.provenance[take], other.count[take]
    image.quality[take] = other.quality[take] | FILLED
    return image


def tile_target(tms: TileMatrixSet, x: int, y: int, z: int, size: int | None = None) -> Target:
    """The pixels of a tile.

    Raises:
        InvalidRequest: the set has no such tile.
    """
    if not tms.minzoom <= z <= tms.maxzoom:
        raise InvalidRequest(f"zoom {z}: {tms.id} has zooms {tms.minzoom} to {tms.maxzoom}")
    matrix = tms.matrix(z)
    if not (0 <= x < matrix.matrixWidth and 0 <= y < matrix.matrixHeight):
        raise InvalidRequest(f"tile {z}/{x}/{y}: the matrix is {matrix.matrixWidth} × {matrix.matrixHeight}")
    bounds = tms.xy_bounds(Tile(x, y, z))
    crs = _crs_text(tms)
    return Target(crs, Bounds(*bounds), size or matrix.tileHeight, size or matrix.tileWidth)


def _crs_text(tms: TileMatrixSet) -> str:
    crs = tms.crs._pyproj_crs
    authority = crs.to_authority(min_confidence=20)
    return ":".join(authority) if authority else str(crs.to_wkt())


def provenance_table(image: Image) -> Mapping[str, float]:
    """Share of an image's pixels that each scene gave, by scene id, largest first."""
    used = image.provenance[image.provenance >= 0]
    if not used.size:
        return {}
    numbers, counts = np.unique(used, return_counts=True)
    order = np.argsort(-counts)
    return {image.entries[int(numbers[i])].scene.id: float(counts[i] / used.size) for i in order}
