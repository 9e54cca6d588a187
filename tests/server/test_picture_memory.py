"""What a picture is counted as covers the memory that it takes, whatever it shows."""

import tracemalloc

import pytest

from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure, choose
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.server.layers import BANDS, image_of
from terrazzo.server.picture_memory import bytes_of
from terrazzo.store import Store
from terrazzo.version import open_version

PREDICTED = {"datetime": "2023-08-18", "fill": "predict"}


@pytest.fixture(scope="module")
def engine(sample_store):
    return Engine(open_version(Store(sample_store), "mosaic"), Blocks())


@pytest.mark.parametrize(
    ("layer", "asked"),
    [
        (None, {}),
        (None, {"method": "median"}),
        (None, {"method": "kriging"}),
        (None, PREDICTED),
        ("date", PREDICTED),
        ("quality", {}),
        ("gain", {}),
        ("sigma", {}),
        ("spread", {}),
    ],
)
def test_a_picture_takes_no_more_memory_than_it_is_counted_as(engine, layer, asked):
    box = engine.version.entries("all")[0].scene.box
    part = PixelBox(box.row0, box.col0, box.row0 + 512, box.col0 + 512)
    target = Target("EPSG:32633", engine.version.store.grid(32633).bounds(part), 512, 512)
    chosen = choose(engine, Measure(PixelRequest(BANDS, **asked)))

    def draw():
        if layer is None:
            return engine.render(chosen.selection, target)
        return image_of(layer, engine, chosen.selection, target)

    # Decoded blocks and compiled kernels stay; they are no part of a picture.
    draw()
    tracemalloc.start()
    try:
        draw()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    counted = bytes_of(engine, chosen, layer, target)
    assert peak <= counted <= 4 * peak
