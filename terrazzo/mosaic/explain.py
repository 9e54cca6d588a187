"""Why a pixel is as it is: every candidate, the one that was chosen, and its number's way from the product and back.

Nothing is computed in a second manner here: weights, values, gains and counts come from the functions that
render tiles, so that the account and the picture cannot drift apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import CLOUDED, NODATA, SCALE, MaskClass
from terrazzo.config import Method
from terrazzo.correction import coefficients_at, corrected, counts, read_correction
from terrazzo.errors import NotFound, OutsideCoverage, ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.mosaic import kernels
from terrazzo.mosaic.engine import FILLED, Engine, Image
from terrazzo.mosaic.merge import OUTLIER
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.request import CLASSES_BAND, Resolved
from terrazzo.mosaic.selection import Selection, adjacent
from terrazzo.mosaic.warp import Points, locate
from terrazzo.mosaic.zone import LAST, Merging
from terrazzo.scene import CORRECTION, read_item
from terrazzo.version import Entry


@dataclass(frozen=True)
class Candidate:
    """A scene that could have shown at a pixel.

    Attributes:
        order: place in the one order of the period, 0 first.
        mask: name of the mask class; None beyond the scene's data.
        weight: 0–255, as the merge took it.
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
class Step:
    """One band of the chosen scene, from the product's number to the served one and back.

    toa (or surface, of an L2A product) = (count + offset) · 1e-4;  y = xa·toa − xb;  surface = y / (1 + xc·y);
    corrected = surface · factor;  normalized = gain · corrected + gain_offset.

    Attributes:
        count: the product's number, recomputed from the stored value.
        stored: int16 in the scene's file, scale 1e-4.
        forward: what the correction makes of `count`; equals `stored` within what a count's rounding moves it.
        normalized: int16; equals the candidate's value.
        undone: stored value recomputed from `normalized`; `count_undone` the product's number from that.
        merged: int16 of all scenes at this pixel; served: int16 at the place asked for.
    """

    band: str
    count: int
    input_reflectance: float
    xa: float
    xb: float
    xc: float
    surface: float
    factor: float
    stored: int
    forward: int
    gain: float
    gain_offset: float
    normalized: int
    undone: int
    count_undone: int
    merged: int
    served: int


@dataclass(frozen=True)
class Neighbour:
    """One of the pixels that the served value is interpolated from: its share and its merged (band,) values."""

    row: int
    col: int
    share: float
    values: tuple[int | None, ...]


