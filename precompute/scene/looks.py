"""Keeps the cloud shares of products that were looked at, in the store: a product that is skipped as cloud has no scene that holds its share."""

import hashlib
from collections.abc import Sequence
from threading import Lock

from terrazzo.config import MosaicConfig
from terrazzo.errors import Damaged, NotFound
from terrazzo.precompute.scene.many import Task
from terrazzo.store import CONFIG_KEY, Store

LOOK = 1
"""Number of the form of a look; raised when the same product would get another share."""


class Looks:
    """Shares of cloud of a run's products in a mosaic's area; of a product that has changed, or of another area, none is known.

    Runs that keep their looks at one moment may lose some: these are taken again.

    Attributes:
        tasks: all products of the run, with those of other machines.
    """

    def __init__(self, store: Store, config: MosaicConfig, tasks: Sequence[Task]) -> None:
        self.store, self.config, self.tasks = store, config, tasks
        self._key = f"mosaics/{config.id}/looks.json"
        self._known, self._fresh = self._read(), dict[str, tuple[str, float]]()
        self._lock = Lock()

    def share(self, product: str, rev: str) -> float | None:
        """The share of a product's revision; None where no look at it is known.

        Args:
            product: id.
            rev: of the scene it would become, which bears checksums and recipe.
        """
        name, share = self._fresh.get(product) or self._known.get(product) or ("", 0.0)
        return share if name == self._name(rev) else None

    def add(self, product: str, rev: str, share: float) -> None:
        """Notes a look."""
        with self._lock:
            self._fresh[product] = (self._name(rev), share)

    def keep(self) -> None:
        """Writes new looks beside those that other runs have written, once there is a store; those at products that are gone go."""
        if not self._fresh or not self.store.exists(CONFIG_KEY):
            return
        here = {product.id for product, _ in self.tasks}
        shares = {i: look for i, look in sorted((self._read() | self._fresh).items()) if i in here}
        self.store.write_json(self._key, {"shares": shares})
        self._known, self._fresh = shares, {}

    def _read(self) -> dict[str, tuple[str, float]]:
        try:
            shares = self.store.read_json(self._key)["shares"]
            return {product: (str(name), float(share)) for product, (name, share) in shares.items()}
        except (NotFound, Damaged, LookupError, ValueError, TypeError, AttributeError):
            return {}

    def _name(self, rev: str) -> str:
        area = self.config.bounds
        text = repr((LOOK, rev, area and tuple(area)))
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
