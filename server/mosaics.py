"""The mosaics of a store, opened once, followed to their newest version."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from terrazzo.bands import NODATA
from terrazzo.config import MOSAIC_NAME
from terrazzo.errors import EmptyStore, NotFound, ReadFailure, TerrazzoError
from terrazzo.mosaic.blocks import KEPT_BYTES, Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.server.metrics import BYTES
from terrazzo.server.settings import Settings
from terrazzo.store import CONFIG_KEY, Store
from terrazzo.version import Version, current_version, list_mosaics, open_version

log = logging.getLogger(__name__)
T = TypeVar("T")
KEPT_VERSIONS = 8
BELIEVED = 60.0
"""Seconds for which an answer about readiness is said again while every thread is at work."""
PictureState = Literal["published", "live"]
"""`live`: a first look, which the published mosaic replaces."""
NONE_YET = (
    "no mosaic yet: `terrazzo precompute SOURCE --store STORE` makes one (SOURCE may be `sample`),"
    " which is served without a restart"
)


@dataclass(frozen=True)
class State:
    """Which mosaics there are, and why those that fail cannot be read, by name."""

    names: list[str]
    failed: dict[str, str]


class Mosaics:
    """Engines by mosaic and version; a new pointer is followed within `follow` seconds.

    Where nothing has been written yet there are no mosaics; the store is opened once it is there.

    Args:
        live: stores of first looks, the finest first; each shows the mosaics and versions that those before it lack.
        kept_bytes: of decoded blocks that are kept, of all stores together.
        blocks: where these are kept; by default a place of its own.

    Raises:
        StoreError: the store is missing, or its format is unknown to this release.
    """

    def __init__(
        self,
        url: str,
        follow: float,
        live: Sequence[str] = (),
        kept_bytes: int = KEPT_BYTES,
        blocks: Blocks | None = None,
    ) -> None:
        self._url, self._follow = url, follow
        self._blocks = blocks or Blocks(kept_bytes, on_read=lambda where, size: BYTES.labels(where).inc(size))
        self._live = Mosaics(live[0], follow, live[1:], blocks=self._blocks) if live else None
        self._store: Store | None = None
        self._engines: OrderedDict[tuple[str, str], Engine] = OrderedDict()
        self._pointers: dict[str, tuple[float, str]] = {}
        self._names: tuple[float, list[str]] | None = None
        self._unnamed = set[str]()
        self._state: tuple[float, State] | None = None
        self._lock, self._looking, self._opening = threading.Lock(), threading.Lock(), threading.Lock()
        with suppress(EmptyStore):
            self._opened()

    @classmethod
    def of(cls, settings: Settings) -> "Mosaics":
        """Those that a server's settings name.

        Raises:
            StoreError: the store is missing, or its format is unknown to this release.
        """
        return cls(settings.store, settings.follow, settings.live, settings.blocks)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._url)
        return self._store

    def names(self) -> list[str]:
        """The mosaics that have a version."""
        now = time.monotonic()
        if self._names is None or now - self._names[0] >= self._follow:
            try:
                names = self._addressable(list_mosaics(self._opened()))
                # A store that is away has none; what is open goes on.
                self._names = (now, names if names or self._is_there() else sorted(self._pointers))
            except EmptyStore:
                self._names = (now, [])
        names = self._names[1]
        return sorted({*names, *self._live.names()}) if self._live else list(names)

    def _addressable(self, names: list[str]) -> list[str]:
        """Names that may stand in an address; the others are named in the log, once."""
        for name in set(names) - self._unnamed:
            if not MOSAIC_NAME.fullmatch(name):
                self._unnamed.add(name)
                log.warning(
                    "mosaic %r is not served: rename its folder in mosaics/ with letters a to z, digits, - and _, and publish it again",
                    name,
                )
        return [n for n in names if n not in self._unnamed]

    def engine(self, mosaic_id: str, version: str | None = None) -> Engine:
        """The engine of a version, the current one by default.

        Raises:
            NotFound: there is no such mosaic or version.
            EmptyStore: there is none at all yet.
        """
        if not MOSAIC_NAME.fullmatch(mosaic_id):
            raise NotFound("a mosaic's name has letters a to z and A to Z, digits, - and _")
        return self._first(mosaic_id, version, Mosaics._engine)

    def read(self, mosaic_id: str, version: str | None, read: Callable[[Store, str], T]) -> T:
        """What a function reads of a version, the current one for None, in the store that has it; the version is not opened.

        Raises:
            NotFound: there is no such mosaic or version.
            EmptyStore: there is none at all yet.
        """
        return self._first(mosaic_id, version, lambda one, _, name: read(one._opened(), name))

    def _first(self, mosaic_id: str, version: str | None, take: Callable[["Mosaics", str, str], T]) -> T:
        """What is taken of the first store that has a mosaic's version: this one, else those of first looks."""
        try:
            return take(self, mosaic_id, version or self._pointer(mosaic_id))
        except (NotFound, EmptyStore):
            if self._live is not None:
                with suppress(NotFound, EmptyStore):
                    return self._live._first(mosaic_id, version, take)
            raise

    def picture_state(self, version: Version) -> PictureState:
        """Whether a version is of the store itself or of one of first looks."""
        return "published" if version.store is self._store else "live"

    def shows_look(self, mosaic_id: str) -> bool:
        """Whether the current version of a mosaic that was opened is a first look; without a look at the store."""
        return self._live is not None and mosaic_id not in self._pointers

    def _engine(self, mosaic_id: str, name: str) -> Engine:
        key = (mosaic_id, name)
        engine = self._kept(key)
        if engine is not None:
            return engine
        with self._opening:
            engine = self._kept(key)
            if engine is None:
                engine = Engine(open_version(self._opened(), mosaic_id, name), self._blocks)
                # Read now: a version whose tables are damaged is refused as a whole, and the one before stays.
                _ = engine.version.cell_grids
                with self._lock:
                    self._engines[key] = engine
                    while len(self._engines) > KEPT_VERSIONS:
                        self._engines.popitem(last=False)
        return engine

    def is_open(self, mosaic_id: str, version: str, *, named: bool) -> bool:
        """Whether a version is open and, unless a request named it, known to be the current one without a look at the store."""
        at, current = self._pointers.get(mosaic_id, (0.0, ""))
        if not named and (version != current or time.monotonic() - at >= self._follow):
            return False
        with self._lock:
            if (mosaic_id, version) in self._engines:
                return True
        # A first look is the current picture only until its mosaic is published.
        return named and self._live is not None and self._live.is_open(mosaic_id, version, named=True)

    def _kept(self, key: tuple[str, str]) -> Engine | None:
        with self._lock:
            if key in self._engines:
                self._engines.move_to_end(key)
            return self._engines.get(key)

    def _pointer(self, mosaic_id: str) -> str:
        """The current version's name; while one request looks for a newer and opens it, others get the known one."""
        known = self._pointers.get(mosaic_id)
        if known and time.monotonic() - known[0] < self._follow:
            return known[1]
        if known and not self._looking.acquire(blocking=False):
            return known[1]
        try:
            return self._look(mosaic_id, known)
        finally:
            if known:
                self._looking.release()

    def _look(self, mosaic_id: str, known: tuple[float, str] | None) -> str:
        now = time.monotonic()
        try:
            name = current_version(self._opened(), mosaic_id)
        except NotFound as error:
            if known is None or self._is_there():
                self._pointers.pop(mosaic_id, None)
                # Not who has a key for this mosaic alone learns the others' names.
                raise NotFound(f"{error}; /mosaics lists those there are", error.operator) from None
            log.warning(
                "%s: the store does not answer, still serving version %s: %s",
                mosaic_id,
                known[1],
                error,
            )
            name = known[1]
        except Exception as error:
            if known is None:
                raise
            # A store that is away for a moment takes no map away.
            log.warning(
                "%s: the pointer cannot be read, still serving version %s: %s", mosaic_id, known[1], error
            )
            name = known[1]
        if known and name != known[1]:
            try:
                self._engine(mosaic_id, name)
            except Exception as error:
                log.error(
                    "%s: version %s cannot be opened, serving %s on: %s", mosaic_id, name, known[1], error
                )
                name = known[1]
        self._pointers[mosaic_id] = (now, name)
        return name

    def _is_there(self) -> bool:
        """Whether the store is where it was: an unmounted one has no mosaic, which must not look like a mosaic that was removed."""
        try:
            return self._opened().exists(CONFIG_KEY)
        except Exception:
            return False

    def state(self) -> State:
        """Reads a pixel of each mosaic; an answer is good for `follow` seconds, at least one."""
        now = time.monotonic()
        if self._state is None or now - self._state[0] >= max(1.0, self._follow):
            names, failed = self.names(), dict[str, str]()
            for name in names:
                try:
                    self._read_pixel(name)
                except Exception as error:
                    log.error("%s: not ready: %s", name, getattr(error, "whole", error))
                    is_ours = isinstance(error, TerrazzoError)
                    failed[name] = str(error) if is_ours else "an error that the server's log describes"
            self._state = (now, State(names, failed))
        return self._state[1]

    def known_state(self) -> State | None:
        """The last answer of `state`, unless it is too old to be believed."""
        with_time = self._state
        fresh = with_time is not None and time.monotonic() - with_time[0] < BELIEVED
        return with_time[1] if with_time is not None and fresh else None

    def _read_pixel(self, mosaic_id: str) -> None:
        """Reads one pixel of a mosaic's current version, by its defaults.

        Raises:
            TerrazzoError: it cannot be opened, or no scene of it can be read there.
        """
        engine = self.engine(mosaic_id)
        selection = engine.select(PixelRequest(engine.version.bands[:1]))
        if not selection.entries:
            return
        scene = selection.entries[0].scene
        grid = engine.version.store.grid(scene.epsg)
        left, bottom, right, top = grid.bounds(scene.box)
        x, y = np.array([(left + right) / 2]), np.array([(bottom + top) / 2])
        image = engine.points(selection, f"EPSG:{scene.epsg}", x, y)
        if image.problems and (image.values == NODATA).all():
            raise ReadFailure("; ".join(image.problems)[:500])

    def close(self) -> None:
        """Closes all files."""
        self._blocks.close()
