"""Outlines on the globe, which are cut where they cross the 180° line (RFC 7946, 3.1.9)."""

import numpy as np
import shapely


def cut(geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry in degrees, in parts on either side of the 180° line where it lies over it.

    What is wider than half the globe is taken to lie over the line.
    """
    west, _, east, _ = geometry.bounds
    if east - west <= 180:
        return geometry
    turned = shapely.make_valid(
        shapely.transform(geometry, lambda xy: np.stack([xy[:, 0] % 360, xy[:, 1]], -1))
    )
    left = shapely.intersection(turned, shapely.box(0, -90, 180, 90))
    right = shapely.intersection(turned, shapely.box(180, -90, 360, 90))
    return shapely.union(left, shapely.transform(right, lambda xy: xy - [360, 0]))
