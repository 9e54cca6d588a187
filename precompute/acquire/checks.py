"""Compares a file that came with what the archive says of it, and looks whether it can be read."""

import hashlib
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from terrazzo.errors import UnreadableAsset
from terrazzo.precompute.acquire.search import RemoteFile
from terrazzo.precompute.products.files import open_raster, read_xml

ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_NUM_THREADS": "1"}
"""Of several threads that decode a JP2 none says that it failed (GDAL 3.10.3)."""
HASHES = {
    0x11: "sha1",
    0x12: "sha256",
    0x13: "sha512",
    0x14: "sha3_512",
    0x16: "sha3_256",
    0xD5: "md5",
}
"""Codes of the multihash table (multiformats.io) by the names of Python's hashlib."""


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
            computed = hashlib.file_digest(written, name).digest()
        if computed != digest:
            raise UnreadableAsset(f"{file.shown} does not have the checksum its Item names ({name})")
    suffix = Path(file.name).suffix.lower()
    if suffix in (".tif", ".tiff", ".jp2"):
        check_raster(path, file)
    elif suffix == ".xml":
        try:
            read_xml(str(path))
        except UnreadableAsset as error:
            raise UnreadableAsset(f"{file.shown} is damaged: {error}") from None


def check_raster(path: Path, file: RemoteFile) -> None:
    """Decodes the first block and the last, which lies at a whole file's end."""
    try:
        with rasterio.Env(**ALONE), open_raster(str(path)) as dataset:
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
