"""JP2 as products have them, with known pixels; and what their code streams may be like."""

import struct
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

SOT, EOC = b"\xff\x90", b"\xff\xd9"


def ground(shape: tuple[int, int], seed: int = 1, most: int = 4000) -> NDArray[np.uint16]:
    """(row, col) counts that change from pixel to pixel and over the whole, so that no two places are alike."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(shape[0]) * 3, np.arange(shape[1]) * 5) % most
    return (slope + rng.integers(1, 200, shape)).astype(np.uint16)


def write_jp2(
    path: Path,
    values: NDArray[np.generic],
    *,
    metres: float,
    tile: int,
    index: bool = False,
    corner: tuple[float, float] = (300_000.0, 5_100_000.0),
    epsg: int = 32633,
) -> Path:
    """Writes (row, col) or (band, row, col) pixels without loss.

    Args:
        tile: pixels of a code-stream tile's side.
        index: with a list of the tile-parts (TLM), as products have since baseline 05.12.
        corner: easting and northing of the north-west corner, metres.
    """
    bands = values if values.ndim == 3 else values[None]
    profile = {
        "driver": "JP2OpenJPEG", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": bands.dtype, "crs": f"EPSG:{epsg}", "transform": from_origin(*corner, metres, metres),
        "blockxsize": tile, "blockysize": tile, "QUALITY": "100", "REVERSIBLE": "YES",
        "TLM": "YES" if index else "NO",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(bands)
    return path


def taken_apart(content: bytes) -> tuple[bytes, list[bytes]]:
    """What stands before the tile-parts of a JP2, and these."""
    at = content.index(SOT, content.index(b"jp2c"))
    head, parts = content[:at], []
    while content[at : at + 2] == SOT:
        length = int.from_bytes(content[at + 6 : at + 10])
        parts.append(content[at : at + length])
        at += length
    assert content[at:] == EOC
    return head, parts


def put_together(head: bytes, parts: list[bytes]) -> bytes:
    """A JP2 of tile-parts, whose code stream goes to its end."""
    at = head.index(b"jp2c") - 4
    return head[:at] + bytes(4) + head[at + 4 :] + b"".join(parts) + EOC


def divided(part: bytes) -> list[bytes]:
    """The only tile-part of a tile as two of it: its packets, and one that holds none."""
    marker, segment, tile, length, _, _ = struct.unpack_from(">HHHIBB", part)
    first = struct.pack(">HHHIBB", marker, segment, tile, length, 0, 2) + part[12:]
    return [first, struct.pack(">HHHIBB", marker, segment, tile, 14, 1, 2) + b"\xff\x93"]


def with_segment(head: bytes, marker: int, body: bytes) -> bytes:
    """What stands before the tile-parts, with one more marker segment at its end."""
    return head + struct.pack(">HH", marker, len(body) + 2) + body


def with_list(head: bytes, parts: list[bytes], form: int = 0x50) -> bytes:
    """What stands before the tile-parts, with a list of them (TLM): tile in one or two bytes or none, length in two or four."""
    body = bytes([0, form])
    for part in parts:
        tile = {0: b"", 1: part[5:6], 2: part[4:6]}[form >> 4 & 3]
        body += tile + len(part).to_bytes(4 if form & 0x40 else 2)
    return with_segment(head, 0xFF55, body)
