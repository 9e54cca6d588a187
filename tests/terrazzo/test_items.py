"""Items and the Collection that a run writes are valid STAC, checked without a network."""

import json
import socket
from pathlib import Path

import jsonschema
import pytest
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry
from referencing.jsonschema import DRAFT7

from terrazzo.scene import list_scenes, read_item
from terrazzo.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a schema was fetched from the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def registry(shared: Path) -> Registry:
    """Core schemas as pystac ships them, and the extensions', by address."""
    schemas = dict(get_local_schema_cache())
    for path in (shared / "kit/schemas/stac").glob("*.json"):
        document = json.loads(path.read_text())
        schemas[document["$id"].rstrip("#")] = document
    return Registry().with_resources((u, DRAFT7.create_resource(s)) for u, s in schemas.items())


def check(document: dict, kind: str, registry: Registry) -> None:
    core = f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"
    for url in (core, *document["stac_extensions"]):
        schema = registry.contents(url)
        jsonschema.Draft7Validator(schema, registry=registry).validate(document)


def test_items_are_valid(sample_store, registry, no_network):
    store = Store(sample_store)
    scenes = list(list_scenes(store))
    assert len(scenes) == 10
    for scene in scenes:
        item = read_item(store, scene)
        used = {
            k.split(":")[0] for k in (*item["properties"], *(k for a in item["assets"].values() for k in a))
        }
        named = {u.split("/")[3].replace("projection", "proj") for u in item["stac_extensions"]}
        assert {"proj", "sat", "view", "processing", "file", "grid"} <= used & named
        assert "raster" in named, "bands carry raster:scale"
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
