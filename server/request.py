"""The request value: what a client asks for, parsed once, checked, and passed down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from rio_tiler.colormap import cmap

from terrazzo.bands import STYLES, Style
from terrazzo.errors import InvalidRequest, near
from terrazzo.formats import Format, format_of, offered
from terrazzo.mosaic.measure import Measure
from terrazzo.mosaic.request import PixelRequest
from terrazzo.request.parameters import PICTURE, Table, asked_names
from terrazzo.request.parse import contradict, joined, known_only, measured, values
from terrazzo.server.layers import BANDS, LAYERS
from terrazzo.version import Version

QUALITY = 85


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


def query_of(request: Request, drop: Iterable[str] = (), parameters: Table = PICTURE) -> dict[str, str]:
    """The parameters of a request's address; lists given in parts are joined, empty values dropped.

    Args:
        drop: parameters that an endpoint reads itself.

    Raises:
        InvalidRequest: a parameter that is no list is named twice.
    """
    return joined(((k, v) for k, v in request.query_params.multi_items() if k not in drop), parameters)


def beside(request: Request, parameters: Table) -> dict[str, Any]:
    """The values of parameters that an endpoint reads itself.

    Raises:
        InvalidRequest: one is named twice, or its value is not understood.
    """
    names = asked_names(parameters)
    pairs = [(k, v) for k, v in request.query_params.multi_items() if k in names]
    return values(joined(pairs, parameters), parameters)


def documented(*tables: Table) -> dict[str, Any]:
    """What OpenAPI lists of parameters. They are for reading alone: `parse_ask` takes them from the address, so that
    unknown ones are refused too, and FastAPI need not look at them.
    """
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": p.help,
                "schema": {"type": "string"} | ({"enum": [*p.choices]} if p.kind == "choice" else {}),
            }
            for table in tables
            for name, p in table.items()
        ]
    }


ASKED = documented(PICTURE)


def only(query: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuses parameters that are not known.

    Raises:
        InvalidRequest: there is one; the message lists the known ones.
    """
    known_only(query, tuple(allowed))


def parse_ask(query: Mapping[str, Any], version: Version) -> Ask:
    """Reads the parameters of a request.

    Raises:
        InvalidRequest: a parameter or value is not known, or two contradict each other.
    """
    given = values(query, PICTURE)
    layer = given["style"] if given.get("style") in LAYERS else None
    if layer:
        strange: list[str] = [k for k in ("rescale", "colormap_name", "baseline") if k in given]
        strange += ["stage=mask"] if given.get("stage") == "mask" else []
        if strange:
            raise contradict(f"style={layer}", *strange)
    style = None if layer else _style(given, version)
    if layer:
        measure = measured(given, version, tuple(b for b in BANDS if b in version.bands) or version.bands[:1])
    elif style:
        measure = measured(given, version, style.bands, style.expression)
    else:
        measure = measured(given, version)
    colormap = given.get("colormap_name") or (style.colormap if style else None)
    if colormap is not None and colormap not in cmap.list():
        raise InvalidRequest(
            f"colormap_name={colormap}: see /colorMaps for the names{near(colormap, cmap.list())}"
        )
    rescale = given.get("rescale")
    if rescale is None:
        rescale = (style.rescale,) if style else ((-1.0, 1.0),) if measure.expression else ((0.0, 0.4),)
        if measure.baseline:
            low, high = rescale[0]
            rescale = ((-(high - low) / 2, (high - low) / 2),)
    gamma = style.gamma if style and "rescale" not in given and not measure.baseline else 1.0
    return Ask(
        measure,
        style.name if style else layer,
        rescale,
        colormap,
        gamma,
        given.get("version"),
        layer,
        given.get("quality", QUALITY),
    )


def parse_format(ending: str) -> Format:
    """A picture's format by its ending.

    Raises:
        InvalidRequest: not one of ours.
    """
    form = format_of(ending, "tile")
    if form is None:
        raise InvalidRequest(f"format {ending!r}: use {', '.join(offered('tile'))}")
    return form


def _style(given: Mapping[str, Any], version: Version) -> Style | None:
    """The named style, the first that the mosaic has the bands for by default; None where bands or a formula are shown."""
    if "expression" in given or "bands" in given:
        return None
    known = {s.name: s for s in STYLES.values() if set(s.bands) <= set(version.bands)}
    name = given.get("style") or next(iter(known), None)
    if name is None:
        raise InvalidRequest("bands: this mosaic has the bands of no style; name one or three")
    if name not in known:
        there = (*known, *LAYERS)
        raise InvalidRequest(f"style={name}: this mosaic has {', '.join(there)}{near(name, there)}")
    return known[name]
