"""First looks are served until a mosaic is published, then the published one, and each answer says which it is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import morecantile
import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.mosaics import Mosaics
from terrazzo.server.settings import Settings
from tests.golden.make import STORE
from tests.server.test_serve import publish
from tests.server.versions import SECOND, publish_second

FIRST = "57928d029e4c"
TILEJSON = "/mosaics/mosaic/WebMercatorQuad/tilejson.json"


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """An empty store, and one of a first look."""
    (tmp_path / "store").mkdir()
    shutil.copytree(STORE, tmp_path / "look")
    return tmp_path / "store", tmp_path / "look"


@pytest.fixture
def client(stores: tuple[Path, Path], tmp_path: Path) -> Iterator[TestClient]:
    store, look = stores
    (tmp_path / "finer").mkdir()
    settings = Settings(
        store=str(store), live=(str(tmp_path / "finer"), str(look)), follow=0, cache_dir=tmp_path / "cache"
    )
    with TestClient(create_app(settings)) as client:
        yield client


def tile_of(client: TestClient) -> str:
    lon, lat, zoom = client.get(TILEJSON).json()["center"]
    tile = morecantile.tms.get("WebMercatorQuad").tile(lon, lat, int(zoom))
    return f"/mosaics/mosaic/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"


def published(stores: tuple[Path, Path]) -> None:
    """Puts a mosaic of one scene, of the look's two, into the store."""
    store, look = stores
    made = store.with_name("made")
    shutil.copytree(look, made)
    publish_second(made, 1)
    shutil.rmtree(made / "mosaics/mosaic/versions" / FIRST)
    publish(made, store)


def test_a_look_is_shown_until_the_mosaic_is_published(client: TestClient, stores: tuple[Path, Path]) -> None:
    about = client.get(TILEJSON).json()
    assert about["terrazzo:state"] == "live"
    path = tile_of(client)
    for _ in range(2):
        first = client.get(path)
        assert first.headers["X-Terrazzo-State"] == "live"
        assert first.headers["Cache-Control"] == "public, max-age=2"
    named = f"{path}?version={about['terrazzo:version']}"
    assert client.get(named).headers["Cache-Control"] == "public, max-age=2"
    published(stores)
    about = client.get(TILEJSON).json()
    assert (about["terrazzo:state"], about["terrazzo:version"]) == ("published", SECOND)
    last = client.get(path)
    assert last.headers["X-Terrazzo-State"] == "published"
    assert f"version={SECOND}" in last.headers["X-Terrazzo-Request"]
    assert "max-age=60" in last.headers["Cache-Control"]
    assert last.content != first.content
    # Who still has the look's addresses gets the look.
    kept = client.get(named)
    assert (kept.headers["X-Terrazzo-State"], kept.content) == ("live", first.content)


def test_a_search_finds_what_is_shown(client: TestClient, stores: tuple[Path, Path]) -> None:
    def matched(path: str) -> int:
        return int(client.get(path).json()["numberMatched"])

    paths = ("/search?collections=mosaic", "/collections/mosaic/items", "/collections/mosaic.periods/items")
    assert [matched(p) for p in paths] == [2, 2, 1]
    properties = client.get("/collections/mosaic/queryables").json()["properties"]
    assert "eo:cloud_cover" in properties
    assert properties.items() <= client.get("/queryables").json()["properties"].items()
    (page,) = [
        k for k in client.get("/search?collections=mosaic&limit=1").json()["links"] if k["rel"] == "next"
    ]
    published(stores)
    assert [matched(p) for p in paths] == [1, 1, 1]
    # The pages of a look stay those of the look, and so do its Items.
    assert client.get(page["href"]).json()["numberMatched"] == 2
    assert matched(f"/search?collections=mosaic-{FIRST}") == 2


def test_documents_of_a_look_are_kept_no_longer_than_its_pictures(
    client: TestClient, stores: tuple[Path, Path]
) -> None:
    paths = (
        TILEJSON,
        *(f"/mosaics/mosaic/{n}" for n in ("days", "seams", "imagery-index.json", "layers.qlr")),
    )

    def ages() -> set[str]:
        return {client.get(path).headers["cache-control"] for path in paths}

    assert ages() == {"public, max-age=2"}
    published(stores)
    assert ages() == {"public, max-age=60"}


def test_every_document_speaks_of_the_look(client: TestClient) -> None:
    assert [c["id"] for c in client.get("/mosaics").json()["collections"]] == ["mosaic"]
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml").status_code == 200
    lon, lat, _ = client.get(TILEJSON).json()["center"]
    assert client.get(f"/mosaics/mosaic/point/{lon},{lat}").json()


def test_a_mosaic_that_no_store_has_yet_may_still_come(client: TestClient) -> None:
    refused = client.get("/mosaics/other/WebMercatorQuad/tilejson.json")
    assert refused.status_code == 503


def test_all_stores_keep_their_blocks_in_one_place(stores: tuple[Path, Path]) -> None:
    """So the memory that the settings name is what a server or a worker takes, however many stores there are."""
    published(stores)
    store, look = stores
    settings = Settings(store=str(store), live=(str(look),), follow=0, blocks=12345)
    mosaics = Mosaics.of(settings)
    shown, before = mosaics.engine("mosaic"), mosaics.engine("mosaic", FIRST)
    assert shown.version.store is not before.version.store
    assert shown.blocks is before.blocks
    assert shown.blocks._kept_bytes == settings.blocks
    mosaics.close()


def test_the_page_knows_whether_a_first_look_will_come(client: TestClient, tmp_path: Path) -> None:
    as_browsers = {"Accept": "text/html"}
    assert "data-looks" in client.get("/", headers=as_browsers).text
    with TestClient(create_app(Settings(store=str(STORE), cache_dir=tmp_path / "other"))) as published:
        assert "data-looks" not in published.get("/", headers=as_browsers).text
