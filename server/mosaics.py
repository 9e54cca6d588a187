"""The mosaics of a store, opened once, followed to their newest version."""

import logging
import re
import threading
import time
from collections import OrderedDict

from server.metrics import BYTES
from terrazzo.errors import NotFound
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.store import Store
from terrazzo.version import current_version, list_mosaics, open_version

log = logging.getLogger(__name__)
KEPT_VERSIONS = 8
NAME = re.compile(r"[\w-]{1,100}")


class Mosaics:
    """Engines by mosaic and version; a new pointer is followed within `follow` seconds."""

    def __init__(self, store: Store, follow: float) -> None:
        self.store = store
        self._follow = follow
        self._blocks = Blocks(on_read=lambda where, size: BYTES.labels(where).inc(size))
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
        if not NAME.fullmatch(mosaic_id):
            raise NotFound("a mosaic's name has letters, digits, - and _")
        name = version or self._pointer(mosaic_id)
        key = (mosaic_id, name)
        with self._lock:
            if key in self._engines:
                self._engines.move_to_end(key)
                return self._engines[key]
        engine = Engine(open_version(self.store, mosaic_id, name), self._blocks)
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
        try:
            name = current_version(self.store, mosaic_id)
        except NotFound:
            self._pointers.pop(mosaic_id, None)
            raise
        except Exception as error:
            if known is None:
                raise
            # A store that is away for a moment takes no map away.
            log.warning(
                "%s: the pointer cannot be read, serving version %s on: %s", mosaic_id, known[1], error
            )
            name = known[1]
        self._pointers[mosaic_id] = (now, name)
        return name

    def close(self) -> None:
        """Closes all files."""
        self._blocks.close()
