"""A repeated request is answered as the first was, without a look at the store, and never with what no longer holds."""

import diskcache
import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.cache import FOLDER, BytesDisk
from terrazzo.server.keys import Keys
from terrazzo.server.recent import LONGEST, MOST, Answered, Recent
from terrazzo.server.settings import Settings
from tests.golden.make import STORE

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/14/8874/5825"
OF_THE_MOMENT = {"x-cache", "server-timing", "x-request-id"}
WMTS = "/mosaics/mosaic/wmts"
ADDRESSES = (
    f"{TILE}.png",
    f"{TILE}@2x.webp",
    f"{TILE.replace('/14/', '/2023-08/14/')}.png",
    f"{TILE}.npy?bands=B08,B04",
    f"{TILE}.tif?style=scene",
    "/mosaics/mosaic/bbox/15.001,46.046,15.011,46.052.tif",
    "/mosaics/mosaic/bbox/15.001,46.046,15.011,46.052/64x64.png?style=ndvi",
    f"{WMTS}/1.0.0/mosaic/default/WebMercatorQuad/14/5825/8874.png",
    f"{WMTS}?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=mosaic&STYLE=default&FORMAT=image/png"
    "&TILEMATRIXSET=WebMercatorQuad&TILEMATRIX=14&TILEROW=5825&TILECOL=8874",
)


def opened(tmp_path, **settings):
    app = create_app(Settings(store=str(STORE), cache_dir=tmp_path / "cache", **settings))
    return TestClient(app, base_url="http://127.0.0.1")


def lasting(answer):
    """What must be the same of two answers."""
    headers = {k: v for k, v in answer.headers.items() if k not in OF_THE_MOMENT}
    return answer.status_code, headers, answer.content


def looked(answer):
    """Whether the store was looked at for an answer."""
    return "look;" in answer.headers["server-timing"]


def settled(client, address):
    """The first answer to an address, once its picture is in the cache."""
    first = client.get(address)
    assert first.status_code == 200, first.text
    while client.get(address).headers["x-cache"] != "hit":
        pass
    return first


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_repeated_request_gets_the_same_answer_without_a_look(tmp_path, address):
    with opened(tmp_path, follow=3600) as client:
        first = settled(client, address)
        again = client.get(address)
        assert looked(first)
        assert not looked(again)
        assert lasting(again) == lasting(first)
        unchanged = client.get(address, headers={"If-None-Match": first.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == first.headers["etag"]
        other = client.get(address, headers={"If-None-Match": '"another"'})
        assert lasting(other) == lasting(first)
        head = client.head(address)
        assert (head.headers["content-length"], head.content) == (str(len(first.content)), b"")


def test_the_pointer_is_looked_at_when_it_may_have_moved(tmp_path):
    with opened(tmp_path, follow=0) as client:
        first = settled(client, f"{TILE}.png")
        assert looked(client.get(f"{TILE}.png"))
        name = first.headers["x-terrazzo-request"].partition("version=")[2].partition("&")[0]
        named = f"{TILE}.png?version={name}"
        settled(client, named)
        assert not looked(client.get(named))


def test_without_a_cache_a_picture_is_drawn_and_a_304_is_not(tmp_path):
    with TestClient(create_app(Settings(store=str(STORE), follow=3600))) as client:
        first, again = client.get(f"{TILE}.png"), client.get(f"{TILE}.png")
        assert again.headers["x-cache"] == "miss"
        assert lasting(again) == lasting(first)
        etag = {"If-None-Match": first.headers["etag"]}
        assert client.get(f"{TILE}.png", headers=etag).status_code == 304


def test_a_picture_that_the_cache_has_lost_is_drawn(tmp_path):
    with opened(tmp_path, follow=3600) as client:
        first = settled(client, f"{TILE}.png")
        with diskcache.Cache(str(tmp_path / "cache" / FOLDER), disk=BytesDisk) as cache:
            assert cache.clear() == 1
        drawn = client.get(f"{TILE}.png")
        assert drawn.headers["x-cache"] == "miss"
        assert lasting(drawn) == lasting(first)


def test_an_answer_is_only_for_clients_that_may_see_it(tmp_path):
    state = tmp_path / "state"
    key = Keys(state).add("Anna", ["tiles"])
    with opened(tmp_path, follow=3600, state=state, protect=("tiles",)) as client:
        address = f"{TILE}.png?api_key={key}"
        first = settled(client, address)
        assert not looked(client.get(address))
        assert "private" in client.get(address).headers["cache-control"]
        etag = {"If-None-Match": first.headers["etag"]}
        assert [client.get(f"{TILE}.png", headers=h).status_code for h in ({}, etag)] == [401, 401]
        Keys(state).revoke(key.split("_")[1])
        assert client.get(address).status_code == 401


def test_what_cannot_be_answered_is_not_noted(tmp_path):
    with opened(tmp_path, follow=3600) as client:
        for address, status in (("?bands=B99", 400), ("?version=ffffffffffff", 404)):
            assert [client.get(f"{TILE}.png{address}").status_code for _ in range(3)] == [status] * 3


def test_a_time_that_is_named_twice_is_refused_whatever_was_answered_before(tmp_path):
    with opened(tmp_path, follow=3600) as client:
        settled(client, address := f"{TILE.replace('/14/', '/all/14/')}.png")
        twice = client.get(f"{address}?datetime=all")
        assert (twice.status_code, twice.json()["detail"][:9]) == (400, "datetime:")


def test_the_least_used_address_is_dropped_first_and_a_long_one_is_not_kept():
    recent, answered = Recent(), Answered("m", "v", False, "k", "image/png", {"ETag": '"k"'})
    scopes = [{"path": f"/{n}", "query_string": b""} for n in range(MOST + 1)]
    for scope in scopes[:-1]:
        recent.note(scope, answered)
    assert recent.find(scopes[0]) is answered
    recent.note(scopes[-1], answered)
    assert recent.find(scopes[0]) is answered
    assert recent.find(scopes[1]) is None
    long = {"path": "/", "query_string": b"x" * LONGEST}
    recent.note(long, answered)
    assert recent.find(long) is None
