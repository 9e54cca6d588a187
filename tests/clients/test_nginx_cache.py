"""Our nginx.conf before a server whose answers are ours to hold, fail and count: one fetch, stale answers, no cached error."""

import gzip
import http.client
import http.server
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest

from tests.clients.test_nginx import conf, folder, get, nginx
from tests.waiting import PATIENCE

__all__ = ["folder"]
pytestmark = [pytest.mark.clients, pytest.mark.needs("nginx")]
CROWD = 50


class Upstream:
    """A server whose n-th answer names its number; it can be held, made to fail, and stopped."""

    def __init__(self, port=0):
        self.count, self.status, self.cache_control = Counter(), 200, "public, max-age=60"
        self.free, self.seen, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self.free.set()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with upstream._lock:
                    upstream.count[self.path] += 1
                    number = upstream.count.total()
                upstream.seen.set()
                upstream.free.wait(PATIENCE)
                kind = "application/json" if ".json" in self.path else "image/png"
                body = json.dumps({"number": number, "filling": "a" * 30_000}).encode()
                self.send_response(upstream.status)
                fine = upstream.status < 400
                headers = {"Content-Type": kind, "Content-Length": len(body), "ETag": f'"{self.path}"'}
                headers["Cache-Control"] = upstream.cache_control if fine else "no-store"
                for name, value in headers.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size, daemon_threads, block_on_close = 2 * CROWD, True, False

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self.free.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def front(folder, upstream):
    with nginx(conf(), folder, {"server": f"127.0.0.1:{upstream.port}"}) as address:
        yield address


def tile(front, name):
    return f"{front}/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/{name}.png"


def until(url, *states):
    """The first answer whose cache status is one of these; an answer expires by nginx's own clock."""
    while (answer := get(url))[1]["X-Cache-Status"] not in states:
        time.sleep(0.05)
    return answer


def test_a_tile_is_fetched_once_and_keeps_its_headers(front, upstream):
    first, again = get(tile(front, 1)), get(tile(front, 1))
    assert [a[1]["X-Cache-Status"] for a in (first, again)] == ["MISS", "HIT"]
    assert first[2] == again[2]
    assert upstream.count.total() == 1
    for name in ("Content-Type", "ETag", "Cache-Control"):
        assert first[1][name] == again[1][name] is not None
    assert get(tile(front, 1), If_None_Match=first[1]["ETag"])[0] == 304


def test_a_crowd_that_asks_for_one_cold_tile_is_one_question_to_the_server(front, upstream):
    upstream.free.clear()
    place = urlsplit(tile(front, 2))
    crowd = [http.client.HTTPConnection(place.netloc) for _ in range(CROWD)]
    for connection in crowd:
        connection.request("GET", place.path)
    assert upstream.seen.wait(PATIENCE)
    upstream.free.set()
    answers = [c.getresponse() for c in crowd]
    assert {a.status for a in answers} == {200}
    assert len({a.read() for a in answers}) == 1
    assert upstream.count.total() == 1


def test_text_is_compressed_and_pictures_are_not(front):
    answer = get(f"{front}/mosaics/mosaic/WebMercatorQuad/tilejson.json", Accept_Encoding="gzip")
    assert answer[1]["Content-Encoding"] == "gzip"
    assert len(answer[2]) < len(gzip.decompress(answer[2])) / 10
    assert get(tile(front, 3), Accept_Encoding="gzip")[1]["Content-Encoding"] is None


def test_an_expired_tile_is_shown_while_another_is_fetched(front, upstream):
    upstream.cache_control = "public, max-age=1"
    old = get(tile(front, 4))
    upstream.free.clear()
    # It comes although the server holds its answer back.
    assert until(tile(front, 4), "STALE", "UPDATING")[2] == old[2]
    upstream.cache_control = "public, max-age=60"
    upstream.free.set()
    assert until(tile(front, 4), "HIT")[2] != old[2]


def test_a_tile_outlives_a_server_that_fails_and_no_error_is_kept(front, upstream):
    upstream.cache_control = "public, max-age=1"
    old = get(tile(front, 5))
    upstream.status = 503
    assert until(tile(front, 5), "STALE")[2] == old[2]
    assert get(tile(front, 6))[0] == 503
    upstream.status = 200
    assert get(tile(front, 6))[0] == 200


def test_a_tile_outlives_a_server_that_is_gone_and_new_ones_come_when_it_is_back(front, upstream):
    upstream.cache_control = "public, max-age=1"
    old = get(tile(front, 7))
    upstream.stop()
    assert until(tile(front, 7), "STALE")[2] == old[2]
    # A connection that nginx keeps may still be answered by the thread that serves it.
    gone = next(status for n in range(20, 40) if (status := get(tile(front, n))[0]) != 200)
    assert gone in (502, 504)
    back = Upstream(upstream.port)
    while get(tile(front, 9))[0] != 200:
        time.sleep(0.05)
    back.stop()


def test_jobs_are_limited(front):
    """Who posts one after the other without a pause is told to wait; the first ones are taken."""
    place = urlsplit(front)
    seen = []
    for _ in range(40):
        connection = http.client.HTTPConnection(place.netloc)
        connection.request("POST", "/mosaics/mosaic/exports", body=b"{}", headers={"Content-Length": "2"})
        seen.append(connection.getresponse().status)
        connection.close()
    assert seen[0] == 200
    assert 429 in seen
