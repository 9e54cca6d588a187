"""What the operator of a mosaic writes: `mosaic.toml`."""

import math
import re
import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from terrazzo.errors import InvalidRequest, NotFound, StoreError
from terrazzo.grid import Bounds

if TYPE_CHECKING:
    # The table of parameters reads this module, and no help of a command need wait for object stores.
    from terrazzo.store import Store

Method = Literal[
    "feather",
    "first",
    "median",
    "mean",
    "robust",
    "geomedian",
    "medoid",
    "kriging",
    "percentile:10",
    "percentile:25",
    "percentile:75",
    "percentile:90",
]
Fill = Literal["adjacent", "none", "best", "predict"]
Snow = Literal["avoid", "keep", "drop"]
Resampling = Literal["bilinear", "nearest"]
Reference = Literal["own", "external"]
Stage = Literal["raw", "mask", "corrected", "merged", "normalized"]
Origin = Literal[
    "scene",
    "date",
    "age",
    "count",
    "quality",
    "weight",
    "score",
    "spread",
    "sigma",
    "gain",
    "emad",
    "smad",
    "bcmad",
]
"""What can be said of where a pixel comes from; `mosaic/origin.py` computes it."""

ALL = "all"
"""Name of the one period of a mosaic that names none."""

MOSAIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""Names of mosaics stand in addresses, headers, XML and file names, where other letters have many spellings."""


@dataclass(frozen=True)
class Period:
    """A named interval of a mosaic's time axis, first and last day included.

    `members` is empty for a period; a parent (season, year) names the periods it is the union of.
    """

    name: str
    start: date
    end: date
    members: tuple[str, ...] = ()

    def holds(self, start: date, end: date) -> bool:
        """Whether an interval of days lies inside."""
        return self.start <= start and end <= self.end

    @property
    def middle(self) -> date:
        """The day in the middle."""
        return self.start + timedelta(days=(self.end - self.start).days // 2)


@dataclass(frozen=True)
class MosaicConfig:
    """Area, periods, rules and defaults of a mosaic; the same for tile, point, statistics and export.

    Attributes:
        bounds: west, south, east, north in degrees; scenes that touch it make up the mosaic. None: all of the
            store's scenes.
        most_coverage_loss: share of the area shown that a new version may lose and still be published by itself.
        most_seam_growth: by which factor its error steps at borders of scenes may grow.
        pyramid_from: pixel size in metres from which the default request is kept ready, merged beforehand.
        reference: what scenes are normalized to: what they agree on by themselves, or another composite's level.
        reference_file: path of that composite, a raster with the store's bands as descriptions; last year's export is one.
    """

    id: str
    title: str = ""
    description: str = ""
    bounds: Bounds | None = None
    periods: tuple[Period, ...] = ()
    method: Method = "feather"
    normalize: bool = True
    max_cloud: float = 100.0
    resampling: Resampling = "bilinear"
    fill: Fill = "adjacent"
    snow: Snow = "avoid"
    reference: Reference = "own"
    reference_file: str | None = None
    licence: str | None = None
    most_coverage_loss: float = 0.01
    most_seam_growth: float = 1.5
    pyramid_from: float = 150.0

    def __post_init__(self) -> None:
        if str(self.reference) == "climatology":
            raise StoreError(
                'mosaic.toml: reference = "climatology" is not supported. To make the same season of several years agree, name a'
                " parent of their periods ([[parents]]), export it (terrazzo export --bbox … --datetime PARENT -o FILE), and normalize"
                ' all to it: reference = "external", reference_file = "FILE"'
            )
        if self.fill == "predict":
            raise StoreError(
                'mosaic.toml: fill = "predict" cannot be a default, because no scene observed what it shows; a request may name it'
            )
        for name, allowed in (
            ("method", get_args(Method)),
            ("fill", get_args(Fill)),
            ("snow", get_args(Snow)),
            ("resampling", get_args(Resampling)),
            ("reference", get_args(Reference)),
        ):
            if getattr(self, name) not in allowed:
                raise StoreError(
                    f"mosaic.toml: {name} = {getattr(self, name)!r}; allowed are {', '.join(allowed)}"
                )
        if (self.reference == "external") != (self.reference_file is not None):
            raise StoreError('mosaic.toml: reference = "external" and reference_file = "PATH" go together')
        if not 0 < self.pyramid_from < math.inf:
            raise StoreError(f"mosaic.toml: pyramid_from = {self.pyramid_from}: metres, more than 0")
        require_name(self.id)
        plain = sorted((p for p in self.periods if not p.members), key=lambda p: p.start)
        for a, b in pairwise(plain):
            if b.start <= a.end:
                raise StoreError(f"mosaic.toml: periods {a.name} and {b.name} overlap")


def require_name(mosaic_id: str) -> None:
    """Checks a mosaic's name.

    Raises:
        StoreError: it cannot stand in addresses and file names.
    """
    if not MOSAIC_NAME.fullmatch(mosaic_id):
        raise StoreError(
            f"mosaic name {mosaic_id[:100]!r}: use letters a to z and A to Z, digits, - and _, at most 100; the title in its"
            " mosaic.toml may have any. A mosaic that has such a name already is served once its folder in mosaics/ is"
            " renamed and it is published again"
        )


def config_key(mosaic_id: str) -> str:
    """Key of a mosaic's mosaic.toml."""
    return f"mosaics/{mosaic_id}/mosaic.toml"


