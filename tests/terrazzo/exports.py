"""Orders and exports of the sample, for tests."""

import rasterio

from terrazzo.bulk.windows import export_target
from terrazzo.export.order import parse_order
from terrazzo.export.run import Exported, export

BOX = (15.9, 45.75, 16.1, 45.95)
SMALL = (15.95, 45.8, 15.98, 45.82)
OUTLINE = [[15.93, 45.80], [15.97, 45.80], [15.97, 45.83], [15.945, 45.83], [15.93, 45.82], [15.93, 45.80]]


def ordered(engine, **asked):
    if "geometry" not in asked:
        asked = {"bbox": BOX, **asked}
    return parse_order({"bands": ["B04", "B08"], "extras": "none", **asked}, engine.version)


def target_of(engine, order):
    return export_target(engine.version, order.area, order.crs, order.resolution)


def written(engine, path, **asked):
    order = ordered(engine, **asked)
    steps = list(export(engine, order, path, workers=2))
    assert steps[:-1] == sorted(steps[:-1])
    assert isinstance(steps[-1], Exported)
    return steps[-1]


def read(path):
    with rasterio.open(path) as file:
        return file.read(masked=True)


def expected(engine, order):
    return engine.render(engine.select(order.pixels), target_of(engine, order))
