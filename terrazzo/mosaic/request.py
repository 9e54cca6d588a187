"""What a request asks of the engine: one frozen value, and the same with every default filled in."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, get_args

from terrazzo.config import Fill, Method, Resampling, Snow, Stage
from terrazzo.errors import InvalidRequest, near
from terrazzo.version import Version

CLASSES_BAND = "mask"
"""Name of the one band that `stage=mask` has."""


UNMERGED = ("raw", "mask", "corrected")
"""Stages that show one scene as it is, under cloud or not."""


@dataclass(frozen=True)
class PixelRequest:
    """A request for pixels; None is the mosaic's default.

    Attributes:
        bands: names of the bands, in order.
        datetime: day, month, year or interval, or the name of a period.
        max_cloud: per cent of a scene's valid pixels that may be cloud or shadow.
        min_score: clear score, 0 to 100, that a scene's pixel needs to show; None asks for none.
        orbit: relative orbit.
        ids: scenes, all when empty.
        target: day that a method that weighs days shows, YYYY-MM-DD; None is the middle of the asked time.
    """

    bands: tuple[str, ...]
    datetime: str | None = None
    max_cloud: float | None = None
    orbit: int | None = None
    ids: tuple[str, ...] = ()
    method: Method | None = None
    normalize: bool | None = None
    stage: Stage | None = None
    fill: Fill | None = None
    snow: Snow | None = None
    resampling: Resampling | None = None
    target: str | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class Resolved:
    """A request with every default filled in; equal values have equal pixels.

    Attributes:
        common_level: True: values stay at the period's common level though `target` is shown, as with another composite as reference; None: they have that
            day's.
    """

    bands: tuple[str, ...]
    period: str
    datetime: str | None
    max_cloud: float
    orbit: int | None
    ids: tuple[str, ...]
    method: Method
    stage: Stage
    fill: Fill
    snow: Snow
    resampling: Resampling
    target: date | None = None
    min_score: float | None = None
    common_level: Literal[True] | None = None

    @property
    def normalized(self) -> bool:
        """Whether gains are applied."""
        return self.stage == "normalized"

    def text(self) -> str:
        """One line that names the request, for headers and tags."""
        parts: dict[str, Any] = {k: v for k, v in asdict(self).items() if v not in (None, ())}
        return "&".join(f"{k}={','.join(v) if isinstance(v, tuple) else v}" for k, v in parts.items())


def stage_of(request: PixelRequest, version: Version) -> Stage:
    """The stage a request names by `stage`, `normalize` or neither.

    Raises:
        InvalidRequest: the two contradict each other, or the version has no gains.
    """
    stage, normalize = request.stage, request.normalize
    if stage is not None and stage not in get_args(Stage):
        raise InvalidRequest(f"stage={stage}: use one of {', '.join(get_args(Stage))}")
    if stage is None:
        wanted = version.config.normalize and version.normalized if normalize is None else normalize
        stage = "normalized" if wanted else "merged"
    elif normalize is not None and normalize != (stage == "normalized"):
        raise InvalidRequest(
            f"stage={stage} and normalize={'on' if normalize else 'off'} contradict each other: name one of them"
        )
    if stage == "normalized" and not version.normalized:
        raise InvalidRequest(f"version {version.name} was published without normalization: use normalize=off")
    return stage


def check(request: PixelRequest, version: Version) -> None:
    """Checks a request's values against the version's.

    Raises:
        InvalidRequest: a value is not known; the message lists the known ones.
    """
    for name, allowed in (("method", Method), ("fill", Fill), ("snow", Snow), ("resampling", Resampling)):
        value = getattr(request, name)
        if value is not None and value not in get_args(allowed):
            raise InvalidRequest(f"{name}={value}: use one of {', '.join(get_args(allowed))}")
    unknown = [b for b in request.bands if b not in version.bands]
    if unknown or not request.bands:
        raise InvalidRequest(f"bands={','.join(unknown)}: this mosaic has {', '.join(version.bands)}")
    if len(set(request.bands)) != len(request.bands):
        raise InvalidRequest("bands: a band is named twice")
    if missing := [i for i in request.ids if i not in version.scene_ids]:
        like = near(missing[0], sorted(version.scene_ids))
        raise InvalidRequest(f"ids={missing[0]}: this mosaic has no scene of that name{like}")
    if request.orbit is not None and request.orbit not in version.orbits:
        raise InvalidRequest(
            f"orbit={request.orbit}: this mosaic has scenes of the orbits {', '.join(map(str, version.orbits))}"
        )
    if request.max_cloud is not None and not 0 <= request.max_cloud <= 100:
        raise InvalidRequest(f"max_cloud={request.max_cloud}: per cent, 0 to 100")
    if request.min_score is not None and not 0 <= request.min_score <= 100:
        raise InvalidRequest(f"min_score={request.min_score}: a clear score, 0 to 100")
