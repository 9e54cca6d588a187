"""Where things lie, and how a file appears whole or not at all.

A store is a folder or an object-store prefix (`s3://`, `gs://`, `az://`, `https://`). `store.json` at its
root holds the format number and what every raster in it shares. `docs/reference/store.md` describes the layout.
"""

import contextlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import LocalStore, from_url

from terrazzo.bands import BANDS, DEFAULT_BANDS, stored_factor
from terrazzo.checks import document_bytes, read_document, table_source, understood
from terrazzo.errors import Damaged, EmptyStore, NotFound, StoreError, StoreUnreachable
from terrazzo.grid import Grid

FORMAT = 3
"""Of new stores. Stores of the formats before are read and written as they are; `terrazzo store upgrade` brings them to this one."""
READ = (1, 2, FORMAT)
SEALED = 3
"""The first format whose files all bear checksums; a file of such a store that has none is damaged."""
CONFIG_KEY = "store.json"
SCRATCH = ".scratch"
LOCK = ".writer"
"""What a run may leave in a folder before it is a store."""
Mark = dict[str, str]
"""What an object store names the state of an object by."""
_VSI = {
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
    "https": "/vsicurl/https://",
    "http": "/vsicurl/http://",
}


@dataclass(frozen=True)
class StoreConfig:
    """What every raster of a store shares.

    Attributes:
        format: number of the store format.
        pixel: pixel size of the zone grid in metres.
        mask_pixel: pixel size of masks and weights in metres: `pixel` or twice that.
        window: window side in pixels of the zone grid; a power of two.
        bands: bands a scene holds, 10 m bands at `pixel`, the others at twice that.
    """

    pixel: float = 10.0
    mask_pixel: float = 20.0
    window: int = 512
    bands: tuple[str, ...] = DEFAULT_BANDS
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.window < 16 or self.window & (self.window - 1):
            raise StoreError(f"window {self.window} must be a power of two of at least 16 pixels")
        if self.pixel <= 0 or self.mask_pixel not in (self.pixel, 2 * self.pixel):
            raise StoreError(f"mask pixel {self.mask_pixel} m must be {self.pixel} m or twice that")
        unknown = [b for b in self.bands if b not in BANDS]
        if unknown or not self.bands:
            raise StoreError(f"unknown bands {unknown}; known are {', '.join(BANDS)}")


