"""The mosaics of a store, opened once, followed to their newest version."""

import threading
import time
from collections import OrderedDict

from terrazzo.errors import NotFound
from terrazzo.mosaic.blocks import Handles
from terrazzo.mosaic.engine import Engine
from terrazzo.store import Store
from terrazzo.version import current_version, list_mosaics, open_version

KEPT_VERSIONS = 8


class Mosaics:
    """Engines by mosaic and version; a new pointer is followed within `follow` seconds."""

    def __init__(self, store: Store, follow: float) -> None:
        self.store = store
        self._follow = follow
        self._handles = Handles()
        self._engines: OrderedDict[tuple[str, str], Engine] = OrderedDict()
        self._pointers: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The mosaics that have a version."""
        return list_mosaics(self.store)

    def engine(self, mosaic_id: str, version: str | None = None) -> Engine:
        """The engine of a version, the current one by default.

        Raises:
            NotFound: there is no such mosaic or version.
        """
        name = version or self._pointer(mosaic_id)
        key = (mosaic_id, name)
        with self._lock:
            if key in self._engines:
                self._engines.move_to_end(key)
                return self._engines[key]
        engine = Engine(open_version(self.store, mosaic_id, name), self._handles)
        with self._lock:
            self._engines[key] = engine
            while len(self._engines) > KEPT_VERSIONS:
                self._engines.popitem(last=False)
        return engine

    def _pointer(self, mosaic_id: str) -> str:
        now = time.monotonic()
        known = self._pointers.get(mosaic_id)
        if known and now - known[0] < self._follow:
            return known[1]
        known_names = self.names() if known is None else [mosaic_id]
        if mosaic_id not in known_names:
            raise NotFound(f"there is no mosaic {mosaic_id!r}; there are: {', '.join(known_names)}")
        name = current_version(self.store, mosaic_id)
        self._pointers[mosaic_id] = (now, name)
        return name

    def close(self) -> None:
        """Closes all files."""
        self._handles.close()
