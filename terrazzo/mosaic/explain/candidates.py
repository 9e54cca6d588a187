"""Every scene over a pixel, with the reason why it shows or not."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import CLOUDED, NODATA, MaskClass
from terrazzo.errors import NotFound, ReadFailure
from terrazzo.mosaic.explain.place import At, plain, properties
from terrazzo.mosaic.methods import METHODS, shares
from terrazzo.mosaic.predict import REACH, day_of
from terrazzo.mosaic.request import UNMERGED
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.zone import LAST
from terrazzo.places import place_at, reference_folder
from terrazzo.version import Entry


@dataclass(frozen=True)
class ExplainedScene:
    """A scene with data at a pixel, and why it shows or not.

    Attributes:
        order: place in the period's order of scenes, 0 first.
        mask: name of the mask class; None beyond the scene's data.
        score: 0–100, how likely the pixel is clear; None beyond the scene's data, and in stores that have no scores yet.
        weight: 0–255, as the merge used it.
        share: (band,) share of the merged value, 0–1.
        values: (band,) int16 at the request's stage, scale 1e-4; None where nothing was read.
        verdict: why it shows or not.
    """

    scene: str
    order: int
    period: str
    datetime: str
    platform: str
    relative_orbit: int
    mask: str | None
    score: int | None
    weight: int
    share: tuple[float, ...]
    values: tuple[int | None, ...] | None
    haze_weight: float
    sun_zenith_deg: float | None
    sun_azimuth_deg: float | None
    view_zenith_deg: float | None
    view_azimuth_deg: float | None
    chosen: bool
    verdict: str


@dataclass(frozen=True)
class _SceneRead:
    entry: Entry
    mask: MaskClass
    score: int | None
    weight: int
    fade: float
    values: NDArray[np.int16] | None
    problem: str | None


def _read(at: At, entry: Entry) -> _SceneRead:
    try:
        mask = at.mask(entry)
        weight = int(at.merging.weight(entry, at.box)[0, 0])
        fade = float(at.merging.fade(entry, at.box)[0, 0])
        values = at.merging.values(entry, at.box)[:, 0, 0] if mask != MaskClass.NODATA else None
    except (ReadFailure, NotFound) as error:
        return _SceneRead(entry, MaskClass.NODATA, None, 0, 0.0, None, str(error))
    return _SceneRead(entry, mask, at.score(entry), weight, fade, values, None)


def candidates(at: At, selection: Selection) -> list[ExplainedScene]:
    """The scenes of a selection over the pixel, in order."""
    reads = [_read(at, e) for e in selection.entries if at.covers(e)]
    bands = 1 if at.request.stage == "mask" else len(at.request.bands)
    values = np.stack([np.full(bands, NODATA, np.int16) if r.values is None else r.values for r in reads])
    weight = np.array([r.weight for r in reads], np.uint8)
    counted = at.merging.counted(weight)
    best = int(counted.max(initial=0))
    fades = np.array([r.fade for r in reads], np.float32)
    faded = at.merging.faded(counted, fades, fades.max(initial=0))
    parts = shares(values, faded, at.request.method, at.merging.days(r.entry for r in reads))
    out = []
    for read, part, used in zip(reads, parts, counted, strict=True):
        is_chosen = read.entry == at.chosen
        verdict = _verdict(at, read, int(used), part, best, is_chosen=is_chosen)
        out.append(_candidate(at, read, part, verdict, is_chosen=is_chosen))
    return out


def _verdict(
    at: At, read: _SceneRead, used: int, share: NDArray[np.float64], best: int, *, is_chosen: bool
) -> str:
    if read.problem:
        # What shows needs neither its mask nor the rest of its files.
        return f"{'chosen, but of it' if is_chosen else 'left out:'} {read.problem}"
    if read.mask == MaskClass.NODATA:
        return "no data here"
    if at.request.stage in UNMERGED:
        if is_chosen:
            return "chosen: first in order with data; the masks are not asked at this stage"
        return "has data, but another one comes first in the order"
    if read.weight == 0:
        if read.score is not None and read.score < (at.request.min_score or 0):
            return f"left out: clear score {read.score}, below min_score={at.request.min_score:g}"
        if read.mask in (*CLOUDED, MaskClass.DEFECTIVE):
            return f"left out: {_name(read.mask)}"
        if read.mask == MaskClass.SNOW and at.request.snow == "drop":
            return "left out: snow, with snow=drop"
        return f"left out: {_name(read.mask)} by the mask, but too close to cloud or unlike the reference (haze, cloud or shadow)"
    if used == 0 and read.weight > LAST:
        return f"left out: {_name(read.mask)} by the mask, but unlike the reference (haze, cloud or shadow), and no other scene is clear here"
    if used == 0:
        return "a last resort, not needed: another scene is clear here"
    percent = f"{100 * float(share.mean()):.1f} %"
    last = "; no scene is clear here, this is the least bad" if best == LAST else ""
    remembered = _remembered(at, read) if read.mask in CLOUDED and read.weight > LAST else ""
    if is_chosen:
        method = METHODS[at.request.method]
        why = method.chosen or f"gives the largest part, {percent}"
        # Of dates on both sides of the asked one the walk in time gives another a larger part.
        why += f"; contributes {percent}" if method.timed else ""
        return f"chosen: {why}{last}{remembered}"
    if read.values is None or (read.values == NODATA).any():
        return "left out: a band has no data here"
    if not share.any():
        return METHODS[at.request.method].unused
    return f"contributes {percent}{remembered}"


def _remembered(at: At, read: _SceneRead) -> str:
    """Why a scene shows that its mask calls cloud or shadow; empty where nothing is remembered of the place.

    A memory that cannot be read is named: the picture needs it no more.
    """
    folder = reference_folder(read.entry.weight_key)
    try:
        place = place_at(at.engine.version.store, folder, at.epsg, at.row, at.col)
    except ReadFailure as error:
        return f"; {_name(read.mask)} by the mask, and the memory of places cannot be read ({error})"
    if place is None:
        return ""
    return (
        f"; {_name(read.mask)} by the mask, ground by the memory of places: {place.alike} of {place.seen} dates agree in blue"
        f" ({place.level:.3f}), and masks flag {place.flagged} of these"
    )


def _candidate(
    at: At, read: _SceneRead, share: NDArray[np.float64], verdict: str, *, is_chosen: bool
) -> ExplainedScene:
    entry, scene = read.entry, read.entry.scene
    about = properties(at, entry)
    elevation = about.get("view:sun_elevation")
    return ExplainedScene(
        scene=scene.id,
        order=entry.rank,
        period=entry.period,
        datetime=scene.datetime.isoformat(),
        platform=scene.platform,
        relative_orbit=scene.relative_orbit,
        mask=None if read.mask == MaskClass.NODATA else _name(read.mask),
        score=read.score,
        weight=read.weight,
        share=tuple(round(float(s), 6) for s in share),
        values=None if read.values is None else plain(read.values),
        haze_weight=round(entry.haze, 4),
        sun_zenith_deg=None if elevation is None else round(90 - elevation, 4),
        sun_azimuth_deg=about.get("view:sun_azimuth"),
        view_zenith_deg=about.get("view:off_nadir"),
        view_azimuth_deg=about.get("view:azimuth"),
        chosen=is_chosen,
        verdict=verdict,
    )


def left_out(at: At, selection: Selection, asked: Selection | None = None) -> Iterator[ExplainedScene]:
    """Scenes of the period over the place that the request does not allow.

    Args:
        selection: whose scenes are listed as candidates.
        asked: of a predicted value, the day's own selection; `selection` then has the dates that it is predicted from.
    """
    request, allowed = selection.request, set(selection.entries)
    none = np.zeros(1 if request.stage == "mask" else len(request.bands))
    for entry in at.engine.version.entries(at.chosen.period):
        if entry in allowed or not at.covers(entry):
            continue
        if asked is not None and (verdict := _beside_prediction(at, asked, entry)):
            yield _candidate(at, _read(at, entry), none, verdict, is_chosen=False)
            continue
        scene = entry.scene
        if request.ids and scene.id not in request.ids:
            why = "its name is not in ids="
        elif request.orbit is not None and scene.relative_orbit != request.orbit:
            why = f"orbit {scene.relative_orbit}, the request asks for {request.orbit}"
        elif 100 * scene.cloud_share > request.max_cloud:
            why = f"{100 * scene.cloud_share:.1f} % cloud, more than max_cloud={request.max_cloud:g}"
        else:
            why = f"its day is not in {request.datetime}"
        yield _candidate(at, _read(at, entry), none, f"not asked for: {why}", is_chosen=False)


def _beside_prediction(at: At, asked: Selection, entry: Entry) -> str:
    """Why a value is predicted without a scene: the asked day's own, or one too far from it; empty for another reason."""
    if entry in asked.entries:
        read = _read(at, entry)
        if read.problem:
            return f"left out: {read.problem}"
        what = "no data here" if read.mask == MaskClass.NODATA else _name(read.mask)
        return f"left out: {what} on the asked day; the value is predicted from the other dates"
    apart = abs((entry.scene.datetime.date() - day_of(asked.request)).days)
    return (
        f"not asked for: more than {REACH} days away from {asked.request.datetime}" if apart > REACH else ""
    )


def _name(mask: MaskClass) -> str:
    return mask.name.lower().replace("_", " ")
