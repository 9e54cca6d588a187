"""Downloads: a strong ETag is one stream of bytes, parts of it by Range, and nothing binary is packed again."""

import gzip
import shutil

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers

from terrazzo.formats import FORMATS
from terrazzo.server.app import create_app
from terrazzo.server.conditions import has_already
from terrazzo.server.jobs import Jobs
from terrazzo.server.middleware import NEVER_PACKED
from terrazzo.server.mosaics import Mosaics
from terrazzo.server.settings import Settings
from tests.golden.make import STORE

BOX = "/mosaics/mosaic/bbox/{}.{}"
ORDERS = (
    {"bands": ["B04", "B08"]},
    {"format": "gpkg"},
    {"format": "mbtiles"},
    {"format": "pmtiles"},
)
TABLE = "/mosaics/mosaic/exports/statistics"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("downloads") / "store"
    shutil.copytree(STORE, store)
    return store


@pytest.fixture(scope="module")
def client(store):
    settings = Settings(store=str(store), export_jobs=1000)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def box(client):
    west, south, east, north = client.get("/mosaics/mosaic").json()["extent"]["spatial"]["bbox"][0]
    return [west, south, east, north]


def files_of(client, settings, address, **order):
    """Addresses of the files of a job, after it is done."""
    asked = client.post(address, **order)
    assert asked.status_code == 201, asked.text
    jobs = Jobs(settings.state_folder(), settings.jobs_url)
    engine = Mosaics(settings.store, 5).engine
    while name := jobs.next():
        jobs.run(name, engine, hours=1, threads=2)
    results = client.get(f"{asked.headers['location']}/results")
    assert results.status_code == 200, results.text
    return {name: about["href"] for name, about in results.json().items()}


@pytest.fixture(scope="module")
def addresses(client, store, box):
    """One address of each kind of file that can be downloaded, by its ending."""
    west, south, east, north = box
    polygon = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    area = {
        "type": "Feature",
        "properties": {"name": "all"},
        "geometry": {"type": "Polygon", "coordinates": [polygon]},
    }
    areas = {"type": "FeatureCollection", "features": [area]}
    settings = client.app.state.context.settings
    files = [files_of(client, settings, "/mosaics/mosaic/exports", json={"bbox": box, **o}) for o in ORDERS]
    files += [
        files_of(client, settings, TABLE, json={"features": areas, "bands": ["B04"], "format": f})
        for f in ("csv", "parquet")
    ]
    exported = {name.partition(".")[2]: href for one in files for name, href in one.items()}
    corners = ",".join(map(str, box))
    boxes = {f"box.{f}": BOX.format(corners, f) for f in ("png", "jpg", "webp", "tif", "npy")}
    return exported | boxes


KINDS = (
    "tif", "gpkg", "mbtiles", "pmtiles", "csv", "parquet", "json", "lock.json",
    "gpkg.lock.json", "mbtiles.lock.json", "pmtiles.lock.json",
    "box.png", "box.jpg", "box.webp", "box.tif", "box.npy",
)  # fmt: skip


@pytest.fixture(params=KINDS)
def address(request, addresses):
    return addresses[request.param]


def test_every_kind_is_tried(addresses):
    assert set(addresses) == set(KINDS)
    assert {f.name for f in FORMATS.values() if not f.is_text} <= {k.removeprefix("box.") for k in KINDS}


def test_one_strong_etag_is_one_stream_of_bytes(client, address):
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
        packed = answer.headers
    assert plain.status_code == 200
    assert plain.headers["etag"].startswith('"')
    if packed["content-type"].split(";")[0] in {m.split(";")[0] for m in NEVER_PACKED}:
        assert "content-encoding" not in packed
    if "content-encoding" in packed:
        assert packed["etag"] == f"W/{plain.headers['etag']}"
        assert "accept-ranges" not in packed
        assert gzip.decompress(raw) == plain.content
    else:
        assert (packed["etag"], raw) == (plain.headers["etag"], plain.content)


def test_what_the_client_has_is_not_sent_again(client, address):
    etag = client.get(address, headers={"Accept-Encoding": "identity"}).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"].removeprefix("W/") == etag.removeprefix("W/")
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_what_is_wanted_only_as_it_was_is_refused_once_it_is_another(client, address):
    etag = client.get(address, headers={"Accept-Encoding": "identity"}).headers["etag"]
    part = {"Range": "bytes=0-9", "Accept-Encoding": "identity"}
    for known in (etag, f'"other", {etag}', "*"):
        assert client.get(address, headers={"If-Match": known, **part}).status_code == 206, known
    # A weak name is of no stream of bytes.
    for known in ('"other"', f"W/{etag}"):
        refused = client.get(address, headers={"If-Match": known, **part})
        assert refused.status_code == 412, known
        assert refused.headers["cache-control"] == "no-store"
        assert "repeat the request without it" in refused.json()["detail"]


