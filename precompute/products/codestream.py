"""The code stream of a JP2: where its tiles lie, and some of them as a JP2 of their own. Pure functions on bytes.

A JP2 is a row of boxes, one of which holds the code stream: a main header, then tile-parts, each with a header (SOT) that says
which tile it belongs to and how long it is. A list of all lengths (TLM) may stand in the main header. Tiles are coded without
each other, so those of a rectangle are an image of their own once SIZ says where it lies on the reference grid and SOT numbers
them again; no coefficient changes. Coordinates stay those of the whole, since wavelets and code blocks are anchored there.

Layouts: ISO/IEC 15444-1, Annex A (markers) and I (boxes).
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SOC, SIZ, SOT, EOC = 0xFF4F, 0xFF51, 0xFF90, 0xFFD9
TLM, PLM, PPM = 0xFF55, 0xFF57, 0xFF60
SOT_BYTES = 12
SHORTEST = 14
"""Bytes of a tile-part: its header and the marker of its data."""
GEOJP2 = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
"""UUID of the box that holds a place as a GeoTIFF of one pixel."""
MOST_HEADER = 1 << 20
"""Bytes before the first tile-part."""
PART_END = struct.pack(">H", EOC)
"""What stands after the last tile-part."""


class Unusual(Exception):
    """No part can be cut out of the code stream; the message says why."""


class Header(NamedTuple):
    """What stands before the first tile-part.

    Attributes:
        boxes: those that an image needs, before the code stream.
        main: the main header without the lists of lengths.
        width, height: pixels of the image.
        tile_width, tile_height: pixels of a tile.
        first, end: where the first tile-part begins and the code stream ends, in bytes of the file.
        listed: tile and bytes of each tile-part in the order of the file, as TLM lists them; None without it.
    """

    boxes: bytes
    main: bytes
    width: int
    height: int
    tile_width: int
    tile_height: int
    first: int
    end: int
    listed: tuple[tuple[int, int], ...] | None

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile_height)


class Tiles(NamedTuple):
    """A rectangle of tiles: columns from `left` to before `right`, rows from `top` to before `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    def numbers(self, columns: int) -> list[int]:
        """The numbers that the tiles have in an image of so many columns, row by row."""
        return [r * columns + c for r in range(self.top, self.bottom) for c in range(self.left, self.right)]


class TilePart(NamedTuple):
    """A tile's data or a part of them.

    Attributes:
        number, of: which of a tile's parts it is, and how many there are; 0 where it does not say.
        start, end: bytes of the file.
    """

    tile: int
    number: int
    of: int
    start: int
    end: int


def read_header(data: bytes, size: int) -> Header | None:
    """The header of a JP2 of so many bytes that begins with `data`; None where more of it is needed.

    Raises:
        Unusual: it is no JP2, or one of which no part is cut.
    """
    if len(data) < min(size, 12):
        return None
    if data[4:8] != b"jP  ":
        raise Unusual("it is no JP2")
    boxes = b""
    for kind, start, body, end in _boxes(data, size):
        if kind == b"jp2c":
            header = _main(data, body, end, boxes)
            break
        if kind in (b"jP  ", b"ftyp", b"jp2h"):
            boxes += data[start:end]
        if end > len(data):
            header = None
            break
    else:
        if len(data) >= size:
            raise Unusual("it has no code stream")
        header = None
    if header is None and len(data) >= min(size, MOST_HEADER):
        raise Unusual("its header does not end")
    return header


def _boxes(data: bytes, size: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Kind, start, start of the content and end of each box that begins in `data`."""
    at = 0
    while at + 16 <= len(data):
        length, body = int.from_bytes(data[at : at + 4]), at + 8
        if length == 1:
            length, body = int.from_bytes(data[at + 8 : at + 16]), at + 16
        end = size if length == 0 else at + length
        if end <= body or end > size:
            raise Unusual("its boxes do not end where they say")
        yield data[at + 4 : at + 8], at, body, end
        at = end


def _main(data: bytes, at: int, end: int, boxes: bytes) -> Header | None:
    """The main header that begins at a byte; None where it goes on past the data."""
    main, lists, size = struct.pack(">H", SOC), dict[int, bytes](), b""
    if int.from_bytes(data[at : at + 2]) != SOC and len(data) >= at + 2:
        raise Unusual("its code stream does not begin where it says")
    at += 2
    while at + SOT_BYTES <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        segment = data[at : at + 2 + length]
        if marker == SOT:
            break
        if marker < 0xFF00 or length < 2:
            raise Unusual("its main header is damaged")
        if len(segment) < 2 + length:
            return None
        if marker == PPM:
            raise Unusual("its packet headers stand together before all tiles (PPM)")
        if marker == SIZ:
            size = segment
        if marker == TLM and length > 4:
            lists[segment[4]] = segment[5:]
        if marker not in (TLM, PLM):
            main += segment
        at += 2 + length
    else:
        return None
    if not main[2:].startswith(struct.pack(">H", SIZ)) or b"ihdr" not in boxes:
        raise Unusual("its header says no size")
    return Header(boxes, main, *_size(size), at, end, _listed(lists))


def _size(segment: bytes) -> tuple[int, int, int, int]:
    """Width and height of the image and of a tile."""
    if len(segment) < 40:
        raise Unusual("its header says no size")
    width, height, *origin, tile_width, tile_height, left, top, bands = struct.unpack_from(">8IH", segment, 6)
    if any((*origin, left, top)):
        raise Unusual("its image does not begin at the first tile's corner")
    if set(segment[41::3]) | set(segment[42::3]) != {1} or len(segment) != 40 + 3 * bands:
        raise Unusual("its bands have pixels of several sizes")
    if not (width and height and tile_width and tile_height):
        raise Unusual("its header says no size")
    if tile_width >= width and tile_height >= height:
        raise Unusual("it is one tile")
    return width, height, tile_width, tile_height


def _listed(lists: dict[int, bytes]) -> tuple[tuple[int, int], ...] | None:
    """Tile and bytes of the tile-parts that the segments of TLM name; None without any, or where they are damaged."""
    out: list[tuple[int, int]] = []
    for key in sorted(lists):
        form, body = lists[key][0], lists[key][1:]
        tile, length = form >> 4 & 3, 4 if form & 0x40 else 2
        step = tile + length
        if tile > 2 or len(body) % step:
            return None
        for at in range(0, len(body), step):
            number = int.from_bytes(body[at : at + tile]) if tile else len(out)
            out.append((number, int.from_bytes(body[at + tile : at + step])))
    return tuple(out) or None


def tiles_of(header: Header, top: int, left: int, bottom: int, right: int) -> Tiles:
    """The tiles that rows and columns of pixels touch."""
    return Tiles(
        left // header.tile_width,
        top // header.tile_height,
        -(-right // header.tile_width),
        -(-bottom // header.tile_height),
    )


def listed_parts(header: Header) -> tuple[TilePart, ...] | None:
    """All tile-parts as TLM lists them; None where it does not, or where the lengths do not fill the code stream."""
    if header.listed is None:
        return None
    counts: dict[int, int] = {}
    parts, at = list[TilePart](), header.first
    for tile, length in header.listed:
        number = counts.get(tile, 0)
        counts[tile] = number + 1
        parts.append(TilePart(tile, number, 0, at, at + length))
        at += length
        if length < SHORTEST:
            return None
    if at + 2 != header.end or counts.keys() - range(header.columns * header.rows):
        return None
    return tuple(p._replace(of=counts[p.tile]) for p in parts)


def read_tile_part(data: bytes, start: int, header: Header) -> TilePart | None:
    """The tile-part whose header `data` begins with, at a byte of the file; None at the end of the code stream.

    Raises:
        Unusual: no tile-part begins there.
    """
    if start >= header.end or data[:2] == PART_END:
        return None
    if len(data) < SOT_BYTES:
        raise Unusual("its tile-parts do not end where they say")
    marker, segment, tile, length, number, of = struct.unpack_from(">HHHIBB", data)
    # The last tile-part may leave its length open.
    end = start + length if length else header.end - 2
    if (
        (marker, segment) != (SOT, SOT_BYTES - 2)
        or end - start < SHORTEST
        or end > header.end
        or tile >= header.columns * header.rows
    ):
        raise Unusual("its tile-parts do not end where they say")
    return TilePart(tile, number, of, start, end)


def is_complete(parts: Sequence[TilePart], tiles: Sequence[int]) -> bool:
    """Whether all parts of some tiles are among those that are known, as far as these say how many there are."""
    known: dict[int, list[TilePart]] = {tile: [] for tile in tiles}
    for part in parts:
        known.setdefault(part.tile, []).append(part)
    return all(len(known[tile]) in {p.of for p in known[tile]} - {0} for tile in tiles)


def chosen(parts: Sequence[TilePart], tiles: Sequence[int]) -> tuple[TilePart, ...]:
    """The parts of some tiles, in the order of the file.

    Raises:
        Unusual: a tile is missing, or its parts are not in order.
    """
    wanted = set(tiles)
    mine = tuple(p for p in parts if p.tile in wanted)
    for tile in tiles:
        numbers = [p.number for p in mine if p.tile == tile]
        if not numbers:
            raise Unusual(f"tile {tile} is missing in it")
        if numbers != list(range(len(numbers))):
            raise Unusual("its tile-parts are not in order")
    return mine


def runs(parts: Sequence[TilePart]) -> list[tuple[int, int]]:
    """Bytes of the file that hold tile-parts, those that lie beside each other together."""
    out: list[tuple[int, int]] = []
    for part in parts:
        if out and out[-1][1] == part.start:
            out[-1] = out[-1][0], part.end
        else:
            out.append((part.start, part.end))
    return out


def part_header(header: Header, tiles: Tiles, place: bytes) -> bytes:
    """What stands before the first tile-part of a JP2 of some tiles alone.

    Args:
        place: a GeoTIFF of one pixel, whose corner is that of the first tile.
    """
    left, top = tiles.left * header.tile_width, tiles.top * header.tile_height
    right = min(tiles.right * header.tile_width, header.width)
    bottom = min(tiles.bottom * header.tile_height, header.height)
    main, boxes = bytearray(header.main), bytearray(header.boxes)
    sides = (right, bottom, left, top, header.tile_width, header.tile_height, left, top)
    struct.pack_into(">8I", main, 8, *sides)
    struct.pack_into(">2I", boxes, boxes.index(b"ihdr") + 4, bottom - top, right - left)
    uuid = struct.pack(">I4s", 24 + len(place), b"uuid") + GEOJP2 + place
    return bytes(boxes) + uuid + struct.pack(">I4s", 0, b"jp2c") + bytes(main)


def part_start(part: TilePart, tiles: Tiles, columns: int, of: int) -> bytes:
    """The header of a tile-part among some tiles of an image of so many columns.

    Args:
        of: how many parts its tile has.
    """
    row, column = divmod(part.tile, columns)
    number = (row - tiles.top) * (tiles.right - tiles.left) + column - tiles.left
    return struct.pack(">HHHIBB", SOT, SOT_BYTES - 2, number, part.end - part.start, part.number, of)
