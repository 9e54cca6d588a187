"""mosaic.toml says from which pixels on the default picture is merged beforehand, and precompute does so."""

import shutil
from pathlib import Path

import morecantile
import numpy as np
import pytest

from terrazzo.bands import NODATA
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.pyramid import read_pyramid
from terrazzo.mosaic.request import PixelRequest
from terrazzo.precompute.pipeline import Options, run
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.chain import Chain
from tests.world.worlds import World

pytestmark = pytest.mark.slow
REQUEST = PixelRequest(("B04", "B08"))
TMS = morecantile.tms.get("WebMercatorQuad")


def test_precompute_begins_the_pyramid_where_mosaic_toml_says(
    simulated: tuple[Chain, World], tmp_path: Path
) -> None:
    chain, _ = simulated
    store = Store(shutil.copytree(str(chain.store.root), tmp_path / "store"))
    store.write_bytes("mosaics/mosaic/mosaic.toml", b"pyramid_from = 40\n")
    version = run([chain.folder], store, "mosaic", Options()).version
    assert version is not None
    assert version.name == open_version(store, "mosaic").name != chain.version.name
    deep, plain = (Engine(v, Blocks()) for v in (version, chain.version))
    zones = version.zones[0]
    parts = [read_pyramid(e.version.store, "mosaic", e.version.name)["all", zones] for e in (deep, plain)]
    assert [part.level for part in parts] == [2, 4]
    shown = []
    for zoom in (13, 12, 11, 10):
        bounds = version.bounds
        at = TMS.tile((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2, zoom)
        target = tile_target(TMS, at.x, at.y, zoom)
        (planned,) = deep.planner.zones(deep.select(REQUEST), target)
        (before,) = plain.planner.zones(plain.select(REQUEST), target)
        shown.append((planned.level, planned.part is not None))
        assert before.part is None
        a, b = (e.tile(REQUEST, TMS, at.x, at.y, zoom).values for e in (deep, plain))
        assert (b != NODATA).any()
        if planned.level <= parts[0].level:
            np.testing.assert_array_equal(a, b)
        else:
            # The pyramid averages merged pixels, scenes are merged from their own overviews.
            both = (a != NODATA) & (b != NODATA)
            assert (both == (b != NODATA)).mean() > 0.95
            assert np.median(np.abs(a[both] - b[both])) < 30
    assert shown == [(0, False), (1, False), (2, True), (3, True)]
