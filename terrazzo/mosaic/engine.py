"""The engine: a request and a place in, pixels out; every product of Terrazzo comes through here."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from morecantile import Tile, TileMatrixSet
from numpy.typing import NDArray

from terrazzo import PIXELS
from terrazzo.bands import NODATA
from terrazzo.cells import digest
from terrazzo.errors import InvalidRequest, TooLarge
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic import gather_kernels, overlay_kernels
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.plan import MOST_PIXELS, Planner, ZonePlan
from terrazzo.mosaic.predict import KeptSums, predicted
from terrazzo.mosaic.request import CLASSES_BAND, PixelRequest, Resolved
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import (
    Points,
    Target,
    gather,
    locate,
)
from terrazzo.mosaic.zone import DAMAGED, LAST_RESORT, Merging, Outcome, ZonePixels
from terrazzo.version import Entry, Version

FILLED = 1
"""Bit of the quality layer: from another period. `terrazzo.mosaic.zone` has the others that the engine knows."""


class Image(NamedTuple):
    """Pixels of an answer.

    Attributes:
        bands: name of each band of `values`.
        values: (band, row, col) int16, scale 1e-4, nodata −32768; for `stage=mask` classes, for `raw` counts.
        provenance: (row, col) int16 index into `entries`, −1 none.
        count: (row, col) uint8 usable scenes; of `first` and `feather` as many as were looked at, at least as
            many as `render` was asked to count, of points all.
        quality: (row, col) uint16 bits FILLED, LAST_RESORT, DAMAGED, PREDICTED; `terrazzo.mosaic.quality` computes the others.
        problems: scenes that were left out, and why.
    """

    bands: tuple[str, ...]
    values: NDArray[np.int16]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]
    quality: NDArray[np.uint16]
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """Renders one version of a mosaic; safe to use from several threads."""

    version: Version
    blocks: Blocks

    @cached_property
    def planner(self) -> Planner:
        """What plans its answers."""
        return Planner(self.version)

    @cached_property
    def _sums(self) -> KeptSums:
        return KeptSums()

    def select(self, request: PixelRequest) -> Selection:
        """The request with every default filled in, and its scenes.

        Raises:
            InvalidRequest: a value is unknown.
        """
        return self.planner.select(request)

    def tile(
        self, request: PixelRequest, tms: TileMatrixSet, x: int, y: int, z: int, size: int | None = None
    ) -> Image:
        """A tile of a tile matrix set, `size` pixels a side (default: the set's own)."""
        return self.render(self.select(request), tile_target(tms, x, y, z, size))

    def part(self, request: PixelRequest, target: Target) -> Image:
        """A rectangle of any coordinate system."""
        return self.render(self.select(request), target)

    def render(self, selection: Selection, target: Target, *, count_to: int = 0) -> Image:
        """The pixels of a target.

        Args:
            count_to: number up to which `count` must be exact; `ALL`: without end.

        Raises:
            TooLarge: the answer or what must be read for it is past `MOST_PIXELS`.
        """
        if target.height * target.width > MOST_PIXELS:
            raise TooLarge(
                f"{target.width} × {target.height} px: at most {MOST_PIXELS} px in one answer; `terrazzo export` has no such limit"
            )
        return self._render(selection, target, count_to=count_to)

    def points(self, selection: Selection, crs: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Image:
        """Values at places, at full resolution, as an image of one row."""
        return self._render(selection, Points(crs, x, y), count_to=ALL)

    def content_hash(self, selection: Selection, target: Target) -> str:
        """Hash of everything that determines a target's pixels, without rendering; empty outside all data."""
        parts = list(self.planner.cells(selection, target))
        if not parts:
            return ""
        where = repr((target.crs, target.bounds, target.height, target.width))
        return digest(
            selection.request.text().encode(), where.encode(), PIXELS.to_bytes(4, "little"), *parts
        ).hex()

    def zone(self, selection: Selection, epsg: int, level: int, box: PixelBox) -> Outcome:
        """Merged pixels of a zone's own grid at an overview level, before any warp; count and trust of all scenes."""
        entries = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == epsg]
        merging = Merging(self.version, self.blocks, selection.request, epsg, level)
        return merging.pixels(entries, box, count_to=ALL, trusted=True)

    def fetch(self, selection: Selection, target: Target, *, count_to: int = 0) -> None:
        """Brings what rendering a target will read from an object store into memory; nothing to do for a folder."""
        if self.version.store.root is not None:
            return
        selection = self.planner.holding(selection)
        for near in self.planner.zones(selection, target):
            if near.part is None:
                merging = Merging(self.version, self.blocks, selection.request, near.epsg, near.level)
                shown = selection.shown(near.epsg, near.level, near.box)
                merging.fetch(shown, near.box, count_to=count_to)

    def fetch_zone(self, selection: Selection, epsg: int, level: int, box: PixelBox) -> None:
        """The same for `zone`."""
        entries = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == epsg]
        Merging(self.version, self.blocks, selection.request, epsg, level).fetch(entries, box, count_to=ALL)

    def _render(self, selection: Selection, where: Target | Points, *, count_to: int) -> Image:
        selection = self.planner.holding(selection)
        entries = selection.entries
        image, problems = self._merged(selection, where, count_to=count_to)
        if selection.request.fill == "adjacent" and _lacks(image):
            for other in self.planner.adjacent(selection.request):
                more, others = self._merged(other, where, count_to=count_to)
                problems += others
                # Provenance has 16 bits: only what shows is numbered on.
                numbers = np.unique(more.provenance[more.provenance >= 0])
                at = len(entries) + np.searchsorted(numbers, more.provenance)
                more = more._replace(provenance=np.where(more.provenance >= 0, at, -1).astype(np.int16))
                entries += tuple(other.entries[n] for n in numbers)
                image = _filled(image, more)
        bands = (CLASSES_BAND,) if selection.request.stage == "mask" else selection.request.bands
        return Image(bands, *image, entries, tuple(dict.fromkeys(problems)))

    def _merged(
        self, selection: Selection, where: Target | Points, *, count_to: int
    ) -> tuple["_Layers", tuple[str, ...]]:
        """Merges each zone on its own grid, warps it once, and blends zones by their weights."""
        bands = 1 if selection.request.stage == "mask" else len(selection.request.bands)
        planned = self.planner.zones(selection, where)
        layers, total, problems = None, np.zeros(0), tuple[str, ...]()
        # Beyond the scenes' overviews they show other pixels than the pyramid.
        if self.planner.pyramid_problem and any(p.level for p in planned):
            problems += (self.planner.pyramid_problem,)
        for plan in planned:
            # Where two zones meet they are weighed by the trust of all their scenes.
            pixels, left_out = self._pixels(selection, plan, count_to=count_to, trusted=len(planned) > 1)
            problems += left_out
            if pixels is None:
                continue
            if len(planned) == 1 and plan.own is not None:
                return _placed(pixels, plan.box, plan.own), problems
            grid = self.version.store.grid(plan.epsg)
            rows, cols = plan.places or locate(where, grid, plan.level, self.planner.area)
            if len(planned) == 1:
                return _warped(pixels, plan.box, rows, cols, selection.request), problems
            if layers is None:
                layers, total = _empty(bands, where.shape), np.zeros(where.shape)
            _blend(layers, total, pixels, plan.box, rows, cols, selection.request)
        return (_empty(bands, where.shape) if layers is None else layers), problems

    def _pixels(self, selection: Selection, plan: ZonePlan, *, count_to: int, trusted: bool) -> Outcome:
        merging = Merging(self.version, self.blocks, selection.request, plan.epsg, plan.level)
        if plan.part is not None:
            numbered = [(n, selection.entries[n]) for n in selection.zones[plan.epsg][0].tolist()]
            return merging.baked(plan.part, numbered, plan.box)
        if selection.request.fill == "predict":
            return predicted(merging, selection, plan.box, self._sums)
        shown = selection.shown(plan.epsg, plan.level, plan.box)
        return merging.pixels(shown, plan.box, count_to=count_to, trusted=trusted)


