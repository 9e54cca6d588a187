"""The plain way to a picture: GDAL's handles, every scene, the plain merge, each pixel projected exactly.

Slow and short: what the engine's shortcuts (kept indexes, scenes only until the box is full, a lattice of
projected nodes) are held to. It knows one zone and the stages `merged` and `normalized`.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import SCALE
from terrazzo.grid import PixelBox
from terrazzo.mosaic.handles import Handles
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target, box_around, gather, places
from terrazzo.mosaic.zone import LAST
from terrazzo.version import Version


def render(version: Version, selection: Selection, target: Target, level: int) -> NDArray[np.int16]:
    """(band, row, col) int16 of a target that one zone covers, from overview `level`.

    The store's masks must have the size of its pixels, so that weights need no interpolation, and the request
    must leave snow and fills alone (`snow=keep`, `fill=adjacent` with one period).
    """
    request, grid = selection.request, version.store.grid(version.zones[0])
    rows, cols = places(target.crs, np.meshgrid(*target.axes()), grid, level)
    box = box_around(rows, cols)
    assert box is not None
    handles, scenes, weights = Handles(), [], []
    for entry in selection.entries:
        covers = entry.scene.box.coarser(2**level)

        def read(key: str, fill: int, covers: PixelBox = covers) -> NDArray[np.generic]:
            return handles.read(version.store.raster_path(key), level, covers, box, fill)

        values = np.stack([read(entry.scene.band_key(b), -32768) for b in request.bands]).astype(np.int16)
        corners = version.corners(entry) if request.normalized else None
        if corners is not None:
            which = [version.bands.index(b) for b in request.bands]
            gain, offset = gains.decode(corners[0][:, which])
            side = grid.window >> level
            fields = [gains.field(f, corners[1], box, side) for f in (gain, offset)]
            values = gains.apply(values, fields[0], fields[1], SCALE)
        scenes.append(values)
        weights.append(read(entry.weight_key, 0).astype(np.uint8))
    handles.close()
    weight = np.stack(weights)
    weight[(weight == LAST) & (weight > LAST).any(axis=0)] = 0
    merged = merge(np.stack(scenes), weight, request.method)
    return gather(merged.values, box, rows, cols, -32768, request.resampling)
