"""Why a pixel is as it is: every candidate, the one that was chosen, and its number's way from the product and back.

Nothing is computed in a second manner here: weights, values, gains and counts come from the functions that
render tiles, so that the account and the picture cannot drift apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from terrazzo.errors import NotFound, OutsideCoverage, ReadFailure
from terrazzo.mosaic.engine import FILLED, Engine, Image
from terrazzo.mosaic.explain.candidates import ExplainedScene, candidates, left_out
from terrazzo.mosaic.explain.place import At, plain, properties
from terrazzo.mosaic.explain.way import Neighbour, Step, neighbours, path
from terrazzo.mosaic.predict import PREDICTED, trend
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.request import Resolved
from terrazzo.mosaic.selection import Selection, adjacent
from terrazzo.mosaic.sigma import PlaceSigma, sigma_at
from terrazzo.mosaic.warp import Points, locate
from terrazzo.scene import resampled
from terrazzo.version import Entry

__all__ = ["ExplainedScene", "Explanation", "Neighbour", "Step", "explain", "unshown"]


@dataclass(frozen=True)
class Explanation:
    """The explanation of a place.

    Attributes:
        values: (band,) int16 as served at the place.
        pixel: zone, row and column of the zone grid's pixel under the place, whose scenes are listed.
        neighbours: what the one resampling to the place took; one pixel for `resampling=nearest`.
        path: by band, of the chosen scene; empty for `stage=mask`, and where `problems` name what it lacks.
        count_interpolated: how the product's pixels were resampled to the store's, so that the path's first number is
            interpolated; empty where it is the product's own.
        sigma: standard errors of the values; None where they are not asked for.
        source: where the chosen scene comes from: level, offset with its evidence, lineage, air.
    """

    request: Resolved
    bands: tuple[str, ...]
    values: tuple[int | None, ...]
    count: int
    quality: int
    epsg: int
    row: int
    col: int
    chosen: Entry
    candidates: tuple[ExplainedScene, ...]
    neighbours: tuple[Neighbour, ...]
    path: tuple[Step, ...]
    count_interpolated: str
    source: Mapping[str, Any]
    problems: tuple[str, ...]
    sigma: PlaceSigma | None = None


def explain(
    engine: Engine, selection: Selection, lon: float, lat: float, *, sigma: bool = False
) -> Explanation:
    """Explain the pixel at a place in degrees, at full resolution.

    Args:
        sigma: whether to compute standard errors.

    Raises:
        OutsideCoverage: no scene shows there.
        ReadFailure: the scenes there cannot be read.
    """
    place = Points("EPSG:4326", np.array([lon], np.float64), np.array([lat], np.float64))
    image = engine.points(selection, place.crs, place.x, place.y)
    number = int(image.provenance[0, 0])
    if number < 0 and image.problems:
        raise ReadFailure("; ".join(image.problems))
    if number < 0:
        raise OutsideCoverage(f"no data at {lon},{lat} for {selection.request.text()}")
    entry = image.entries[number]
    shown = _shown(engine, selection, entry, int(image.quality[0, 0]))
    # What is predicted is no mean of scenes: they have the trend that it starts from.
    predicted = bool(image.quality[0, 0] & PREDICTED)
    epsg = entry.scene.epsg
    grid = engine.version.store.grid(epsg)
    rows, cols = locate(place, grid, 0, engine.planner.area)
    at = At(engine, shown.request, entry, epsg, float(rows[0, 0]), float(cols[0, 0]))
    steps, problems = _way(at, image, shown, predicted)
    sure = sigma_at(engine, selection, place, image, epsg) if sigma else None
    return Explanation(
        selection.request,
        image.bands,
        plain(image.values[:, 0, 0]),
        int(image.count[0, 0]),
        int(quality(engine, selection, place, image)[0, 0]),
        epsg,
        at.row,
        at.col,
        entry,
        (*candidates(at, shown), *left_out(at, shown, selection if predicted else None)),
        () if predicted else tuple(neighbours(at, shown)),
        steps,
        resampled(properties(at, entry)),
        _source(at),
        tuple(dict.fromkeys((*image.problems, *problems, *(sure.problems if sure else ())))),
        sure,
    )


def unshown(
    engine: Engine, selection: Selection, lon: float, lat: float
) -> tuple[tuple[ExplainedScene, ...], int]:
    """The scenes of the period at a place in degrees where none shows, with their verdicts; and how many lie elsewhere."""
    place = Points("EPSG:4326", np.array([lon], np.float64), np.array([lat], np.float64))
    entries = engine.version.entries(selection.request.period)
    here: list[ExplainedScene] = []
    for epsg in sorted({e.scene.epsg for e in entries}):
        rows, cols = locate(place, engine.version.store.grid(epsg), 0, engine.planner.area)
        if not np.isfinite([rows[0, 0], cols[0, 0]]).all():
            continue
        # No scene is the chosen one: this equals none of the selection, and names their period.
        none = replace(entries[0], rank=-1)
        at = At(engine, selection.request, none, epsg, float(rows[0, 0]), float(cols[0, 0]))
        if any(at.covers(e) for e in selection.entries):
            here += candidates(at, selection)
        here += left_out(at, selection)
    return tuple(here), len(entries) - len(here)


def _way(at: At, image: Image, shown: Selection, predicted: bool) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The path of the chosen scene, or without one what of it cannot be read: less than a picture needs is missing then."""
    if at.request.stage == "mask" or predicted:
        return (), ()
    try:
        return tuple(path(at, image, shown)), ()
    except (NotFound, ReadFailure) as error:
        return (), (f"{at.chosen.scene.id}: {error}",)


def _shown(engine: Engine, selection: Selection, entry: Entry, quality: int) -> Selection:
    """The selection a pixel was taken from: the one asked for, that of the period which filled it, or the dates that predicted it."""
    if quality & PREDICTED:
        return trend(engine.planner.holding(selection))
    if not quality & FILLED:
        return selection
    others = adjacent(engine.version, selection.request)
    return next((s for s in others if entry in s.entries), selection)


def _source(at: At) -> Mapping[str, Any]:
    """What the chosen scene's Item says of it."""
    about = properties(at, at.chosen)
    return {
        "path": about.get("terrazzo:path"),
        "is_toa": about.get("terrazzo:source", {}).get("level") == "L1C",
        "product": about.get("terrazzo:source"),
        "offset": about.get("terrazzo:offset"),
        "air": about.get("terrazzo:air"),
        "lineage": about.get("processing:lineage"),
        "notes": about.get("terrazzo:notes"),
    }
