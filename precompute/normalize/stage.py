"""Normalizes the scenes of one period: reference, weights, differences, gains; each step skips what is there."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from terrazzo import PIXELS
from terrazzo.errors import StoreError
from terrazzo.places import SQUARE
from terrazzo.precompute.normalize.across import AcrossTask, across_tasks, measure_across
from terrazzo.precompute.normalize.fields import Compared, TileGains, solve_zone
from terrazzo.precompute.normalize.reference import chunks, is_done, make_chunk
from terrazzo.precompute.normalize.weigh import SceneTask, difference_key, weigh_scene
from terrazzo.precompute.scene.shift import Shift
from terrazzo.precompute.work.executor import ALONE, WHOLE, Crew, Shard
from terrazzo.scene import Scene
from terrazzo.store import Store


@dataclass(frozen=True)
class Solve:
    """A step by which a period came to be as it is: these scenes were there, and tiles that differ from the step before were solved.

    Attributes:
        scenes: `identity` of each, sorted.
        register: whether scenes that lie far off weighed less.
    """

    scenes: tuple[str, ...]
    register: bool


@dataclass(frozen=True)
class Normalized:
    """The normalization of a period.

    Attributes:
        weights: key and content hash of each scene's weight raster, by scene id.
        haze: mean haze weight over the scene's clear pixels, by scene id.
        gains: by MGRS tile; empty without normalization.
        shifts: where scenes weighed in this run lie on the reference, by scene id.
        dropped: share of the clear pixels of scenes weighed in this run that does not count, by scene id.
        solves: the steps that led here, from the last one that kept no tile.
    """

    ref_id: str
    weights: dict[str, tuple[str, str]]
    haze: dict[str, float]
    gains: dict[str, TileGains] = field(default_factory=dict)
    shifts: dict[str, Shift] = field(default_factory=dict)
    dropped: dict[str, float] = field(default_factory=dict)
    solves: tuple[Solve, ...] = ()


def identity(scene: Scene, cut: str | None) -> str:
    """The key of a scene's state: name, revision, and a hash of its exclusions."""
    return "/".join([scene.id, scene.rev, *([cut_hash(cut)] if cut else [])])


