"""A version's MosaicJSON serves other software."""

import io

import morecantile
import numpy as np
import pytest
from cogeo_mosaic.backends import MosaicBackend
from fastapi import FastAPI
from fastapi.testclient import TestClient
from rio_tiler.io import STACReader
from titiler.core.dependencies import AssetsExprParams
from titiler.mosaic.factory import MosaicTilerFactory

from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.store import Store
from terrazzo.version import open_version, version_key
from tests.chain import precompute
from tests.world.worlds import make_world


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_stock_titiler_in_the_stores_folder_serves_the_unnormalized_first_mosaic(sample_store, monkeypatch):
    version = open_version(Store(sample_store), "mosaic")
    monkeypatch.chdir(sample_store)
    path = version_key("mosaic", version.name, "mosaicjson.json")
    app = FastAPI()
    factory = MosaicTilerFactory(
        backend=MosaicBackend, dataset_reader=STACReader, layer_dependency=AssetsExprParams
    )
    app.include_router(factory.router)
    with TestClient(app) as client:
        answer = client.get(
            "/tiles/WebMercatorQuad/11/1113/728.npy",
            params={"url": path, "assets": ["B04", "B08"], "tilesize": 256},
        )
    assert answer.status_code == 200, answer.text
    stock = np.load(io.BytesIO(answer.content))[:2]
    request = PixelRequest(("B04", "B08"), stage="corrected", resampling="nearest")
    ours = Engine(version, Blocks()).tile(request, morecantile.tms.get("WebMercatorQuad"), 1113, 728, 11)
    # rio-tiler reads a part at one resolution and warps it: half a pixel here and there is its own.
    assert np.median(np.abs(stock.astype(int) - ours.values)) == 0
    assert (stock == ours.values).mean() > 0.9


def test_a_version_that_was_published_quickly_gets_its_mosaicjson_with_the_next_run(tmp_path):
    make_world(tmp_path / "products", dates=1, size=(96, 96))

    def written(*, quick: bool) -> tuple[str, bool]:
        version = precompute(tmp_path / "products", tmp_path / "store", quick=quick)[0].version
        return version.name, version.store.exists(version_key("mosaic", version.name, "mosaicjson.json"))

    quick, full = written(quick=True), written(quick=False)
    assert quick == (full[0], False)
    assert full[1]
