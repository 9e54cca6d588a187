"""The way from products to a published version: which steps run, on what, and what is left out."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pyproj import Transformer
from rich.console import Console

from terrazzo import PIXELS
from terrazzo.config import ALL, MosaicConfig, Period, read_config
from terrazzo.errors import InvalidRequest, NotFound, NothingUsable, ProductError
from terrazzo.grid import Bounds
from terrazzo.precompute.normalize.fields import TileGains
from terrazzo.precompute.normalize.registration import far_off
from terrazzo.precompute.normalize.stage import Normalized, Rules, normalize_period, require_bands
from terrazzo.precompute.products.find import find_products, one_level
from terrazzo.precompute.products.passes import COVERED, covered_share, newest_processing, outline
from terrazzo.precompute.products.product import LeftOut, Product
from terrazzo.precompute.scene.item import moved_by
from terrazzo.precompute.scene.looks import Looks
from terrazzo.precompute.scene.make import known_scene
from terrazzo.precompute.scene.many import Task, drop_lent, make_scenes
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.scene.shift import Shift
from terrazzo.precompute.scene.triage import triage
from terrazzo.precompute.versions.exclusions import cuts, read_exclusions, whole_scenes
from terrazzo.precompute.versions.gate import worse
from terrazzo.precompute.versions.lineage import read_solves
from terrazzo.precompute.versions.pointer import keep_back, point_to
from terrazzo.precompute.versions.write import PeriodContent, write_tables, write_version
from terrazzo.precompute.work.executor import WHOLE, Crew, Shard, Workers, default_workers
from terrazzo.precompute.work.lease import Lease, writer
from terrazzo.precompute.work.options import MOST_CLOUD
from terrazzo.precompute.work.steps import SCENE_STEPS, SOLVE_STEPS, Step
from terrazzo.scene import Scene, list_scenes, read_item, resampled
from terrazzo.store import Store
from terrazzo.version import Version, gains_key, open_version

CLOUDY, DROPPED = 0.2, 0.1
"""Share of cloud up to which a scene is expected to count, and of its clear pixels from which it is said that they do not."""


@dataclass(frozen=True)
class Options:
    """How scenes are made and normalized.

    Attributes:
        register: `flag` lets scenes that lie far off the others weigh less, `shift` moves them, `off` does not measure.
        full: solve all tiles again, not only those whose scenes changed.
        force: publish a version that is worse than the current one too.
        user_made: products that users made (baseline N9999) are newer than ESA's own, else older.
        quick: without report, pyramid and MosaicJSON, and without asking whether the version is worse: for a first look.
        max_cloud: per cent of cloud and shadow in the area, by a coarse look, up to which a product is used; 100 uses all.
        shard: part of the step `only` that is done here, without the others knowing.
    """

    recipe: Recipe = field(default_factory=Recipe)
    normalize: bool = True
    mix_levels: bool = False
    register: Literal["off", "flag", "shift"] = "flag"
    workers: Workers = 1
    full: bool = False
    force: bool = False
    shard: Shard = WHOLE
    user_made: bool = False
    max_cloud: float = MOST_CLOUD
    quick: bool = False


@dataclass
class Run:
    """What a run did.

    Attributes:
        clouded: products that show next to nothing but cloud, which no scenes are made of.
        worse: in what the version is worse than the current one, which it was not published for then.
    """

    scenes: list[Scene] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    clouded: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    version: Version | None = None
    worse: list[str] = field(default_factory=list)


def run(
    sources: Sequence[Path],
    store: Store,
    mosaic_id: str,
    options: Options,
    *,
    only: Step | None = None,
    console: Console | None = None,
) -> Run:
    """Brings a mosaic up to date with the products of some folders.

    Every step skips what is up to date, so a run that was killed continues where it stopped.

    Args:
        only: stop after the steps this one runs with; what went before runs too when it must.

    Raises:
        NothingUsable: no product can become a scene, and the store has none.
        StoreError: the store cannot be used, or another run is writing it.
    """
    if options.shard != WHOLE and only not in (*SCENE_STEPS, "reference", "weigh"):
        raise InvalidRequest("--shard goes with --only strips, --only reference or --only weigh")
    if only in SCENE_STEPS or options.shard != WHOLE:
        # What these write is immutable, and equal whichever process writes it.
        return _run(sources, store, mosaic_id, options, only, console, Lease())
    with writer(store, f"precompute of mosaic {mosaic_id}") as lease:
        return _run(sources, store, mosaic_id, options, only, console, lease)


def _run(
    sources: Sequence[Path],
    store: Store,
    mosaic_id: str,
    options: Options,
    only: Step | None,
    console: Console | None,
    lease: Lease,
) -> Run:
    config, exclusions = read_config(store, mosaic_id), read_exclusions(store, mosaic_id)
    store.clear_scratch()
    require_bands(store)
    result = Run()
    previous = _previous(store, mosaic_id)
    products = _products(sources, options, previous, result)
    known = _known_shifts(store, previous) if options.register == "shift" else {}
    tasks = [
        (p, replace(options.recipe, shift=known.get(p.id))) for p in sorted(products, key=lambda p: p.id)
    ]
    mine = options.shard.part(tasks) if only in SCENE_STEPS else tasks
    looks = Looks(store, config, tasks)
    scenes = _make_scenes(mine, store, options, result, console, looks)
    # A new store is one only now.
    looks.keep()
    result.notes = _notes(store, scenes)
    levels = _levels(previous) or {s.level for s in scenes}
    candidates = _mosaic_scenes(store, scenes, config, None if options.mix_levels else levels)
    result.scenes = [s for s in candidates if s.id not in whole_scenes(exclusions)]
    if not result.scenes and only in SCENE_STEPS and options.shard != WHOLE and not result.left_out:
        return result
    if not result.scenes:
        raise NothingUsable(_nothing_usable(sources, result.left_out, config))
    if only in SCENE_STEPS:
        return result
    cut = cuts(exclusions)
    contents = _normalize(store, config, result.scenes, cut, previous, options, console, only)
    if options.shard != WHOLE:
        return result
    if options.register == "shift":
        moved = _moved(contents, products, store, options, result, console)
        result.scenes = [moved.get(s.id, s) for s in result.scenes]
        if moved:
            contents = _normalize(store, config, result.scenes, cut, previous, options, console)
    result.notes += _off_notes(contents) + _dropped_notes(contents)
    if only in SOLVE_STEPS:
        return result
    whole = partial(write_version, workers=options.workers, console=console)
    write = write_tables if options.quick else whole
    result.version = write(
        store, config, contents, parameters(options), exclusions=exclusions, previous=previous
    )
    result.notes += [f"period {name}: {apart}" for name, apart in result.version.apart.items()]
    result.worse = [] if options.force or options.quick else worse(store, previous, result.version)
    lease.check()
    if result.worse:
        keep_back(store, result.version, result.worse)
    else:
        point_to(store, result.version)
    return result


def _off_notes(contents: Sequence[PeriodContent]) -> list[str]:
    """The message about scenes that lie off the others."""
    shifts = {n: s for c in contents for n, s in c.normalized.shifts.items()}
    return [
        f"{name}: its ground lies {shift.length:.1f} pixels off the other dates' (±{shift.spread:.1f}); it"
        " weighs a quarter (--register shift moves it, --register off lets it weigh in full)"
        for name, shift in sorted(shifts.items())
        if far_off(shift)
    ]


def _dropped_notes(contents: Sequence[PeriodContent]) -> list[str]:
    """The message about scenes without many clouds of which much does not count."""
    clear = {s.id for c in contents for s in c.scenes if s.cloud_share <= CLOUDY}
    shares = {n: v for c in contents for n, v in c.normalized.dropped.items() if n in clear and v >= DROPPED}
    return [
        f"{name}: {100 * share:.0f} % of what its mask calls clear does not count: the other dates show other ground there (haze, shadow, harvest"
        " or another season); a period of its own in mosaic.toml keeps it"
        for name, share in sorted(shares.items())
    ]


def parameters(options: Options) -> dict[str, Any]:
    """What of the options determines the version beyond its scenes."""
    return {
        "normalize": options.normalize,
        "register": options.register,
        "mix_levels": options.mix_levels,
    }


def _products(
    sources: Sequence[Path], options: Options, previous: Version | None, result: Run
) -> list[Product]:
    """What the sources hold, one processing a pass and tile, and of one level unless they may be mixed."""
    sources_read = [find_products(s) for s in sources]
    result.left_out += [out for f in sources_read for out in f.left_out]
    products = [p for f in sources_read for p in f.products]
    if not options.mix_levels:
        products, others = one_level(products, _levels(previous))
        result.left_out += others
    products, replaced = newest_processing(products, options.user_made)
    result.left_out += replaced
    return products


def _levels(version: Version | None) -> set[str]:
    """Levels of the products that a version is made of."""
    return {e.scene.level for p in version.periods for e in version.entries(p)} if version else set()


def _make_scenes(
    tasks: Sequence[Task],
    store: Store,
    options: Options,
    result: Run,
    console: Console | None,
    looks: Looks | None = None,
) -> list[Scene]:
    """The scenes of products, made where they are not there; products that cannot be used are added to `left_out`.

    Args:
        looks: of products of which none is made that are cloud all over; None makes scenes of all.
    """
    # Hashing frees the GIL: what is up to date is found in threads, and costs no new process.
    with ThreadPoolExecutor(default_workers()) as pool:
        known = list(pool.map(lambda t: known_scene(t[0], store, t[1]), tasks))
    scenes = [k.scene for k in known if k.scene is not None]
    drop_lent(store, scenes)
    todo = [task for task, k in zip(tasks, known, strict=True) if k.scene is None]
    if looks is not None:
        there = [p for (p, _), k in zip(tasks, known, strict=True) if k.scene is not None]
        revs = {p.id: k.rev for (p, _), k in zip(tasks, known, strict=True)}
        todo, clouded = triage(todo, looks, there, options.max_cloud, revs)
        looks.keep()
        result.clouded += clouded
    for outcome in make_scenes(todo, store, workers=options.workers, console=console):
        if outcome.result is not None:
            scenes.append(outcome.result)
        elif isinstance(outcome.error, ProductError):
            result.left_out.append(LeftOut(outcome.task[0].id, str(outcome.error)))
        elif outcome.error is not None:
            raise outcome.error
    return scenes


def _known_shifts(store: Store, previous: Version | None) -> dict[str, Shift]:
    """By how much scenes of the last version were moved."""
    if previous is None:
        return {}
    scenes = {e.scene.id: e.scene for p in previous.periods for e in previous.entries(p)}
    shifts = {name: moved_by(read_item(store, scene), store.config.pixel) for name, scene in scenes.items()}
    return {name: shift for name, shift in shifts.items() if shift is not None}


def _moved(
    contents: Sequence[PeriodContent],
    products: Sequence[Product],
    store: Store,
    options: Options,
    result: Run,
    console: Console | None,
) -> dict[str, Scene]:
    """Scenes that lie far off the others, computed again in their right place."""
    shifts = {name: shift for c in contents for name, shift in c.normalized.shifts.items() if far_off(shift)}
    tasks = [(p, replace(options.recipe, shift=shifts[p.id].rounded())) for p in products if p.id in shifts]
    moved = _make_scenes(tasks, store, options, result, console)
    result.notes += _notes(store, moved)
    return {s.id: s for s in moved}


def _normalize(
    store: Store,
    config: MosaicConfig,
    scenes: Sequence[Scene],
    cut: Mapping[str, str],
    previous: Version | None,
    options: Options,
    console: Console | None,
    only: Step | None = None,
) -> list[PeriodContent]:
    """The periods that have scenes, normalized."""
    last = None if options.full else previous
    rules = Rules(
        solve_gains=options.normalize,
        register=options.register != "off",
        external=config.reference_file,
        until=only if only in ("reference", "weigh") and options.shard != WHOLE else "solve",
        shard=options.shard,
    )
    crew = Crew(options.workers, console)

    def normalized(period: Period, members: Sequence[Scene]) -> Normalized:
        before = _normalized(last, period.name)
        return normalize_period(store, config.id, members, rules, previous=before, cuts=cut, crew=crew)

    return [
        PeriodContent(period, tuple(members), normalized(period, members), _middle(last, period))
        for period, members in _by_period(config, scenes)
    ]


def _middle(previous: Version | None, period: Period) -> date:
    """The day that a period's scenes are ordered by.

    It stays when a period that is as long as its scenes' dates grows: elsewhere the order would change with it.
    """
    if previous is None or period.name != ALL:
        return period.middle
    known = [p.get("middle") for p in previous.lock["periods"] if p["name"] == ALL]
    return date.fromisoformat(known[0]) if known and known[0] else period.middle


def _notes(store: Store, scenes: Sequence[Scene]) -> list[str]:
    """The notes of scenes' Items for the user, the same note of several scenes once."""
    about: dict[str, list[str]] = {}
    for scene in sorted(scenes, key=lambda s: s.id):
        properties = read_item(store, scene)["properties"]
        notes = [*properties.get("terrazzo:notes", ())]
        if how := resampled(properties):
            notes.append(
                f"the product's pixel grid is not the store's: {how}; stage=raw shows interpolated numbers"
            )
        for note in notes:
            about.setdefault(note, []).append(scene.id)
    return [
        f"{ids[0]}{f' and {len(ids) - 1} more' if ids[1:] else ''}: {note}" for note, ids in about.items()
    ]


