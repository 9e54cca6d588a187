"""Predicts what a day's clouds hide, from what the day shows beside them and from the other dates.

The trend is `kriging` of the other dates to the day. Where the day is seen, its difference from the trend is regressed on the trend and on how the last date
before and the first after differ from it, all bands on all bands; what the regression leaves in the neighbourhood is carried into the hole. Sums for the
regression are taken over fixed windows of the zone's grid at a fixed overview level, and coefficients are solved at the windows' corners and interpolated between
them, so that two tiles that share a border have the same pixels there.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import day_interval
from terrazzo.errors import TooLarge
from terrazzo.grid import PixelBox
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.request import Resolved
from terrazzo.mosaic.selection import Selection, allowed
from terrazzo.mosaic.zone import Merging, Outcome, ZonePixels
from terrazzo.raster import reflectance
from terrazzo.version import Entry, Version, places_of

PREDICTED = 1024
"""Bit of the quality layer: predicted, seen by no scene of the day."""
REACH = 45
"""Days around the asked one whose dates predict it: what is further away adds less than the regression's own error."""
SIDE = 64
"""Pixels a side of a window at the level that sums are taken at: four thousand of them fix thirteen coefficients a band. Pictures that
are coarser than that level have windows of as many of their own pixels, so that none reads finer pixels than it shows."""
BLOCK = 4
"""Windows a side of the squares whose sums are computed at once."""
RADIUS = 3
"""Windows around a corner that its coefficients come from, the near ones first."""
MIDDLE = 0.15
"""Reflectance that is taken off the trend, so that the constant is a level and not a value at no light."""
PULL, PULL_CONSTANT = 0.05, 1.0
"""Sums by which coefficients are drawn to 0, which is the trend itself: of thirty pixels of a field's contrast, and of one pixel for the level."""
ODD = 4.0
"""Expected differences of two dates from which a pixel adds little to a regression: a cloud that was missed."""
SCALES, LEAST = (8.0, 2.0), 0.02
"""Standard deviations, pixels, in which what the regression leaves is spread, the wide one first, and the share of a neighbourhood that has to be seen for half of it."""
MOST_WINDOWS = 1024
"""Windows of one picture, at least `SIDE` of its pixels a side; those of exports have fewer."""
KEPT_BYTES = 64 << 20
"""Sums of squares of windows that are kept in memory: four hundred of ten bands."""
MARGIN = 32
"""Pixels around a box that its own depend on: three standard deviations of both scales and a bit."""

Array = NDArray[np.float32]


def day_of(request: Resolved) -> date:
    """The day that a request with `fill=predict` asks for."""
    day = day_interval(request.datetime or "")[0]
    assert day is not None
    return day


def widened(version: Version, selection: Selection) -> Selection:
    """A day's selection with the other dates of its period behind it, those of at most `REACH` days away."""
    request, day = selection.request, day_of(selection.request)
    near = day - timedelta(days=REACH), day + timedelta(days=REACH)
    others = tuple(
        e
        for e in version.entries(request.period)
        if allowed(e, request, near) and e.scene.datetime.date() != day
    )
    entries = selection.entries + others
    return Selection(request, entries, places_of(entries))


def _as_trend(request: Resolved) -> dict[str, Any]:
    """What the trend changes in a request: it follows the days, at the level of what the day shows, which stays as it is."""
    common = True if request.target is None else request.common_level
    return {"fill": "none", "method": "kriging", "target": day_of(request), "common_level": common}


def trend(selection: Selection) -> Selection:
    """The other dates of a `widened` selection alone, asked for what the prediction of a day starts from."""
    request, day = selection.request, day_of(selection.request)
    others = tuple(e for e in selection.entries if e.scene.datetime.date() != day)
    return Selection(replace(request, **_as_trend(request)), others, places_of(others))


class Sums(NamedTuple):
    """Sums for the regression over a box of windows.

    Attributes:
        products: (row, col, feature, feature); targets: (row, col, feature, band).
        problems: scenes that were left out, and why.
    """

    products: NDArray[np.float64]
    targets: NDArray[np.float64]
    problems: tuple[str, ...]


