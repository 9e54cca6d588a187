"""Scenes, or parts of them, that the operator took out of a mosaic, and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely

from terrazzo.checks import understood
from terrazzo.config import require_name
from terrazzo.errors import InvalidRequest, NotFound
from terrazzo.precompute.acquire.area import from_file
from terrazzo.scene import by_beginning
from terrazzo.store import Store


@dataclass(frozen=True)
class Exclusion:
    """What is taken out of a mosaic.

    Attributes:
        polygon: GeoJSON geometry in degrees of what is taken out; None for the whole scene.
        since: when the operator said so.
    """

    scene: str
    reason: str
    polygon: Mapping[str, Any] | None
    since: str


def exclusions_key(mosaic_id: str) -> str:
    """Key of what is taken out of a mosaic."""
    require_name(mosaic_id)
    return f"mosaics/{mosaic_id}/exclusions.json"


def read_exclusions(store: Store, mosaic_id: str) -> tuple[Exclusion, ...]:
    """What is taken out of a mosaic, in the order in which it was.

    Raises:
        Damaged: the document has changed since it was written.
    """
    key = exclusions_key(mosaic_id)
    try:
        document = store.read_json(key)
    except NotFound:
        return ()
    with understood(key):
        return tuple(Exclusion(**e) for e in document["exclusions"])


def write_exclusions(store: Store, mosaic_id: str, exclusions: Sequence[Exclusion]) -> None:
    """Replaces what is taken out of a mosaic."""
    store.write_json(exclusions_key(mosaic_id), {"exclusions": [asdict(e) for e in exclusions]})


def exclude(store: Store, mosaic_id: str, scene: str, reason: str, polygon: Path | None) -> None:
    """Takes a scene, or what of it lies in the polygons of a file, out of a mosaic's next versions.

    Raises:
        InvalidRequest: the file holds no polygon.
    """
    shape = None if polygon is None else _polygon(polygon)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    others = [e for e in read_exclusions(store, mosaic_id) if e.scene != scene or shape is not None]
    write_exclusions(store, mosaic_id, [*others, Exclusion(scene, reason, shape, now)])


def include(store: Store, mosaic_id: str, scene: str) -> int:
    """Takes a scene back in, by its name or the beginning of it, parts of it too; the number of exclusions that ended.

    Raises:
        NotFound: nothing of it was taken out, or its name is the beginning of several that were.
    """
    exclusions = read_exclusions(store, mosaic_id)
    scene = by_beginning(scene, (e.scene for e in exclusions), "excluded scene", f"mosaic {mosaic_id}")
    others = [e for e in exclusions if e.scene != scene]
    write_exclusions(store, mosaic_id, others)
    return len(exclusions) - len(others)


def whole_scenes(exclusions: Sequence[Exclusion]) -> set[str]:
    """Names of scenes that are out as a whole."""
    return {e.scene for e in exclusions if e.polygon is None}


def cuts(exclusions: Sequence[Exclusion]) -> dict[str, str]:
    """What is cut out of scenes: a GeoJSON geometry in degrees as text, by scene."""
    shapes: dict[str, list[shapely.Geometry]] = {}
    for e in exclusions:
        if e.polygon is not None:
            shapes.setdefault(e.scene, []).append(shapely.from_geojson(json.dumps(e.polygon)))
    return {s: str(shapely.to_geojson(shapely.union_all(gs).normalize())) for s, gs in shapes.items()}


def _polygon(path: Path) -> Mapping[str, Any]:
    whole = from_file(path)
    if whole.is_empty or shapely.get_dimensions(whole) != 2:
        raise InvalidRequest(f"--polygon {path} holds no polygon; give a file with one or more")
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(whole))
    return geometry
