"""What a store holds of the passes and tiles that an archive has, so that what is fetched never shows less of them."""

from datetime import datetime

from terrazzo.errors import NotFound
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.area import tile_square
from terrazzo.precompute.acquire.search import Candidate
from terrazzo.scene import Scene, list_scenes, read_item
from terrazzo.store import Store
from terrazzo.version import open_version


class Held:
    """The scenes of a store.

    Attributes:
        shown: scenes of a mosaic's current version.
    """

    def __init__(self, store: Store | None = None, mosaic: str = "mosaic") -> None:
        self._store = store
        self._scenes: dict[tuple[str, str], list[Scene]] = {}
        self.shown: tuple[Scene, ...] = ()
        if store is not None:
            for scene in list_scenes(store):
                self._scenes.setdefault((scene.datatake, scene.mgrs), []).append(scene)
            self.shown = _shown(store, mosaic)

    def beyond(self, candidate: Candidate) -> list[Bounds | None]:
        """Parts of the tile, in metres, that scenes of a candidate's pass and tile cover and its own scene would not; None
        for the whole."""
        return [
            self._part(s) for s in self._scenes.get(candidate.key, ()) if not self._covers(candidate.part, s)
        ]

    def shows(self, candidate: Candidate) -> bool:
        """Whether the mosaic shows all that a candidate would bring, in its processing or a newer one."""
        scenes = [s for s in self.shown if (s.datatake, s.mgrs) == candidate.key]
        return any(_holds(self._part(s), candidate.part) and self._is_newer(s, candidate) for s in scenes)

    def baseline(self, scene: Scene) -> str:
        """The processing baseline of the product that a scene was made of; empty if unknown."""
        assert self._store is not None
        return str(read_item(self._store, scene)["properties"]["terrazzo:source"]["baseline"])

    def _covers(self, part: Bounds | None, scene: Scene) -> bool:
        """Whether a scene made of a part of its tile covers another one."""
        assert self._store is not None
        if part is None:
            return True
        grid = self._store.grid(scene.epsg)
        return grid.pad(grid.box_from_bounds(*part)).intersection(scene.box) == scene.box

    def _part(self, scene: Scene) -> Bounds | None:
        assert self._store is not None
        square, epsg = tile_square(scene.mgrs)
        box = self._store.grid(epsg).bounds(scene.box)
        part = Bounds(
            max(box.left, square.left),
            max(box.bottom, square.bottom),
            min(box.right, square.right),
            min(box.top, square.top),
        )
        return None if part == square else part

    def _is_newer(self, scene: Scene, candidate: Candidate) -> bool:
        assert self._store is not None
        source = read_item(self._store, scene)["properties"]["terrazzo:source"]
        if source["baseline"] != candidate.product.baseline:
            return bool(source["baseline"] > candidate.product.baseline)
        # Of one baseline, what was made at another moment is another part of the pass.
        return datetime.fromisoformat(source["generated"]) == candidate.product.generated


def _holds(outer: Bounds | None, inner: Bounds | None) -> bool:
    """Whether a part of a tile holds another; None is the whole."""
    if outer is None or inner is None:
        return outer is None
    return (
        outer.left <= inner.left
        and outer.bottom <= inner.bottom
        and outer.right >= inner.right
        and outer.top >= inner.top
    )


def _shown(store: Store, mosaic: str) -> tuple[Scene, ...]:
    try:
        version = open_version(store, mosaic)
    except NotFound:
        return ()
    return tuple({e.scene.id: e.scene for p in version.periods for e in version.entries(p)}.values())
