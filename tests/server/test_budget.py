"""More than a server can do at once: readiness while every renderer is blocked, memory over all requests, slow clients."""

import asyncio
import http.client
import json
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest
import shapely

from terrazzo.errors import Overloaded
from terrazzo.server import timeouts
from terrazzo.server.app import create_app
from terrazzo.server.budget import Budget
from terrazzo.server.settings import Settings
from tests.server.interfaces import FEATURE
from tests.server.test_load import fetched
from tests.server.test_serve import serving
from tests.waiting import PATIENCE, until

BOX = "/mosaics/mosaic/bbox/15.9,45.75,16.05,45.85"
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
STATISTICS = "/mosaics/mosaic/statistics"
MEGABYTE = 1 << 20


def test_a_budget_gives_out_no_more_than_it_has_and_takes_back_once():
    budget = Budget(100, "nothing is left")
    first = budget.take(60)
    with pytest.raises(Overloaded, match="nothing is left"):
        budget.take(50)
    second = budget.take(40)
    first()
    first()
    with pytest.raises(Overloaded):
        budget.take(61)
    third = budget.take(60)
    for give_back in (second, third):
        give_back()
    # Alone, one may have more than there is.
    budget.take(500)
    with pytest.raises(Overloaded):
        budget.take(1)


def test_who_has_patience_waits_for_what_others_give_back():
    budget, waited = Budget(100, "nothing is left"), threading.Event()
    give_back = budget.take(80)

    def wait():
        budget.take(50, patience=PATIENCE)()
        waited.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    with pytest.raises(Overloaded):
        budget.take(50, patience=0.01)
    assert not waited.is_set()
    give_back()
    assert waited.wait(PATIENCE)
    waiting.join()