def test_a_file_is_known_by_its_time_where_no_etag_is_given(client, addresses):
    written = client.get(addresses["tif"]).headers["last-modified"]
    before, no_time = "Mon, 01 Jan 2024 00:00:00 GMT", "yesterday"

    def status(**headers):
        return client.get(
            addresses["tif"], headers={k.replace("_", "-"): v for k, v in headers.items()}
        ).status_code

    assert status(If_Modified_Since=written) == 304
    assert status(If_Modified_Since=before) == status(If_Modified_Since=no_time) == 200
    assert status(If_Unmodified_Since=written) == status(If_Unmodified_Since=no_time) == 200
    assert status(If_Unmodified_Since=before) == 412
    # An ETag says more than a time.
    assert status(If_Modified_Since=written, If_None_Match='"other"') == 200


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=-999999999", slice(None)),
        ("bytes=5-999999999", slice(5, None)),
        ("Bytes = 10 - 19", slice(10, 20)),
    ],
)
def test_a_part_is_those_bytes_of_the_whole(client, address, wanted, part):
    headers = {"Accept-Encoding": "gzip"}
    whole = client.get(address, headers={"Accept-Encoding": "identity"})
    answer = client.get(address, headers={"Range": wanted} | headers)
    expected = whole.content[part]
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["etag"] == whole.headers["etag"]
    assert answer.headers["accept-ranges"] == whole.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(expected)
    first, size = range(len(whole.content))[part].start, len(whole.content)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"


@pytest.mark.parametrize("wanted", ["lines=1-2", "bytes", "bytes=", "bytes=a-b", "bytes=9-3", "bytes=0-1,5-6", "bytes=--1"])  # fmt: skip
def test_a_range_that_is_none_or_several_is_answered_whole(client, address, wanted):
    whole = client.get(address)
    answer = client.get(address, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, whole.content)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_answered_with_the_size(client, address, wanted):
    size = len(client.get(address).content)
    answer = client.get(address, headers={"Range": wanted})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


def test_a_download_goes_on_only_where_the_file_is_the_same(client, address):
    whole = client.get(address, headers={"Accept-Encoding": "identity"})
    ask = {"Range": "bytes=50-"}
    etag = whole.headers["etag"]
    assert client.get(address, headers={**ask, "If-Range": etag}).content == whole.content[50:]
    for other in (f"W/{etag}", '"other"', "Sat, 01 Jan 2000 00:00:00 GMT"):
        answer = client.get(address, headers={**ask, "If-Range": other})
        assert (answer.status_code, answer.content) == (200, whole.content), other
    if date := whole.headers.get("last-modified"):
        assert client.get(address, headers={**ask, "If-Range": date}).status_code == 206


def test_head_has_the_length_of_the_whole(client, address):
    whole, head = client.get(address), client.head(address, headers={"Range": "bytes=0-9"})
    assert head.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.parametrize("path", ["/mosaics/mosaic/gdal.xml", "/mosaics/mosaic/wmts", "/viewer/viewer.js"])  # fmt: skip
def test_a_packed_document_has_a_weak_etag_also_when_it_is_not_sent_again(client, path):
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    for known in (packed, plain):
        etag = known.headers["etag"]
        again = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": etag})
        assert (again.status_code, again.headers["etag"]) == (304, etag)


def test_a_picture_that_lacks_a_scene_has_no_parts(tmp_path):
    """It has no ETag either: the next one may be whole."""
    shutil.copytree(STORE, tmp_path / "s")
    with TestClient(create_app(Settings(store=str(tmp_path / "s")))) as client:
        corners = ",".join(map(str, client.get("/mosaics/mosaic").json()["extent"]["spatial"]["bbox"][0]))
        for path in (tmp_path / "s" / "scenes").rglob("B04.tif"):
            path.write_bytes(b"no raster")
        answer = client.get(BOX.format(corners, "tif?bands=B04"), headers={"Range": "bytes=0-9"})
    assert answer.status_code == 200
    assert answer.headers["x-terrazzo-problems"]
    assert "accept-ranges" not in answer.headers
    assert "etag" not in answer.headers


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
def test_a_time_that_no_calendar_has_is_passed_over(name):
    for odd in ("Wed, 21 Oct 2015 07:28:00 +99999999999999", "Wed, 99 Oct 2015 07:28:00 GMT", "never"):
        assert not has_already(Headers({name: odd}), '"a"', 1.6e9)
