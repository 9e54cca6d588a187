"""Puts packed blocks behind the directories of a Cloud-Optimized GeoTIFF that GDAL has written without any block.

Overviews come first, the smallest of them before all, each level row by row. Before each block stands its size, and behind it
its last four bytes once more, as GDAL's ghost area promises (https://gdal.org/en/stable/drivers/raster/cog.html).
"""

import hashlib
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

OFFSETS, SIZES = 324, 325
_TYPES = {3: "<u2", 4: "<u4", 16: "<u8"}
_INLINE = {42: 4, 43: 8}


class IndexArray(NamedTuple):
    """Where an array of a directory's block index lies in the file."""

    start: int
    dtype: str
    length: int


def index_arrays(file: BinaryIO) -> list[dict[int, IndexArray]]:
    """The arrays of the block index, by tag (`OFFSETS`, `SIZES`), of each directory of a little-endian TIFF."""
    file.seek(0)
    (magic,) = struct.unpack_from("<2xH", head := file.read(16))
    big, inline = magic == 43, _INLINE[magic]
    count_form, entry_form, place_form = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
    (at,) = struct.unpack_from(place_form, head, 8 if big else 4)
    directories = []
    while at:
        file.seek(at)
        (count,) = struct.unpack(count_form, file.read(struct.calcsize(count_form)))
        arrays = {}
        for _ in range(count):
            tag, kind, length = struct.unpack(entry_form, file.read(struct.calcsize(entry_form)))
            place, value = file.tell(), file.read(inline)
            if tag in (OFFSETS, SIZES):
                fits = length * np.dtype(_TYPES[kind]).itemsize <= inline
                start = place if fits else struct.unpack_from(place_form, value)[0]
                arrays[tag] = IndexArray(start, _TYPES[kind], length)
        (at,) = struct.unpack(place_form, file.read(inline))
        directories.append(arrays)
    return directories


def read_index(file: BinaryIO, array: IndexArray) -> list[int]:
    """The values of an array of the block index."""
    file.seek(array.start)
    values: list[int] = np.frombuffer(
        file.read(array.length * np.dtype(array.dtype).itemsize), array.dtype
    ).tolist()
    return values


def write_index(file: BinaryIO, array: IndexArray, values: list[int]) -> None:
    """Writes the values of an array of the block index.

    Raises:
        OSError: a value is larger than the array's type, so the file is larger than a classic TIFF can be.
    """
    if max(values) > np.iinfo(array.dtype).max:
        raise OSError("the file would be larger than a classic TIFF can be; divide the export (`split`)")
    file.seek(array.start)
    file.write(np.array(values, array.dtype).tobytes())


def append_block(file: BinaryIO, data: bytes) -> None:
    """Writes a block with its size before it and its last four bytes behind it."""
    file.write(struct.pack("<I", len(data)))
    file.write(data)
    file.write(data[-4:])


SEAL = 16
"""Bytes of a seal."""
_MARK = b"TZIX"


def seal(head: bytes | memoryview) -> bytes:
    """What stands between the directories of a file and its first block: a mark, and a checksum of all bytes before it."""
    return _MARK + hashlib.blake2b(head, digest_size=SEAL - len(_MARK)).digest()


def is_sealed(head: bytes) -> bool:
    """Whether the bytes before a file's first block end with a seal.

    Raises:
        ValueError: they do, and are not those that were sealed.
    """
    body, end = head[:-SEAL], head[-SEAL:]
    if end[: len(_MARK)] != _MARK:
        return False
    if seal(body) != end:
        raise ValueError("its directories are damaged")
    return True
