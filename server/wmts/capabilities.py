"""The capabilities document, made for the dialogs in which people add a layer."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import morecantile
from jinja2 import Environment
from morecantile import TileMatrixSet

from terrazzo.formats import offered
from terrazzo.mosaic.selection import newest_period
from terrazzo.server import grids
from terrazzo.server.settings import Settings
from terrazzo.server.wmts import offers
from terrazzo.version import Version

INFO_FORMATS = {name: f.media for name, f in offered("account").items()}
WELL_KNOWN = {
    grids.WEB: "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible",
    "WorldCRS84Quad": "urn:ogc:def:wkss:OGC:1.0:GoogleCRS84Quad",
}
"""Scale sets by the set of the standard that has them. A set holds one when it has its scales from the coarsest on:
that in tiles of 512 px lacks the first."""
STANDARD_PIXEL = 0.00028
METRES_A_DEGREE = 111_319.49079327358
"""As the standard counts scales of sets in degrees."""


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("terrazzo.server.wmts").joinpath("capabilities.xml.j2").read_text())


def capabilities(
    version: Version,
    base: str,
    settings: Settings,
    sets: Sequence[TileMatrixSet],
    document: str,
    sections: tuple[str, ...],
    key: str = "",
    asked: str = "",
) -> str:
    """A document of a mosaic.

    Args:
        base: address of the server as clients see it.
        sets: the tile matrix sets of every layer, the first one dialogs' first.
        document: one of `offers.DOCUMENTS`, or empty for the default one.
        sections: which parts to write; none for a client that has the current document.
        key: parameter that every address in the document carries, `api_key=…`.
        asked: parameters of tiles that those of tiles and of this service carry, `baseline=…`.
    """
    mosaic = version.mosaic_id
    title = version.config.title or mosaic
    address = f"{base}/mosaics/{mosaic}"
    text: str = _template().render(
        base=address,
        service=f"{address}/wmts/{document}" if document else f"{address}/wmts",
        with_key=f"?{key}" if key else "",
        further=f"?{'&'.join(filter(None, (asked, key)))}" if asked or key else "",
        sections=sections,
        sequence=version.name,
        settings=settings,
        title=title,
        abstract=version.config.description or f"Sentinel-2 mosaic {title}. {version.attribution}.",
        attribution=version.attribution,
        bounds=version.bounds,
        layers=[_layer(layer, version) for layer in offers.listed(version, document, len(sets))],
        info_formats=INFO_FORMATS,
        sets=[_set(s, short=settings.short_crs) for s in sets],
        limits={s.id: grids.limits(s, version) for s in sets},
    )
    return text


def _layer(layer: offers.OfferedLayer, version: Version) -> dict[str, Any]:
    return {
        "id": layer.id,
        "title": layer.title,
        "styles": layer.styles,
        "formats": layer.formats,
        "times": [p.start.isoformat() for p in layer.periods],
        "time": newest_period(version).start.isoformat(),
    }


def _well_known(tms: TileMatrixSet) -> str | None:
    """The name of the well-known scale set that a set holds; a file may bear the name of one and hold others."""
    if tms.id not in WELL_KNOWN:
        return None
    standard = morecantile.tms.get(tms.id)
    scales = [m.scaleDenominator for m in standard.tileMatrices][: len(tms.tileMatrices)]
    is_same = grids.code(tms) == grids.code(standard) and scales == [
        m.scaleDenominator for m in tms.tileMatrices
    ]
    return WELL_KNOWN[tms.id] if is_same else None


def _set(tms: TileMatrixSet, *, short: bool) -> dict[str, Any]:
    # GDAL takes the units of every projected system for metres, QGIS does not: of sets in feet one of the two is right.
    metres = METRES_A_DEGREE if tms.crs._pyproj_crs.is_geographic else 1.0
    return {
        "id": tms.id,
        "title": tms.title or tms.id,
        "crs": grids.code(tms) if short else grids.urn(tms),
        "well_known": _well_known(tms),
        "matrices": [
            {
                "id": m.id,
                "scale": repr(m.cellSize * metres / STANDARD_PIXEL),
                "corner": " ".join(repr(v) for v in grids.corner(tms, int(m.id))),
                "tile": (m.tileWidth, m.tileHeight),
                "matrix": (m.matrixWidth, m.matrixHeight),
            }
            for m in tms.tileMatrices
        ],
    }
