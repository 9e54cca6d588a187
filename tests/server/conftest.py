"""A client of the application over the sample store, shared by all tests of the server."""

import shutil

import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from tests.golden.make import STORE
from tests.server.interfaces import Interfaces


@pytest.fixture(scope="session")
def client(sample_store):
    with TestClient(create_app(Settings(store=str(sample_store)))) as client:
        yield client


@pytest.fixture(scope="module")
def interfaces(tmp_path_factory):
    store = tmp_path_factory.mktemp("language") / "store"
    shutil.copytree(STORE, store)
    # The golden store is older than clear scores; any raster on their grid does here.
    for mask in store.glob("scenes/*/*/*/*/mask.tif"):
        shutil.copy(mask, mask.with_name("score.tif"))
    settings = Settings(store=str(store), export_jobs=1000)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as http:
        yield Interfaces(http, str(store))
