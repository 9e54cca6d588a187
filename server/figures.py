"""A mosaic in a few numbers: its days and how clear they are, the days that an area shows, how visible its seams are."""

from collections import Counter
from typing import Any

import numpy as np

from terrazzo.crs import DEGREES
from terrazzo.errors import InvalidRequest, NotFound, OutsideCoverage
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import choose
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.mosaic.warp import Target
from terrazzo.request.boxes import box_of
from terrazzo.scene import Scene
from terrazzo.server.request import Ask
from terrazzo.version import Version, version_key

LONGEST = 512
"""Pixels of the longer side of an area when its days are counted."""


def day_shares(engine: Engine, ask: Ask, bounds: Bounds) -> dict[str, Any]:
    """Which days a box in degrees shows, W S E N, in per cent of its pixels with data, the largest first.

    The box is rendered with at most `LONGEST` pixels a side. A pixel counts for the scene that dominates it; one that is
    predicted for no day.

    Raises:
        InvalidRequest: it is no box.
        OutsideCoverage: it holds no data.
    """
    if ask.measure.baseline is not None:
        raise InvalidRequest(
            "dates: ask for the days of datetime and of baseline one after the other, each as datetime"
        )
    bounds = box_of(bounds, DEGREES, engine.version.bounds, "dates")
    width = (bounds.right - bounds.left) * np.cos(np.radians((bounds.top + bounds.bottom) / 2))
    size = LONGEST / max(width, bounds.top - bounds.bottom)
    rows, cols = (max(1, round(size * v)) for v in (bounds.top - bounds.bottom, width))
    chosen = choose(engine, ask.measure)
    image = engine.render(chosen.selection, Target("EPSG:4326", bounds, rows, cols))
    there = image.provenance >= 0
    held, shown = int(there.sum()), image.provenance[there & (image.quality & PREDICTED == 0)]
    if not held:
        raise OutsideCoverage(f"the box holds no data for {chosen.text()}")
    days: Counter[str] = Counter()
    for number, pixels in zip(*np.unique(shown, return_counts=True), strict=True):
        days[image.entries[number].scene.datetime.date().isoformat()] += int(pixels)
    return {
        "bbox": list(bounds),
        "with_data": round(100 * held / there.size, 2),
        "dates": [{"date": d, "per_cent": round(100 * n / held, 2)} for d, n in days.most_common()],
        "request": chosen.text(),
        "version": engine.version.name,
        "attribution": engine.version.attribution,
    }


def days(engine: Engine, ask: Ask) -> dict[str, Any]:
    """The days of a request's scenes, the first first: how many scenes each has, over how many tiles of Sentinel-2's grid,
    and their clear and clouded shares, 0–1, the mean of the scenes."""
    if ask.measure.baseline is not None:
        raise InvalidRequest(
            "days: ask for those of datetime and of baseline one after the other, each as datetime"
        )
    chosen = choose(engine, ask.measure)
    by_day: dict[str, dict[str, Scene]] = {}
    for entry in chosen.selection.entries:
        by_day.setdefault(entry.scene.datetime.date().isoformat(), {})[entry.scene.id] = entry.scene
    return {
        "days": [
            {
                "date": day,
                "scenes": len(scenes),
                "tiles": len({s.mgrs for s in scenes.values()}),
                "clear_share": round(float(np.mean([s.clear_share for s in scenes.values()])), 4),
                "cloud_share": round(float(np.mean([s.cloud_share for s in scenes.values()])), 4),
            }
            for day, scenes in sorted(by_day.items())
        ],
        "tiles": len({e.scene.mgrs for e in chosen.selection.entries}),
        "request": chosen.text(),
        "version": engine.version.name,
    }


def seam_scores(version: Version) -> dict[str, Any]:
    """How far steps across scene borders are off the land's own, as the version's report measured it.

    `score` is the composite's error step divided by that of a single day's scene at the same places, the mean of
    bands and borders: at 1 a border is no further off than a single day is. `elsewhere` is the same where no border is.
    """
    try:
        report = version.store.read_json(version_key(version.mosaic_id, version.name, "report.json"))
    except NotFound:
        report = {"parts": []}
    ratios: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    for part in report["parts"]:
        for row in part["error_steps"]:
            step, elsewhere = (_ratio(row[name], row["single_day"]) for name in ("step", "elsewhere"))
            if step is not None and elsewhere is not None:
                places = ratios.setdefault((row["method"], row["normalize"]), [])
                places.append((step, elsewhere, row["count"]))
    return {
        "version": version.name,
        "seams": [
            {"method": method, "normalize": state}
            | {"score": _mean(rows, 0), "elsewhere": _mean(rows, 1), "places": sum(r[2] for r in rows)}
            for (method, state), rows in ratios.items()
        ],
    }


def _ratio(step: list[float | None], single: list[float | None]) -> float | None:
    pairs = [(a, b) for a, b in zip(step, single, strict=True) if a is not None and b]
    return float(np.mean([a / b for a, b in pairs])) if pairs else None


def _mean(rows: list[tuple[float, float, int]], which: int) -> float:
    return round(float(np.average([r[which] for r in rows], weights=[r[2] for r in rows])), 2)