def test_tiles_that_wait_in_the_queue_take_no_memory(sample_store):
    """More tiles than the memory holds at once are all answered, one after the other."""

    async def asked():
        settings = Settings(store=str(sample_store), threads=1, queue=64, memory=1 << 28)
        transport = httpx.ASGITransport(create_app(settings), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            tiles = [f"{TILE}?method=median&max_cloud={n}" for n in range(40, 60)]
            return await asyncio.gather(*(client.get(t) for t in tiles))

    assert {a.status_code for a in asyncio.run(asked())} == {200}


def test_bodies_that_wait_in_the_queue_take_no_more_than_the_memory(sample_store):
    async def asked():
        app = create_app(Settings(store=str(sample_store), threads=1, memory=1 << 26, deadline=60))
        context, blocked = app.state.context, threading.Event()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        # Eight bytes of memory a byte: two of these fit.
        body = FEATURE | {"properties": {"note": "x" * (3 << 20)}}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            busy = asyncio.ensure_future(context._renders.run(blocked.wait))
            waiting = []
            for inside in (2, 3):
                waiting.append(asyncio.ensure_future(client.post(STATISTICS, json=body)))
                while context._renders._inside < inside:
                    await asyncio.sleep(0.01)
            third = await asyncio.wait_for(client.post(STATISTICS, json=body), PATIENCE)
            blocked.set()
            await busy
            answers = [await w for w in waiting] + [await client.post(STATISTICS, json=body)]
            return third.status_code, [a.status_code for a in answers]

    assert asyncio.run(asked()) == (503, [200, 200, 200])


def test_a_large_picture_in_the_queue_keeps_no_small_one_waiting(sample_store):
    async def asked():
        # In one thread nothing runs beside the large picture, which has more than the memory and so has to be alone.
        settings = Settings(store=str(sample_store), threads=1, memory=1 << 26, deadline=60)
        context = create_app(settings).state.context
        free = threading.Event()
        point = asyncio.create_task(context._pixels(free.wait))
        await asyncio.sleep(0.1)
        tiles = [asyncio.create_task(context._pixels(lambda: "tile", 5 << 20)) for _ in range(3)]
        box = asyncio.create_task(context._pixels(lambda: "box", 80 << 20))
        await asyncio.sleep(0.1)
        free.set()
        return await asyncio.gather(point, *tiles, box)

    assert asyncio.run(asked())[1:] == ["tile"] * 3 + ["box"]


def test_a_small_picture_waits_for_the_memory_that_another_takes(sample_store):
    async def asked():
        settings = Settings(store=str(sample_store), threads=2, memory=1 << 26, deadline=60)
        context = create_app(settings).state.context
        free = threading.Event()
        large = asyncio.create_task(context._pixels(free.wait, 62 << 20))
        await asyncio.sleep(0.1)
        small = asyncio.create_task(context._pixels(lambda: "tile", 5 << 20))
        with pytest.raises(Overloaded):
            await context._pixels(lambda: "box", 10 << 20)
        await asyncio.sleep(0.1)
        assert not small.done()
        free.set()
        return await asyncio.gather(large, small)

    assert asyncio.run(asked()) == [True, "tile"]


def test_readiness_is_said_and_more_is_refused_while_every_renderer_is_blocked(sample_store):
    """Nothing of this waits for a renderer: none goes on before all has been answered."""

    async def asked():
        app = create_app(Settings(store=str(sample_store), threads=2, queue=1))
        context, blocked = app.state.context, threading.Event()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/readyz")).status_code == 200
            etag = (await client.get(TILE)).headers["etag"]
            inside = [asyncio.ensure_future(context._renders.run(blocked.wait)) for _ in range(3)]
            await asyncio.sleep(0)
            context.mosaics._state = (context.mosaics._state[0] - 30, context.mosaics._state[1])
            ready = [await client.get(p) for p in ("/readyz", "/healthz", "/metrics", "/mosaics")]
            same = await client.get(TILE, headers={"If-None-Match": etag})
            refused = [await client.get(p) for p in (f"{TILE}?max_cloud=50", f"{BOX}/64x64.png")]
            assert not any(i.done() for i in inside)
            blocked.set()
            await asyncio.gather(*inside)
            again = await client.get(f"{TILE}?max_cloud=50")
        return ready, same, refused, again

    ready, same, refused, again = asyncio.run(asked())
    assert [a.status_code for a in ready] == [200] * 4
    assert ready[0].json() == {"status": "ready", "mosaics": ["mosaic"]}
    assert same.status_code == 304
    assert [a.status_code for a in refused] == [503, 503]
    assert all(
        int(a.headers["retry-after"]) > 0 and a.headers["cache-control"] == "no-store" for a in refused
    )
    assert again.status_code == 200


def test_boxes_past_the_memory_of_all_requests_get_retry_after(sample_store):
    """A box of 1024² is counted as 82 MB, of 128 MB there are."""

    async def asked():
        app = create_app(Settings(store=str(sample_store), threads=4, memory=128 * MEGABYTE))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", timeout=PATIENCE
        ) as client:
            paths = [f"{BOX}/1024x1024.png?max_cloud={n}" for n in range(60, 80)]
            answers = await asyncio.gather(*(client.get(p) for p in paths))
            # All has been given back, whatever was refused.
            assert app.state.context.memory._used == 0
            after = await client.get(paths[-1])
            alone = await client.get(f"{BOX}/2048x2048.png")
        return answers, after, alone

    answers, after, alone = asyncio.run(asked())
    refused = [a for a in answers if a.status_code == 503]
    assert refused
    assert {a.status_code for a in answers} == {200, 503}
    assert all(a.headers["retry-after"] == "2" and "memory" in a.json()["detail"] for a in refused)
    assert (after.status_code, alone.status_code) == (200, 200)


def test_only_so_many_files_are_received_at_once(sample_store, tmp_path):
    app = create_app(Settings(store=str(sample_store), state=tmp_path / "state", uploads=1))

    async def asked():
        begun, end = asyncio.Event(), asyncio.Event()

        async def slowly():
            yield b"SQLite format 3\0"
            begun.set()
            await end.wait()
            yield b"no more"

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", timeout=PATIENCE
        ) as client:
            address = "/mosaics/mosaic/exports/statistics?bands=B04"
            kind = {"Content-Type": "application/geopackage+sqlite3"}
            first = asyncio.ensure_future(client.post(address, content=slowly(), headers=kind))
            await begun.wait()
            second = await client.post(address, content=b"SQLite format 3\0", headers=kind)
            end.set()
            return second, await first, await client.post(address, content=b"SQLite format 3\0", headers=kind)

    second, first, third = asyncio.run(asked())
    assert (second.status_code, second.headers["retry-after"]) == (503, "2")
    assert [a.status_code for a in (first, third)] == [400, 400]
    assert list((tmp_path / "state").glob("*areas-*")) == []


def connected(address):
    place = urlsplit(address)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE)


