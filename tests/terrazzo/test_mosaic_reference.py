"""The engine's shortcuts against the plain way: all scenes through GDAL, the plain merge, exact projection."""

import morecantile
import numpy as np
import pytest

from terrazzo.bands import NODATA
from terrazzo.errors import ReadFailure
from terrazzo.grid import PixelBox
from terrazzo.mosaic import reference
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import tile_target
from terrazzo.mosaic.handles import Handles
from terrazzo.mosaic.request import PixelRequest
from terrazzo.store import create_store

MERCATOR = morecantile.tms.get("WebMercatorQuad")


@pytest.mark.parametrize("method", ["first", "feather", "median"])
@pytest.mark.parametrize(("normalize", "resampling"), [(False, "nearest"), (True, "bilinear")])
@pytest.mark.parametrize(("tile", "level"), [((1113, 728, 11), 0), ((556, 364, 10), 1), ((278, 182, 9), 2)])
def test_a_tile_equals_the_plain_way(engine, method, normalize, resampling, tile, level):
    request = PixelRequest(
        ("B04", "B08"), method=method, normalize=normalize, resampling=resampling, snow="keep"
    )
    selection = engine.select(request)
    target = tile_target(MERCATOR, *tile)
    fast = engine.render(selection, target).values
    plain = reference.render(engine.version, selection, target, level)
    assert ((fast == NODATA) == (plain == NODATA)).mean() > 0.999
    # Places are within a thousandth of a pixel: nearest may fall on the other side, bilinear round otherwise.
    assert (fast == plain).mean() > (0.95 if resampling == "bilinear" else 0.997)
    if resampling == "bilinear":
        both = (fast != NODATA) & (plain != NODATA)
        assert (np.abs(fast.astype(int) - plain)[both] <= 1).mean() > 0.999


def test_blocks_read_what_gdal_reads_at_every_level(engine):
    scene = engine.version.entries("all")[0].scene
    store, key = engine.version.store, scene.band_key("B02")
    blocks, handles = Blocks(), Handles()
    for level in range(4):
        covers = scene.box.coarser(2**level)
        middle = (covers.row0 + covers.row1) // 2, (covers.col0 + covers.col1) // 2
        for box in (
            covers,
            PixelBox(covers.row0 - 5, covers.col0 - 3, covers.row0 + 40, middle[1]),
            PixelBox(*middle, middle[0] + 1, middle[1] + 300),
        ):
            expected = handles.read(store.raster_path(key), level, covers, box, NODATA)
            assert (blocks.read(store, key, level, covers, box, NODATA) == expected).all()
    handles.close()


def test_decoded_blocks_stay_within_their_bound(engine):
    scene = engine.version.entries("all")[0].scene
    blocks = Blocks(kept_bytes=256 * 256 * 2 * 3)
    for band in engine.version.bands:
        blocks.read(engine.version.store, scene.band_key(band), 0, scene.box, scene.box, NODATA)
    assert blocks._bytes == sum(b.nbytes for b in blocks._blocks.values()) <= 256 * 256 * 2 * 3


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_truncated_file_is_named(engine, tmp_path, size):
    scene = engine.version.entries("all")[0].scene
    whole = engine.version.store.read_bytes(scene.band_key("B02"))
    store = create_store(tmp_path / "store", engine.version.store.config)
    store.write_bytes("B02.tif", whole[:size])
    with pytest.raises(ReadFailure, match=r"B02\.tif"):
        Blocks().read(store, "B02.tif", 0, scene.box, scene.box, NODATA)
