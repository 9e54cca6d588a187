"""Items and the Collection that a run writes are valid STAC, checked without a network."""

import socket

import jsonschema
import pytest
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry
from referencing.jsonschema import DRAFT7

from terrazzo.scene import list_scenes, read_item
from terrazzo.store import Store
from tests.terrazzo.extensions import check_extensions

pytestmark = pytest.mark.slow


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a schema was fetched from the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Core schemas, as pystac ships them, by address."""
    schemas = get_local_schema_cache()
    return Registry().with_resources((u, DRAFT7.create_resource(s)) for u, s in schemas.items())


def check(document: dict, kind: str, registry: Registry) -> None:
    core = registry.contents(f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json")
    jsonschema.Draft7Validator(core, registry=registry).validate(document)
    check_extensions(document)


def test_items_are_valid(sample_store, registry, no_network):
    store = Store(sample_store)
    scenes = list(list_scenes(store))
    assert len(scenes) == 10
    for scene in scenes:
        item = read_item(store, scene)
        check(item, "item", registry)


def test_the_collection_is_valid(sample_store, registry, no_network):
    check(Store(sample_store).read_json("mosaics/mosaic/mosaic.json"), "collection", registry)


def test_a_wrong_item_would_be_found(sample_store, registry, no_network):
    store = Store(sample_store)
    item = read_item(store, next(list_scenes(store)))
    for name, value in (("datetime", "yesterday"), ("proj:shape", "wide"), ("view:off_nadir", 200)):
        wrong = item | {"properties": item["properties"] | {name: value}}
        with pytest.raises(jsonschema.ValidationError):
            check(wrong, "item", registry)
    with pytest.raises(AssertionError, match="proj:epsg is in no table"):
        check(item | {"properties": item["properties"] | {"proj:epsg": 32633}}, "item", registry)
    with pytest.raises(AssertionError, match="named"):
        check(item | {"stac_extensions": item["stac_extensions"][1:]}, "item", registry)
