"""Flips bits in a store and says what its readers make of it."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import morecantile
import numpy as np

from terrazzo.errors import ReadFailure, TerrazzoError
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.index import Cog
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Points
from terrazzo.store import Store
from terrazzo.version import open_version

Outcome = Literal["same", "named", "refused", "silent", "traceback"]
"""The same pixels; others, with a problem named; no answer, with an error for the user; others without a word; another error."""
WEB = morecantile.tms.get("WebMercatorQuad")
BANDS = ("B02", "B03", "B04")
REQUESTS = (
    PixelRequest(BANDS),
    PixelRequest(("B04", "B08"), method="first"),
    PixelRequest(BANDS, stage="raw"),
    PixelRequest(BANDS, stage="mask"),
    PixelRequest(BANDS, method="median", normalize="off"),
)


@contextmanager
def changed(path: Path, data: bytes) -> Iterator[None]:
    """A file with other content for a while."""
    whole = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Bytes of which one bit is another."""
    out = bytearray(data)
    out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


class Readers:
    """What a store's rasters and answers are, to be compared with what they are when a file is damaged.

    Args:
        store: a folder with one mosaic, called `mosaic`.
        places: longitude and latitude of tiles to render.
        zooms: of the tiles.
    """

    def __init__(self, store: Path, places: tuple[tuple[float, float], ...], zooms: tuple[int, ...]) -> None:
        self.store = store
        self._tiles = [WEB.tile(lon, lat, zoom) for lon, lat in places for zoom in zooms]
        self._places = places
        self._answers = list(self._rendered())
        self._rasters: dict[Path, list[Any]] = {}

    def files(self) -> list[Path]:
        """The files of the store that determine answers."""
        skipped = ("references", "differences")
        return sorted(
            p
            for p in self.store.rglob("*")
            if p.is_file() and p.stat().st_size and not set(p.parts) & set(skipped) and p.name != ".writer"
        )

    def outcome(self, path: Path, data: bytes) -> Outcome:
        """What readers make of the store when one of its files holds `data`."""
        if path.suffix == ".tif":
            if path not in self._rasters:
                self._rasters[path] = list(self._levels(path))
            before: list[Any] = self._rasters[path]
            work: Callable[[], Iterator[Any]] = lambda: self._levels(path)  # noqa: E731
        else:
            before, work = self._answers, self._rendered
        worst: Outcome = "same"
        with changed(path, data):
            try:
                for old, new in zip(before, work(), strict=True):
                    worst = max(worst, _compared(old, new), key=RANKS.index)
            except TerrazzoError:
                return "refused"
            except Exception:
                return "traceback"
        return worst

    def _levels(self, path: Path) -> Iterator[Any]:
        """All blocks of a raster, at each level; None for one that is refused."""
        store = Store(self.store)
        key = path.relative_to(self.store).as_posix()
        shapes = self._shapes(path)
        blocks = Blocks()
        for level, (rows, cols) in enumerate(shapes):
            for row in range(0, rows, 256):
                for col in range(0, cols, 256):
                    box = PixelBox(row, col, min(rows, row + 256), min(cols, col + 256))
                    found = None
                    with suppress(ReadFailure):
                        found = blocks.read(store, key, level, PixelBox(0, 0, rows, cols), box, 0)
                    # What was refused is refused for a while; here each block speaks for itself.
                    blocks._broken.clear()
                    yield found
        blocks.close()

    def _shapes(self, path: Path) -> list[tuple[int, int]]:
        """Sizes of the levels, as the scene's Item says, whatever the file says now."""
        if not hasattr(self, "_known"):
            self._known: dict[Path, list[tuple[int, int]]] = {}
        if path not in self._known:
            cog = Cog(Store(self.store), path.relative_to(self.store).as_posix())
            self._known[path] = [level.shape for level in cog.levels]
        return self._known[path]

    def _rendered(self) -> Iterator[Image]:
        engine = Engine(open_version(Store(self.store), "mosaic"), Blocks())
        x, y = np.array([p[0] for p in self._places]), np.array([p[1] for p in self._places])
        where = Points("EPSG:4326", x, y)
        try:
            for request in REQUESTS:
                selection = engine.select(request)
                for tile in self._tiles:
                    yield engine.render(selection, _target(engine, tile))
                image = engine.points(selection, "EPSG:4326", x, y)
                yield image._replace(quality=quality(engine, selection, where, image))  # type: ignore[arg-type]
                engine.content_hash(selection, _target(engine, self._tiles[0]))
        finally:
            engine.blocks.close()


RANKS: tuple[Outcome, ...] = ("same", "named", "refused", "silent", "traceback")


def _target(engine: Engine, tile: morecantile.Tile) -> Any:
    from terrazzo.mosaic.engine import tile_target

    return tile_target(WEB, tile.x, tile.y, tile.z)


def _compared(old: Any, new: Any) -> Outcome:
    if new is None:
        return "same" if old is None else "named"
    if isinstance(old, Image):
        if new.problems:
            return "named"
        names = [[e.scene.id for e in i.entries] for i in (old, new)]
        same = names[0] == names[1] and all(
            np.array_equal(getattr(old, n), getattr(new, n))
            for n in ("values", "provenance", "count", "quality")
        )
        return "same" if same else "silent"
    return "same" if np.array_equal(old, new) else "silent"
