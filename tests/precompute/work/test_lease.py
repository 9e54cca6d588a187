"""One writer at a time in an object store: by conditional writes, with an end for writers that are gone."""

import json

import pytest

from terrazzo.errors import StoreError
from terrazzo.precompute.work import lease
from terrazzo.precompute.work.lease import KEY, writer
from terrazzo.store import StoreConfig, create_store
from tests.waiting import PATIENCE
from tests.world.archive import BUCKET, KEYS, s3_server

pytestmark = pytest.mark.clients


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store in an S3 server."""
    with s3_server(tmp_path, {}) as address:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}).items():
            monkeypatch.setenv(name, value)
        yield create_store(f"s3://{BUCKET}/store", StoreConfig(bands=("B02", "B04", "B08")))


def left_behind(store, **about):
    """The lease of a writer on another machine."""
    store.write_bytes(
        KEY, json.dumps({"id": "x", "host": "elsewhere", "pid": 7, "work": "a solve", **about}).encode()
    )


def test_the_second_writer_gets_the_name_of_the_first(store):
    with (
        writer(store, "a long solve"),
        pytest.raises(StoreError, match="a long solve"),
        writer(store, "another"),
    ):
        pass
    with writer(store, "the next"):
        pass
    assert not store.exists(KEY)


def test_a_lease_that_was_not_renewed_is_taken_over(store):
    left_behind(store, until=0)
    with writer(store, "the next"):
        assert store.read_json(KEY)["work"] == "the next"


def test_a_lease_that_runs_is_not_taken_over(store):
    left_behind(store, until=1e12)
    with pytest.raises(StoreError, match="a solve on elsewhere, process 7"), writer(store, "the next"):
        pass
    assert store.read_json(KEY)["work"] == "a solve"


def test_of_two_that_take_over_at_once_one_wins(store):
    left_behind(store, until=0)
    _, mark = store.read_marked(KEY)
    assert store.replace(KEY, b'{"id": "first"}', mark)
    assert not store.replace(KEY, b'{"id": "second"}', mark)


def test_a_writer_that_was_taken_over_publishes_nothing(store, monkeypatch):
    monkeypatch.setattr(lease, "LASTS", 0.6)
    with writer(store, "slow") as mine:
        left_behind(store, until=1e12)
        mine._lost.wait(PATIENCE)
        with pytest.raises(StoreError, match="taken over"):
            mine.check()
    assert store.read_json(KEY)["work"] == "a solve"
