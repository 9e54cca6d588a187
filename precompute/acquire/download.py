"""Brings one file here: whole, of the size and checksum the archive names, readable, or not at all."""

import contextlib
import hashlib
import io
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import obstore
import rasterio
from affine import Affine
from obstore.exceptions import (
    BaseError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from rasterio.errors import RasterioError
from rasterio.windows import Window, from_bounds
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from terrazzo.errors import ArchiveError, UnreadableAsset
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.search import RemoteFile
from terrazzo.precompute.products.files import open_raster, read_xml
from terrazzo.precompute.products.links import without_secrets

if TYPE_CHECKING:
    from obstore import GetOptions

ATTEMPTS = 5
"""Of a file, each with the retries of its requests within."""
ATTEMPTS_DAMAGED = 2
"""Of a file that came whole and is damaged: once it may have been the way."""
ATTEMPTS_BUSY = 8
"""Of a file that the archive is too busy to give, three minutes with the rests between."""
CHUNK = 1 << 20
BUFFER = 1 << 18
"""Bytes that are read ahead of a part: about a block of a band."""
HASHES = {
    0x11: "sha1",
    0x12: "sha256",
    0x13: "sha512",
    0x14: "sha3_512",
    0x16: "sha3_256",
    0xD5: "md5",
}
"""Codes of the multihash table (multiformats.io) by the names of Python's hashlib."""

Report = Callable[[int], None]


class Missing(ArchiveError):
    """The archive lists a file that it does not have."""


class Unreachable(ArchiveError):
    """The archive does not give a file; it may do so later."""


class Stopped(Exception):
    """The user ended the run."""


class Pace:
    """Keeps all downloads together below a bandwidth in bytes a second."""

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth
        self._lock, self._free = Lock(), 0.0

    def spend(self, size: int, stop: Event) -> None:
        """Waits as long as so many bytes take."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size / self.bandwidth
            due = self._free
        stop.wait(max(0.0, due - time.monotonic()))


class _Passing(Exception):
    """What another attempt may mend."""


class _Silent(_Passing):
    """The archive cannot be reached."""


class _Busy(_Silent):
    """The archive asks to come back later."""


def download(
    opener: Opener, file: RemoteFile, folder: Path, report: Report, stop: Event, pace: Pace | None = None
) -> int:
    """Writes a file into a folder under its name once it is whole; returns its size in bytes.

    A broken connection goes on where it broke, as long as the archive still has the same object. An object that is
    damaged is fetched anew, since it may have been so on the way.

    Args:
        report: told the bytes that came; a negative number takes bytes back.
        pace: of all files together; None is as fast as it goes.

    Raises:
        Missing: the archive has no such file.
        UnreadableAsset: what it has is not of the size or checksum it names, or cannot be read.
        Unreachable: it refuses or does not answer, time and again.
        OSError: the disk is full.
    """
    target = folder / file.name
    if target.exists():
        report(target.stat().st_size)
        return target.stat().st_size
    part, since = _Part(folder / f".{file.name}.part", report, pace), time.monotonic()
    try:
        for attempt in Retrying(
            stop=_enough,
            wait=wait_random_exponential(multiplier=0.3, max=30),
            retry=retry_if_exception_type((_Passing, UnreadableAsset)),
            sleep=lambda seconds: _pause(seconds, stop),
            reraise=True,
        ):
            with attempt:
                _attempt(opener, file, part, stop)
    except _Passing as error:
        part.reset()
        if isinstance(error, _Silent):
            opener.give_up(since, str(error))
        raise Unreachable(str(error)) from None
    except BaseException:
        part.reset()
        raise
    with part.path.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(part.path, target)
    return part.size


class _Part:
    """The beginning of a file that is on its way."""

    def __init__(self, path: Path, report: Report, pace: Pace | None) -> None:
        self.path, self.report, self.pace = path, report, pace
        self.size, self.tag = 0, None
        path.unlink(missing_ok=True)

    def reset(self) -> None:
        self.report(-self.size)
        self.size, self.tag = 0, None
        self.path.unlink(missing_ok=True)

    def append(self, stream: Any, stop: Event) -> None:
        with self.path.open("ab") as out:
            for chunk in stream:
                if stop.is_set():
                    raise Stopped
                out.write(chunk)
                self.grown(len(chunk), stop)

    def grown(self, size: int, stop: Event) -> None:
        """Notes bytes that came."""
        self.size += size
        self.report(size)
        if self.pace is not None:
            self.pace.spend(size, stop)


def _attempt(opener: Opener, file: RemoteFile, part: _Part, stop: Event) -> None:
    opener.wait(stop)
    if stop.is_set():
        raise Stopped
    if opener.away is not None:
        raise Unreachable(opener.away)
    if file.part is not None:
        _attempt_part(opener, file, part, file.part, stop)
        return
    try:
        store, key = opener.open(file.href)
        if part.size and part.tag:
            got = _get(opener, store, key, {"range": {"offset": part.size}, "if_match": part.tag})
        else:
            part.reset()
            got = _get(opener, store, key, {})
        part.tag = got.meta.get("e_tag")
        whole = got.meta["size"]
        part.append(got.stream(min_chunk_size=CHUNK), stop)
    except (NotFoundError, FileNotFoundError):
        raise Missing(f"{opener.archive.name} has no {file.shown}") from None
    except (PermissionDeniedError, UnauthenticatedError, PermissionError):
        opener.forget(file.href)
        raise _Passing(opener.refused(file.href)) from None
    except BaseError as error:
        raise _Passing(f"{file.shown} broke off: {_short(error)}") from None
    try:
        if part.size < whole:
            raise _Passing(f"{file.shown} broke off after {part.size} of {whole} bytes")
        check(part.path, file)
    except UnreadableAsset:
        part.reset()
        raise


class _Remote(io.RawIOBase):
    """A file in an archive, read where it is asked."""

    def __init__(self, store: Any, key: str, size: int) -> None:
        self.store, self.key, self.size, self.at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self.size - self.at)
        if length <= 0:
            return 0
        data = obstore.get_range(self.store, self.key, start=self.at, length=length)
        buffer[: len(data)] = bytes(data)
        self.at += len(data)
        return len(data)


def _attempt_part(opener: Opener, file: RemoteFile, part: _Part, bounds: Bounds, stop: Event) -> None:
    part.reset()
    try:
        store, key = opener.open(file.href)
        with _told(opener, key):
            size = opener.size(file.href)
        opener.answered()
        reader = io.BufferedReader(_Remote(store, key, size), BUFFER)
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), open_raster(reader) as source:
            _write_part(source, part, bounds, stop)
    except (NotFoundError, FileNotFoundError):
        raise Missing(f"{opener.archive.name} has no {file.shown}") from None
    except (PermissionDeniedError, UnauthenticatedError, PermissionError):
        opener.forget(file.href)
        raise _Passing(opener.refused(file.href)) from None
    except (BaseError, RasterioError) as error:
        raise _Passing(f"{file.shown} broke off: {_short(error)}") from None
    _check_raster(part.path, file)


def _write_part(source: rasterio.DatasetReader, part: _Part, bounds: Bounds, stop: Event) -> None:
    """Writes the pixels of a raster that touch a box, unchanged, some rows of blocks at a time."""
    window = from_bounds(*bounds, source.transform)
    top, left = (max(0, math.floor(v + 1e-6)) for v in (window.row_off, window.col_off))
    bottom = min(source.height, math.ceil(window.row_off + window.height - 1e-6))
    right = min(source.width, math.ceil(window.col_off + window.width - 1e-6))
    if bottom <= top or right <= left:
        raise UnreadableAsset(f"{source.name} does not reach its tile's square; it is not used")
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": right - left,
        "height": bottom - top,
        "count": 1,
        "dtype": source.dtypes[0],
        "crs": source.crs,
        "transform": source.transform @ Affine.translation(left, top),
        "nodata": source.nodata,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "predictor": 2,
    }
    step = source.block_shapes[0][0]
    with rasterio.open(part.path, "w", **profile) as out:
        for row in range(top - top % step, bottom, step):
            if stop.is_set():
                raise Stopped
            first, last = max(row, top), min(row + step, bottom)
            values = source.read(1, window=Window(left, first, right - left, last - first))
            out.write(values, 1, window=Window(0, first - top, right - left, last - first))
    part.grown(part.path.stat().st_size, stop)


@contextlib.contextmanager
def _told(opener: Opener, key: str) -> Iterator[None]:
    """Gives an archive that is busy or away a rest, and tells which."""
    try:
        yield
    except GenericError as error:
        text = str(error)
        if re.search(r"kind: (Connect|Timeout)", text):
            opener.rest()
            cause = re.search(r'message: "([^"]+)"|error: "([^"]+)"', text)
            how = without_secrets(next(filter(None, cause.groups()))) if cause else "no answer in time"
            raise _Silent(f"{opener.archive.name} cannot be reached for {key}: {how}") from None
        if re.search(r"status: (429|503)\b|SlowDown", text):
            opener.rest()
            raise _Busy(f"{opener.archive.name} is too busy to give {key}; try again later") from None
        raise


def _short(error: BaseException) -> str:
    """What a library tells, in a line, without the signatures of addresses."""
    return without_secrets(" ".join(str(error).split()))[:200]


def _get(opener: Opener, store: Any, key: str, options: "GetOptions") -> Any:
    with _told(opener, key):
        got = obstore.get(store, key, options=options)
    opener.answered()
    return got


def _enough(state: RetryCallState) -> bool:
    """Whether to give up a file after the attempts so far."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, UnreadableAsset):
        return state.attempt_number >= ATTEMPTS_DAMAGED
    return state.attempt_number >= (ATTEMPTS_BUSY if isinstance(error, _Busy) else ATTEMPTS)


def _pause(seconds: float, stop: Event) -> None:
    if stop.wait(seconds):
        raise Stopped


def check(path: Path, file: RemoteFile) -> None:
    """Compares a file with what the archive says of it, and looks whether it can be read to its end.

    Raises:
        UnreadableAsset: it is damaged.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise UnreadableAsset(f"{file.shown} has {size} bytes where its Item says {file.size}")
    known = parse_multihash(file.checksum)
    if known is not None:
        name, digest = known
        with path.open("rb") as written:
            found = hashlib.file_digest(written, name).digest()
        if found != digest:
            raise UnreadableAsset(f"{file.shown} does not have the checksum its Item names ({name})")
    suffix = Path(file.name).suffix.lower()
    if suffix in (".tif", ".tiff", ".jp2"):
        _check_raster(path, file)
    elif suffix == ".xml":
        try:
            read_xml(str(path))
        except UnreadableAsset as error:
            raise UnreadableAsset(f"{file.shown} is damaged: {error}") from None


def _check_raster(path: Path, file: RemoteFile) -> None:
    """Decodes the first block and the last, which lies at a whole file's end."""
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), open_raster(str(path)) as dataset:
            rows, cols = dataset.block_shapes[0]
            for row, col in (
                (0, 0),
                ((dataset.height - 1) // rows * rows, (dataset.width - 1) // cols * cols),
            ):
                height, width = min(rows, dataset.height - row), min(cols, dataset.width - col)
                dataset.read(1, window=Window(col, row, width, height))
    except RasterioError as error:
        raise UnreadableAsset(f"{file.shown} is damaged: {error.__cause__ or error}") from None


def parse_multihash(text: str | None) -> tuple[str, bytes] | None:
    """The name of the hash and the digest of a multihash in hexadecimal; None where there is none we can compute.

    Copernicus labels digests of 32 bytes as MD5, which has 16: one whose length is not its hash's is none.
    """
    try:
        data = bytes.fromhex(text or "")
    except ValueError:
        return None
    if len(data) < 3:
        return None
    code, rest = data[0], data[1:]
    if code & 0x80:
        # The code is a number of seven bits a byte; of two bytes only MD5's is known here.
        if data[1] != 0x01:
            return None
        rest = data[2:]
    length, digest = rest[0], rest[1:]
    name = HASHES.get(code)
    if name is None or length != len(digest) or hashlib.new(name).digest_size != length:
        return None
    return name, digest


def measure(opener: Opener, file: RemoteFile) -> int | None:
    """Size of a file, None where the archive does not tell.

    Raises:
        Missing: there is no such file.
        ArchiveError: it is refused.
    """
    if file.size is not None:
        return file.size
    with contextlib.suppress(BaseError):
        try:
            return opener.size(file.href)
        except (NotFoundError, FileNotFoundError):
            raise Missing(f"{opener.archive.name} has no {file.shown}") from None
        except (PermissionDeniedError, UnauthenticatedError, PermissionError):
            raise ArchiveError(opener.refused(file.href)) from None
    return None
