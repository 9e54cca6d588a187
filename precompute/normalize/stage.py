"""Normalizes the scenes of one period: reference, weights, differences, gains; each step skips what is there."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from precompute import executor
from precompute.normalize.fields import TileGains, solve_zone
from precompute.normalize.reference import CHUNK, chunks, make_chunk
from precompute.normalize.registration import Shift
from precompute.normalize.weigh import SceneTask, difference_key, weigh_scene
from terrazzo import PIXELS
from terrazzo.errors import StoreError
from terrazzo.scene import Scene
from terrazzo.store import Store


@dataclass(frozen=True)
class Normalized:
    """The normalization of a period.

    Attributes:
        weights: key and content hash of each scene's weight raster, by scene id.
        haze: mean haze weight over the scene's clear pixels, by scene id.
        gains: by MGRS tile; empty without normalization.
        shifts: where scenes weighed in this run lie on the reference, by scene id.
    """

    ref_id: str
    weights: dict[str, tuple[str, str]]
    haze: dict[str, float]
    gains: dict[str, TileGains] = field(default_factory=dict)
    shifts: dict[str, Shift] = field(default_factory=dict)


def normalize_period(
    store: Store,
    mosaic_id: str,
    scenes: Sequence[Scene],
    *,
    previous: Normalized | None = None,
    solve_gains: bool = True,
    register: bool = True,
    workers: int = 1,
    console: Console | None = None,
) -> Normalized:
    """Makes reference, weights and gains of a period's scenes.

    Args:
        previous: the last version's normalization. Scenes of tiles that have no new scene keep their
            weights and gains, and the others are solved against them.
        solve_gains: False stops after the weights.
        register: measure how far scenes lie off the reference, and let those that lie far off weigh less.

    Raises:
        OSError: the store's disk is full.
    """
    kept = _kept(scenes, previous)
    dirty = [s for s in scenes if s.id not in kept]
    ref_id = _reference_id(scenes, register)
    base = f"mosaics/{mosaic_id}"
    result = Normalized(
        ref_id,
        {i: previous.weights[i] for i in kept} if previous else {},
        {i: previous.haze[i] for i in kept} if previous else {},
        {m: g for m, g in previous.gains.items() if set(g.scene_ids) <= kept} if previous else {},
    )
    if not dirty:
        return result
    folder = f"{base}/references/{ref_id}"
    executor.results(
        executor.run(
            make_chunk,
            list(chunks(store, scenes, dirty, folder)),
            workers=workers,
            label="reference",
            name=str,
            console=console,
        )
    )
    order = tuple(s.id for s in scenes)
    weigh = [
        SceneTask(
            store.url, s, folder, f"{base}/weights/{ref_id}", f"{base}/differences/{ref_id}", order, register
        )
        for s in dirty
    ]
    for done in executor.results(
        executor.run(
            weigh_scene, weigh, workers=workers, label="weights", name=lambda t: t.scene.id, console=console
        )
    ):
        result.weights[done.id] = (done.key, done.hash)
        result.haze[done.id] = done.haze
        if done.shift is not None:
            result.shifts[done.id] = done.shift
    if solve_gains:
        for epsg in sorted({s.epsg for s in dirty}):
            zone = [s for s in scenes if s.epsg == epsg]
            # A scene's strips were measured against the reference that its weight was made with.
            strips = {
                s.id: difference_key(f"{base}/differences/{Path(result.weights[s.id][0]).parent.name}", s)
                for s in zone
            }
            result.gains.update(
                solve_zone(
                    store,
                    zone,
                    result.haze,
                    strips,
                    {m: result.gains[m] for m in {s.mgrs for s in zone} & set(result.gains)},
                    workers=workers,
                    console=console,
                )
            )
    return result


def _kept(scenes: Sequence[Scene], previous: Normalized | None) -> set[str]:
    """Scenes of tiles whose set of scenes is the same as in the last version."""
    if previous is None:
        return set()
    before: dict[str, set[str]] = {m: set(g.scene_ids) for m, g in previous.gains.items()}
    now: dict[str, set[str]] = defaultdict(set)
    for s in scenes:
        now[s.mgrs].add(s.id)
    return {s.id for s in scenes if before.get(s.mgrs) == now[s.mgrs] and _rev(previous, s) == s.rev}


def _rev(previous: Normalized, scene: Scene) -> str | None:
    key = previous.weights.get(scene.id)
    return Path(key[0]).stem.removeprefix(f"{scene.id}-") if key else None


def _reference_id(scenes: Sequence[Scene], register: bool) -> str:
    text = json.dumps([sorted((s.id, s.rev) for s in scenes), PIXELS, CHUNK, register])
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def require_bands(store: Store) -> None:
    """Checks that a store holds the bands that haze is told by.

    Raises:
        StoreError: B02, B04 or B08 is missing.
    """
    missing = {"B02", "B04", "B08"} - set(store.config.bands)
    if missing:
        raise StoreError(
            f"normalization needs B02, B04 and B08; the store lacks {', '.join(sorted(missing))}: make one with them"
        )