class KeptSums:
    """Sums of squares of windows, least recently used forgotten first; safe to share between threads."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._sums: OrderedDict[Hashable, Sums] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Sums | None:
        """What is kept under a key."""
        with self._lock:
            sums = self._sums.get(key)
            if sums is not None:
                self._sums.move_to_end(key)
            return sums

    def keep(self, key: Hashable, sums: Sums) -> None:
        """Keeps sums, unless a scene is missing in them: that one may be readable the next time."""
        if sums.problems:
            return
        with self._lock:
            if key not in self._sums:
                self._sums[key] = sums
                self._bytes += _size(sums)
            while self._bytes > self._most:
                self._bytes -= _size(self._sums.popitem(last=False)[1])


def _size(sums: Sums) -> int:
    return sums.products.nbytes + sums.targets.nbytes


def predicted(merging: Merging, selection: Selection, box: PixelBox, kept: KeptSums) -> Outcome:
    """The merged pixels of a day in a box of the level's grid, its holes predicted and flagged.

    Args:
        selection: of `widened`.
        kept: sums of earlier answers from the same version.
    """
    return filled(DaySource(merging, selection, kept), box)


def filled(source: "DaySource", box: PixelBox) -> Outcome:
    """What `predicted` gives, of a day and other dates that are read through `source`."""
    wide = box.grown(MARGIN)
    source.require_bounded(wide)
    seen, problems = source.seen(box)
    if seen is not None and (seen.values != NODATA).all(axis=0).all():
        return Outcome(seen, problems)
    dates, more = source.dates(wide)
    problems = tuple(dict.fromkeys((*problems, *more)))
    if dates is None:
        return Outcome(seen, problems)
    around, around_problems = source.seen(wide)
    own = (
        np.full(dates.trend.values.shape, np.nan, np.float32)
        if around is None
        else reflectance(around.values)
    )
    regressed, regressed_problems = source.regressed(dates, wide)
    problems = tuple(dict.fromkeys((*problems, *around_problems, *regressed_problems)))
    predicted = _carried(own, dates.trend_rho + regressed)
    inner = box.within(wide)
    return Outcome(_filled(seen, dates.trend, predicted[:, *inner], inner), problems)


def _filled(
    seen: ZonePixels | None, trend: ZonePixels, predicted: Array, inner: tuple[slice, slice]
) -> ZonePixels:
    """A day's pixels, or what is predicted where it has none in any band."""
    there = np.isfinite(predicted)
    counts = np.clip(np.rint(np.where(there, predicted, 0) / SCALE), NODATA + 1, -NODATA - 1)
    values = np.where(there, counts, NODATA).astype(np.int16)
    known = (values != NODATA).any(axis=0)
    out = ZonePixels(
        values,
        np.where(known, trend.provenance[inner], -1).astype(np.int16),
        np.where(known, trend.count[inner], 0).astype(np.uint8),
        np.where(known, PREDICTED, 0).astype(np.uint16),
        trend.trust[inner].copy(),
    )
    if seen is not None:
        here = (seen.values != NODATA).any(axis=0)
        out.quality[~here] |= seen.quality[~here]
        out.values[:, here] = seen.values[:, here]
        out.provenance[here], out.count[here] = seen.provenance[here], seen.count[here]
        out.quality[here], out.trust[here] = seen.quality[here], seen.trust[here]
    return out


def _carried(own: Array, regressed: Array) -> Array:
    """(band, row, col) of a regression with what it leaves in the seen neighbourhood, near what is seen.

    Args:
        own: what the day shows, NaN where nothing.
    """
    out = regressed
    for scale in SCALES:
        reach = int(3 * scale)
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / scale) ** 2)
        taps = (taps / taps.sum()).astype(np.float32)
        for band in range(len(out)):
            left = own[band] - out[band]
            known = np.isfinite(left)
            if known.any():
                total = _weighted(np.where(known, left, 0).astype(np.float32), taps)
                out[band] += total / (_weighted(known.astype(np.float32), taps) + np.float32(LEAST))
    return out


