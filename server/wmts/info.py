"""What lies under a pixel, as GetFeatureInfo answers it."""

import json

from terrazzo.errors import OutsideCoverage
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.warp import transformer
from terrazzo.server.answer import PictureRequest
from terrazzo.server.explain import (
    Account,
    Nothing,
    account_of,
    as_document,
    as_page,
    as_text,
    nothing_of,
    rows,
)
from terrazzo.server.wmts.errors import OwsException


def feature_info(request: PictureRequest, col: int, row: int, ending: str) -> str:
    """The account of a pixel of a tile.

    Args:
        ending: html, txt or json.

    Raises:
        OwsException: the tile has no such pixel.
    """
    target = request.target
    for value, most, name in ((col, target.width, "I"), (row, target.height, "J")):
        if not 0 <= value < most:
            raise OwsException("PointIJOutOfRange", name, f"{name} {value}: 0 to {most - 1}")
    dx, dy = target.resolution
    x, y = target.bounds.left + (col + 0.5) * dx, target.bounds.top - (row + 0.5) * dy
    lon, lat = transformer(target.crs, "EPSG:4326").transform(x, y)
    try:
        account: Account | Nothing = account_of(request.engine, request.ask, lon, lat)
    except OutsideCoverage as error:
        account = nothing_of(request.engine, request.ask, lon, lat, str(error))
    return _written(request.engine, account, lon, lat, ending)


def _written(engine: Engine, account: Account | Nothing, lon: float, lat: float, ending: str) -> str:
    """The answer in a format: JSON as GeoJSON, which QGIS reads as a feature; HTML well-formed, for GDAL."""
    if ending == "html":
        return as_page(engine, account, lon, lat)
    if ending == "txt":
        return account.text() if isinstance(account, Nothing) else as_text(engine, account)
    if isinstance(account, Nothing):
        properties = account.document()
    else:
        document = as_document(engine, account, lon, lat)
        shown = ("version", "attribution", "candidates", "path", "source", "change", "baseline")
        properties = rows(account) | {k: document[k] for k in shown if k in document}
    geometry = {"type": "Point", "coordinates": [lon, lat]}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})
