"""How many bytes come: of files as archives list them, of parts of JP2 as their headers say, of others by their area."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

from terrazzo.bands import BANDS
from terrazzo.errors import ArchiveError
from terrazzo.precompute.acquire.area import TILE_SIDE, tile_square, touched
from terrazzo.precompute.acquire.download import Missing
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.parts import StartOfJP2, exactly
from terrazzo.precompute.acquire.search import Candidate, RemoteFile
from terrazzo.precompute.products.codestream import Unusual

TYPICAL = {10: 130_000_000, 20: 35_000_000, 60: 4_000_000}
"""Bytes of a whole tile's band by resolution in metres, where no archive gives the size."""
CODED = {10: 1024, 20: 640, 60: 192}
"""Pixels of a code-stream tile's side in ESA's JP2, by resolution in metres."""
MOST_HEADERS = 1000
"""Headers that are read for a plan, 8 kB each; further parts are estimated by their area."""


class Coming(NamedTuple):
    """A file that is to come.

    Attributes:
        estimated: the bytes are: no size is listed, or it is a part that counts by its area.
    """

    file: RemoteFile
    bytes: int
    estimated: bool

    def exactly(self, length: int | None) -> "Coming":
        """The file with the bytes that its header lists; as it is where it lists none."""
        return self if length is None else Coming(self.file, length, False)


def coming(opener: Opener, candidate: Candidate, files: Sequence[RemoteFile]) -> tuple[Coming, ...]:
    """Files of a candidate with their bytes, parts by their area; without those that the archive lacks."""
    out, answers = [], True
    for file in files:
        try:
            size = measure(opener, file) if answers else file.size
        except Missing:
            continue
        except ArchiveError:
            size = None
        # Who gives no size after all retries gives none of the next file either: do not wait for it again.
        answers = answers and size is not None
        length = round((typical(file) if size is None else size) * share_of(file, candidate.product.mgrs))
        out.append(Coming(file, length, size is None or file.part is not None))
    return tuple(out)


def measure(opener: Opener, file: RemoteFile) -> int | None:
    """Size of a file in bytes, None if the archive does not say.

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


def by_headers(
    files: Sequence[tuple[Opener, RemoteFile]], connections: int
) -> tuple[list[int | None], str | None]:
    """Bytes of parts of JP2 as their headers list them, and a note where some stay estimates.

    Args:
        files: those that are no parts of JP2 are not asked for.
        connections: headers that are read at once.

    Returns:
        (bytes of each file, None where its header does not say; the note)
    """
    parts = [i for i, (_, file) in enumerate(files) if file.part is not None and file.is_jp2]
    asked, silent = parts[:MOST_HEADERS], set[Opener]()

    def one(i: int) -> int | str:
        """Bytes, or why the header does not say."""
        opener, file = files[i]
        if opener in silent:
            return f"{opener.archive.name} does not give them"
        try:
            return _by_header(opener, file) or "they do not list the lengths of tiles"
        except (NotFoundError, FileNotFoundError):
            return "they are missing"
        except (ArchiveError, BaseError, PermissionError):
            # The other headers would wait as long in vain.
            silent.add(opener)
            return f"{opener.archive.name} does not give them"

    answers: dict[int, int | str] = dict.fromkeys(parts, f"a plan reads {MOST_HEADERS}")
    with ThreadPoolExecutor(connections) as pool:
        answers |= zip(asked, pool.map(one, asked), strict=True)
    lengths = [answer if isinstance(answer := answers.get(i), int) else None for i in range(len(files))]
    why = [answer for answer in answers.values() if isinstance(answer, str)]
    if not why:
        return lengths, None
    reasons = "; ".join(sorted(set(why)))
    return (
        lengths,
        f"headers of {len(why)} of {len(parts)} JP2 do not tell the bytes of the part, which its area estimates: {reasons}",
    )


def _by_header(opener: Opener, file: RemoteFile) -> int | None:
    """Bytes that come of a JP2's part with its header; header and all of it where no part can be cut out.

    Raises:
        ArchiveError, BaseError, PermissionError: the header does not come.
    """
    assert file.part is not None
    store, key = opener.open(file.href)
    whole = taken = 0

    def read(start: int, end: int) -> tuple[int, Iterator[bytes]]:
        nonlocal whole, taken
        got = obstore.get(store, key, options={"range": (start, end)})
        data, whole = bytes(got.bytes()), got.meta["size"]
        taken += len(data)
        return whole, exactly(iter((data,)), min(end, whole) - start)

    start = StartOfJP2(file.part)
    try:
        return start.length(read)
    except Unusual:
        return taken + whole


def share_of(file: RemoteFile, tile: str) -> float:
    """The share of a file's bytes that its part takes, by area: in a JP2 all code-stream tiles that the part touches."""
    if file.part is None:
        return 1.0
    part, finer = file.part, 1.0
    if file.overview is not None:
        finer = min(1.0, BANDS[file.role].resolution / file.overview) ** 2
    if file.is_jp2:
        resolution = BANDS[file.role].resolution if file.role in BANDS else 20
        part = touched(part, tile_square(tile)[0], resolution * CODED[resolution])
    return finer * (part.right - part.left) * (part.top - part.bottom) / TILE_SIDE**2


def typical(file: RemoteFile) -> int:
    """Bytes that such a file has on average."""
    return TYPICAL[BANDS[file.role].resolution] if file.role in BANDS else 1_000_000
