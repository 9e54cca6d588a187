"""A mosaic as QGIS opens it at once: a layer definition file with a layer for each period."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment

from terrazzo.server.request import Ask
from terrazzo.server.wmts.offers import periods
from terrazzo.version import Version


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("terrazzo.server.pages").joinpath("layers.qlr.j2").read_text())


def layer_definition(version: Version, ask: Ask, tiles: str, query: Mapping[str, str], last: int) -> str:
    """The definition: the newest period is shown, the others lie beneath it, switched off.

    Each layer has the days of its period, so that QGIS's temporal controller shows one after the other.

    Args:
        tiles: address of a tile with {z}, {x}, {y}.
        query: parameters of every tile beside datetime.
        last: the deepest zoom.
    """
    layers = []
    for number, period in enumerate(periods(version)):
        address = f"{tiles}?{urlencode({**query, 'datetime': period.name})}"
        # QGIS reads the source as a query of its own.
        source = f"type=xyz&url={quote(address, safe='{}')}&zmin=0&zmax={last}"
        layers.append({"id": f"terrazzo_{version.mosaic_id}_{number}", "source": source, "period": period})
    text: str = _template().render(
        title=version.config.title or version.mosaic_id,
        style=ask.style or "",
        layers=layers,
        attribution=version.attribution,
    )
    return text