@dataclass(frozen=True)
class Explanation:
    """The account of a place.

    Attributes:
        values: (band,) int16 as served at the place.
        pixel: zone, row and column of the zone grid's pixel under the place, which the candidates are told of.
        neighbours: what the one resampling to the place took; one pixel for `resampling=nearest`.
        path: by band, of the chosen scene; empty for `stage=mask`.
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
    candidates: tuple[Candidate, ...]
    neighbours: tuple[Neighbour, ...]
    path: tuple[Step, ...]
    source: Mapping[str, Any]
    problems: tuple[str, ...]


def explain(engine: Engine, selection: Selection, lon: float, lat: float) -> Explanation:
    """The account of a place in degrees at full resolution.

    Raises:
        OutsideCoverage: no scene shows there.
    """
    xy = (np.array([lon], np.float64), np.array([lat], np.float64))
    image = engine.points(selection, "EPSG:4326", *xy)
    number = int(image.provenance[0, 0])
    if number < 0:
        raise OutsideCoverage(f"no data at {lon},{lat} for {selection.request.text()}")
    chosen = image.entries[number]
    shown = _shown(engine, selection, chosen, int(image.quality[0, 0]))
    epsg = chosen.scene.epsg
    grid = engine.version.store.grid(epsg)
    rows, cols = locate(Points("EPSG:4326", *xy), grid, 0, engine.area)
    at = _At(engine, shown.request, chosen, epsg, float(rows[0, 0]), float(cols[0, 0]))
    found = _candidates(at, shown)
    candidates = (*found, *_left_out(at, shown))
    return Explanation(
        selection.request,
        image.bands,
        _plain(image.values[:, 0, 0]),
        int(image.count[0, 0]),
        int(quality(engine, selection, Points("EPSG:4326", *xy), image)[0, 0]),
        epsg,
        at.row,
        at.col,
        chosen,
        candidates,
        tuple(_neighbours(at, shown)),
        tuple(_path(at, image, shown)) if selection.request.stage != "mask" else (),
        _source(at),
        image.problems,
    )


def shares(values: NDArray[np.int16], weight: NDArray[np.uint8], method: Method) -> NDArray[np.float64]:
    """(scene, band) shares of each scene in a merged pixel: their products with `values` sum up to it.

    Args:
        values: (scene, band) int16, nodata −32768; weight: (scene,); the first axis is the order, first wins.
    """
    scenes, bands = values.shape
    out = np.zeros((scenes, bands))
    usable = np.flatnonzero((weight > 0) & (values != NODATA).all(axis=1))
    if not usable.size:
        return out
    if method == "first":
        out[usable[0]] = 1
    elif method == "mean":
        out[usable] = 1 / usable.size
    elif method == "feather":
        x = weight[usable] / 255
        alpha = x * x * (3 - 2 * x)
        through = np.concatenate([[1.0], np.cumprod(1 - alpha)[:-1]])
        part = np.where(through < 1 / 255, 0, through * alpha)
        out[usable] = (part / part.sum())[:, None]
    elif method == "median":
        for b in range(bands):
            order = usable[np.argsort(values[usable, b], kind="stable")]
            middle = order[(order.size - 1) // 2 : order.size // 2 + 1]
            out[middle, b] = 1 / middle.size
    else:
        w, far = weight[usable].astype(np.float64), np.zeros(usable.size)
        for b in range(bands):
            v = values[usable, b].astype(np.float64)
            middle_value = kernels.weighted_median(v, w, v.size, np.empty(v.size, np.int64))
            far += ((v - middle_value) / (0.006 / SCALE + 0.1 * max(middle_value, 0.0))) ** 2 / bands
        w = w / (1 + (far / OUTLIER**2) ** 2)
        out[usable] = (w / w.sum())[:, None]
    return out


@dataclass(frozen=True)
class _At:
    """A place on a zone grid, and how scenes are read there; `y`, `x` in pixels from the grid's origin."""

    engine: Engine
    request: Resolved
    chosen: Entry
    epsg: int
    y: float
    x: float

    @property
    def row(self) -> int:
        return int(np.floor(self.y))

    @property
    def col(self) -> int:
        return int(np.floor(self.x))

    @property
    def box(self) -> PixelBox:
        return PixelBox(self.row, self.col, self.row + 1, self.col + 1)

    @property
    def merging(self) -> Merging:
        return self.merging_of(self.request)

    def merging_of(self, request: Resolved) -> Merging:
        return Merging(self.engine.version, self.engine.blocks, request, self.epsg, 0)

    def covers(self, entry: Entry) -> bool:
        return entry.scene.epsg == self.epsg and not entry.scene.box.intersection(self.box).empty

    def mask(self, entry: Entry) -> MaskClass:
        as_mask = _replaced(self.request, stage="mask", bands=(CLASSES_BAND,))
        value = int(self.merging_of(as_mask).values(entry, self.box)[0, 0, 0])
        return MaskClass.NODATA if value == NODATA else MaskClass(value)


def _replaced(request: Resolved, **changes: Any) -> Resolved:
    return Resolved(**{**request.__dict__, **changes})


def _plain(values: Sequence[Any] | NDArray[Any]) -> tuple[int | None, ...]:
    return tuple(None if int(v) == NODATA else int(v) for v in values)


def _shown(engine: Engine, selection: Selection, chosen: Entry, quality: int) -> Selection:
    """The selection a pixel was taken from: the one asked for, or that of the period which filled it."""
    if not quality & FILLED:
        return selection
    others = adjacent(engine.version, selection.request)
    return next((s for s in others if chosen in s.entries), selection)


@dataclass(frozen=True)
class _Read:
    entry: Entry
    mask: MaskClass
    weight: int
    values: NDArray[np.int16] | None
    problem: str | None


def _read(at: _At, entry: Entry) -> _Read:
    try:
        mask = at.mask(entry)
        weight = int(at.merging.weight(entry, at.box)[0, 0])
        values = at.merging.values(entry, at.box)[:, 0, 0] if mask != MaskClass.NODATA else None
    except (ReadFailure, NotFound) as error:
        return _Read(entry, MaskClass.NODATA, 0, None, str(error))
    return _Read(entry, mask, weight, values, None)


