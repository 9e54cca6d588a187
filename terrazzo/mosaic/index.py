"""The block index of a tiled TIFF: where each block of each level lies. Read once for a file, then kept.

Tags as in TIFF 6.0 and the BigTIFF note; only what our own files hold is understood (`docs/reference/store.md`).
"""

import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import BANDS
from terrazzo.errors import NotFound, ReadFailure
from terrazzo.scene import OWNER, owner_of
from terrazzo.store import SEALED, Store
from terrazzo.tiff import is_sealed

HEAD = 1 << 16
"""Bytes read at first: the head of a COG with its index is seldom longer."""
MOST_INDEX, MOST_DIRECTORIES = 1 << 28, 64
"""Bytes of an index, and directories of a file: ours have a hundredth and 20 at most. A damaged one may lead in a circle."""
FARTHEST = 1 << 62
"""Place in a file past which a system reads none."""
ZSTD, DEFLATE, ADOBE_DEFLATE = 50000, 32946, 8
GDAL_METADATA = 42112
_DESCRIPTION = re.compile(rb'role="description">(\w+)<')
_OWNER = re.compile(rf'<Item name="{OWNER}"[^>]*>([^<]*)<'.encode())
_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8", 12: "f8", 2: "u1"}
_DTYPES = {(8, 1): "u1", (16, 2): "i2", (16, 1): "u2"}


@dataclass(frozen=True)
class Level:
    """The blocks of one overview level, 0 the full resolution.

    Attributes:
        shape: (rows, columns) of the level.
        block: side of a block in pixels.
        across: blocks to a row.
        offsets, sizes: of each block in the file, bytes.
        differenced: values are differences to their left neighbour (predictor 2).
        checked: blocks bear a checksum; those of a store's first formats do not.
    """

    shape: tuple[int, int]
    block: int
    across: int
    dtype: np.dtype[np.generic]
    compression: int
    differenced: bool
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    checked: bool


class _Source(Protocol):
    def parts(self, starts: Sequence[int], sizes: Sequence[int]) -> list[bytes]: ...


