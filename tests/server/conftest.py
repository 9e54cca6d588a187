"""A client of the application over the sample store, shared by all tests of the server."""

import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings


@pytest.fixture(scope="session")
def client(sample_store):
    with TestClient(create_app(Settings(store=str(sample_store)))) as client:
        yield client
