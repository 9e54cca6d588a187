"""Our nginx.conf in front of the real server: what it adds, limits and lets through, its variants, and the map behind it."""

import concurrent.futures
import gzip
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import textwrap
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from tests.clients.conftest import green, serving
from tests.conftest import ROOT
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.clients, pytest.mark.needs("nginx")]
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/729.png"
EXPORTS = "/mosaics/mosaic/exports"
BOX = [15.95, 45.8, 15.98, 45.82]
DEBIAN = ROOT / "docker" / "nginx-debian.conf"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def nginx(conf, folder, upstreams, main=None):
    """Address of Debian's nginx with a configuration; hosts, ports and folders replaced, nothing else.

    Args:
        main: Debian's own nginx.conf, of which `conf` is a site.
    """
    ports = {80: free_port(), 443: free_port()}
    for port, free in ports.items():
        conf = re.sub(rf"listen {port}\b", f"listen 127.0.0.1:{free}", conf)
    conf = re.sub(r"/var/(cache|lib)/nginx", f"{folder}/cache", conf)
    conf = conf.replace("/var/log/nginx", str(folder))
    for name, address in upstreams.items():
        conf = re.sub(rf"server {re.escape(name)}(:\d+)?;", f"server {address};", conf)
    text = conf
    if main is not None:
        (folder / "site").write_text(conf)
        text = re.sub(r"include /etc/nginx/sites-enabled/\*;", f"include {folder}/site;", main)
        text = re.sub(r"^(user|pid|error_log)\b[^;]*;|access_log [^;]*;", "", text, flags=re.MULTILINE)
    temporary = "".join(
        f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {", f"http {{ access_log off; {temporary}", 1)
    (folder / "cache").mkdir()
    path = folder / "nginx.conf"
    # Started by root, nginx would work as another user, who cannot enter pytest's folders.
    user = "user root; " if os.getuid() == 0 else ""
    path.write_text(f"{user}daemon off; pid {folder}/pid; error_log {folder}/error.log;\n{text}")
    command = ["nginx", "-p", folder, "-c", path]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[80]), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{ports[80]}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("nginx")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def front(folder, address):
    """Address of nginx.conf before a server."""
    # The first tile compiles kernels, for longer than nginx waits where the machine is busy.
    assert get(address + TILE)[0] == 200
    with nginx(conf(), folder, {"server": address.split("//")[1]}) as front:
        yield front


def get(url, data=None, **headers):
    """Status, headers and body, of errors too; a POST where there is data."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    request = urllib.request.Request(url, data=data, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def order(front, **inputs):
    """The answer to an order of an export."""
    return get(front + EXPORTS, json.dumps(inputs).encode(), Content_Type="application/json")


def finished(front, job):
    """The addresses of an export's files, once it is done."""
    address = f"{front}{EXPORTS}/{job}"
    while (told := json.loads(get(address)[2]))["status"] in ("accepted", "running"):
        time.sleep(0.1)
    assert told["status"] == "successful", told
    return {n: f["href"] for n, f in json.loads(get(f"{address}/results")[2]).items()}


def conf():
    return (ROOT / "nginx.conf").read_text()


def edited(path, command, copy):
    """A file's text after the command that its comment names."""
    shutil.copy(path, copy)
    assert command.endswith(" FILE")
    subprocess.run(f"{command.removesuffix('FILE')} {copy}", shell=True, check=True)
    return copy.read_text()


def commented(text, about):
    """The command that a comment gives."""
    return re.search(rf"{about}.*?(sed -i [^\n]* FILE)$", text, re.MULTILINE | re.DOTALL)[1]


def test_answers_are_cached_as_they_say_and_carry_headers_once(front):
    first, again = get(front + TILE), get(front + TILE)
    assert [a[1]["X-Cache-Status"] for a in (first, again)] == ["MISS", "HIT"]
    assert first[2] == again[2]
    assert first[1]["X-Request-Id"] != again[1]["X-Request-Id"]
    assert again[1]["Retry-After"] is None
    for name in (
        "X-Content-Type-Options",
        "X-Request-Id",
        "Referrer-Policy",
        "Access-Control-Allow-Origin",
    ):
        assert len(again[1].get_all(name)) == 1, name
    version = re.search("version=([0-9a-f]{12})", first[1]["X-Terrazzo-Request"])
    assert "immutable" in get(f"{front}{TILE}?version={version[1]}")[1]["Cache-Control"]
    for _ in range(2):
        wrong = get(f"{front}{TILE}?style=neon")
        assert (wrong[0], wrong[1]["X-Cache-Status"]) == (400, "MISS")
    assert get(f"{front}/metrics")[0] == 404
    box = get(f"{front}/mosaics/mosaic/bbox/15.8,45.9,15.9,46.0.tif")
    assert (box[0], box[1]["X-Cache-Status"]) == (200, None)


def test_a_stranger_cannot_name_the_host_of_a_cached_document(front):
    told = get(f"{front}/mosaics/mosaic/wmts", X_Forwarded_Host="evil.example", X_Forwarded_Prefix="/evil")
    assert b"evil" not in told[2]
    assert f'xlink:href="{front}/mosaics/mosaic/wmts?"'.encode() in get(f"{front}/mosaics/mosaic/wmts")[2]


def test_orders_are_limited_and_say_when_to_come_again_and_status_and_results_are_free(front):
    job = json.loads(order(front, bbox=BOX, bands=["B04"])[2])["jobID"]
    files = finished(front, job)
    dry = [order(front, bbox=BOX, bands=["B04"], dry_run=True) for _ in range(40)]
    refused = [answer for answer in dry if answer[0] == 429]
    assert refused
    assert {answer[0] for answer in dry} == {200, 429}
    assert {answer[1]["Retry-After"] for answer in refused} == {"2"}
    assert {answer[1]["Access-Control-Allow-Origin"] for answer in refused} == {"*"}
    assert "ask again in 2 seconds" in json.loads(refused[0][2])["detail"]
    free = [
        f"{front}{EXPORTS}",
        f"{front}{EXPORTS}/{job}",
        f"{front}{EXPORTS}/{job}/results",
        *files.values(),
    ]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert {answer[0] for answer in pool.map(get, free * 40)} == {200}


def test_a_geotiff_is_opened_from_a_distance_with_ranges(front):
    files = finished(
        front, json.loads(order(front, bbox=[15.6, 45.8, 16.1, 46.1], bands=["B04", "B08"])[2])["jobID"]
    )
    (href,) = (h for n, h in files.items() if re.fullmatch(r"[^_]+\.tif", n))
    assert href.startswith(front)
    whole = get(href)
    part = get(href, Range="bytes=100-299")
    assert (part[0], part[2]) == (206, whole[2][100:300])
    box = f"{front}/mosaics/mosaic/bbox/15.8,45.9,15.9,46.0.tif"
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif"):
        with (
            rasterio.open(f"/vsicurl/{href}") as far,
            rasterio.MemoryFile(whole[2]) as near,
            near.open() as near,
        ):
            assert far.descriptions == ("B04", "B08")
            np.testing.assert_array_equal(far.read(), near.read())
            assert (far.read(1) != far.nodata).any()
        with rasterio.open(f"/vsicurl/{box}") as far:
            assert (far.read(1) != far.nodata).any()


def test_files_come_through_as_they_are(front):
    """Whatever a client can unpack: one ETag, the same bytes; and a download goes on, of cached answers too."""
    files = finished(front, json.loads(order(front, bbox=BOX, bands=["B04"])[2])["jobID"])
    tile = f"{front}{TILE.replace('.png', '.tif')}"
    box = f"{front}/mosaics/mosaic/bbox/15.8,45.9,15.9,46.0.tif"
    for href in (*(h for n, h in files.items() if not n.endswith(".json")), tile, box):
        whole = get(href, Accept_Encoding="identity")
        packing = get(href, Accept_Encoding="gzip, deflate, br")
        assert (packing[1]["ETag"], packing[2]) == (whole[1]["ETag"], whole[2]), href
        assert packing[1]["Content-Encoding"] is None
        rest = get(href, Range="bytes=1000-", If_Range=whole[1]["ETag"], Accept_Encoding="gzip")
        assert (rest[0], rest[2]) == (206, whole[2][1000:]), href
        other = get(href, Range="bytes=1000-", If_Range='"another"')
        assert (other[0], other[2]) == (200, whole[2]), href
        assert get(href, If_None_Match=whole[1]["ETag"])[0] == 304
    documents = [h for n, h in files.items() if n.endswith(".json")]
    for href in documents:
        plain, packed = (get(href, Accept_Encoding=how) for how in ("identity", "gzip"))
        assert packed[1]["ETag"] == f"W/{plain[1]['ETag']}"
        assert gzip.decompress(packed[2]) == plain[2]
    assert documents


def feature(sides):
    """A round field of about 2 km with so many corners."""
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([15.9 + 0.012 * np.cos(turn), 45.85 + 0.009 * np.sin(turn)], -1)
    ring[-1] = ring[0]
    shape = {"type": "Polygon", "coordinates": [ring.tolist()]}
    return {"type": "Feature", "properties": {}, "geometry": shape}


def test_five_megabytes_of_geojson_and_a_large_file_of_areas_go_through(front):
    many = {"type": "FeatureCollection", "features": [feature(1300)] * 100}
    body = json.dumps(many).encode()
    assert 5e6 < len(body) < 8e6
    ask = f"{front}/mosaics/mosaic/statistics?bands=B04"
    status, _, told = get(ask, body, Content_Type="application/geo+json")
    assert status == 200, told[:300]
    means = {f["properties"]["statistics"]["B04"]["mean"] for f in json.loads(told)["features"]}
    assert len(means) == 1
    assert 0 < means.pop() < 1
    # Past nginx's own default of 1 MB and the server's limit of JSON: the server, not nginx, says what is wrong.
    large = get(
        f"{front}{EXPORTS}/statistics?bands=B04", bytes(30 << 20), Content_Type="application/octet-stream"
    )
    assert (large[0], b"GeoPackage" in large[2]) == (400, True), large[2][:300]
    order = get(front + EXPORTS, b" " * (17 << 20), Content_Type="application/json")
    assert (order[0], b"past 16 MB" in order[2]) == (400, True), order[2][:300]


@pytest.mark.needs("Chromium")
def test_the_map_exports_the_whole_sample_through_it(browser, front, tmp_path):
    """What the map itself asks for, from the cost to the file, with its status asked twice a second."""
    script = Path(__file__).with_name("export.mjs")
    seen = json.loads(green([browser[0], script, f"{front}/", tmp_path]))
    assert seen["refused"] == []
    assert seen["polls"] > 0
    assert seen["end"] == "Done."
    assert (tmp_path / "whole.tif").stat().st_size > 8e6
    with rasterio.open(tmp_path / "whole.tif") as dataset:
        assert dataset.count == 4
        west, south, east, north = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
        assert (west, south) <= tuple(seen["box"][:2])
        assert (east, north) >= tuple(seen["box"][2:])


def test_the_sub_path_variant_works_as_its_comment_says(folder, address):
    text = edited(ROOT / "nginx.conf", commented(conf(), "Under a sub-path"), folder / "edited")
    with nginx(text, folder, {"server": address.split("//")[1]}) as front:
        document = get(f"{front}/maps/mosaics/mosaic/wmts")[2].decode()
        template = re.search('template="([^"]+natural|[^"]+)"', document)[1]
        assert template.startswith(f"{front}/maps/mosaics/mosaic/wmts/1.0.0/mosaic/")
        values = {
            "Style": "natural",
            "TileMatrixSet": "WebMercatorQuad",
            "TileMatrix": 11,
            "TileRow": 729,
            "TileCol": 1113,
        }
        assert get(template.format(**values))[0] == 200
        assert get(f"{front}/maps/")[0] == get(f"{front}/maps/viewer/viewer.js")[0] == 200
        assert get(f"{front}/maps/metrics")[0] == 404
        box = get(f"{front}/maps/mosaics/mosaic/bbox/15.8,45.9,15.9,46.0.tif")
        assert (box[0], box[1]["X-Cache-Status"]) == (200, None)
        body = json.dumps({"bbox": BOX, "dry_run": True}).encode()
        asked = [get(f"{front}/maps{EXPORTS}", body, Content_Type="application/json")[0] for _ in range(40)]
        assert set(asked) == {200, 429}


def test_debians_variant_is_the_same_and_starts_as_a_site_of_its_nginx(folder, address):
    shared = textwrap.dedent(conf()[conf().index("  # Shared with") : conf().rindex("}")])
    variant = DEBIAN.read_text()
    told = variant[variant.index("# Shared with") :]
    assert (
        told
        == shared.replace("docker/nginx-debian.conf", "nginx.conf").replace("/var/cache", "/var/lib").rstrip()
        + "\n"
    )
    main = Path("/etc/nginx/nginx.conf").read_text()
    with nginx(variant, folder, {"127.0.0.1:8000": address.split("//")[1]}, main) as front:
        assert [get(front + TILE)[1]["X-Cache-Status"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("site", [False, True], ids=["nginx.conf", "nginx-debian.conf"])
def test_with_tls_links_are_https_and_http_leads_there(folder, address, site):
    certificate, key = folder / "terrazzo.pem", folder / "terrazzo.key"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(made, check=True, capture_output=True)
    path = DEBIAN if site else ROOT / "nginx.conf"
    text = edited(path, commented(path.read_text(), "TLS, with"), folder / "edited")
    text = text.replace("/etc/ssl/certs/", f"{folder}/").replace("/etc/ssl/private/", f"{folder}/")
    upstream = {("127.0.0.1:8000" if site else "server"): address.split("//")[1]}
    main = Path("/etc/nginx/nginx.conf").read_text() if site else None
    with nginx(text, folder, upstream, main) as plain:
        started = (folder / ("site" if site else "nginx.conf")).read_text()
        secure = "https://" + re.search(r"listen (127\.0\.0\.1:\d+) ssl", started)[1]
        trust = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"{secure}/mosaics/mosaic/wmts", timeout=60, context=trust) as answer:
            assert f'xlink:href="{secure}/mosaics/mosaic/wmts?"' in answer.read().decode()
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        with pytest.raises(urllib.error.HTTPError) as moved:
            urllib.request.build_opener(Stay).open(f"{plain}{TILE}", timeout=60)
        assert (moved.value.code, moved.value.headers["Location"]) == (301, f"https://127.0.0.1{TILE}")


def test_the_servers_own_keys_pass_and_their_answers_are_not_kept(folder, sample_store, tmp_path):
    with serving(
        sample_store, tmp_path / "cache", TERRAZZO_PROTECT="tiles", TERRAZZO_STATE=str(tmp_path / "state")
    ) as address:
        from terrazzo.server.keys import Keys

        key = Keys(tmp_path / "state").add("GIS", ["tiles"])
        with nginx(conf(), folder, {"server": address.split("//")[1]}) as front:
            assert get(front + TILE)[0] == 401
            assert get(front + TILE, X_API_Key=key)[0] == 200
            assert get(front + TILE)[0] == 401


@pytest.mark.parametrize("upstream", ["alive", "dead"])
def test_no_spelling_of_a_key_stands_in_nginxs_logs(folder, address, upstream):
    key = "tz_0a1b2c3d_" + "sEcReT-sEcReT_sEcReT0" * 2 + "x"
    spelled = [
        key,
        key.replace("_", "%5F"),
        "".join(f"%{ord(c):02x}" for c in key),
        key.replace("_", "%255F"),
    ]
    server = address.split("//")[1] if upstream == "alive" else f"127.0.0.1:{free_port()}"
    with nginx(conf(), folder, {"server": server}) as front:
        for text in spelled:
            for path in (
                f"{TILE}?api_key={text}",
                f"{TILE}?api%5Fkey={text}",
                f"/mosaics/{text}/point/1,1",
                f"/{text}",
            ):
                get(
                    front + path,
                    Referer=f"{front}/?api_key={text}",
                    X_API_Key=key,
                    Authorization=f"Bearer {key}",
                )
        get(front + TILE)
        assert until(lambda: TILE in (folder / "access.log").read_text())
    logs = {p.name: p.read_text() for p in folder.glob("*.log")}
    assert logs["access.log"].count("\n") == 17
    for text in logs.values():
        assert "sEcReT" not in text
        assert not any(s in text for s in spelled)


def test_with_keys_a_hit_needs_one_too_and_a_revoked_one_ends(folder, address):
    """The authorizer here stands in for one that an operator brings. Its answer counts for a second, not 60."""
    good = {"k1"}

    class Authorizer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204 if self.headers["X-Api-Key"] in good else 401)
            self.end_headers()

        def log_message(self, *_):
            pass

    stand_in = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Authorizer)
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    text = (
        conf().replace("#keys# ", "").replace("200 204 60s", "200 204 1s").replace("401 403 5s", "401 403 1s")
    )
    assert "204 1s" in text
    upstreams = {"server": address.split("//")[1], "authorizer": f"127.0.0.1:{stand_in.server_port}"}
    try:
        with nginx(text, folder, upstreams) as front:
            url = front + TILE
            assert get(url)[0] == 401
            assert get(url, X_Api_Key="wrong")[0] == 401
            assert get(url, X_Api_Key="k1")[1]["X-Cache-Status"] == "MISS"
            assert get(url, X_Api_Key="k1")[1]["X-Cache-Status"] == "HIT"
            assert get(url)[0] == 401
            good.clear()
            until(lambda: get(url, X_Api_Key="k1")[0] == 401)
    finally:
        stand_in.shutdown()