class Store:
    """A store opened for reading and writing.

    Args:
        planned: what a store that is not there yet will share; `write_config` makes it one.

    Raises:
        EmptyStore: the folder or prefix at `url` is empty, and no store is planned.
        StoreError: there is no store at `url` and none is planned, its format is unknown to this release, it has another
            configuration than the planned one, or the folder holds something else.
    """

    def __init__(self, url: str | Path, planned: StoreConfig | None = None) -> None:
        self.url = str(url)
        self.root = local_root(self.url)
        self._planned = planned
        if self.root is not None:
            if planned is not None:
                _require_free(self.root)
                self.root.mkdir(parents=True, exist_ok=True)
            if not self.root.is_dir():
                raise StoreError(
                    "there is no store: `terrazzo precompute SOURCE --store STORE` makes one",
                    f"(STORE is {self.url})",
                )
            self._objects: Any = LocalStore(prefix=self.root)
        else:
            self._objects = from_url(self.url)
        self.config = self._read_config()

    def _read_config(self) -> StoreConfig:
        try:
            raw = read_document(self.read_bytes(CONFIG_KEY), CONFIG_KEY)
        except NotFound:
            if self._planned is not None:
                return self._planned
            remedy = f"`terrazzo precompute SOURCE --store {self.url}` makes one"
            # A first run may be at work, whose unfinished files have names with a dot.
            pages = obstore.list(self._objects)
            if not any("/." not in f"/{meta['path']}" for page in pages for meta in page):
                raise EmptyStore("the store is empty", f"({self.url}): {remedy}") from None
            raise StoreError(
                "there is no store any more", f"({self.url}): it has no {CONFIG_KEY}; {remedy}"
            ) from None
        number = raw.get("format") if isinstance(raw, dict) else None
        if number not in READ:
            newer = isinstance(number, int) and number > FORMAT
            remedy = (
                "upgrade terrazzo to a release that reads it"
                if newer
                else "run precompute into a new folder with this release"
            )
            raise StoreError(
                f"the store has format {number}, this release reads {READ[0]} to {READ[-1]}: {remedy}",
                f"({self.url})",
            )
        try:
            known = {f.name: raw[f.name] for f in fields(StoreConfig)}
            config = StoreConfig(**{**known, "bands": tuple(known["bands"])})
        except (KeyError, TypeError) as error:
            raise Damaged(f"{CONFIG_KEY} is damaged: {error}", f"({self.url})") from None
        if self._planned is not None and config != replace(self._planned, format=config.format):
            raise StoreError(
                f"the store has {asdict(config)}, not {asdict(self._planned)};"
                " a store keeps what it was created with",
                f"({self.url})",
            )
        return config

    def __reduce__(self) -> tuple[type["Store"], tuple[str, StoreConfig | None]]:
        return Store, (self.url, self._planned)

    def write_config(self) -> None:
        """Makes a planned store one, before anything of it is written; of several runs the first one does.

        Raises:
            StoreError: another run has made it with another configuration.
        """
        if self._planned is None:
            return
        if self.create(CONFIG_KEY, document_bytes(asdict(self._planned))) and self.root:
            sync(self.root / CONFIG_KEY)
            sync(self.root)
        self.config = self._read_config()
        self._planned = None

    def grid(self, epsg: int) -> Grid:
        """The zone grid at the store's pixel size."""
        return Grid(epsg, self.config.pixel, self.config.window)

    def mask_grid(self, epsg: int) -> Grid:
        """The grid of masks and weights."""
        return self.grid(epsg).scaled(self.mask_factor)

    def band_grid(self, epsg: int, band: str) -> Grid:
        """The grid a band is stored on."""
        return self.grid(epsg).scaled(stored_factor(band))

    @property
    def mask_factor(self) -> int:
        """Zone grid pixels to a side of a mask pixel: 1 or 2."""
        return round(self.config.mask_pixel / self.config.pixel)

    def read_bytes(self, key: str) -> bytes:
        """The content of an object.

        Raises:
            NotFound: there is no such object.
            StoreUnreachable: it cannot be read.
        """
        with self._reading(key):
            return bytes(obstore.get(self._objects, key).bytes())

    def read_ranges(self, key: str, starts: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Parts of an object, fetched at the same time; fewer bytes where it ends earlier.

        Raises:
            NotFound: there is no such object.
            StoreUnreachable: it cannot be read.
        """
        with self._reading(key):
            return [bytes(b) for b in obstore.get_ranges(self._objects, key, starts=starts, lengths=sizes)]

    def read_json(self, key: str) -> Any:
        """The JSON document stored under a key.

        Raises:
            NotFound: there is no such object.
            StoreUnreachable: it cannot be read.
            Damaged: it has changed since it was written.
        """
        return read_document(self.read_bytes(key), key)

    def read_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        filters: list[tuple[str, str, object]] | None = None,
    ) -> pa.Table:
        """A Parquet table.

        Args:
            columns: names of those wanted, of which the table may lack some; all by default.
            filters: as of `pyarrow.parquet.read_table`.

        Raises:
            NotFound, StoreUnreachable, Damaged: as `read_json`.
        """
        data = table_source(self.read_bytes(key))
        with understood(key):
            there = columns and [c for c in columns if c in pq.read_schema(data).names]
            return pq.read_table(data, columns=there, filters=filters, page_checksum_verification=True)

    def read_arrays(self, key: str) -> dict[str, NDArray[Any]]:
        """The arrays of an NPZ file by name; of one whose key ends with `.zst`, unpacked.

        Raises:
            NotFound, StoreUnreachable, Damaged: as `read_json`.
        """
        data = self.read_bytes(key)
        with understood(key):
            if key.endswith(".zst"):
                data = pa.input_stream(pa.BufferReader(data), compression="zstd").read()
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """Turns what obstore raises into what callers catch."""
        try:
            yield
        except (NotFoundError, FileNotFoundError):
            raise NotFound(
                f"{key} is not in the store",
                f"({self.url}): `terrazzo store verify` says what else is missing",
            ) from None
        except (BaseError, OSError) as error:
            # Further lines hold the whole answer, and what obstore looks like inside.
            reason = str(error).partition("\n")[0]
            raise StoreUnreachable(
                f"{key or 'the list of files'} cannot be read",
                f"({self.url}: {reason}; check its address and your rights)",
            ) from None

    def write_bytes(self, key: str, data: bytes) -> None:
        """Writes an object so that readers see the old content or the new, never a part."""
        if self.root is None:
            obstore.put(self._objects, key, data)
            return
        # What a killed run leaves is removed from there by the next one.
        with beside(self.root / key, folder=self.scratch()) as temporary:
            temporary.write_bytes(data)

    def write_json(self, key: str, document: Any) -> None:
        """Writes a JSON document whole, with a checksum."""
        self.write_bytes(key, document_bytes(document))

    def create(self, key: str, data: bytes) -> bool:
        """Writes an object only if none exists; returns whether it did."""
        try:
            obstore.put(self._objects, key, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def read_marked(self, key: str) -> tuple[bytes, Mark]:
        """The content of an object of an object store, and the mark that it changes with.

        Raises:
            NotFound: there is no such object.
            StoreUnreachable: it cannot be read.
        """
        with self._reading(key):
            answer = obstore.get(self._objects, key)
            # A store has one or the other; what is missing must not be named.
            mark = {k: v for k in ("e_tag", "version") if (v := answer.meta[k]) is not None}
            return bytes(answer.bytes()), mark

    def replace(self, key: str, data: bytes, mark: Mark) -> bool:
        """Writes an object only if it still has the same ETag; returns whether it did. Object stores only."""
        try:
            obstore.put(self._objects, key, data, mode=mark)  # type: ignore[arg-type]
        except (PreconditionError, NotFoundError, AlreadyExistsError):
            return False
        return True

    def delete(self, key: str) -> None:
        """Removes an object; nothing happens where there is none."""
        try:
            obstore.delete(self._objects, key)
        except (NotFoundError, FileNotFoundError):
            return

    def drop(self, prefix: str, *, first: str = "") -> None:
        """Removes all objects under a prefix, and the folders they leave empty.

        Args:
            first: name of the object whose presence marks the others as complete; it is removed first.
        """
        if first:
            self.delete(f"{prefix}/{first}")
        obstore.delete(self._objects, list(self.list(prefix)))
        if self.root is not None and (self.root / prefix).is_dir():
            shutil.rmtree(self.root / prefix, ignore_errors=True)

    def publish_file(self, temporary: Path, key: str) -> None:
        """Moves a finished local file into the store, whole, and makes it durable."""
        if self.root is None:
            with temporary.open("rb") as file:
                obstore.put(self._objects, key, file)
            temporary.unlink()
            return
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        sync(temporary)
        os.replace(temporary, target)
        sync(target.parent)

    def exists(self, key: str) -> bool:
        """Whether an object is there.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        try:
            with self._reading(key):
                obstore.head(self._objects, key)
        except NotFound:
            return False
        return True

    def size(self, key: str) -> int:
        """Size of an object in bytes.

        Raises:
            NotFound: there is no such object.
            StoreUnreachable: the store does not answer.
        """
        with self._reading(key):
            return int(obstore.head(self._objects, key)["size"])

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects under a prefix, sorted."""
        with self._reading(prefix):
            keys = [meta["path"] for page in obstore.list(self._objects, prefix=prefix) for meta in page]
        return iter(sorted(k for k in keys if "/." not in f"/{k}"))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of the folders right under a prefix, sorted; what lies deeper is not listed."""
        with self._reading(prefix):
            below = obstore.list_with_delimiter(self._objects, prefix)["common_prefixes"]
        names = (p.rstrip("/").rsplit("/", 1)[-1] for p in below)
        return tuple(sorted(n for n in names if not n.startswith(".")))

    def modified(self, key: str) -> datetime:
        """When an object was written, by the clock of where the store lies.

        Raises:
            NotFound: there is no such object.
            StoreUnreachable: the store does not answer.
        """
        with self._reading(key):
            return obstore.head(self._objects, key)["last_modified"]

    def raster_path(self, key: str) -> str:
        """What rasterio opens to read the raster stored under a key."""
        if self.root is not None:
            # Once a raster that is read: joining paths takes 7 µs.
            return f"{self.root}/{key}"
        scheme, rest = self.url.split("://", 1)
        return f"{_VSI[scheme]}{rest.rstrip('/')}/{key}"

    def scratch(self) -> Path:
        """A folder for unfinished files, on the store's own disk where it has one."""
        if self.root is None:
            return Path(tempfile.gettempdir())
        folder = self.root / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    def clear_scratch(self, older_than: float = 86_400.0) -> None:
        """Removes what killed runs left in the scratch folder, `older_than` seconds ago or earlier."""
        if self.root is None:
            return
        for path in self.scratch().iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime >= older_than:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def create_store(url: str | Path, config: StoreConfig) -> Store:
    """Makes a store, or opens the one at `url` when its configuration is the same.

    Raises:
        StoreError: another store is there, or the folder holds something else.
    """
    store = Store(url, config)
    store.write_config()
    return store


def _require_free(root: Path) -> None:
    """Refuses a folder that holds something else than a store.

    Raises:
        StoreError: it does.
    """
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file; name a folder for the store")
    names = {p.name for p in root.iterdir()} if root.is_dir() else set()
    others = {n for n in names - {SCRATCH, LOCK} if not n.startswith(CONFIG_KEY)}
    # Looked for last: a run beside this one may be making it a store.
    if others and not (root / CONFIG_KEY).exists():
        raise StoreError(f"{root} is not empty and not a store; name a new or an empty folder")


def local_root(url: str) -> Path | None:
    """The folder a store's address names, or None for an object store."""
    if url.startswith("file://"):
        return Path(url[7:]).absolute()
    return None if "://" in url else Path(url).absolute()


class beside:
    """A temporary path next to a target that replaces it, durable, when the block ends well.

    Args:
        mode: permissions of the file.
        folder: where it is written, on the same disk; by default where the target is.
    """

    def __init__(self, target: Path, mode: int = 0o644, folder: Path | None = None) -> None:
        self.target, self._mode, self._folder = target, mode, folder or target.parent

    def __enter__(self) -> Path:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        os.chmod(self.temporary, self._mode)
        sync(self.temporary)
        os.replace(self.temporary, self.target)
        sync(self.target.parent)


def sync(path: Path) -> None:
    """Makes a file, or the entries of a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
