"""The names of an export's files: the name that is given is the name that is written."""

from pathlib import Path

from terrazzo.errors import InvalidRequest
from terrazzo.export.order import Order

NUMBERS = (".tif", ".tiff")
DIVIDED = (*NUMBERS, ".vrt", "")
"""Of a divided export the name is that of its VRT, with or without ending."""


PICTURES = (".gpkg", ".mbtiles", ".pmtiles")


def require_known(path: Path) -> None:
    """Checks that a name has the ending of something that exports write.

    Raises:
        InvalidRequest: it has another; the message lists those.
    """
    if path.suffix.lower() not in (*NUMBERS, *PICTURES):
        raise InvalidRequest(
            f"{path.name}: exports are written as {', '.join((*NUMBERS, *PICTURES, '.zarr'))}; name it {path.name}.tif"
        )


def lock_of(path: Path, *, picture: bool) -> Path:
    """Where the lock of a file lies: that of a picture bears its ending, so that one folder may hold an area in several formats."""
    return path.with_name(f"{path.name if picture else path.stem}.lock.json")


def ending_of(path: Path, order: Order) -> str:
    """The ending of the files that hold an order's pixels, as the given name has it.

    Raises:
        InvalidRequest: the name has another ending than the files would have; the message lists those.
    """
    known = (f".{order.picture.format}",) if order.picture else DIVIDED if order.split else NUMBERS
    if path.suffix.lower() not in known:
        require_known(path)
        kind = f"format={order.picture.format}" if order.picture else "format=tif"
        raise InvalidRequest(f"{path.name}: {kind} is written as {', '.join(k for k in known if k)}")
    return known[0] if path.suffix.lower() in (".vrt", "") else path.suffix
