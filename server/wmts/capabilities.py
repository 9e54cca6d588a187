"""The capabilities document, made for the dialogs in which people add a layer."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from morecantile import TileMatrixSet

from server import grids
from server.settings import Settings
from terrazzo.bands import STYLES, Style
from terrazzo.config import Period
from terrazzo.mosaic.selection import newest_period
from terrazzo.version import Version

FORMATS = {"png": "image/png", "jpg": "image/jpeg"}
INFO_FORMATS = {"html": "text/html", "json": "application/json", "txt": "text/plain"}
MOST_STYLES, MOST_TIMES = 4, 4
"""QGIS lists style × format × matrix set × time: with these it lists 24 entries at most."""
WELL_KNOWN = {grids.WEB: "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible"}
STANDARD_PIXEL = 0.00028


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("server.wmts").joinpath("capabilities.xml.j2").read_text())


def styles(version: Version) -> list[Style]:
    """The styles WMTS offers of a mosaic, the default first."""
    return [s for s in STYLES.values() if set(s.bands) <= set(version.bands)][:MOST_STYLES]


def times(version: Version) -> list[Period]:
    """The periods of the time layer, newest first."""
    plain = [p for p in version.periods.values() if not p.members]
    return sorted(plain, key=lambda p: p.end, reverse=True)[:MOST_TIMES]


def matrix_sets(version: Version, settings: Settings) -> list[TileMatrixSet]:
    """The tile matrix sets of the document: `TERRAZZO_TMS`, or web mercator first, then the mosaic's own grid."""
    own = (grids.WEB, *(grids.own_name(z) for z in version.zones[:1]))
    return [grids.find(version, name) for name in settings.tms or own]


def capabilities(version: Version, base: str, settings: Settings, sections: tuple[str, ...]) -> str:
    """The document of a mosaic.

    Args:
        base: address of the server as clients see it.
        sections: which parts to write; none for a client that has the current document.
    """
    mosaic = version.mosaic_id
    title = version.config.title or mosaic
    sets = matrix_sets(version, settings)
    shown = styles(version)
    layers = [
        {"id": mosaic, "title": title, "styles": shown, "formats": FORMATS, "times": [], "time": ""},
        {
            "id": f"{mosaic}_time",
            "title": f"{title} by period",
            "styles": shown[:1],
            "formats": {"png": FORMATS["png"]},
            "times": [p.start.isoformat() for p in times(version)],
            "time": newest_period(version).start.isoformat(),
        },
    ]
    text: str = _template().render(
        base=f"{base}/mosaics/{mosaic}",
        sections=sections,
        sequence=version.name,
        settings=settings,
        title=title,
        abstract=version.config.description or f"Sentinel-2 mosaic {title}. {version.attribution}.",
        attribution=version.attribution,
        bounds=version.bounds,
        layers=layers,
        info_formats=INFO_FORMATS,
        sets=[_set(s) for s in sets],
        limits={s.id: grids.limits(s, version.bounds) for s in sets},
    )
    return text


def _set(tms: TileMatrixSet) -> dict[str, Any]:
    crs = tms.crs._pyproj_crs
    return {
        "id": tms.id,
        "title": tms.title or tms.id,
        "crs": f"urn:ogc:def:crs:EPSG::{crs.to_epsg()}",
        "well_known": WELL_KNOWN.get(tms.id or ""),
        "matrices": [
            {
                "id": m.id,
                "scale": repr(m.cellSize * _metres(tms) / STANDARD_PIXEL),
                # A set keeps its origin in the axis order of its coordinate system, as WMTS wants it.
                "corner": " ".join(_plain(v) for v in m.pointOfOrigin),
                "tile": (m.tileWidth, m.tileHeight),
                "matrix": (m.matrixWidth, m.matrixHeight),
            }
            for m in tms.tileMatrices
        ],
    }


def _metres(tms: TileMatrixSet) -> float:
    return 111_319.49079327358 if tms.crs._pyproj_crs.is_geographic else 1.0


def _plain(value: float) -> str:
    return repr(float(value))
