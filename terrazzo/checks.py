"""Checksums by which a store's documents and tables are known to be what was written."""

import hashlib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from terrazzo.errors import Damaged

CHECK = "terrazzo:check"
_TAIL = re.compile(rb',\n "terrazzo:check": "([0-9a-f]{16})"\n\}$')

UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, EOFError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error, pa.ArrowException),
)
"""Errors of NumPy, zipfile and Arrow on truncated or changed files; readers raise `Damaged` with their message."""


def checksum(data: bytes | memoryview) -> str:
    """16 hexadecimal digits over the content of a file."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def document_bytes(document: Any) -> bytes:
    """A JSON document as it is stored: an object ends with a checksum of all bytes before it."""
    text = json.dumps(document, indent=1, sort_keys=False).encode()
    if not isinstance(document, dict) or not document:
        return text
    body = text.removesuffix(b"\n}")
    return body + f',\n "{CHECK}": "{checksum(body)}"\n}}'.encode()


def is_checked(data: bytes) -> bool:
    """Whether a stored JSON document ends with a checksum."""
    return _TAIL.search(data) is not None


def read_document(data: bytes, name: str) -> Any:
    """A stored JSON document, without its checksum. Documents of older stores have none.

    Args:
        name: of the file, for messages.

    Raises:
        Damaged: it is not JSON, or not what was written.
    """
    tail = _TAIL.search(data)
    if tail is not None and checksum(data[: tail.start()]) != tail[1].decode():
        raise Damaged(
            f"{name} is damaged, or was edited by hand (then remove its line {CHECK!r}): `terrazzo store verify` says what else is"
        )
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name} is not JSON, it is cut off or damaged: {error}") from None
    if not isinstance(document, dict):
        raise Damaged(
            f"{name} is no JSON object, it is cut off or damaged: `terrazzo store verify` says what else is"
        )
    document.pop(CHECK, None)
    return document


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Turns what parsers raise of a damaged file into one error.

    Raises:
        Damaged: the file cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        raise Damaged(f"{name} is cut off or damaged: {type(error).__name__}: {error}") from None


def table_source(data: bytes) -> pa.BufferReader:
    """The bytes of a Parquet file, copied into Arrow's own memory, to read a table from.

    Threads of Arrow may let go of what they have read only while the interpreter ends. If that is an object of Python's, the process
    aborts then, about one time in thirty with pyarrow 26.0 and a short command (apache/arrow issue 34314).
    """
    copy = pa.BufferOutputStream()
    copy.write(data)
    return pa.BufferReader(copy.getvalue())