def _candidates(at: _At, selection: Selection) -> list[Candidate]:
    reads = [_read(at, e) for e in selection.entries if at.covers(e)]
    bands = 1 if at.request.stage == "mask" else len(at.request.bands)
    values = np.stack([np.full(bands, NODATA, np.int16) if r.values is None else r.values for r in reads])
    weight = np.array([r.weight for r in reads], np.uint8)
    best = int(weight.max(initial=0))
    counted = np.where((weight == LAST) & (best > LAST), 0, weight).astype(np.uint8)
    parts = shares(values, counted, at.request.method)
    out = []
    for read, part, used in zip(reads, parts, counted, strict=True):
        is_chosen = read.entry == at.chosen
        verdict = _verdict(at, read, int(used), part, best, is_chosen=is_chosen)
        out.append(_candidate(at, read, part, verdict, is_chosen=is_chosen))
    return out


def _verdict(
    at: _At, read: _Read, used: int, share: NDArray[np.float64], best: int, *, is_chosen: bool
) -> str:
    if read.problem:
        return f"left out: {read.problem}"
    if read.mask == MaskClass.NODATA:
        return "no data here"
    if read.weight == 0:
        if read.mask in (*CLOUDED, MaskClass.DEFECTIVE):
            return f"left out: {_name(read.mask)}"
        if read.mask == MaskClass.SNOW and at.request.snow == "drop":
            return "left out: snow, with snow=drop"
        return f"left out: {_name(read.mask)} by the mask, but too close to cloud or unlike the reference (haze, cloud or shadow)"
    if used == 0:
        return "a last resort, not needed: another scene is clear here"
    percent = f"{100 * float(share.mean()):.1f} %"
    last = "; no scene is clear here, this is the least bad" if best == LAST else ""
    if is_chosen:
        return (
            f"chosen: first usable in order{last}"
            if at.request.method == "first"
            else (
                f"chosen: gives the largest part, {percent}{last}"
                if at.request.method != "median"
                else f"chosen: nearest to the median{last}"
            )
        )
    if read.values is None or (read.values == NODATA).any():
        return "left out: a band has no data here"
    if not share.any():
        return {
            "median": "usable, but not in the middle in any band",
            "first": "usable, but another one comes first in the order",
        }.get(at.request.method, "usable, but the scenes before it hide it")
    return f"contributes {percent}"


def _candidate(
    at: _At, read: _Read, share: NDArray[np.float64], verdict: str, *, is_chosen: bool
) -> Candidate:
    entry, scene = read.entry, read.entry.scene
    about = _properties(at, entry)
    elevation = about.get("view:sun_elevation")
    return Candidate(
        scene=scene.id,
        order=entry.rank,
        period=entry.period,
        datetime=scene.datetime.isoformat(),
        platform=scene.platform,
        relative_orbit=scene.relative_orbit,
        mask=None if read.mask == MaskClass.NODATA else _name(read.mask),
        weight=read.weight,
        share=tuple(round(float(s), 6) for s in share),
        values=None if read.values is None else _plain(read.values),
        haze_weight=round(entry.haze, 4),
        sun_zenith_deg=None if elevation is None else round(90 - elevation, 4),
        sun_azimuth_deg=about.get("view:sun_azimuth"),
        view_zenith_deg=about.get("view:off_nadir"),
        view_azimuth_deg=about.get("view:azimuth"),
        chosen=is_chosen,
        verdict=verdict,
    )


def _left_out(at: _At, selection: Selection) -> Iterator[Candidate]:
    """Scenes of the period over the place that the request does not allow."""
    request, allowed = selection.request, set(selection.entries)
    none = np.zeros(1 if request.stage == "mask" else len(request.bands))
    for entry in at.engine.version.entries(at.chosen.period):
        if entry in allowed or not at.covers(entry):
            continue
        scene = entry.scene
        if request.ids and scene.id not in request.ids:
            why = "its id is not among those asked for"
        elif request.orbit is not None and scene.relative_orbit != request.orbit:
            why = f"orbit {scene.relative_orbit}, asked was {request.orbit}"
        elif 100 * scene.cloud_share > request.max_cloud:
            why = f"{100 * scene.cloud_share:.1f} % cloud, at most {request.max_cloud:g} % asked"
        else:
            why = f"its day is not in {request.datetime}"
        yield _candidate(at, _read(at, entry), none, f"not asked for: {why}", is_chosen=False)


def _name(mask: MaskClass) -> str:
    return mask.name.lower().replace("_", " ")


def _properties(at: _At, entry: Entry) -> Mapping[str, Any]:
    try:
        properties: Mapping[str, Any] = read_item(at.engine.version.store, entry.scene)["properties"]
    except NotFound:
        return {}
    return properties


