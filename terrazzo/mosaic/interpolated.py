"""What lies between the numbers of `stage=raw` and the product's own: resampling to the store, overviews, interpolation."""

from collections.abc import Iterable

from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Points, Target
from terrazzo.scene import Scene, read_item, resampled


def interpolated(
    engine: Engine, selection: Selection, scenes: Iterable[Scene], where: Target | Points
) -> tuple[str, ...]:
    """Why a value of `stage=raw` is not the product's own number, a line each; empty where it is, and for other stages.

    Args:
        scenes: those that show; their Items are read.
    """
    if selection.request.stage != "raw":
        return ()
    plans = engine.planner.zones(selection, where)
    lines = list(resamplings(engine, scenes))
    lines += {
        2**p.level: f"means of {2**p.level} x {2**p.level} of the store's pixels" for p in plans if p.level
    }.values()
    if selection.request.resampling != "nearest" and any(p.own is None for p in plans):
        lines.append("interpolated between the store's pixels to the place; resampling=nearest does not")
    return tuple(lines)


def resamplings(engine: Engine, scenes: Iterable[Scene]) -> tuple[str, ...]:
    """How the products' pixels were resampled to the store's, each way once; empty where they were not."""
    store = engine.version.store
    reads = [lambda scene=scene: resampled(read_item(store, scene)["properties"]) for scene in scenes]
    return tuple(sorted({line for line in engine.blocks.fetch(reads) if line}))
