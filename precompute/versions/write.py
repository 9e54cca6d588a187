"""Writes a version of a mosaic, immutable and named by its content, and moves the pointer to it."""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console

from terrazzo import PIXELS, __version__
from terrazzo.cells import digest, to_table
from terrazzo.checks import checksum
from terrazzo.config import MosaicConfig, Period, config_key
from terrazzo.errors import NotFound, StoreError
from terrazzo.grid import Bounds, Window
from terrazzo.precompute.judge import scatter, seasons
from terrazzo.precompute.normalize.stage import Normalized, cut_hash
from terrazzo.precompute.versions.collection import scenes_table
from terrazzo.precompute.versions.exclusions import Exclusion, cuts
from terrazzo.precompute.versions.lineage import inputs_of, write_solves
from terrazzo.precompute.versions.mosaicjson import write_mosaicjson
from terrazzo.precompute.versions.pointer import point_to
from terrazzo.precompute.versions.pyramid import write_pyramid
from terrazzo.precompute.work.executor import Workers
from terrazzo.scene import Scene, read_item
from terrazzo.store import Store
from terrazzo.version import (
    Version,
    list_versions,
    open_version,
    total_order,
    version_key,
)

MOST_SCENES = 32_767
"""Scenes of a period: provenance numbers them in int16."""
UNNAMED = ("software", "inputs", "sums", "apart", "scatter")
"""What a lock holds beside all that determines the pixels; `apart` and `scatter` follow from the scenes and weights that are named."""
TABLES = (".parquet", ".npy")
"""Endings of a version's files whose checksums stand in its lock; rasters and documents bear their own."""


@dataclass(frozen=True)
class PeriodContent:
    """A period of a version: its scenes and their normalization.

    Attributes:
        middle: day that scenes are ordered by; None for the middle of the period.
    """

    period: Period
    scenes: tuple[Scene, ...]
    normalized: Normalized
    middle: date | None = None


class _Documents(NamedTuple):
    """What is read of a version's scenes once: Items by folder, and the notes beside their weights by the weights' keys."""

    items: Mapping[str, dict[str, Any]]
    notes: Mapping[str, dict[str, Any]]


def publish(
    store: Store,
    config: MosaicConfig,
    contents: Sequence[PeriodContent],
    parameters: Mapping[str, Any],
    *,
    workers: Workers = 1,
    console: Console | None = None,
) -> Version:
    """Writes a version from solved periods and points the mosaic to it.

    Raises:
        StoreError: there is no scene to publish, or a period has more than `MOST_SCENES`.
    """
    version = write_version(store, config, contents, parameters, workers=workers, console=console)
    point_to(store, version)
    return version


def write_version(
    store: Store,
    config: MosaicConfig,
    contents: Sequence[PeriodContent],
    parameters: Mapping[str, Any],
    *,
    exclusions: Sequence[Exclusion] = (),
    previous: Version | None = None,
    workers: Workers = 1,
    console: Console | None = None,
) -> Version:
    """Writes a version from solved periods, complete with MosaicJSON, pyramid and report: those that it lacks, if it is there already.

    Args:
        exclusions: what the operator took out, for the lock.
        previous: the current version; the report lists the changes since.

    Raises:
        StoreError: there is no scene to publish, or a period has more than `MOST_SCENES`.
    """
    # It draws in a library of charts, for which a first look has no time.
    from terrazzo.precompute.judge.report import write_report

    version = write_tables(store, config, contents, parameters, exclusions=exclusions, previous=previous)
    write_mosaicjson(version)
    write_pyramid(store, version, workers=workers, console=console)
    write_report(store, version, previous)
    return version


def write_tables(
    store: Store,
    config: MosaicConfig,
    contents: Sequence[PeriodContent],
    parameters: Mapping[str, Any],
    *,
    exclusions: Sequence[Exclusion] = (),
    previous: Version | None = None,
) -> Version:
    """Writes the gains, tables and lock of a version; the arguments are those of `write_version`."""
    _require_scenes(config, contents)
    ordered = {c.period.name: total_order(c.scenes, _middle(c), c.normalized.haze) for c in contents}
    cells = {
        (c.period.name, epsg): _cells(store, c, [s for s in ordered[c.period.name] if s.epsg == epsg])
        for c in contents
        for epsg in {s.epsg for s in c.scenes}
    }
    items = {s.prefix: read_item(store, s) for c in contents for s in c.scenes}
    notes = {key: _note(store, key) for c in contents for key, _ in c.normalized.weights.values()}
    lock = {
        **{k: v for k, v in asdict(store.config).items() if k != "bands"},
        "pixels": PIXELS,
        "software": __version__,
        "mosaic_toml": _config_text(store, config.id),
        "parameters": dict(parameters),
        "exclusions": [{k: v for k, v in asdict(e).items() if k != "since"} for e in exclusions],
        "cuts": _cuts(contents, exclusions, previous),
        "bands": list(store.config.bands),
        "normalized": all(c.normalized.gains for c in contents if c.scenes),
        "bounds": _bounds([i["bbox"] for i in items.values()], config.bounds),
        "periods": [_locked(c, ordered[c.period.name], notes) for c in contents],
        "inputs": _inputs(items.values(), contents, previous),
    }
    name = version_name(lock, cells)
    if name not in list_versions(store, config.id):
        apart = seasons.as_json(store, [(c.period, c.scenes) for c in contents])
        keys = {c.period.name: {i: key for i, (key, _) in c.normalized.weights.items()} for c in contents}
        differ = scatter.as_json(store, {c.period.name: (c.scenes, keys[c.period.name]) for c in contents})
        lock |= {k: v for k, v in (("apart", apart), ("scatter", differ)) if v}
        _write(store, config, contents, ordered, _Documents(items, notes), cells, lock, name)
    return open_version(store, config.id, name)


