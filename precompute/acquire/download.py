"""Brings one file here: whole, of the size and checksum the archive names, readable, or not at all."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import obstore
import rasterio
from obstore.exceptions import (
    BaseError,
    GenericError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from rasterio.errors import RasterioError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from terrazzo.errors import ArchiveError, UnreadableAsset
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.checks import ALONE, check, check_raster
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.parts import (
    AsRaster,
    Small,
    Stopped,
    TilesOfJP2,
    described,
    exactly,
    insisted_on,
    overview_of,
    write_part,
)
from terrazzo.precompute.acquire.search import RemoteFile
from terrazzo.precompute.products.codestream import Unusual
from terrazzo.precompute.products.files import open_raster
from terrazzo.precompute.products.links import without_secrets

if TYPE_CHECKING:
    from obstore import GetOptions

ATTEMPTS = 5
"""Of a file, each with the retries of its requests within."""
ATTEMPTS_DAMAGED = 2
"""Of a file that came whole and is damaged: once it may have been the way."""
ATTEMPTS_BUSY = 8
"""Of a file that the archive is too busy to deliver, three minutes with the rests between."""
CHUNK = 1 << 20
NO_PARTS = "its server gives no parts of files"
Report = Callable[[int], None]
Note = Callable[[str], None]


class Missing(ArchiveError):
    """The archive lists a file that it does not have."""


class Unreachable(ArchiveError):
    """The archive does not give a file; it may do so later."""


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
    opener: Opener,
    file: RemoteFile,
    folder: Path,
    report: Report,
    stop: Event,
    pace: Pace | None = None,
    note: Note = lambda line: None,
) -> int:
    """Writes a file into a folder under its name once it is whole; returns how many bytes came.

    A broken connection continues where it broke, as long as the archive still has the same object. An object that is
    damaged is fetched again, since it may have been so on the way. Of a JP2 whose tiles cannot be fetched one by one the whole
    comes, and the part is cut out of it here.

    Args:
        report: called with the bytes that came; a negative number takes bytes back.
        pace: of all files together; None is as fast as it goes.
        note: called with a line where a whole JP2 came for a part.

    Raises:
        Missing: the archive has no such file.
        UnreadableAsset: what it has is not of the size or checksum it names, or cannot be read.
        Unreachable: it refuses or does not answer, time and again.
        OSError: the disk is full.
    """
    target = folder / file.kept
    if target.exists():
        report(target.stat().st_size)
        return target.stat().st_size
    part, since = _Part(folder / f".{file.kept}.part", report, pace), time.monotonic()
    if file.part is not None and file.is_jp2:
        part.tiles = TilesOfJP2(part.path, file.part)
    try:
        for attempt in Retrying(
            stop=_enough,
            wait=wait_random_exponential(multiplier=0.3, max=30),
            retry=retry_if_exception_type((_Passing, UnreadableAsset)),
            sleep=lambda seconds: _pause(seconds, stop),
            reraise=True,
        ):
            with attempt:
                _attempt(opener, file, part, stop, note)
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
    """The beginning of a file that is on its way.

    Attributes:
        tiles: those of a JP2 that are wanted; None where the whole comes.
    """

    def __init__(self, path: Path, report: Report, pace: Pace | None) -> None:
        self.path, self.report, self.pace = path, report, pace
        self.size, self.tag = 0, None
        self.tiles: TilesOfJP2 | None = None
        path.unlink(missing_ok=True)

    def reset(self) -> None:
        self.report(-self.size)
        self.size, self.tag = 0, None
        self.path.unlink(missing_ok=True)
        if self.tiles is not None:
            self.tiles = TilesOfJP2(self.path, self.tiles.bounds)

    def append(self, stream: Any, stop: Event) -> None:
        with self.path.open("ab") as out:
            for chunk in self.counted(stream, stop):
                out.write(chunk)

    def counted(self, stream: Any, stop: Event) -> Iterator[bytes]:
        """Hands chunks on as they come, and notes their bytes."""
        for chunk in stream:
            if stop.is_set():
                raise Stopped
            yield chunk
            self.grown(len(chunk), stop)

    def grown(self, size: int, stop: Event) -> None:
        """Notes bytes that came."""
        self.size += size
        self.report(size)
        if self.pace is not None:
            self.pace.spend(size, stop)


def _attempt(opener: Opener, file: RemoteFile, part: _Part, stop: Event, note: Note) -> None:
    opener.wait(stop)
    if stop.is_set():
        raise Stopped
    if opener.away is not None:
        raise Unreachable(opener.away)
    try:
        store, key = opener.open(file.href)
        if file.part is None:
            _whole(opener, store, key, file, part, stop)
        elif file.is_jp2:
            _part_of_jp2(opener, store, key, file, part, file.part, stop, note)
        else:
            _part_of_cog(opener, store, key, file, part, file.part, stop, note)
    except (NotFoundError, FileNotFoundError):
        raise Missing(f"{opener.archive.name} has no {file.shown}") from None
    except (PermissionDeniedError, UnauthenticatedError, PermissionError):
        opener.forget(file.href)
        raise _Passing(opener.refused(file.href)) from None
    except PreconditionError:
        part.reset()
        raise _Passing(f"{file.shown} was replaced while it was downloaded") from None
    except (BaseError, RasterioError) as error:
        raise _Passing(f"{file.shown} broke off: {_short(error)}") from None
    except UnreadableAsset:
        part.reset()
        raise


def _whole(opener: Opener, store: Any, key: str, file: RemoteFile, part: _Part, stop: Event) -> None:
    """Fetches all of a file."""
    got, tag = None, insisted_on(part.tag)
    if part.size and tag:
        # A server that gives no parts begins again.
        with contextlib.suppress(NotSupportedError):
            got = _get(opener, store, key, {"range": {"offset": part.size}, "if_match": tag})
    if got is None:
        part.reset()
        got = _get(opener, store, key, {})
    part.tag, whole = got.meta.get("e_tag"), got.meta["size"]
    part.append(exactly(got.stream(min_chunk_size=CHUNK), whole - part.size), stop)
    if part.size < whole:
        raise _Passing(f"{file.shown} broke off after {part.size} of {whole} bytes")
    check(part.path, file)


def _part_of_cog(
    opener: Opener,
    store: Any,
    key: str,
    file: RemoteFile,
    part: _Part,
    bounds: Bounds,
    stop: Event,
    note: Note,
) -> None:
    """Fetches the blocks of a COG that a box touches, or all of it where its server gives no parts."""
    part.reset()
    try:
        with rasterio.Env(**ALONE), _told(opener, key):
            size = opener.size(file.href)
            opener.answered()
            _cut(AsRaster(store, key, size).opened, part.path, file, bounds, stop)
    except NotSupportedError:
        note(f"{file.shown} comes whole: {NO_PARTS}")
        _whole(opener, store, key, file, part, stop)
        with _replaced(part.path) as cut, rasterio.Env(**ALONE):
            _cut(partial(open_raster, str(part.path)), cut, file, bounds, stop)
        return
    except Unusual as reason:
        raise UnreadableAsset(f"{file.shown} is not used: {reason}") from None
    part.grown(part.path.stat().st_size, stop)
    check_raster(part.path, file)


def _cut(
    opened: Callable[..., AbstractContextManager[rasterio.DatasetReader]],
    path: Path,
    file: RemoteFile,
    bounds: Bounds,
    stop: Event,
) -> None:
    """Writes the pixels of a COG that a box touches, its own or an overview's."""
    with opened() as source:
        smaller = None if file.overview is None else overview_of(source, file.overview)
        about = described(source, 1 if smaller is None else smaller.factor)
        if smaller is None:
            write_part(source, path, bounds, stop, about)
    if smaller is not None:
        with opened(overview_level=smaller.level) as source:
            write_part(source, path, bounds, stop, about)


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file that takes another's place when it is written."""
    beside = path.with_name(f"{path.name}.tif")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _part_of_jp2(
    opener: Opener,
    store: Any,
    key: str,
    file: RemoteFile,
    part: _Part,
    bounds: Bounds,
    stop: Event,
    note: Note,
) -> None:
    """Fetches the tiles of a JP2 that a box touches, or all of it, and decodes the box."""

    def read(start: int, end: int) -> tuple[int, Iterator[bytes]]:
        options: GetOptions = {"range": (start, end)}
        before = part.tag
        if tag := insisted_on(before):
            options["if_match"] = tag
        got = _get(opener, store, key, options)
        part.tag, size = got.meta.get("e_tag"), got.meta["size"]
        if before not in (None, part.tag):
            raise PreconditionError("another file came in its place")
        if file.size not in (None, size):
            raise UnreadableAsset(f"{file.shown} has {size} bytes where its Item says {file.size}")
        chunks = exactly(got.stream(min_chunk_size=CHUNK), min(end, size) - start)
        return size, part.counted(chunks, stop)

    if part.size and not insisted_on(part.tag):
        part.reset()
    if part.tiles is not None:
        try:
            part.tiles.fetch(read)
            _decode(part.path, bounds, stop)
        except (Unusual, NotSupportedError) as reason:
            if isinstance(reason, NotSupportedError):
                note(f"{file.shown} comes whole: {NO_PARTS}")
            elif not isinstance(reason, Small):
                note(f"{file.shown} comes whole: {reason}")
            part.reset()
            part.tiles = None
        else:
            return
    _whole(opener, store, key, file, part, stop)
    try:
        _decode(part.path, bounds, stop)
    except Unusual as reason:
        raise UnreadableAsset(f"{file.shown} is not used: {reason}") from None


def _decode(path: Path, bounds: Bounds, stop: Event) -> None:
    """Puts a GeoTIFF of the pixels that a box touches in the place of a JP2.

    Raises:
        Unusual: there are none, or they cannot be decoded.
    """
    try:
        with _replaced(path) as decoded, rasterio.Env(**ALONE), open_raster(str(path)) as source:
            write_part(source, decoded, bounds, stop)
    except RasterioError as error:
        raise Unusual(f"its tiles cannot be decoded ({error.__cause__ or error})") from None


@contextlib.contextmanager
def _told(opener: Opener, key: str) -> Iterator[None]:
    """Turns errors of an archive that is busy or away into our own, and pauses requests to it."""
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
            raise _Busy(f"{opener.archive.name} is too busy to deliver {key}; try again later") from None
        raise


def _short(error: BaseException) -> str:
    """A library's message in one line, without signatures of addresses."""
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
