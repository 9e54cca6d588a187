"""Merges the scenes of one zone on its grid: weights first, then only the scenes that show, then gains."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import CLEAR, CLOUDED, NODATA, SCALE, SCORE_NODATA, MaskClass, stored_factor
from terrazzo.correction import counts, read_correction
from terrazzo.errors import NotFound, ReadFailure
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic import gather_kernels, overlay_kernels
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.layers import ALL, OPACITY, Cut, GainField, Layers, visible
from terrazzo.mosaic.level import day_level
from terrazzo.mosaic.merge import Merged, merge
from terrazzo.mosaic.methods import METHODS
from terrazzo.mosaic.outline import fade, outline
from terrazzo.mosaic.pyramid import Part
from terrazzo.mosaic.request import UNMERGED, Resolved
from terrazzo.places import REMEMBERED_SCORE
from terrazzo.scene import CORRECTION, MASK, SCORE
from terrazzo.version import Entry, Version

LAST = 1
"""Weight of a last resort: counts only where no scene has more."""
DOUBTED = 10
"""Weight, for methods that weigh days, of what the mask calls clear and the rules of the reference leave out: those rules compare with one picture of
the whole period, and a field that grows or is harvested differs from that as a cloud does. It counts where another scene is kept, and never alone: a share
of what the best kept scene there counts, so that two missed clouds do not outvote a clear scene that fades towards its own cloud or outline."""
WHOLE = 16
"""Weight from which a scene counts whole for methods that weigh days: a border of cloud fades below it, and above it no date rules."""
LAST_RESORT, DAMAGED = 2, 512
"""Bits of the quality layer: no scene is clear, the least hazy one shows; a scene that would show cannot be read."""


HIGHEST = 255
"""The highest weight."""


class ZonePixels(NamedTuple):
    """Merged pixels of a box of a zone grid.

    Attributes:
        values: (band, row, col) int16; provenance: (row, col) int16 index of the entry, −1 none.
        trust: (row, col) uint8 highest weight; quality: bits as of the engine.
    """

    values: NDArray[np.int16]
    provenance: NDArray[np.int16]
    count: NDArray[np.uint8]  # type: ignore[assignment]
    quality: NDArray[np.uint16]
    trust: NDArray[np.uint8]


class Outcome(NamedTuple):
    """What merging a box gave.

    Attributes:
        pixels: None without any data.
        problems: scenes that were left out, and why.
    """

    pixels: ZonePixels | None
    problems: tuple[str, ...]


class _Parts(NamedTuple):
    """The merged picture, None without any data; the highest weight; where scenes that cannot be read would show; problems."""

    merged: Merged | None
    trust: NDArray[np.uint8]
    lost: NDArray[np.bool_]
    problems: tuple[str, ...]


CornerGains = tuple[NDArray[np.float64], NDArray[np.float64], PixelBox]
_Weights = Mapping[int, NDArray[np.uint8]]
"""(row, col) weights of scenes by their number."""


@dataclass(frozen=True)
class Merging:
    """How the scenes of a zone are read and merged at one overview level."""

    version: Version
    blocks: Blocks
    request: Resolved
    epsg: int
    level: int
    levels: dict[tuple[PixelBox, date], tuple[NDArray[np.float64], NDArray[np.float64]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """Levels of days on the corners of windows that were asked for."""

    @property
    def grid(self) -> Grid:
        """The zone grid at full resolution."""
        return self.version.store.grid(self.epsg)

    def pixels(
        self, entries: list[tuple[int, Entry]], box: PixelBox, *, count_to: int, trusted: bool
    ) -> Outcome:
        """Merges numbered entries that lie in a box of the level's grid, first wins.

        Where no scene has all bands of the request, each band shows what scenes have of it.

        Args:
            count_to: number up to which the count must be exact.
            trusted: whether the trust must be that of all scenes; without, `first` and `feather` stop when no further
                scene can show or is to be counted. Values and provenance are the same. It is the highest possible
                at most, and scenes below it are not read either.
        """
        split = self._split_passes(entries)
        # Parts of a pass are one scene: how many of them two passes are is known only when all are counted.
        count_to = ALL if count_to and split else count_to
        ready = self.fetch(entries, box, count_to=count_to)
        merged, trust, lost, problems = self._merged(entries, box, count_to, trusted, ready)
        if merged is None:
            return Outcome(None, problems)
        holes = (merged.count == 0) & (trust > 0)
        if self._bands > 1 and holes.any():
            merged = self._band_by_band(merged, holes, entries, box)
        if count_to or not METHODS[self.request.method].layered:
            merged = merged._replace(count=self._passes(merged.count, trust, split, box))
        is_last = (trust == LAST) & (merged.count > 0)
        quality = np.where(is_last, np.uint16(LAST_RESORT), np.uint16(0))
        if problems:
            quality[lost] |= DAMAGED
        return Outcome(ZonePixels(*merged, quality, trust), problems)

    def baked(self, part: Part, entries: list[tuple[int, Entry]], box: PixelBox) -> Outcome:
        """What `pixels` gives, from the pyramid.

        Args:
            entries: all of the zone, numbered as the answer numbers them.
        """
        try:
            values, layers = part.read(self.version.store, self.blocks, self.request.bands, self.level, box)
        except (ReadFailure, NotFound) as error:
            return Outcome(None, (f"pyramid: {error}",))
        # Baked scenes are numbered by their rank in the period.
        table = np.full(max(e.rank for _, e in entries) + 2, -1, np.int16)
        table[[e.rank for _, e in entries]] = [number for number, _ in entries]
        pixels = ZonePixels(
            values,
            table[layers["provenance"]],
            layers["count"].astype(np.uint8, copy=False),
            layers["quality"].astype(np.uint16),
            layers["trust"].astype(np.uint8, copy=False),
        )
        return Outcome(pixels, ())

    def fetch(self, entries: list[tuple[int, Entry]], box: PixelBox, *, count_to: int) -> _Weights:
        """Brings what the merge reads from an object store: all weights at once, then the bands of all scenes that show.

        So a place costs as many waits as a weight and a band have: index and blocks of each. A clear pixel without a
        value lets the next scene through; what that one needs beyond is read by the merge.

        Returns:
            The weights by number, for the merge; of a folder, whose files need no such care, none.
        """
        if self.version.store.root is not None:
            return {}
        snow, scored = self.request.snow != "keep", self.request.min_score is not None
        masked = scored or self.request.fill == "best" or self._timed or self.request.stage in UNMERGED
        self.blocks.fetch(
            [
                *(partial(self._coarse, e, e.weight_key, box, 0, smooth=True) for _, e in entries),
                *(
                    partial(self._coarse, e, e.scene.key(MASK), box, 0)
                    for _, e in entries
                    if masked or (snow and e.scene.snow_share > 0)
                ),
                *(partial(self._coarse, e, e.scene.key(SCORE), box, 0) for _, e in entries if scored),
                *(partial(outline, self.version.store, e.scene) for _, e in entries if self._timed),
            ]
        )
        weights = self.blocks.fetch([partial(self.weight, e, box) for _, e in entries])
        known = [(n, e, w) for (n, e), w in zip(entries, weights, strict=True) if w is not None and w.any()]
        if known:
            self._fetch_bands([e for _, e, _ in known], [w for _, _, w in known], box, count_to)
        return {n: w for (n, _), w in zip(entries, weights, strict=True) if w is not None}

    def _fetch_bands(
        self, entries: list[Entry], weights: list[NDArray[np.uint8]], box: PixelBox, count_to: int
    ) -> None:
        trust = np.maximum.reduce(weights)
        usable = (np.where((w == LAST) & (trust > LAST), 0, w).astype(np.uint8) for w in weights)
        parts: Iterable[list[Cut]] = repeat([(slice(0, box.height), slice(0, box.width))])
        if METHODS[self.request.method].layered:
            opaque = OPACITY["first" if self.request.method == "first" else "feather"]
            parts = visible(usable, opaque, count_to)
        bands = () if self.request.stage == "mask" else self.request.bands
        shown = [(e, _inner(box, p)) for e, of_scene in zip(entries, parts, strict=False) for p in of_scene]
        reads: list[Callable[[], object]] = [
            partial(self._band, e, band, part) for e, part in shown for band in bands
        ]
        if self.request.normalized:
            reads += [partial(self.version.corners, e) for e in {e.scene.mgrs: e for e in entries}.values()]
        self.blocks.fetch(reads)

    @staticmethod
    def _split_passes(entries: list[tuple[int, Entry]]) -> list[list[Entry]]:
        """The parts of each pass over a tile that has several."""
        passes: dict[tuple[str, str], list[Entry]] = {}
        for _, entry in entries:
            passes.setdefault((entry.scene.datatake, entry.scene.mgrs), []).append(entry)
        return [parts for parts in passes.values() if len(parts) > 1]

    def _passes(
        self,
        count: NDArray[np.uint8],
        trust: NDArray[np.uint8],
        split: list[list[Entry]],
        box: PixelBox,
    ) -> NDArray[np.uint8]:
        """Counts in which the parts of a pass over a tile, which overlap a little, are one scene."""
        for parts in split:
            usable = np.stack([self._usable(e, trust, box) for e in parts])
            count = count - np.maximum(usable.sum(axis=0, dtype=np.uint8), 1) + 1
        return count

    def _usable(self, entry: Entry, trust: NDArray[np.uint8], box: PixelBox) -> NDArray[np.bool_]:
        """(row, col) whether a scene counts; not where it cannot be read."""
        try:
            counts = self._among(self.weight(entry, box), trust > LAST) > 0
            return np.asarray(counts & (self.values(entry, box) != NODATA).all(axis=0))
        except (ReadFailure, NotFound):
            return np.zeros(box.shape, bool)

    def _merged(
        self,
        entries: list[tuple[int, Entry]],
        box: PixelBox,
        count_to: int,
        trusted: bool,
        ready: _Weights,
    ) -> _Parts:
        if METHODS[self.request.method].layered:
            return self._layered(entries, box, count_to, trusted, ready)
        return self._together(entries, box, ready)

    def _band_by_band(
        self, merged: Merged, holes: NDArray[np.bool_], entries: list[tuple[int, Entry]], box: PixelBox
    ) -> Merged:
        """What was merged, with each band by itself in holes: pixels of which every scene lacks some band."""
        rows, cols = (slice(v.min(), v.max() + 1) for v in np.nonzero(holes))
        inner, inside = _inner(box, (rows, cols)), holes[rows, cols]
        values, provenance, count = (np.array(a) for a in merged)
        for number, band in enumerate(self.request.bands):
            alone = replace(self, request=replace(self.request, bands=(band,)))
            single = alone._merged(entries, inner, ALL, True, {}).merged
            if single is None:
                continue
            # Origin and count are those of the first band that some scene has.
            new = inside & (single.count > 0) & (count[rows, cols] == 0)
            values[number, rows, cols][inside] = single.values[0][inside]
            provenance[rows, cols][new], count[rows, cols][new] = single.provenance[new], single.count[new]
        return Merged(values, provenance, count)

    def _layered(
        self,
        entries: list[tuple[int, Entry]],
        box: PixelBox,
        count_to: int,
        trusted: bool,
        ready: _Weights,
    ) -> _Parts:
        """Scene by scene, in order, reading of each only what shows; last resorts when all else is laid."""
        layers = Layers(self.request.method, self._bands, box.shape)  # type: ignore[arg-type]
        trust, lost = np.zeros(box.shape, np.uint8), np.zeros(box.shape, bool)
        last: list[tuple[int, Entry, NDArray[np.uint8]]] = []
        problems = list[str]()
        for number, entry in entries:
            # More than 255 no scene can be trusted: where all of the box has that, the rest is not read.
            if layers.full(count_to) and (not trusted or trust.min() == HIGHEST):
                break
            weight = None
            try:
                weight = ready[number] if number in ready else self.weight(entry, box)
                np.maximum(trust, weight, out=trust)
                if (weight == LAST).any():
                    last.append((number, entry, weight))
                self._lay(layers, number, entry, weight, LAST + 1, box, count_to)
            except (ReadFailure, NotFound) as error:
                problems.append(_problem(entry, error))
                there = self._footprint(entry, box) if weight is None else weight > LAST
                lost |= there & layers.open
        # They count only where no scene has more.
        alone = trust == LAST
        for number, entry, weight in last if alone.any() else ():
            weight = np.where(alone, weight, np.uint8(0))
            try:
                self._lay(layers, number, entry, weight, LAST, box, count_to)
            except (ReadFailure, NotFound) as error:
                problems.append(_problem(entry, error))
                lost |= (weight == LAST) & layers.open
        return _Parts(layers.merged() if trust.any() else None, trust, lost, tuple(problems))

    def _footprint(self, entry: Entry, box: PixelBox) -> NDArray[np.bool_]:
        """(row, col) the rectangle in which a scene lies, all that is known of one whose weights cannot be read."""
        there, common = np.zeros(box.shape, bool), entry.scene.box.coarser(2**self.level).intersection(box)
        if not common.empty:
            there[common.within(box)] = True
        return there

    def _lay(
        self,
        layers: Layers,
        number: int,
        entry: Entry,
        weight: NDArray[np.uint8],
        least: int,
        box: PixelBox,
        count_to: int,
    ) -> None:
        wanted = layers.wanted(weight, least, count_to)
        # Read first: a scene of which a part cannot be read is left out of the whole box.
        for part, values in [(p, self._stored(entry, _inner(box, p))) for p in wanted]:
            field = self._field(entry, _inner(box, part))
            layers.add(values, weight, part, least, number, count_to, field)

    def _together(self, entries: list[tuple[int, Entry]], box: PixelBox, ready: _Weights) -> _Parts:
        """All scenes at once, for methods that weigh each against all others."""
        numbers, weights, fades, kept, problems = [], [], [], [], list[str]()
        lost, most = np.zeros(box.shape, bool), np.zeros(box.shape, np.float32)
        for number, entry in entries:
            try:
                weight = ready[number] if number in ready else self.weight(entry, box)
                fading = self.fade(entry, box)
            except (ReadFailure, NotFound) as error:
                problems.append(_problem(entry, error))
                lost |= self._footprint(entry, box)
                continue
            np.maximum(most, fading, out=most)
            if weight.any():
                numbers.append(number)
                weights.append(weight)
                fades.append(fading)
                kept.append(entry)
        if not kept:
            return _Parts(None, np.zeros(box.shape, np.uint8), lost, tuple(problems))
        weight = self.counted(np.stack(weights))
        trust = weight.max(axis=0)
        values = np.full((len(kept), self._bands, *box.shape), NODATA, np.int16)
        for i, entry in enumerate(kept):
            try:
                values[i] = self.values(entry, box)
            except (ReadFailure, NotFound) as error:
                problems.append(_problem(entry, error))
                lost |= weight[i] > 0
                weight[i] = 0
        faded = self.faded(weight, np.stack(fades), most) if self._timed else weight
        merged = merge(values, faded, self.request.method, self.days(kept))
        table = np.array([*numbers, -1], np.int16)
        merged = merged._replace(provenance=table[merged.provenance])
        return _Parts(merged, trust, lost, tuple(problems))

    def counted(self, weight: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(scene, …) weights of all scenes, without last resorts where another scene is clear, and what is doubted where none is."""
        clear = (weight > LAST) & (weight != DOUBTED) if self._timed else weight > LAST
        return self._among(weight, np.asarray(clear.any(axis=0)))

    def _among(self, weight: NDArray[np.uint8], clear: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Weights of one scene or more as they count where some scene is clear, and where none is."""
        if self._timed:
            alone = (weight == DOUBTED) & ~clear
            weight = np.where(alone, LAST if self.request.fill == "best" else 0, weight).astype(np.uint8)
        return np.where((weight == LAST) & clear, 0, weight).astype(np.uint8)

    def fade(self, entry: Entry, box: PixelBox) -> NDArray[np.float32]:
        """(row, col) 0–1 by which a scene fades towards its outline, for methods that weigh days; 1 for others."""
        if not self._timed:
            return np.broadcast_to(np.float32(1), box.shape)
        factor = 2**self.level
        grid = Grid(self.epsg, self.grid.pixel * factor, self.grid.window // factor)
        return fade(self.version.store, entry.scene, grid, box)

    def faded(
        self, weight: NDArray[np.uint8], fades: NDArray[np.float32], most: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """(scene, …) `counted` weights as the merge takes them: where days weigh, whole from `WHOLE` on, less towards an outline.

        Args:
            fades: (scene, …) of `fade`; most: (…) the highest of all scenes, so that all fading together leaves each what it is.
        """
        if not self._timed:
            return weight
        share, fading = np.minimum(weight / np.float32(WHOLE), 1), fades / np.maximum(most, np.float32(1e-6))
        doubted = weight == DOUBTED
        if doubted.any():
            # The root: a kept scene that ends here hands over to the doubted ones without a line.
            kept = np.where(doubted, np.float32(0), share * np.sqrt(fading)).max(axis=0)
            share = np.where(doubted, share * kept, share)
        share = share * fading
        return np.where(weight > 0, np.clip(np.rint(255 * share), 1, 255), 0).astype(np.uint8)

    def days(self, entries: Iterable[Entry]) -> NDArray[np.float32] | None:
        """(scene,) days of scenes from the one that is shown; None for methods that weigh no days."""
        target = self.request.target
        if target is None:
            return None
        return np.array([(e.scene.datetime.date() - target).days for e in entries], np.float32)

    @property
    def _timed(self) -> bool:
        return METHODS[self.request.method].timed

    @property
    def _bands(self) -> int:
        return 1 if self.request.stage == "mask" else len(self.request.bands)

    def weight(self, entry: Entry, box: PixelBox) -> NDArray[np.uint8]:
        """(row, col) uint8 weight of a scene for this request; `LAST` counts only where no scene has more."""
        if self.request.stage in UNMERGED:
            seen = self._coarse(entry, entry.scene.key(MASK), box, 0) != MaskClass.NODATA
            return np.where(seen, 255, 0).astype(np.uint8)
        weight = self._coarse(entry, entry.weight_key, box, 0, smooth=True).astype(np.uint8, copy=False)
        if self._timed:
            clear = np.isin(self._coarse(entry, entry.scene.key(MASK), box, 0), CLEAR)
            weight[weight == DOUBTED] += 1
            weight[clear & (weight == 0)] = DOUBTED
        if self.request.snow != "keep" and entry.scene.snow_share > 0:
            snow = self._coarse(entry, entry.scene.key(MASK), box, 0) == MaskClass.SNOW
            weight[snow] = np.minimum(weight[snow], LAST if self.request.snow == "avoid" else 0)
        if self.request.min_score is not None:
            weight[self.score(entry, box) < self.request.min_score] = 0
        if self.request.fill == "best":
            seen = self._coarse(entry, entry.scene.key(MASK), box, 0) != MaskClass.NODATA
            weight = np.where(seen & (weight == 0), LAST, weight).astype(np.uint8)
        elif self.request.fill == "none":
            weight[weight == LAST] = 0
        return weight

    def score(self, entry: Entry, box: PixelBox) -> NDArray[np.uint8]:
        """(row, col) uint8 clear score of a scene, `SCORE_NODATA` beyond its data.

        Only the memory of places gives a pixel that the mask flags more weight than `LAST`: the dates prove it ground, and it scores
        `REMEMBERED_SCORE` at least.

        Raises:
            ReadFailure: there is none, as in scenes of releases before scores, or it is damaged.
        """
        try:
            score = self._coarse(entry, entry.scene.key(SCORE), box, SCORE_NODATA).astype(
                np.uint8, copy=False
            )
        except ReadFailure as error:
            raise ReadFailure(
                f"it has no clear score ({error}), as scenes of earlier releases; run precompute again, or ask without min_score"
            ) from None
        flagged = np.isin(self._coarse(entry, entry.scene.key(MASK), box, 0), CLOUDED)
        if flagged.any():
            weight = self._coarse(entry, entry.weight_key, box, 0).astype(np.uint8, copy=False)
            remembered = flagged & (weight > LAST)
            score = np.where(remembered, np.maximum(score, REMEMBERED_SCORE), score)
        return score

    def values(self, entry: Entry, box: PixelBox) -> NDArray[np.int16]:
        """(band, row, col) int16 of a scene at the request's stage."""
        values, field = self._stored(entry, box), self._field(entry, box)
        if field is not None:
            overlay_kernels.apply_gain(values, tuple(field), NODATA)
        return values

    def _stored(self, entry: Entry, box: PixelBox) -> NDArray[np.int16]:
        """The same without gains."""
        request, scene = self.request, entry.scene
        if request.stage == "mask":
            classes = self._coarse(entry, scene.key(MASK), box, 0).astype(np.int16)
            return np.where(classes == MaskClass.NODATA, NODATA, classes)[None].astype(np.int16)
        values = np.empty((len(request.bands), *box.shape), np.int16)
        for band, out in zip(request.bands, values, strict=True):
            self._band(entry, band, box, out)
        return self._counts(entry, values, box) if request.stage == "raw" else values

    def _field(self, entry: Entry, box: PixelBox) -> GainField | None:
        """The gains of a scene for values of a box; None where the request or the scene has none."""
        corner_gains = self.corner_gains(entry, box)
        if corner_gains is None:
            return None
        gain, offset, windows = corner_gains
        side = self.grid.window >> self.level
        return GainField(
            np.stack([gain, offset / SCALE]), windows.row0, windows.col0, side, box.row0, box.col0
        )

    def corner_gains(self, entry: Entry, box: PixelBox) -> CornerGains | None:
        """Gain and offset, each (band, ny + 1, nx + 1), by which a scene is normalized, and the windows whose corners they are.

        For methods that weigh days they lead to the level of the day that is shown, unless the request has the common level; these are of
        the windows around a box of the level's grid alone. None where nothing is normalized, or the scene does not reach the box.
        """
        request = self.request
        known = self.version.corners(entry) if request.normalized else None
        if known is None:
            return None
        corners, windows = known
        which = [self.version.bands.index(b) for b in request.bands]
        gain, offset = gains.decode(corners[:, which])
        if request.target is None or request.common_level:
            return gain, offset, windows
        near = PixelBox(*(v * 2**self.level for v in box)).coarser(self.grid.window).intersection(windows)
        if near.empty:
            return None
        # The whole period decides a day's level, so that it is the same whichever scenes a request leaves.
        key = near, request.target
        if key not in self.levels:
            self.levels[key] = day_level(self.version, self._touching(near), request.target, near)
        a, b = (v[which] for v in self.levels[key])
        at = (
            slice(near.row0 - windows.row0, near.row1 - windows.row0 + 1),
            slice(near.col0 - windows.col0, near.col1 - windows.col0 + 1),
        )
        return a * gain[:, *at], a * offset[:, *at] + b, near

    def _touching(self, windows: PixelBox) -> list[Entry]:
        """The zone's scenes of the period that lie on a corner of some windows."""
        period, side = self.request.period, self.grid.window
        places = self.version.places(period)
        epsg, boxes = places.epsg, places.boxes
        first, last = np.array(windows[:2]), np.array(windows[2:])
        touched = (boxes[:, :2] // side <= last) & (-(-boxes[:, 2:] // side) >= first)
        entries = self.version.entries(period)
        return [entries[i] for i in np.flatnonzero((epsg == self.epsg) & touched.all(axis=1)).tolist()]

    def _counts(self, entry: Entry, values: NDArray[np.int16], box: PixelBox) -> NDArray[np.int16]:
        """The product's own numbers; exact at full resolution, from averaged pixels at overviews."""
        scene = entry.scene
        key = scene.key(CORRECTION)
        correction = read_correction(self.version.store.read_bytes(key), key)
        classes = self._coarse(entry, scene.key(MASK), box, 0).astype(np.uint8)
        factor = 2**self.level
        grid = Grid(self.epsg, self.grid.pixel * factor, self.grid.window // factor)
        fine = scene.box.coarser(self.version.store.mask_factor)
        rows = np.clip(self._mask_index(box.row0, box.row1) - fine.row0, 0, fine.height - 1)
        cols = np.clip(self._mask_index(box.col0, box.col1) - fine.col0, 0, fine.width - 1)
        detector = correction.detector[rows[:, None], cols]
        return np.stack(
            [
                counts(v, classes, detector, correction, band, grid, box)
                for v, band in zip(values, self.request.bands, strict=True)
            ]
        )

    def _mask_index(self, start: int, stop: int) -> NDArray[np.int64]:
        """Mask pixel under the middle of each pixel of the level."""
        centre = (np.arange(start, stop) + 0.5) * 2**self.level / self.version.store.mask_factor
        index: NDArray[np.int64] = np.floor(centre).astype(np.int64)
        return index

    def _band(self, entry: Entry, band: str, box: PixelBox, out: NDArray[np.int16] | None = None) -> None:
        """Fills (row, col) `out` with a band on the level's grid; a 20 m band at full resolution shows each of its pixels four times."""
        halvings, key = stored_factor(band).bit_length() - 1, entry.scene.band_key(band)
        values = self._raster(entry, key, box, halvings, NODATA, out)
        if out is not None and values is not out:
            out[:] = values

    def _coarse(
        self, entry: Entry, key: str, box: PixelBox, fill: float, *, smooth: bool = False
    ) -> NDArray[np.generic]:
        """A raster of the mask grid on the level's grid; weights are interpolated where they are coarser."""
        halvings = self.version.store.mask_factor.bit_length() - 1
        if smooth and self.level < halvings:
            half = box.coarser(2).grown(1)
            weight = self._at(entry, key, half, halvings, 0, fill).astype(np.uint8, copy=False)
            out = np.empty(box.shape, np.uint8)
            gather_kernels.double_weight(
                weight, box.row0 - 2 * half.row0, box.col0 - 2 * half.col0, LAST, out
            )
            return out
        return self._raster(entry, key, box, halvings, fill)

    def _raster(
        self,
        entry: Entry,
        key: str,
        box: PixelBox,
        halvings: int,
        fill: float,
        out: NDArray[np.int16] | None = None,
    ) -> NDArray[np.generic]:
        """A raster stored `halvings` levels above the zone grid, on the level's grid; in `out` where it need not be enlarged."""
        if self.level >= halvings:
            return self._at(entry, key, box, halvings, self.level - halvings, fill, out)
        half = box.coarser(2)
        twice = self._at(entry, key, half, halvings, 0, fill).repeat(2, axis=0).repeat(2, axis=1)
        return twice[box.within(PixelBox(*(2 * v for v in half)))]

    def _at(
        self,
        entry: Entry,
        key: str,
        box: PixelBox,
        halvings: int,
        level: int,
        fill: float,
        out: NDArray[np.int16] | None = None,
    ) -> NDArray[np.generic]:
        covers = entry.scene.box.coarser(2 ** (halvings + level))
        return self.blocks.read(self.version.store, key, level, covers, box, fill, out)


def _inner(box: PixelBox, part: Cut) -> PixelBox:
    """Rows and columns of a box as a box."""
    rows, cols = part
    return PixelBox(box.row0 + rows.start, box.col0 + cols.start, box.row0 + rows.stop, box.col0 + cols.stop)


def _problem(entry: Entry, error: Exception) -> str:
    return f"{entry.scene.id}: {error}"