def _mosaic_scenes(
    store: Store, fresh_scenes: Sequence[Scene], config: MosaicConfig, levels: set[str] | None
) -> list[Scene]:
    """The scenes of a mosaic's area: one an id, the one this run made before any other, one processing of each ground.

    Args:
        levels: of the products; None and an empty set take both.
    """
    by_id = {s.id: s for s in list_scenes(store) if not levels or s.level in levels}
    by_id |= {s.id: s for s in fresh_scenes}
    fresh = {s.id for s in fresh_scenes}
    passes: dict[tuple[str, str], list[Scene]] = {}
    for s in sorted(by_id.values(), key=lambda s: (s.id in fresh, s.id), reverse=True):
        parts = passes.setdefault((s.datatake, s.mgrs), [])
        if s.id in fresh or not parts or not _replaced(store, s, parts):
            parts.append(s)
    parts_shown = (s for parts in passes.values() for s in parts)
    return sorted((s for s in parts_shown if _in_area(store, s, config.bounds)), key=lambda s: s.id)


def _replaced(store: Store, scene: Scene, parts: Sequence[Scene]) -> bool:
    """Whether other scenes of a scene's pass and tile hold its ground."""
    own, *others = (outline(read_item(store, s)["geometry"]) for s in (scene, *parts))
    known = [o for o in others if o is not None]
    return own is None or covered_share(own, known) >= COVERED


