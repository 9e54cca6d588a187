"""`terrazzo plan`: the cost of a mosaic from an archive's metadata and headers of JP2: scenes, bytes and processor time.

The rates are measured ones; `docs/evidence/scale.md` says how.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain

import numpy as np
import shapely

from terrazzo.bands import DEFAULT_BANDS, stored_factor
from terrazzo.config import ALL, MosaicConfig
from terrazzo.errors import InvalidRequest
from terrazzo.precompute.acquire.archives import Archive, Level
from terrazzo.precompute.acquire.area import TILE_SIDE, from_box, from_tile
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.run import needed_files
from terrazzo.precompute.acquire.search import Candidate, Query, search
from terrazzo.precompute.acquire.sizes import by_headers, share_of, typical
from terrazzo.precompute.acquire.until_clear import choose, expected, places
from terrazzo.precompute.products.passes import outline

STORED = 1.3e9
"""Bytes of a scene of a whole tile and ten bands."""
HEADERS = 16
"""Headers of JP2 that are read at once."""
CPU_HOURS = 0.26
"""Of one core for such a scene, its part of the reference, its weight and gains, at most."""


@dataclass(frozen=True)
class Forecast:
    """What a mosaic would take.

    Attributes:
        scenes: by period.
        tiles: scenes of each MGRS tile.
        fetched, stored: bytes.
        known_share: share of the fetched bytes whose size the archive's Items or headers of JP2 tell; the rest is estimated by rate.
        cpu_hours: processor time of one core.
        left_out: products that the archive lists and a scene cannot be made of.
    """

    scenes: Mapping[str, int]
    tiles: Mapping[str, int]
    fetched: float
    known_share: float
    stored: float
    cpu_hours: float
    left_out: int

    def days(self, cores: int) -> float:
        """How long so many cores work."""
        return self.cpu_hours / cores / 24


def forecast(
    config: MosaicConfig,
    archive: Archive,
    *,
    days: tuple[date | None, date | None] | None = None,
    level: Level = "l2a",
    bands: Sequence[str],
    max_cloud: float | None = None,
    clear: int = 0,
) -> Forecast:
    """What the scenes of a mosaic would take, the parts of tiles that its area needs.

    Args:
        days: of a mosaic that names no periods.
        clear: no more scenes than show every place clear so often in every period, by the metadata; 0: all scenes.

    Raises:
        InvalidRequest: the configuration lacks area or dates.
        ArchiveError: the archive does not answer.
    """
    if config.bounds is None:
        raise InvalidRequest("mosaic.toml names no area: bounds = [west, south, east, north]")
    spans: dict[str, tuple[date | None, date | None] | None] = {
        p.name: (p.start, p.end) for p in config.periods if not p.members
    }
    spans = spans or {ALL: days}
    area, where = from_box(*config.bounds), places(from_box(*config.bounds))
    scenes, chosen, left_out = {}, dict[str, Candidate](), 0
    for name, span in spans.items():
        if span is None:
            raise InvalidRequest("mosaic.toml names no periods: name the dates with --datetime")
        query = Query(area, level, None, *span, max_cloud)
        hits = search([archive], query, *needed_files(level, bands))
        best = [group[0] for group in hits.groups]
        if clear and best:
            chances = np.stack([expected(c.item, where) for c in best])
            cost = [round(sum(map(sum, _bytes(c)))) for c in best]
            best = [best[i] for i in choose(chances, cost, np.zeros(len(where)), clear)]
        scenes[name] = len(best)
        left_out += len(hits.left_out)
        chosen |= {c.id: c for c in best}
    known, guessed = _by_headers(list(chosen.values()), Opener(archive))
    fetched = known + guessed
    scenes_of_ten = sum(map(_share, chosen.values())) * _pixels(bands) / _pixels(DEFAULT_BANDS)
    return Forecast(
        scenes,
        dict(sorted(Counter(c.product.mgrs for c in chosen.values()).items())),
        fetched,
        known / fetched if fetched else 1.0,
        scenes_of_ten * STORED,
        scenes_of_ten * CPU_HOURS,
        left_out,
    )


def _bytes(candidate: Candidate) -> list[tuple[float, float]]:
    """Bytes of each of a product's files: those that its Item names, and an estimate of a part or of another, by the average of such files."""
    holds, tile = _holds(candidate), candidate.product.mgrs
    return [
        (f.size, 0.0)
        if f.size is not None and f.part is None
        else (0.0, (f.size or holds * typical(f)) * share_of(f, tile))
        for f in candidate.files
    ]


def _by_headers(candidates: Sequence[Candidate], opener: Opener) -> tuple[float, float]:
    """Bytes of products: those that Items or headers of JP2 name, and estimates of the others."""
    lengths, _ = by_headers([(opener, f) for c in candidates for f in c.files], HEADERS)
    known = guessed = 0.0
    for length, (named, estimate) in zip(lengths, chain(*map(_bytes, candidates)), strict=True):
        known += named if length is None else length
        guessed += estimate if length is None else 0.0
    return known, guessed


def _holds(candidate: Candidate) -> float:
    """The share of its tile that a product holds."""
    tile = from_tile(candidate.product.mgrs)
    shape = outline(candidate.item.get("geometry"))
    if shape is None:
        return 1.0
    return float(shapely.intersection(tile, shape).area / tile.area)


def _share(candidate: Candidate) -> float:
    """The share of its tile that becomes a scene."""
    part = next((f.part for f in candidate.files if f.part is not None), None)
    taken = 1.0 if part is None else (part.right - part.left) * (part.top - part.bottom) / TILE_SIDE**2
    return _holds(candidate) * taken


def _pixels(bands: Sequence[str]) -> float:
    """Stored pixels of bands, in those of one 10 m band."""
    return sum(1 / stored_factor(b) ** 2 for b in bands)