@njit(cache=True, nogil=True)
def _weighted(values, taps):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(row, col) sums of neighbours weighted by (2 n + 1,) taps down and across; nothing lies beyond the border."""
    rows, cols = values.shape
    reach = len(taps) // 2
    down, out = np.zeros(values.shape, np.float32), np.zeros(values.shape, np.float32)
    for r in range(rows):
        for k in range(max(-reach, -r), min(reach + 1, rows - r)):
            for c in range(cols):
                down[r, c] += taps[k + reach] * values[r + k, c]
    for r in range(rows):
        for c in range(cols):
            for k in range(max(-reach, -c), min(reach + 1, cols - c)):
                out[r, c] += taps[k + reach] * down[r, c + k]
    return out


@dataclass(frozen=True)
class OtherDates:
    """What the other dates say of a day: the trend as merged, and (band, row, col) reflectance of it and of the dates beside the day."""

    trend: ZonePixels
    trend_rho: Array
    before: Array
    after: Array

    def features(self) -> Array:
        """(1 + 3 bands, row, col): 1, the trend, and how the dates before and after differ from it; NaN where there is no trend."""
        one = np.ones((1, *self.trend_rho.shape[1:]), np.float32)
        parts = (one, self.trend_rho - MIDDLE, self.before - self.trend_rho, self.after - self.trend_rho)
        return np.concatenate(parts).astype(np.float32)


@dataclass(frozen=True)
class DaySource:
    """What a day and its other dates are read through; equal ones give equal pixels."""

    merging: Merging
    selection: Selection
    kept: KeptSums = field(default_factory=KeptSums, compare=False)

    def _pixels(self, entries: Sequence[tuple[int, Entry]], box: PixelBox, **changed: Any) -> Outcome:
        merging = replace(self.merging, request=replace(self.merging.request, **{"fill": "none", **changed}))
        return (
            merging.pixels(list(entries), box, count_to=ALL, trusted=True) if entries else Outcome(None, ())
        )

    def _shown(self, box: PixelBox) -> list[tuple[int, tuple[int, Entry]]]:
        """The scenes in a box by their days from the one asked for."""
        day, m = day_of(self.merging.request), self.merging
        return [
            ((e.scene.datetime.date() - day).days, (n, e))
            for n, e in self.selection.shown(m.epsg, m.level, box)
        ]

    def seen(self, box: PixelBox) -> Outcome:
        """What the day shows."""
        return self._pixels([numbered for days, numbered in self._shown(box) if days == 0], box)

    def dates(self, box: PixelBox) -> tuple[OtherDates | None, tuple[str, ...]]:
        """What the other dates say; None where they show nothing."""
        others = [(days, numbered) for days, numbered in self._shown(box) if days != 0]
        request = self.merging.request
        trend, problems = self._pixels([o for _, o in others], box, **_as_trend(request))
        if trend is None:
            return None, problems
        sides = []
        for sign in (-1, 1):
            side = [o for days, o in sorted(others, key=lambda d: abs(d[0])) if days * sign > 0]
            pixels, more = self._pixels(side, box, method="first")
            problems += more
            sides.append(
                np.full(trend.values.shape, np.nan, np.float32)
                if pixels is None
                else reflectance(pixels.values)
            )
        level = reflectance(trend.values)
        before, after = (
            np.where(np.isfinite(one), one, np.where(np.isfinite(other), other, level))
            for one, other in (sides, sides[::-1])
        )
        return OtherDates(trend, level, before, after), problems

    @property
    def side(self) -> int:
        """Pixels a side of a window at this level."""
        return max(self.merging.grid.window >> self.merging.level, SIDE)

    def require_bounded(self, box: PixelBox) -> None:
        """Checks that a box is not too large to predict.

        Raises:
            TooLarge: it lies in more than `MOST_WINDOWS` windows.
        """
        windows = box.coarser(self.side)
        if windows.height * windows.width > MOST_WINDOWS:
            raise TooLarge(
                "fill=predict: too many pixels for one answer at this resolution; ask for fewer, or use `terrazzo export`"
            )

    def regressed(self, dates: OtherDates, box: PixelBox) -> tuple[Array, tuple[str, ...]]:
        """(band, row, col) how a day differs from the trend, by the regression around each pixel, and problems."""
        features, side = dates.features(), self.side
        windows = box.coarser(side)
        out = np.full(dates.trend_rho.shape, np.nan, np.float32)
        table, problems = self._corners(windows)
        for r, c in np.ndindex(*windows.shape):
            row, col = side * (windows.row0 + r), side * (windows.col0 + c)
            window = PixelBox(row, col, row + side, col + side).intersection(box)
            at = window.within(box)
            down = ((np.arange(window.row0, window.row1) + 0.5) / side % 1)[:, None].astype(np.float32)
            across = ((np.arange(window.col0, window.col1) + 0.5) / side % 1)[None].astype(np.float32)
            parts = [(0, 0, (1 - down) * (1 - across)), (0, 1, (1 - down) * across)]
            parts += [(1, 0, down * (1 - across)), (1, 1, down * across)]
            out[:, *at] = sum(
                share * np.einsum("fb,frc->brc", table[r + i, c + j], features[:, *at])
                for i, j, share in parts
            )
        return out, problems

    def _corners(self, windows: PixelBox) -> tuple[Array, tuple[str, ...]]:
        """(rows + 1, cols + 1, feature, band) coefficients at the corners of a box of windows, and problems."""
        products, targets, problems = self._sums(windows.grown(RADIUS))
        bands, count = targets.shape[-1], targets.shape[-2]
        pull = np.diag([PULL_CONSTANT, *[PULL] * (count - 1)])
        at = np.arange(-RADIUS, RADIUS) + 0.5
        weight = np.maximum(0, 1 - np.hypot(at[:, None], at) / RADIUS)
        out = np.empty((windows.height + 1, windows.width + 1, count, bands), np.float32)
        for r, c in np.ndindex(*out.shape[:2]):
            near = np.s_[r : r + 2 * RADIUS, c : c + 2 * RADIUS]
            left = np.einsum("rc,rcfg->fg", weight, products[near]) + pull
            out[r, c] = np.linalg.solve(left, np.einsum("rc,rcfb->fb", weight, targets[near]))
        return out, problems

    def _sums(self, windows: PixelBox) -> Sums:
        """Sums of a box of windows, from the squares that hold them."""
        blocks, coarse = windows.coarser(BLOCK), self._coarse
        rows = [
            [coarse.square(r, c) for c in range(blocks.col0, blocks.col1)]
            for r in range(blocks.row0, blocks.row1)
        ]
        inner = windows.within(PixelBox(*(BLOCK * v for v in blocks)))
        products, targets = (
            np.concatenate([np.concatenate([block[k] for block in row], axis=1) for row in rows])[inner]
            for k in (0, 1)
        )
        return Sums(
            products, targets, tuple(dict.fromkeys(p for row in rows for b in row for p in b.problems))
        )

    @property
    def _coarse(self) -> "DaySource":
        """The same at the level that sums are taken at."""
        level = max(0, (self.merging.grid.window // SIDE).bit_length() - 1, self.merging.level)
        return replace(self, merging=replace(self.merging, level=level))

    def square(self, row: int, col: int) -> Sums:
        """Sums of a square of `BLOCK` windows a side; of a source at the level that sums are taken at.

        Args:
            row, col: of the square, in squares.
        """
        m = self.merging
        # The request decides the scenes: a selection would be kept with all that it holds.
        key = m.request, m.epsg, m.level, row, col
        sums = self.kept.get(key)
        if sums is None:
            sums = _summed(self, row, col)
            self.kept.keep(key, sums)
        return sums


def _summed(source: DaySource, row: int, col: int) -> Sums:
    """What `square` gives, computed."""
    merging = source.merging
    side = source.side
    box = PixelBox(*(BLOCK * side * v for v in (row, col, row + 1, col + 1)))
    bands = len(merging.request.bands)
    products, targets = (
        np.zeros((BLOCK, BLOCK, *(1 + 3 * bands,) * 2)),
        np.zeros((BLOCK, BLOCK, 1 + 3 * bands, bands)),
    )
    seen, problems = source.seen(box)
    if seen is None:
        return Sums(products, targets, problems)
    dates, more = source.dates(box)
    problems += more
    if dates is None:
        return Sums(products, targets, problems)
    features, apart = dates.features(), reflectance(seen.values) - dates.trend_rho
    expected = 0.006 + 0.1 * np.maximum(dates.trend_rho, 0)
    weight = 1 / (1 + (np.mean((apart / expected) ** 2, axis=0) / ODD**2) ** 2)
    known = np.isfinite(weight) & np.isfinite(features).all(axis=0)
    for r, c in np.ndindex(BLOCK, BLOCK):
        at = np.s_[r * side : (r + 1) * side, c * side : (c + 1) * side]
        use = known[at]
        z, y, w = features[:, *at][:, use].astype(np.float64), apart[:, *at][:, use], weight[at][use]
        products[r, c], targets[r, c] = (z * w) @ z.T, (z * w) @ y.T
    return Sums(products, targets, problems)