def read_config(store: "Store", mosaic_id: str) -> MosaicConfig:
    """The configuration of a mosaic; the defaults where the operator wrote none.

    Raises:
        StoreError: the file cannot be understood; the message names the entry.
    """
    try:
        text = store.read_bytes(config_key(mosaic_id)).decode()
    except NotFound:
        return MosaicConfig(mosaic_id)
    except UnicodeDecodeError as error:
        raise StoreError(f"mosaic.toml of {mosaic_id} is not UTF-8: {error}; save it as UTF-8") from None
    return parse_config(mosaic_id, text)


def parse_config(mosaic_id: str, text: str) -> MosaicConfig:
    """The configuration written in the text of a mosaic.toml.

    Raises:
        StoreError: the text cannot be understood; the message names the entry.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StoreError(f"mosaic.toml of {mosaic_id}: {error}") from None
    periods = [_period(p) for p in raw.pop("periods", ())]
    by_name = {p.name: p for p in periods}
    if len(by_name) != len(periods):
        raise StoreError("mosaic.toml: two periods have the same name")
    for parent in raw.pop("parents", ()):
        periods.append(_parent(parent, by_name))
    if "bounds" in raw:
        try:
            raw["bounds"] = Bounds(*(float(v) for v in raw["bounds"]))
        except (TypeError, ValueError):
            raise StoreError(f"mosaic.toml: bounds = {raw['bounds']}: four numbers, [W, S, E, N]") from None
    known = {f.name for f in fields(MosaicConfig)} - {"id", "periods"}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise StoreError(
            f"mosaic.toml: unknown entries {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    return MosaicConfig(id=mosaic_id, periods=tuple(periods), **raw)


def _period(raw: dict[str, Any]) -> Period:
    try:
        name, start, end = str(raw["name"]), raw["start"], raw["end"]
    except KeyError as error:
        raise StoreError(f"mosaic.toml: a period lacks {error}; it needs name, start and end") from None
    if not (isinstance(start, date) and isinstance(end, date)) or end < start:
        raise StoreError(f"mosaic.toml: period {name}: start and end must be dates, start first")
    return Period(name, start, end)


def _parent(raw: dict[str, Any], by_name: dict[str, Period]) -> Period:
    members = tuple(raw.get("members", ()))
    missing = [m for m in members if m not in by_name]
    if "name" not in raw or not members or missing:
        raise StoreError(
            f"mosaic.toml: parent {raw.get('name')!r} must name known periods; unknown: {missing}"
        )
    spans = [by_name[m] for m in members]
    return Period(str(raw["name"]), min(p.start for p in spans), max(p.end for p in spans), members)


def day_interval(text: str, *, moments: bool = False) -> tuple[date | None, date | None]:
    """First and last day of a `datetime` value: a day, month or year, or an interval `A/B` with `..` or nothing for an open end.

    Days are those of UTC. Times are understood where they mean whole days: an interval begins at midnight and ends at
    midnight or a second before it.

    Args:
        moments: whether a single moment means the day in which it lies.

    Raises:
        InvalidRequest: the text is none of these, or names a part of a day.
    """
    parts = text.strip().split("/")
    if len(parts) > 2 or not any(parts):
        raise InvalidRequest(_how(text))
    single = len(parts) == 1
    first = _days(parts[0], text, moments=moments and single)
    last = first if single else _days(parts[1], text, is_end=True)
    start, end = (first[0] if first else None), (last[1] if last else None)
    if start and end and end < start:
        raise InvalidRequest(f"datetime={text}: the end lies before the start")
    return start, end


def _days(part: str, text: str, *, is_end: bool = False, moments: bool = False) -> tuple[date, date] | None:
    part = part.strip()
    if part in ("..", ""):
        return None
    try:
        if len(part) > len("2023-08-13"):
            one = _day_of_moment(part, text, is_end=is_end, moments=moments)
            return one, one
        numbers = [int(v) for v in part.split("-")]
        if len(numbers) == 1 and len(part) == 4:
            return date(numbers[0], 1, 1), date(numbers[0], 12, 31)
        if len(numbers) == 2 and len(part) == 7:
            following = date(numbers[0] + numbers[1] // 12, numbers[1] % 12 + 1, 1)
            return date(numbers[0], numbers[1], 1), following - timedelta(days=1)
        one = date.fromisoformat(part)
    except (ValueError, OverflowError):
        raise InvalidRequest(_how(text)) from None
    return one, one


def _day_of_moment(part: str, text: str, *, is_end: bool, moments: bool) -> date:
    """The day of UTC that a moment stands for.

    Raises:
        InvalidRequest: it lies within a day.
        ValueError: it is no moment.
    """
    # A blank before an offset was a plus, which addresses turn into one.
    moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", part) if part.count(":") > 1 else part)
    utc = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    if moments or (utc.hour, utc.minute, utc.second, utc.microsecond) == (0, 0, 0, 0):
        return utc.date() - timedelta(days=1) if is_end else utc.date()
    if is_end and (utc.hour, utc.minute, utc.second) == (23, 59, 59):
        return utc.date()
    raise InvalidRequest(
        f"datetime={text}: scenes are chosen by whole days of UTC, and {part} lies within one; use {utc.date()},"
        f" or an interval such as {utc.date()}/{utc.date()}"
    )


def _how(text: str) -> str:
    return (
        f"datetime={text!r} is not understood; use 2023-08-13, 2023-08, 2023, or an interval such as"
        " 2023-08-01/2023-08-31 (.. for an open end), or the name of a period"
    )