def _require_scenes(config: MosaicConfig, contents: Sequence[PeriodContent]) -> None:
    """Checks that there are scenes, and no more than a period can number."""
    if not any(c.scenes for c in contents):
        raise StoreError(f"mosaic {config.id}: no scene to publish")
    for c in contents:
        if len(c.scenes) > MOST_SCENES:
            raise StoreError(
                f"mosaic {config.id}, period {c.period.name}: {len(c.scenes)} scenes, a period holds at most"
                f" {MOST_SCENES}: divide it into shorter periods, or the area into several mosaics"
            )


def _middle(content: PeriodContent) -> date:
    """The day that a period's scenes are ordered by."""
    return content.middle or content.period.middle


def _locked(
    content: PeriodContent, ordered: Sequence[Scene], notes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """A period in the lock: its days, its scenes in their order with the pixels remembered as ground, and the steps that solved it."""
    period, normalized = content.period, content.normalized
    return {
        "name": period.name,
        "start": period.start.isoformat(),
        "end": period.end.isoformat(),
        "members": list(period.members),
        "middle": _middle(content).isoformat(),
        "reference": normalized.ref_id,
        "solves": write_solves(normalized.solves),
        "scenes": [
            {"id": s.id, "rev": s.rev, "weight": weight, "remembered": notes[key].get("remembered", 0)}
            for s in ordered
            for key, weight in (normalized.weights[s.id],)
        ],
    }


def _cuts(
    contents: Sequence[PeriodContent], exclusions: Sequence[Exclusion], previous: Version | None
) -> dict[str, str]:
    """What is cut out of scenes in one of the steps, by its hash."""
    known = (previous.lock.get("cuts", {}) if previous else {}) | {
        cut_hash(c): c for c in cuts(exclusions).values()
    }
    states = (i.split("/") for c in contents for s in c.normalized.solves for i in s.scenes)
    return {h: known[h] for h in sorted({s[2] for s in states if s[2:]})}


def _inputs(
    items: Iterable[Mapping[str, Any]], contents: Sequence[PeriodContent], previous: Version | None
) -> dict[str, Any]:
    """What the scenes were made of, and those that were there only while earlier steps were solved."""
    known = (previous.lock.get("inputs", {}) if previous else {}) | inputs_of(items)
    wanted = {"/".join(i.split("/")[:2]) for c in contents for s in c.normalized.solves for i in s.scenes}
    return {i: known[i] for i in sorted(wanted & set(known))}


def _write(
    store: Store,
    config: MosaicConfig,
    contents: Sequence[PeriodContent],
    ordered: Mapping[str, list[Scene]],
    documents: _Documents,
    cells: Mapping[tuple[str, int], Mapping[Window, bytes]],
    lock: Mapping[str, Any],
    name: str,
) -> None:
    sums: dict[str, str] = {}

    def write_table(file: str, data: bytes) -> None:
        store.write_bytes(version_key(config.id, name, file), data)
        sums[file] = checksum(data)

    rows: list[dict[str, Any]] = []
    columns: dict[str, list[Any]] = defaultdict(list)
    for c in contents:
        ordinal = _ordinals(c, ordered[c.period.name])
        for mgrs, tile in c.normalized.gains.items():
            buffer = io.BytesIO()
            np.save(buffer, tile.corners, allow_pickle=False)
            file = f"gains/{c.period.name}/{mgrs}"
            write_table(f"{file}.npy", buffer.getvalue())
            store.write_json(
                version_key(config.id, name, f"{file}.json"),
                {
                    "windows": list(tile.windows),
                    "scenes": list(tile.scene_ids),
                    "reference": c.normalized.ref_id,
                    **tile.about,
                },
            )
        for rank, scene in enumerate(ordered[c.period.name]):
            weight_key = c.normalized.weights[scene.id][0]
            rows.append(documents.items[scene.prefix])
            columns["terrazzo:prefix"].append(scene.prefix)
            columns["terrazzo:period"].append(c.period.name)
            columns["terrazzo:rank"].append(rank)
            columns["terrazzo:ordinal"].append(ordinal[scene.id])
            columns["terrazzo:weight"].append(weight_key)
            columns["terrazzo:haze_weight"].append(float(c.normalized.haze.get(scene.id, 0.0)))
            for axis, value in _shift(documents.notes[weight_key], store.config.pixel).items():
                columns[f"terrazzo:shift_{axis}"].append(value)
    write_table("scenes.parquet", scenes_table(rows, columns))
    buffer = io.BytesIO()
    pq.write_table(to_table(cells), buffer, compression="zstd")
    write_table("cells.parquet", buffer.getvalue())
    store.write_json(version_key(config.id, name, "lock.json"), {**lock, "sums": sums})


def _note(store: Store, weight_key: str) -> dict[str, Any]:
    """What is written beside a scene's weight; empty where nothing is."""
    try:
        return dict(store.read_json(weight_key.removesuffix(".tif") + ".json"))
    except NotFound:
        return {}


def _shift(note: Mapping[str, Any], pixel: float) -> dict[str, float]:
    """How far a scene's ground lies east and north of the reference, and the standard error, metres; NaN if unknown."""
    known = note.get("shift")
    names = ("east", "north", "spread")
    return {n: round(known[n] * pixel, 3) if known else float("nan") for n in names}


def _ordinals(content: PeriodContent, scenes: Sequence[Scene]) -> dict[str, int]:
    if not content.normalized.gains:
        return {s.id: -1 for s in scenes}
    rows = {i: n for tile in content.normalized.gains.values() for n, i in enumerate(tile.scene_ids)}
    return {s.id: rows[s.id] for s in scenes}


def _cells(store: Store, content: PeriodContent, scenes: Sequence[Scene]) -> dict[Window, bytes]:
    """Hash of every window a zone's scenes cover: scenes in order, weights, the four gain corners, PIXELS."""
    parts: dict[Window, list[bytes]] = defaultdict(list)
    for scene in scenes:
        tile = content.normalized.gains.get(scene.mgrs)
        corners = tile.corners[tile.scene_ids.index(scene.id)] if tile else None
        identity = f"{scene.id}/{scene.rev}/{content.normalized.weights[scene.id][1]}".encode()
        for w in store.grid(scene.epsg).windows(scene.box):
            gains = b""
            if tile is not None and corners is not None:
                y, x = w.wy - tile.windows.row0, w.wx - tile.windows.col0
                gains = np.ascontiguousarray(corners[..., y : y + 2, x : x + 2], "<i2").tobytes()
            parts[w].append(digest(identity, gains))
    pixels = PIXELS.to_bytes(4, "little")
    return {w: digest(pixels, *p) for w, p in parts.items()}


def _cell_bytes(cell: tuple[Window, bytes]) -> bytes:
    return np.array(cell[0], "<i8").tobytes() + cell[1]


def version_name(lock: Mapping[str, Any], cells: Mapping[tuple[str, int], Mapping[Window, bytes]]) -> str:
    """12 hexadecimal digits over all that determines the pixels.

    The software's version, the tables' checksums and what is said of periods do not, and of the inputs, whose addresses differ from
    place to place, the revisions tell.

    Args:
        cells: hashes of windows by period and zone.
    """
    hashes = [digest(k[0].encode(), *map(_cell_bytes, sorted(v.items()))) for k, v in sorted(cells.items())]
    # A store's format changes no pixel; names were made with the first one's number.
    named = {k: v for k, v in lock.items() if k not in UNNAMED} | {"format": 1}
    text = json.dumps(named, sort_keys=True)
    return hashlib.blake2b(digest(text.encode(), *hashes), digest_size=6).hexdigest()


def _config_text(store: Store, mosaic_id: str) -> str:
    try:
        return store.read_bytes(config_key(mosaic_id)).decode()
    except NotFound:
        return ""


def _bounds(boxes: Sequence[Sequence[float]], area: Bounds | None) -> Bounds:
    """What the scenes cover of the mosaic's area."""
    west, south, east, north = zip(*boxes, strict=True)
    whole = Bounds(min(west), min(south), max(east), max(north))
    if area is None:
        return whole
    whole = whole._replace(bottom=max(whole.bottom, area.bottom), top=min(whole.top, area.top))
    if area.left > area.right or area.left < -180 or area.right > 180:
        # Over the 180° line no box from west to east is the area.
        return whole
    return whole._replace(left=max(whole.left, area.left), right=min(whole.right, area.right))
