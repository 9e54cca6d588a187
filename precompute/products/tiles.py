"""Names of Sentinel-2 tiles: `MGRS-9VWK`, `09vwk` and `T09VWK` are one."""

import re

from terrazzo.errors import WrongGrid
from terrazzo.grid import mgrs_epsg

NAME = re.compile(r"(?:MGRS-)?T?(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])")


def tile_name(text: str) -> str:
    """The tile's name as ESA writes it, five characters.

    Raises:
        WrongGrid: it is no name of a tile.
    """
    match = NAME.fullmatch(text.strip().upper())
    if match is None:
        raise WrongGrid(f"{text!r} is not an MGRS tile name such as 33TWL")
    name = match[1].rjust(2, "0") + match[2] + match[3] + match[4]
    mgrs_epsg(name)
    return name