def _in_area(store: Store, scene: Scene, area: Bounds | None) -> bool:
    if area is None:
        return True
    there = Transformer.from_crs(4326, scene.epsg, always_xy=True).transform_bounds(*area)
    if not all(math.isfinite(v) for v in there):
        return False
    return not store.grid(scene.epsg).box_from_bounds(*there).intersection(scene.box).empty


def _by_period(config: MosaicConfig, scenes: Sequence[Scene]) -> list[tuple[Period, list[Scene]]]:
    """The periods that have scenes, with them; one period of all dates where the operator named none."""
    days = [s.datetime.date() for s in scenes]
    periods = config.periods or (Period(ALL, min(days), max(days)),)
    plain = {p.name: p for p in periods if not p.members}
    spans = {p.name: [plain[m] for m in p.members] or [p] for p in periods}
    inside = [
        (p, [s for s in scenes if any(i.holds(s.datetime.date(), s.datetime.date()) for i in spans[p.name])])
        for p in periods
    ]
    return [(p, members) for p, members in inside if members]


def _previous(store: Store, mosaic_id: str) -> Version | None:
    try:
        return open_version(store, mosaic_id)
    except NotFound:
        return None


def _normalized(version: Version | None, period: str) -> Normalized | None:
    """What the last version holds of a period, in the form it was solved in."""
    if version is None or not version.normalized or period not in version.periods:
        return None
    if version.lock["pixels"] != PIXELS:
        return None
    raw = next(p for p in version.lock["periods"] if p["name"] == period)
    # Locks of earlier releases lack the steps.
    all_at_once = [{"in": [f"{s['id']}/{s['rev']}" for s in raw["scenes"]], "out": [], "register": True}]
    hashes = {s["id"]: s["weight"] for s in raw["scenes"]}
    entries = version.entries(period)
    rows: dict[str, list[str]] = {}
    for entry in sorted(entries, key=lambda e: e.ordinal):
        rows.setdefault(entry.scene.mgrs, []).append(entry.scene.id)
    tiles = {}
    for entry in entries:
        tile_gains = version.gains(entry)
        if tile_gains is not None:
            ids = tuple(rows[entry.scene.mgrs])
            key = gains_key(version.mosaic_id, version.name, period, entry.scene.mgrs)
            about = version.store.read_json(key.removesuffix(".npy") + ".json")
            kept = {k: about[k] for k in ("reference", "residual", "measured", "clamped") if k in about}
            tiles[entry.scene.mgrs] = TileGains(tile_gains.windows, ids, tile_gains.corners, kept)
    return Normalized(
        raw["reference"],
        {e.scene.id: (e.weight_key, hashes[e.scene.id]) for e in entries},
        {e.scene.id: e.haze for e in entries},
        tiles,
        solves=read_solves(raw.get("solves") or all_at_once),
    )


def _nothing_usable(sources: Sequence[Path], left_out: Sequence[LeftOut], config: MosaicConfig) -> str:
    where = ", ".join(map(str, sources))
    if not left_out and config.bounds is not None:
        return f"no product in {where} touches the area {tuple(config.bounds)} of mosaic.toml"
    if not left_out:
        return f"no Sentinel-2 product in {where}: expected STAC Items (*.json) with local COG or JP2 assets"
    reasons = "\n".join(f"  {p.name}: {p.reason}" for p in left_out)
    return f"none of the products in {where} can be used:\n{reasons}"