class _Layers(NamedTuple):
    values: NDArray[np.int16]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]
    quality: NDArray[np.uint16]


def _empty(bands: int, shape: tuple[int, ...]) -> _Layers:
    return _Layers(
        np.full((bands, *shape), NODATA, np.int16),
        np.full(shape, -1, np.int16),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint16),
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
    gather_kernels.gather_layers(
        *(pixels.provenance, pixels.count, pixels.quality),
        *(rows, cols, float(box.row0), float(box.col0)),
        *layers[1:],
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
) -> None:
    """Adds a zone's pixels to an answer, weighted where an earlier zone has data too; `total` holds the weights so far."""
    new = _warped(pixels, box, rows, cols, request)
    trust = gather(pixels.trust[None].astype(np.int16), box, rows, cols, -1, "bilinear")[0]
    # Classes are not mixed.
    overlay_kernels.blend_zone(tuple(new), trust, request.stage != "mask", NODATA, tuple(layers), total)


def _filled(image: _Layers, other: _Layers) -> _Layers:
    """Puts another period's clear pixels where this one has none or only a last resort."""
    empty, there = _missing(image.values), ~_missing(other.values)
    bad = empty | (image.quality & LAST_RESORT > 0)
    good = there & (other.quality & LAST_RESORT == 0)
    # What was never clear anywhere shows at least something.
    take = bad & good | empty & there
    image.values[:, take] = other.values[:, take]
    image.provenance[take], image.count[take] = other.provenance[take], other.count[take]
    image.quality[take] = other.quality[take] | image.quality[take] & DAMAGED | FILLED
    return image


def _lacks(image: _Layers) -> bool:
    """Whether other periods may show more: some pixel has no data or only a last resort."""
    return bool(((image.quality & LAST_RESORT > 0) | _missing(image.values)).any())


def _missing(values: NDArray[np.int16]) -> NDArray[np.bool_]:
    """(row, col) pixels without data in any band; of some only some bands are there."""
    return np.asarray((values == NODATA).all(axis=0))


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