class _File:
    def __init__(self, path: str) -> None:
        # Closed when the last user lets go: another thread may read while the file is dropped from a cache.
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115

    def parts(self, starts: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        handle = self._file.fileno()
        return [os.pread(handle, n, at) for at, n in zip(starts, sizes, strict=True)]


@dataclass(frozen=True)
class _Object:
    store: Store
    key: str

    def parts(self, starts: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        return self.store.read_ranges(self.key, starts, sizes)


class Cog:
    """A raster of a store, kept open where it is a file, and the index of its levels.

    Raises:
        ReadFailure: it is missing, cut off or laid out in another way than ours.
    """

    def __init__(self, store: Store, key: str) -> None:
        try:
            self.is_remote = store.root is None
            self._source: _Source = (
                _Object(store, key) if store.root is None else _File(str(store.root / key))
            )
            file = _Reader(self._source)
            self.levels = tuple(_levels(file, key, must_be_sealed=store.config.format >= SEALED))
        except (OSError, NotFound, struct.error, KeyError, ValueError, IndexError) as error:
            raise ReadFailure(f"{short(key)}: {error}") from None
        if not self.levels:
            raise ReadFailure(f"{short(key)}: no image in it")

    def compressed(self, level: Level, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of blocks as they are in the file; fewer where the file is cut off."""
        return self._source.parts(level.offsets[numbers].tolist(), level.sizes[numbers].tolist())


def short(key: str) -> str:
    """The end of a key, for messages."""
    return "/".join(key.rsplit("/", 3)[-3:])


class _Reader:
    def __init__(self, source: _Source) -> None:
        self._source = source
        (self._head,) = source.parts([0], [HEAD])

    def at(self, offset: int, size: int) -> bytes:
        if not (0 <= size <= MOST_INDEX and 0 <= offset < FARTHEST):
            raise ValueError("its block index is damaged")
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        (data,) = self._source.parts([offset], [size])
        if len(data) < size:
            raise ValueError("the file is cut off")
        return data


def _levels(file: _Reader, key: str, *, must_be_sealed: bool) -> list[Level]:
    order, magic = struct.unpack("<2sH", file.at(0, 4))
    if order != b"II" or magic not in (42, 43):
        raise ValueError("not a little-endian TIFF")
    big = magic == 43
    (offset,) = struct.unpack("<Q", file.at(8, 8)) if big else struct.unpack("<I", file.at(4, 4))
    directories, left = [], MOST_DIRECTORIES
    while offset:
        left -= 1
        if left < 0:
            raise ValueError("its directories are damaged")
        tags, offset = _directory(file, offset, big)
        if not int(tags.get(254, [0])[0]) & 4:
            directories.append(tags)
    # Behind the seal stands the first block's size, then the block.
    first = min(int(tags[324].min()) for tags in directories) - 4
    sealed = is_sealed(file.at(0, first))
    if must_be_sealed and not sealed:
        raise ValueError("its directories are damaged: they have no checksum")
    _require_name(directories[0].get(GDAL_METADATA, np.empty(0, "u1")).tobytes(), key)
    return [_level(tags, sealed) for tags in directories]


def _require_name(metadata: bytes, key: str) -> None:
    """Checks that a file lies where it was written: one under another's name reads well, only its tags tell.

    Raises:
        ValueError: it is that of another band or scene.
    """
    band = key.rsplit("/", 1)[-1].removesuffix(".tif")
    named, owned = _DESCRIPTION.search(metadata), _OWNER.search(metadata)
    held = named[1].decode() if named else band
    remedy = "put the right file back, or compute the scene again"
    if held != band and {held, band} <= BANDS.keys():
        raise ValueError(f"it holds band {held}: {remedy}")
    # Stores of earlier releases name no scene.
    owner, folder = unescape(owned[1].decode()) if owned else "", owner_of(key)
    if owner and folder and owner != folder:
        raise ValueError(f"it belongs to {owner}: {remedy}")


def _directory(file: _Reader, offset: int, big: bool) -> tuple[dict[int, NDArray[np.generic]], int]:
    """Tags of one image file directory, and the place of the next."""
    count_form, entry, inline, next_form = ("<Q", 20, 8, "<Q") if big else ("<H", 12, 4, "<I")
    head = struct.calcsize(count_form)
    (count,) = struct.unpack(count_form, file.at(offset, head))
    data = file.at(offset + head, entry * count + struct.calcsize(next_form))
    tags: dict[int, NDArray[np.generic]] = {}
    for i in range(count):
        tag, kind, length = struct.unpack_from("<HHQ" if big else "<HHI", data, entry * i)
        if kind not in _TYPES:
            continue
        dtype = np.dtype(_TYPES[kind]).newbyteorder("<")
        size = dtype.itemsize * length
        start = entry * i + entry - inline
        if size <= inline:
            raw = data[start : start + size]
        else:
            raw = file.at(struct.unpack_from("<Q" if big else "<I", data, start)[0], size)
        tags[tag] = np.frombuffer(raw, dtype)
    return tags, int(struct.unpack_from(next_form, data, entry * count)[0])


def _level(tags: dict[int, NDArray[np.generic]], checked: bool) -> Level:
    def one(tag: int, otherwise: int | None = None) -> int:
        return int(tags[tag][0]) if otherwise is None or tag in tags else otherwise

    compression, predictor, block = one(259), one(317, 1), one(322)
    kind = (one(258), one(339, 1))
    if (
        compression not in (ZSTD, DEFLATE, ADOBE_DEFLATE)
        or predictor not in (1, 2)
        or one(277, 1) != 1
        or one(323) != block
        or block < 1
        or kind not in _DTYPES
    ):
        raise ValueError("not laid out as docs/reference/store.md says; write it with terrazzo.cog")
    rows, columns = one(257), one(256)
    across, down = -(-columns // block), -(-rows // block)
    offsets, sizes = tags[324].astype(np.int64), tags[325].astype(np.int64)
    whole = len(offsets) == len(sizes) == across * down
    if not whole or offsets.min() < 0 or sizes.min() < 0 or sizes.max() > MOST_INDEX:
        raise ValueError("its block index is damaged")
    dtype = np.dtype(_DTYPES[kind])
    return Level((rows, columns), block, across, dtype, compression, predictor == 2, offsets, sizes, checked)