def _neighbours(at: _At, selection: Selection) -> Iterator[Neighbour]:
    """The pixels around a place, merged, with the shares that interpolation gives those with data."""
    if at.request.resampling == "nearest":
        near = [(at.row, at.col, 1.0)]
    else:
        y, x = at.y - 0.5, at.x - 0.5
        r, c = int(np.floor(y)), int(np.floor(x))
        fy, fx = y - r, x - c
        near = [(r + i, c + j, (fy if i else 1 - fy) * (fx if j else 1 - fx)) for i in (0, 1) for j in (0, 1)]
    entries = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == at.epsg]
    found: list[tuple[int, int, float, tuple[int | None, ...]]] = []
    for r, c, share in near:
        box = PixelBox(r, c, r + 1, c + 1)
        pixels = at.merging.pixels(entries, box, [], counted=True, trusted=False)
        values = None if pixels is None else pixels.values[:, 0, 0]
        has_data = values is not None and bool((values != NODATA).all())
        found.append((r, c, share if has_data else 0.0, () if values is None else _plain(values)))
    total = sum(f[2] for f in found) or 1.0
    for r, c, share, told in found:
        yield Neighbour(r, c, round(share / total, 6), told)


def _path(at: _At, image: Image, selection: Selection) -> Iterator[Step]:
    version, scene = at.engine.version, at.chosen.scene
    grid, box = version.store.grid(at.epsg), at.box
    correction = read_correction(version.store.read_bytes(scene.key(CORRECTION)))
    fine = scene.box.coarser(version.store.mask_factor)
    detector = correction.detector[
        (at.row // version.store.mask_factor) - fine.row0, (at.col // version.store.mask_factor) - fine.col0
    ]
    mask = at.mask(at.chosen)
    shown_detector, land = np.full((1, 1), detector, np.uint8), np.full((1, 1), mask == MaskClass.LAND)
    classes = np.full((1, 1), mask, np.uint8)
    stored = at.merging_of(_replaced(at.request, stage="corrected")).values(at.chosen, box)
    corners = version.corners(at.chosen) if at.request.normalized else None
    normalized = at.merging.values(at.chosen, box) if at.request.normalized else stored
    reads = [(i, e) for i, e in enumerate(selection.entries) if e.scene.epsg == at.epsg]
    merged = at.merging.pixels(reads, box, [], counted=True, trusted=False)
    for i, band in enumerate(at.request.bands):
        xa, xb, xc, factor = coefficients_at(correction, band, int(detector), grid, at.row, at.col)
        place = (correction, band, grid, box)
        count = counts(stored[i], classes, shown_detector, *place)
        gain, offset = 1.0, 0.0
        if corners is not None:
            pair = gains.decode(corners[0][:, version.bands.index(band)])
            gain, offset = (float(gains.field(f, corners[1], box, grid.window)[0, 0]) for f in pair)
        undone = np.clip(np.rint((normalized[i] - offset / SCALE) / gain), -32767, 32767).astype(np.int16)
        undone = np.where(normalized[i] == NODATA, NODATA, undone).astype(np.int16)
        toa = (int(count[0, 0]) + correction.offset) * SCALE
        y = xa * toa - xb
        yield Step(
            band=band,
            count=int(count[0, 0]),
            input_reflectance=toa,
            xa=xa,
            xb=xb,
            xc=xc,
            surface=y / (1 + xc * y),
            factor=factor if mask == MaskClass.LAND else 1.0,
            stored=int(stored[i, 0, 0]),
            forward=int(corrected(count, land, shown_detector, *place)[0, 0]),
            gain=gain,
            gain_offset=offset,
            normalized=int(normalized[i, 0, 0]),
            undone=int(undone[0, 0]),
            count_undone=int(counts(undone, classes, shown_detector, *place)[0, 0]),
            merged=int(merged.values[i, 0, 0]) if merged else NODATA,
            served=int(image.values[i, 0, 0]),
        )


def _source(at: _At) -> Mapping[str, Any]:
    """What the chosen scene's Item tells of it."""
    about = _properties(at, at.chosen)
    return {
        "path": about.get("terrazzo:path"),
        "is_toa": about.get("terrazzo:source", {}).get("level") == "L1C",
        "product": about.get("terrazzo:source"),
        "offset": about.get("terrazzo:offset"),
        "air": about.get("terrazzo:air"),
        "lineage": about.get("processing:lineage"),
        "notes": about.get("terrazzo:notes"),
    }
