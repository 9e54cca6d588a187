"""Tiles as WMTS names them, as requests for pictures."""

from dataclasses import dataclass

from terrazzo.config import Period, day_interval
from terrazzo.errors import InvalidRequest, NotFound
from terrazzo.mosaic.engine import tile_target
from terrazzo.mosaic.selection import newest_period
from terrazzo.mosaic.warp import Target
from terrazzo.request.parameters import PICTURE
from terrazzo.request.parse import joined
from terrazzo.server.answer import PictureRequest, ServerContext
from terrazzo.server.request import parse_ask
from terrazzo.server.wmts import offers
from terrazzo.server.wmts.errors import OwsException
from terrazzo.server.wmts.offers import CLASSES
from terrazzo.version import Version

FURTHER = {n: p for n, p in PICTURE.items() if n not in ("style", "version")}
"""Parameters of tiles that WMTS takes besides its own; it has a style and a version itself."""


@dataclass(frozen=True)
class WmtsTile:
    """A tile as WMTS names it, and what is asked of it beside."""

    layer: str
    style: str
    matrix_set: str
    matrix: str
    row: str
    col: str
    time: str | None = None
    asked: tuple[tuple[str, str], ...] = ()


def picture_of(context: ServerContext, mosaic: str, tile: WmtsTile) -> PictureRequest:
    """The engine, what it is asked, and the pixels, of a tile that WMTS names."""
    engine = context.mosaics.engine(mosaic)
    version = engine.version
    known = offers.layers(version)
    if tile.layer not in known:
        raise OwsException("InvalidParameterValue", "Layer", f"layer {tile.layer!r}: {', '.join(known)}")
    query = _query(version, known[tile.layer], mosaic, tile)
    target = _target(context, version, tile)
    return PictureRequest(engine, parse_ask(query, version), target)


def _query(version: Version, layer: offers.OfferedLayer, mosaic: str, tile: WmtsTile) -> dict[str, str]:
    """The parameters of a tile of a layer, as tiles without WMTS take them."""
    names = [s.name for s in layer.styles]
    # The documents list few, for dialogs; every style of the mosaic can be requested by its name.
    others = [] if CLASSES in names else [s.name for s in offers.origin_styles() if s.name not in names]
    style = names[0] if tile.style in ("", "default") else tile.style
    if style not in (*names, *others):
        raise OwsException(
            "InvalidParameterValue", "Style", f"style {style!r}: {', '.join((*names, *others))}"
        )
    query, asked = dict(layer.asked), joined(tile.asked, FURTHER)
    if style != CLASSES and not (tile.style in ("", "default") and {"bands", "expression"} & set(asked)):
        query["style"] = style
    has_time = tile.time not in (None, "", "default")
    if has_time or (layer.periods and "datetime" not in asked):
        query["datetime"] = period_of(version, tile.time).name
    for name, value in asked.items():
        if query.setdefault(name, value) != value:
            raise OwsException(
                "InvalidParameterValue",
                name,
                f"{name}={value}: layer {layer.id} has {name}={query[name]}; take {mosaic}",
            )
    return query


def _target(context: ServerContext, version: Version, tile: WmtsTile) -> Target:
    """The pixels of a tile."""
    try:
        matrix_set = context.grids.find(version, tile.matrix_set)
    except NotFound as error:
        raise OwsException("InvalidParameterValue", "TileMatrixSet", str(error)) from None
    if tile.matrix not in {m.id for m in matrix_set.tileMatrices}:
        last = matrix_set.tileMatrices[-1].id
        raise OwsException("InvalidParameterValue", "TileMatrix", f"matrix {tile.matrix!r}: 0 to {last}")
    row, col = whole(tile.row, "TileRow"), whole(tile.col, "TileCol")
    matrix = matrix_set.matrix(int(tile.matrix))
    for value, most, name in ((row, matrix.matrixHeight, "TileRow"), (col, matrix.matrixWidth, "TileCol")):
        if not 0 <= value < most:
            raise OwsException("TileOutOfRange", name, f"{name} {value}: 0 to {most - 1}")
    return tile_target(matrix_set, col, row, int(tile.matrix))


def period_of(version: Version, value: str | None) -> Period:
    """The period a Time value means: the newest without one, the one of its name, else that in which a day, month, year or
    moment lies.

    Raises:
        OwsException: no date, or none in exactly one period.
    """
    if value in (None, "", "default"):
        return newest_period(version)
    periods = offers.periods(version)
    if value in version.periods:
        return version.periods[value]
    known = ", ".join(p.start.isoformat() for p in sorted(periods, key=lambda p: p.start))
    if "/" in str(value):
        raise OwsException("InvalidParameterValue", "Time", f"time {value!r}: a date such as {known}")
    try:
        first, last = day_interval(str(value), moments=True)
    except InvalidRequest as error:
        raise OwsException("InvalidParameterValue", "Time", str(error)) from None
    touched = [p for p in periods if first and last and p.start <= last and first <= p.end]
    if len(touched) != 1:
        problem = "spans several periods" if touched else "lies in no period"
        raise OwsException("InvalidParameterValue", "Time", f"time {value} {problem}; there are {known}")
    return touched[0]


def whole(text: str, locator: str) -> int:
    """A whole number in a request.

    Raises:
        OwsException: it is none.
    """
    if not text.lstrip("-").isdecimal() or len(text) > 9:
        raise OwsException("InvalidParameterValue", locator, f"{locator} {text!r}: a whole number")
    return int(text)
