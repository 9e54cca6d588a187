"""Opens a product's files, in folders and inside zips, where GDAL names them `/vsizip/<zip>/<member>`."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from terrazzo.errors import UnreadableAsset

ZIPPED = "/vsizip/"


def zip_member(archive: Path, member: str) -> str:
    """The name by which GDAL and `opened` know a file inside a zip."""
    return f"{ZIPPED}{archive.resolve()}/{member}"


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file of a product, open for reading.

    Raises:
        UnreadableAsset: it is not there, or the zip is damaged.
    """
    try:
        if path.startswith(ZIPPED):
            archive, member = path.removeprefix(ZIPPED).split(".zip/", 1)
            with zipfile.ZipFile(f"{archive}.zip") as container, container.open(member) as file:
                yield file
        else:
            with Path(path).open("rb") as file:
                yield file
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableAsset(f"{path}: {reason}; fetch the product again") from None


def checksum(path: str) -> str:
    """SHA-256 of a file as the multihash that STAC's file extension wants.

    Raises:
        UnreadableAsset: the file is not there.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return "1220" + digest.hexdigest()
