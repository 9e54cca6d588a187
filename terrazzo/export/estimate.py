"""The cost of an export, before it starts: a few small windows are rendered and packed in the same way."""

import time
from functools import partial
from typing import NamedTuple

import numpy as np

from terrazzo.bulk.windows import export_target, part_of, sheet_count, sheets, touching, window_side
from terrazzo.export.files import rasters
from terrazzo.export.order import Order
from terrazzo.export.packing import BLOCK, Packing, level_count
from terrazzo.export.pieces import stored_values
from terrazzo.export.run import OVERVIEWS, room_needed
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import choose, draw
from terrazzo.mosaic.origin import ORIGINS, Rendering, compares, count_needed
from terrazzo.mosaic.warp import Target

SAMPLE = 256
SAMPLES = 4
BEGIN = 2.0
"""Seconds that a worker needs before its first window."""


class Estimate(NamedTuple):
    """What an export will cost.

    Attributes:
        width, height: pixels; `bands` of them are stored, extras not counted.
        bytes: of all files, extrapolated from the samples.
        room: bytes that have to be free while it runs; what is not used is given back as it goes on.
        seconds: on this machine with so many threads, from the same samples.
        scenes: ids of the scenes whose squares reach into the area.
    """

    width: int
    height: int
    bands: int
    files: int
    bytes: int
    room: int
    seconds: float
    scenes: tuple[str, ...]
    crs: str
    request: str


def estimate(engine: Engine, order: Order, workers: int = 1) -> Estimate:
    """Measures an order on up to `SAMPLES` places of its area.

    Raises:
        InvalidRequest: the order cannot be carried out.
    """
    chosen = choose(engine, order.measure)
    target = export_target(engine.version, order.area, order.crs, order.resolution)
    kinds = rasters(order, chosen)
    seconds, packed, seen = 0.0, 0, 0
    scenes = touching(engine, chosen, target)
    for part in _samples(target) if scenes else ():
        start = time.perf_counter()
        drawn = draw(chosen, partial(engine.render, target=part, count_to=count_needed(order.extras)))
        rendering = Rendering(engine, chosen.selection, part, drawn.image)
        for kind in kinds:
            array = (
                ORIGINS[kind.layer].stored(rendering).values
                if kind.layer
                else stored_values(drawn.values, order)
            )
            packing = Packing(order.compression, 0 if order.picture else kind.nodata, kind.smooth)
            packed += sum(len(packing.packed(block)) for block in packing.cut(array))
        seconds += time.perf_counter() - start
        seen += part.height * part.width
        del drawn, rendering
    pixels = target.height * target.width
    share = pixels / seen if seen else 0.0
    size = packed * share * (1 + OVERVIEWS)
    if scenes and order.compression == "none":
        spans = [BLOCK << level for level in range(level_count(target.shape))]
        blocks = sum(-(-target.height // span) * -(-target.width // span) for span in spans)
        size = blocks * BLOCK**2 * sum(len(k.bands) * np.dtype(k.dtype).itemsize for k in kinds)
    return Estimate(
        width=target.width,
        height=target.height,
        bands=len(kinds[0].bands),
        files=sheet_count(target, order.split) * len(kinds),
        bytes=int(size),
        room=room_needed(
            [s.target for s in sheets(target, order.split)],
            kinds,
            order.compression,
            window_side(engine.planner.holding(chosen.selection), workers, compares=compares(order.extras)),
        ),
        seconds=round(BEGIN + seconds * share * (1 + OVERVIEWS) / workers, 1),
        scenes=tuple(e.scene.id for e in scenes),
        crs=target.crs,
        request=chosen.text(),
    )


def _samples(target: Target) -> list[Target]:
    """Small windows in the quarters of a target; all of it where that is small."""
    if target.height <= 2 * SAMPLE and target.width <= 2 * SAMPLE:
        return [target]
    height, width = min(SAMPLE, target.height), min(SAMPLE, target.width)
    places = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)][:SAMPLES]
    return [
        part_of(target, int(r * (target.height - height)), int(c * (target.width - width)), height, width)
        for r, c in places
    ]
