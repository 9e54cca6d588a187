"""Opens a product's files, in folders and inside zips, where GDAL names them `/vsizip/<zip>/<member>`.

Zips are read, never unpacked; what is larger than any product is, or leads out of the zip, is refused.
"""

import hashlib
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from xml.etree.ElementTree import Element

import rasterio
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import parse
from rasterio.errors import RasterioError

from terrazzo.errors import UnreadableAsset

ZIPPED = "/vsizip/"
JPEG2000 = ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")
"""GDAL's drivers of JPEG 2000; a build has one or two of them."""
MOST_XML = 64_000_000
"""Bytes of an XML file: the largest that is read here has 0.6 MB, the largest of a product 22."""
MOST_UNPACKED, MOST_MEMBERS = 8_000_000_000, 5_000
"""Bytes and files of a zip: a product has one or two GB in 150 files."""

DAMAGED_ZIP = (
    *(OSError, LookupError, RuntimeError, NotImplementedError, EOFError, OverflowError),
    *(struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    UnicodeDecodeError,
)
"""What files that are missing, and zips that are damaged or encrypted, raise."""


def open_raster(source: str | IO[bytes], **options: Any) -> rasterio.DatasetReader:
    """Opens an image of a product, which is a GeoTIFF or JPEG 2000.

    GDAL would read more: a VRT under the name of an image leads to any file and any address.

    Args:
        source: path, or a file that is open.
        options: of rasterio and GDAL's driver.

    Raises:
        RasterioError: it is neither, or cannot be read.
    """
    with rasterio.Env() as env:
        jpeg2000 = [d for d in JPEG2000 if d in env.drivers()]
    is_jp2 = isinstance(source, str) and source.lower().endswith(".jp2")
    return open_as(source, [*jpeg2000, "GTiff"] if is_jp2 else ["GTiff", *jpeg2000], **options)


def open_as(source: str | Path | IO[bytes], drivers: Sequence[str], **options: Any) -> rasterio.DatasetReader:
    """Opens a raster with the first of some drivers that can.

    Raises:
        RasterioError: none can; what the first one says.
    """
    problems = []
    for driver in drivers:
        try:
            return rasterio.open(source, driver=driver, **options)
        except RasterioError as error:
            problems.append(error)
    raise problems[0]


def zip_members(path: Path) -> list[str]:
    """Names of the files in a zip of a product.

    Raises:
        UnreadableAsset: no zip, or a name that leads out of it, or more in it than a product has.
    """
    try:
        with zipfile.ZipFile(path) as container:
            members = container.infolist()
    except (ValueError, *DAMAGED_ZIP) as error:
        raise UnreadableAsset(f"{path}: {error}; fetch the product again") from None
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts:
            raise UnreadableAsset(f"{path}: {member.filename!r} leads out of the zip; do not use this file")
    if len(members) > MOST_MEMBERS or sum(m.file_size for m in members) > MOST_UNPACKED:
        raise UnreadableAsset(f"{path}: unpacked it is larger than any product; do not use this file")
    return [m.filename for m in members if m.filename and not m.is_dir()]


def zip_member(archive: Path, member: str) -> str:
    """The name by which GDAL and `opened` know a file inside a zip; braces where the zip is not called `.zip`."""
    path = archive.resolve()
    return f"{ZIPPED}{path if path.suffix == '.zip' else f'{{{path}}}'}/{member}"


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file of a product, open for reading.

    Raises:
        UnreadableAsset: it is not there, or the zip is damaged.
    """
    try:
        if path.startswith(ZIPPED):
            archive, member = _in_zip(path.removeprefix(ZIPPED))
            with zipfile.ZipFile(archive) as container, container.open(member) as file:
                yield file
        else:
            with Path(path).open("rb") as file:
                yield file
    except DAMAGED_ZIP as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is cut off"
        raise UnreadableAsset(f"{path}: {reason}; fetch the product again") from None


def _in_zip(path: str) -> tuple[str, str]:
    """The zip and the member of a name without its prefix."""
    if path.startswith("{"):
        archive, member = path.removeprefix("{").split("}/", 1)
        return archive, member
    archive, member = path.split(".zip/", 1)
    return f"{archive}.zip", member


def read_xml(path: str) -> Element:
    """The root of an XML file of a product.

    Raises:
        UnreadableAsset: no such file, not XML, far too large, or an XML that declares entities.
    """
    with opened(path) as file:
        content = file.read(MOST_XML + 1)
    if len(content) > MOST_XML:
        raise UnreadableAsset(f"{path} is larger than any metadata; do not use this product")
    try:
        root: Element = parse(io.BytesIO(content)).getroot()
    except (SyntaxError, LookupError, ValueError, DefusedXmlException) as error:
        raise UnreadableAsset(f"{path}: {error}; fetch the product again") from None
    return root


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
