"""A server with more to do than it can: what it refuses, what it gives up, and what it still answers."""

import http.client
import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.server.test_serve import serving
from tests.waiting import PATIENCE, until

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
AMPLE = str(16 << 30)
"""Memory for all that a test asks at once."""
HEAVY = "/mosaics/mosaic/bbox/15.9,45.75,16.05,45.85/2048x2048.npy?bands=B02,B03,B04,B08&method=robust&max_cloud={}"


def fetched(address, path, **headers):
    asked = urllib.request.Request(address + path, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def count(address, pattern):
    found = re.findall(rf"^{pattern} (\S+)$", fetched(address, "/metrics")[2].decode(), re.MULTILINE)
    return sum(map(float, found))


@contextmanager
def leaving(address, path):
    """A client that asks and goes away when the block ends, without reading the answer."""
    client = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    client.request("GET", path)
    try:
        yield
    finally:
        client.sock.close()
        client.close()


def test_past_the_queue_it_sheds_with_retry_after_and_still_answers_health_and_304(sample_store):
    with serving(sample_store, TERRAZZO_THREADS="1", TERRAZZO_QUEUE="2", TERRAZZO_MEMORY=AMPLE) as (
        _,
        address,
    ):
        etag = fetched(address, TILE)[1]["etag"]
        with ThreadPoolExecutor(8) as users:
            heavy = [users.submit(fetched, address, HEAVY.format(60 + i)) for i in range(8)]
            assert until(lambda: any(h.done() for h in heavy))
            assert not all(h.done() for h in heavy)
            assert fetched(address, "/healthz")[0] == 200
            assert fetched(address, "/readyz")[0] == 200
            assert fetched(address, TILE, **{"If-None-Match": etag})[0] == 304
            assert not all(h.done() for h in heavy)
            answers = [h.result() for h in heavy]
        refused = [headers for status, headers, _ in answers if status == 503]
        assert len(refused) == 5
        assert all(int(h["retry-after"]) > 0 and h["cache-control"] == "no-store" for h in refused)
        assert sorted(a[0] for a in answers) == [200] * 3 + [503] * 5
        assert fetched(address, TILE)[0] == 200


def test_a_room_full_of_maps_is_not_refused(sample_store):
    # 50 maps ask for six tiles each; one thread makes the queue as long as it gets.
    with serving(sample_store, TERRAZZO_THREADS="1") as (_, address), ThreadPoolExecutor(300) as users:
        asked = [users.submit(fetched, address, f"{TILE}?max_cloud={i / 4}") for i in range(300)]
        assert {a.result()[0] for a in asked} == {200}


def test_work_whose_client_left_is_not_done(sample_store):
    with serving(sample_store, TERRAZZO_THREADS="1", TERRAZZO_MEMORY=AMPLE) as (_, address):
        with ThreadPoolExecutor(1) as users:
            first = users.submit(fetched, address, HEAVY.format(90))
            assert until(lambda: count(address, "terrazzo_queue") == 1)
            with leaving(address, HEAVY.format(80)), leaving(address, HEAVY.format(70)):
                assert until(lambda: count(address, "terrazzo_queue") == 3)
            assert until(lambda: count(address, 'terrazzo_tiles_total{cache="none",outcome="left"}') == 2)
            assert first.result()[0] == 200
        assert fetched(address, TILE)[0] == 200
        assert count(address, 'terrazzo_step_seconds_count{step="pixels"}') == 2


def test_a_request_that_takes_too_long_is_given_up(sample_store):
    with serving(sample_store, TERRAZZO_DEADLINE="0.05") as (_, address):
        status, headers, body = fetched(address, HEAVY.format(90))
        assert (status, headers["cache-control"]) == (503, "no-store")
        assert int(headers["retry-after"]) > 0
        assert "0.05 s" in json.loads(body)["detail"]
        assert fetched(address, "/healthz")[0] == 200


def test_a_new_version_comes_without_a_failed_request(sample_store, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(sample_store, store)
    versions, pointer = store / "mosaics/mosaic/versions", store / "mosaics/mosaic/mosaic.json"
    old, new = next(versions.iterdir()).name, "abcdefabcdef"
    shutil.copytree(versions / old, versions / new)
    with serving(store, "--workers", "2", "--cache-dir", str(tmp_path / "cache"), TERRAZZO_FOLLOW="0.2") as (
        _,
        address,
    ):
        ended = threading.Event()

        def pan(seed):
            seen = []
            while not ended.is_set():
                x, y = 1112 + seed % 3, 727 + len(seen) % 3
                seen.append(fetched(address, f"/mosaics/mosaic/tiles/WebMercatorQuad/11/{x}/{y}.png"))
                time.sleep(0.02)
            return seen

        def served(version):
            return version in fetched(address, TILE)[1]["x-terrazzo-request"]

        with ThreadPoolExecutor(4) as users:
            panning = [users.submit(pan, i) for i in range(4)]
            try:
                assert until(lambda: served(old))
                document = json.loads(pointer.read_text()) | {"terrazzo:version": new}
                (tmp_path / "pointer").write_text(json.dumps(document))
                (tmp_path / "pointer").replace(pointer)
                # Each of the workers follows by itself.
                assert until(lambda: all(served(new) for _ in range(10)))
            finally:
                ended.set()
            answers = [a for p in panning for a in p.result()]
        assert {status for status, _, _ in answers} == {200}
        told = {re.search(r"version=(\w+)", h["x-terrazzo-request"])[1] for _, h, _ in answers}
        assert told == {old, new}


def test_tilejson_names_the_version_of_its_tiles(sample_store):
    with serving(sample_store) as (_, address):
        document = json.loads(fetched(address, "/mosaics/mosaic/WebMercatorQuad/tilejson.json?style=ndvi")[2])
        version = document["terrazzo:version"]
        (template,) = document["tiles"]
        assert f"version={version}" in template
        tile = template.format(z=11, x=1113, y=728).removeprefix(address)
        status, headers, _ = fetched(address, tile)
        assert status == 200
        assert "immutable" in headers["cache-control"]