HASTE = """
import sys
from terrazzo.server import timeouts
timeouts.HEAD, timeouts.STALL = 0.5, 0.5
from terrazzo.cli import main
sys.argv[0] = "terrazzo"
main()
"""


@pytest.fixture
def hasty(sample_store, tmp_path, monkeypatch):
    """A real server that waits half a second where others wait half a minute."""
    script = tmp_path / "hasty"
    script.write_text(f"#!{__import__('sys').executable}\n{HASTE}")
    script.chmod(0o755)
    monkeypatch.setattr("tests.server.test_serve.TERRAZZO", script)
    with serving(sample_store, "--no-worker", TERRAZZO_STATE=str(tmp_path / "state")) as (_, address):
        yield address


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n"])
def test_a_head_that_does_not_end_is_not_waited_for(hasty, begun):
    with connected(hasty) as client:
        client.sendall(begun)
        assert until(lambda: closed(client))


@pytest.mark.parametrize("size", [timeouts.LARGEST, 4 * MEGABYTE])
def test_a_head_that_is_too_large_is_refused(hasty, size):
    with connected(hasty) as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"b" * size)
            answer = client.recv(4096)
        except ConnectionError:
            # It had closed the connection before all was sent, which may take the answer along.
            answer = b"HTTP/1.1 400 "
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert fetched(hasty, "/healthz")[0] == 200


def test_a_body_that_comes_along_with_its_head_is_no_large_head(hasty):
    body = b" " * (3 * timeouts.LARGEST)
    for _ in range(3):
        with connected(hasty) as client:
            client.sendall(
                b"POST /mosaics/mosaic/exports HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert b"head of a request" not in answer.read()
            assert not answer.will_close


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.3"])
def test_a_request_that_asks_for_another_protocol_is_answered_in_this_one(hasty, protocol, parts):
    head = (
        b"Host: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + b"\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    )
    square = shapely.geometry.mapping(shapely.box(15.97, 45.8, 15.98, 45.81))
    body = json.dumps({**FEATURE, "geometry": square}).encode()
    post = b"POST /mosaics/mosaic/statistics?bands=B04 HTTP/1.1\r\n" + head
    with connected(hasty) as client:
        for ask in [
            (post + b"Content-Length: %d\r\n\r\n" % len(body), body),
            (post + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
            (b"GET /healthz HTTP/1.1\r\n" + head, b"\r\n"),
        ]:
            for sent in [b"".join(ask)] if parts == 1 else ask:
                client.sendall(sent)
            assert statuses(client, 1) == [200]
        client.sendall(3 * (post + b"Content-Length: %d\r\n\r\n" % len(body) + body))
        assert statuses(client, 3) == [200, 200, 200]
        closing = post.replace(b"Connection: Upgrade", b"Connection: close, Upgrade")
        client.sendall(closing + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert statuses(client, 1) == [200]
        assert until(lambda: closed(client))


def statuses(client, count):
    """The codes of the next answers on a connection."""
    found = []
    with client.makefile("rb") as stream:
        for _ in range(count):
            found.append(int(stream.readline().split()[1]))
            length = 0
            while line := stream.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            stream.read(length)
    return found


def closed(client):
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_a_body_that_does_not_come_is_answered_408(hasty):
    with connected(hasty) as client:
        client.sendall(
            b"POST /mosaics/mosaic/exports HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n\r\n{"
        )
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"arrived too slowly" in answer + client.recv(4096)


def test_an_answer_that_no_client_reads_ends_and_releases_its_memory(hasty):
    with connected(hasty) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(
            f"GET {BOX}/2048x2048.npy?bands=B02,B03,B04,B08 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        )
        assert until(lambda: b'kind="bbox"' in fetched(hasty, "/metrics")[2])
        # What had been sent is there, and then the connection ends before the 32 MB.
        size = 0
        try:
            while part := client.recv(1 << 16):
                size += len(part)
        except ConnectionResetError:
            pass
        assert size < 30 * MEGABYTE


def test_a_client_that_keeps_a_connection_and_asks_again_is_answered(hasty):
    with connected(hasty) as client:
        for _ in range(3):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert (answer.status, answer.read()[:9]) == (200, b'{"status"')


def test_the_waits_are_those_that_the_documentation_says():
    assert (timeouts.HEAD, timeouts.STALL, timeouts.SLOWEST) == (20, 30, 50_000)