def cut_hash(cut: str) -> str:
    """12 hexadecimal digits that name what is cut out of a scene."""
    return hashlib.blake2b(cut.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Rules:
    """How a period is normalized.

    Attributes:
        solve_gains: False stops after the weights.
        register: measure how far scenes lie off the reference, and let those that lie far off weigh less.
        external: path of a composite whose level the scenes are brought to, see `MosaicConfig.reference`.
        until: the last step that is done; the result is not whole before `solve`.
        shard: part of the squares of the reference, or of the scenes to be weighed, that is done here.
    """

    solve_gains: bool = True
    register: bool = True
    external: str | None = None
    until: Literal["reference", "weigh", "solve"] = "solve"
    shard: Shard = WHOLE


USUAL = Rules()


def normalize_period(
    store: Store,
    mosaic_id: str,
    scenes: Sequence[Scene],
    rules: Rules = USUAL,
    *,
    previous: Normalized | None = None,
    cuts: Mapping[str, str] | None = None,
    crew: Crew = ALONE,
) -> Normalized:
    """Makes reference, weights and gains of a period's scenes.

    Args:
        previous: the last version's normalization. Scenes of tiles that have no new scene keep their
            weights and gains, and the others are solved against them.
        cuts: GeoJSON geometry in degrees of what is cut out of a scene, by its id.

    Raises:
        OSError: the store's disk is full.
        StoreError: a part of the scenes is to be weighed, and the reference is not complete.
    """
    cuts = cuts or {}
    now = {s.id: identity(s, cuts.get(s.id)) for s in scenes}
    ref_id = _reference_id(now.values(), rules.register, rules.external)
    if previous and {level_of(Path(k).parent.name) for k, _ in previous.weights.values()} != {
        level_of(ref_id)
    }:
        # Gains that lead to another level cannot hold the others in place.
        previous = None
    kept = _kept(scenes, now, previous)
    dirty = [s for s in scenes if s.id not in kept]
    result = Normalized(
        ref_id,
        {i: previous.weights[i] for i in kept} if previous else {},
        {i: previous.haze[i] for i in kept} if previous else {},
        {m: g for m, g in previous.gains.items() if set(g.scene_ids) <= kept} if previous else {},
        solves=_solves(Solve(tuple(sorted(now.values())), rules.register), previous if kept else None),
    )
    if not dirty:
        return result
    period = _Unsolved(store, f"mosaics/{mosaic_id}", scenes, dirty, rules, crew)
    period.make_reference(ref_id, cuts)
    if rules.until != "reference":
        period.weigh(result)
    if rules.solve_gains and rules.until == "solve":
        period.solve(result)
    return result


@dataclass(frozen=True)
class _Unsolved:
    """A period whose scenes are compared, weighed and solved, step by step.

    Attributes:
        base: folder of the mosaic.
        dirty: scenes to be weighed; the others keep what they have.
    """

    store: Store
    base: str
    scenes: Sequence[Scene]
    dirty: Sequence[Scene]
    rules: Rules
    crew: Crew

    def _references(self, ref_id: str) -> str:
        return f"{self.base}/references/{ref_id}"

    def make_reference(self, ref_id: str, cuts: Mapping[str, str]) -> None:
        """Writes the squares of the reference that the dirty scenes touch.

        Raises:
            StoreError: scenes are to be weighed in parts, and some square is missing.
        """
        shard, until = self.rules.shard, self.rules.until
        folder = self._references(ref_id)
        squares = list(chunks(self.store, self.scenes, self.dirty, folder, cuts, self.rules.external))
        todo = [] if shard != WHOLE and until == "weigh" else shard.part(squares)
        self.crew.do(make_chunk, todo, "reference")
        lacks = [c for c in squares if not is_done(self.store, c)] if shard != WHOLE else []
        if until != "reference" and lacks:
            raise StoreError(
                f"{len(lacks)} of {len(squares)} squares of the reference are missing: run all parts of --only reference first"
            )

    def weigh(self, result: Normalized) -> None:
        """Weighs the dirty scenes, and adds what that gives to the result."""
        ref_id, order = result.ref_id, tuple(s.id for s in self.scenes)
        places = (
            self._references(ref_id),
            f"{self.base}/weights/{ref_id}",
            f"{self.base}/differences/{ref_id}",
        )
        tasks = [
            SceneTask(self.store.url, s, *places, order, self.rules.register)
            for s in self.rules.shard.part(self.dirty)
        ]
        for weighed in self.crew.do(weigh_scene, tasks, "weights", lambda t: t.scene.id):
            result.weights[weighed.id] = (weighed.key, weighed.hash)
            result.haze[weighed.id] = weighed.haze
            result.dropped[weighed.id] = weighed.dropped
            if weighed.shift is not None:
                result.shifts[weighed.id] = weighed.shift

    def solve(self, result: Normalized) -> None:
        """Solves the gains of the dirty scenes' tiles zone by zone, and adds them to the result."""
        tiles: dict[str, list[Scene]] = defaultdict(list)
        for s in self.dirty:
            tiles[s.mgrs].append(s)
        across: list[AcrossTask] = []
        # Scenes of two zones that are fitted to one composite agree without further ado.
        if self.rules.external is None:
            folder = self._references(result.ref_id)
            across = list(across_tasks(self.store, self.scenes, tiles, result.weights, folder))
        self.crew.do(
            measure_across, across, "zone borders", lambda t: f"{t.scene.id} on {t.key.split('/')[-2]}"
        )
        # A scene's strips were measured against the reference that its weight was made with.
        strips = {
            s.id: difference_key(f"{self.base}/differences/{Path(result.weights[s.id][0]).parent.name}", s)
            for s in self.scenes
        }
        compared, kept = Compared(result.haze, strips, across), dict(result.gains)
        for epsg in sorted({s.epsg for s in self.dirty}):
            result.gains.update(
                solve_zone(
                    self.store,
                    [s for s in self.scenes if s.epsg == epsg],
                    compared,
                    kept,
                    beside=[s for s in self.scenes if s.epsg != epsg],
                    free_level=self.rules.external is None,
                    crew=self.crew,
                )
            )


def _kept(scenes: Sequence[Scene], now: Mapping[str, str], previous: Normalized | None) -> set[str]:
    """Scenes of tiles whose scenes are the same, in the same state, as in the last version."""
    if previous is None:
        return set()
    before = {i.split("/")[0]: i for i in previous.solves[-1].scenes}
    tiles: dict[str, set[str]] = defaultdict(set)
    for s in scenes:
        tiles[s.mgrs].add(now[s.id])
    same = {m for m, g in previous.gains.items() if {before[i] for i in g.scene_ids} == tiles[m]}
    return {s.id for s in scenes if s.mgrs in same}


def _solves(this: Solve, previous: Normalized | None) -> tuple[Solve, ...]:
    if previous is None:
        return (this,)
    return previous.solves if previous.solves[-1].scenes == this.scenes else (*previous.solves, this)


def _reference_id(scenes: Iterable[str], register: bool, external: str | None) -> str:
    text = json.dumps([sorted(scenes), PIXELS, SQUARE, register])
    own = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return own if external is None else f"{file_hash(external)}-{own}"


def level_of(ref_id: str) -> str:
    """The part of a reference's id that names the composite whose level it has; empty for the scenes' own."""
    return ref_id.rpartition("-")[0]


def file_hash(path: str) -> str:
    """12 hexadecimal digits that name the content of a composite.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=6)).hexdigest()
    except OSError as error:
        raise StoreError(f"reference {path}: {error.strerror}") from None


def require_bands(store: Store) -> None:
    """Checks that a store holds the bands that the haze index needs.

    Raises:
        StoreError: B02, B04 or B08 is missing.
    """
    missing = {"B02", "B04", "B08"} - set(store.config.bands)
    if missing:
        raise StoreError(
            f"normalization needs B02, B04 and B08; the store lacks {', '.join(sorted(missing))}: make one with them"
        )
