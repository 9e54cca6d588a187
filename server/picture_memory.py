"""How much memory a picture takes while it is rendered, known before a pixel is read.

What it weighs covers the peaks that tests/server/test_picture_memory.py measures, of every kind of picture.
"""

from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Chosen
from terrazzo.mosaic.methods import METHODS
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target

PIXEL, BAND = 40, 14
"""Bytes a pixel, and of each of its bands, of scenes that are laid over each other one by one."""
STACKED, STACKED_BAND = 20, 3
"""Bytes a pixel of each scene, and of each of its bands, where all are merged at once."""
PREDICTED_BAND = 60
"""Bytes a pixel and band of a regression."""
LAYER_BAND, COMPARED_BAND = 65, 110
"""Bytes a pixel and band of a layer's numbers, and of those that compare scenes one by one."""
SPREAD_BAND = 20
"""Bytes a pixel and band of each scene whose spread is computed."""


def bytes_of(engine: Engine, chosen: Chosen, layer: str | None, target: Target) -> int:
    """Bytes that rendering a target takes at most, beside the blocks that are kept.

    Args:
        layer: of an origin, as `terrazzo.server.layers` has them.
    """
    every = (chosen.selection, chosen.baseline)
    each = [_pixel(engine, one, layer, target) for one in every if one is not None]
    return max(each) * target.height * target.width


def _pixel(engine: Engine, selection: Selection, layer: str | None, target: Target) -> int:
    request, bands = selection.request, len(selection.request.bands)
    predicts, stacks = request.fill == "predict", not METHODS[request.method].layered
    scenes = 0
    if predicts or stacks or layer == "spread":
        scenes = len(engine.planner.shown(engine.planner.holding(selection), target))
    out = PIXEL + BAND * bands
    if predicts or stacks:
        # One after the other: the trend of all scenes, then the regression.
        regression = PREDICTED_BAND * bands if predicts else 0
        out += max(scenes * (STACKED + STACKED_BAND * bands), regression)
    if layer is not None:
        # Numbers are computed when the image is there.
        own = (COMPARED_BAND if ORIGINS[layer].compares else LAYER_BAND) * bands
        out = max(out, own, SPREAD_BAND * bands * scenes if layer == "spread" else 0)
    return out
