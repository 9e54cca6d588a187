"""The request value: what a client asks for, parsed once, checked, and passed down."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from rio_tiler.colormap import cmap

from terrazzo.bands import STYLES, Style
from terrazzo.errors import InvalidRequest
from terrazzo.export.order import pairs_of
from terrazzo.expression import bands_of
from terrazzo.mosaic.measure import Measure, measure_of
from terrazzo.mosaic.request import CHOICES, PixelRequest
from terrazzo.server.layers import BANDS, LAYERS
from terrazzo.version import Version

Format = Literal["png", "jpg", "webp", "tif", "npy"]
MEDIA: dict[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "tif": "image/tiff; application=geotiff",
    "npy": "application/x-npy",
}
PARAMETERS: dict[str, str] = {
    "style": "named style: " + ", ".join((*STYLES, *LAYERS)),
    "bands": "bands, comma-separated",
    "expression": "expression over bands, such as (B08-B04)/(B08+B04); several, separated by ;",
    "datetime": "day, month, year, RFC 3339 interval (.. for an open end), or the name of a period",
    "baseline": "day, month, year, interval or period whose values are taken off those of datetime: the change since",
    **CHOICES,
    "ids": "scenes, comma-separated",
    "rescale": "min,max in reflectance; several pairs separated by ;",
    "colormap_name": "a colormap's name, see /colorMaps",
    "quality": "1 to 100, of jpg and webp; 100 makes webp lossless, as it is anyway for classes and layers",
    "version": "a version of the mosaic, 12 hexadecimal digits",
}
ID = re.compile(r"[\w.\-]{1,100}")
QUALITY = 85
MOST_IDS = 50
"""Scenes that a request may name; the answer's header repeats them, and proxies bear some kilobytes of headers."""


@dataclass(frozen=True)
class Ask:
    """A request for a picture or for values.

    Attributes:
        measure: what the engine is asked, the expression over its bands, and what it is compared with.
        rescale: pairs in the units of what is shown, one or as many as channels; None for data formats.
        gamma: exponent of the stretch, 1 for none.
        layer: name of a layer shown instead of reflectance, or None.
        quality: 1–100 of lossy formats, 100 lossless where the format can.
    """

    measure: Measure
    style: str | None
    rescale: tuple[tuple[float, float], ...] | None
    colormap: str | None
    gamma: float
    version: str | None
    layer: str | None = None
    quality: int = QUALITY

    @property
    def pixels(self) -> PixelRequest:
        """What the engine is asked."""
        return self.measure.pixels

    def presentation(self) -> str:
        """One line for keys: all that the measure does not know of."""
        return repr((self.rescale, self.colormap, self.gamma, self.layer, self.quality))


def only(query: Mapping[str, str], allowed: Mapping[str, str] | set[str] | tuple[str, ...]) -> None:
    """Refuses parameters that are not known.

    Raises:
        InvalidRequest: there is one; the message lists the known ones.
    """
    unknown = sorted(set(query) - set(allowed))
    if unknown:
        raise InvalidRequest(
            f"unknown parameter {', '.join(unknown)}; there are: {', '.join(sorted(allowed))}"
        )


def parse_ask(query: Mapping[str, str], version: Version) -> Ask:
    """Reads the parameters of a request.

    Raises:
        InvalidRequest: a parameter or value is not known, or two contradict each other.
    """
    only(query, PARAMETERS)
    style, bands, expression = _shown(query, version)
    layer = query.get("style") if query.get("style") in LAYERS else None
    if layer and (given := sorted({"rescale", "colormap_name"} & set(query)) or query.get("stage") == "mask"):
        told = "stage=mask" if given is True else " and ".join(given)
        raise InvalidRequest(f"style={layer} and {told} contradict each other: leave one of them out")
    baseline = query.get("baseline") or None
    if layer and baseline:
        raise InvalidRequest(f"style={layer} and baseline contradict each other: leave one of them out")
    normalize = query.get("normalize")
    if normalize not in (None, "on", "off"):
        raise InvalidRequest(f"normalize={normalize}: use on or off")
    pixels = PixelRequest(
        bands=bands,
        datetime=query.get("datetime") or None,
        max_cloud=_number(query, "max_cloud"),
        orbit=_integer(query, "orbit", "a relative orbit, 1 to 143", 143),
        ids=_ids(query.get("ids", "")),
        method=query.get("method"),  # type: ignore[arg-type]
        normalize=None if normalize is None else normalize == "on",
        stage=query.get("stage"),  # type: ignore[arg-type]
        fill=query.get("fill"),  # type: ignore[arg-type]
        snow=query.get("snow"),  # type: ignore[arg-type]
        resampling=query.get("resampling"),  # type: ignore[arg-type]
    )
    colormap = query.get("colormap_name") or (style.colormap if style else None)
    if colormap is not None and colormap not in cmap.list():
        raise InvalidRequest(f"colormap_name={colormap}: see /colorMaps for the names")
    rescale = pairs_of(query["rescale"]) if "rescale" in query else None
    if rescale is None:
        rescale = (style.rescale,) if style else ((-1.0, 1.0),) if expression else ((0.0, 0.4),)
        if baseline:
            low, high = rescale[0]
            rescale = ((-(high - low) / 2, (high - low) / 2),)
    gamma = style.gamma if style and "rescale" not in query and not baseline else 1.0
    return Ask(
        measure_of(pixels, expression, baseline),
        style.name if style else layer,
        rescale,
        colormap,
        gamma,
        query.get("version"),
        layer,
        _integer(query, "quality", "1 to 100", 100) or QUALITY,
    )


def parse_format(name: str) -> Format:
    """A picture's format by its ending.

    Raises:
        InvalidRequest: not one of ours.
    """
    name = {"jpeg": "jpg", "tiff": "tif"}.get(name.lower(), name.lower())
    if name not in get_args(Format):
        raise InvalidRequest(f"format {name!r}: use {', '.join(get_args(Format))}")
    return name  # type: ignore[return-value]


def _shown(query: Mapping[str, str], version: Version) -> tuple[Style | None, tuple[str, ...], str | None]:
    given = [k for k in ("style", "bands", "expression") if query.get(k)]
    if len(given) > 1:
        raise InvalidRequest(f"{' and '.join(given)} contradict each other: name one of them")
    if query.get("expression"):
        expression = query["expression"]
        return None, bands_of(expression), expression
    if query.get("bands"):
        return None, tuple(b.strip() for b in query["bands"].split(",")), None
    if query.get("style") in LAYERS:
        return None, tuple(b for b in BANDS if b in version.bands) or version.bands[:1], None
    known = {s.name: s for s in STYLES.values() if set(s.bands) <= set(version.bands)}
    name = query.get("style") or next(iter(known), None)
    if name not in known:
        raise InvalidRequest(f"style={name}: this mosaic has {', '.join((*known, *LAYERS))}")
    style = known[name]
    return style, style.bands, style.expression


def _number(query: Mapping[str, str], name: str) -> float | None:
    if not query.get(name):
        return None
    try:
        value = float(query[name])
    except ValueError:
        raise InvalidRequest(f"{name}={query[name]}: a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidRequest(f"{name}={query[name]}: a finite number")
    return value


def _integer(query: Mapping[str, str], name: str, what: str, most: int) -> int | None:
    value = _number(query, name)
    if value is not None and (value != int(value) or not 1 <= value <= most):
        raise InvalidRequest(f"{name}={query[name]}: {what}")
    return None if value is None else int(value)


def _ids(text: str) -> tuple[str, ...]:
    ids = tuple(i for i in text.split(",") if i)
    if len(ids) > MOST_IDS or not all(ID.fullmatch(i) for i in ids):
        raise InvalidRequest(f"ids: up to {MOST_IDS} names of scenes, see the mosaic's /scenes")
    return ids
