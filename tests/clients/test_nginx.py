"""Our nginx.conf in front of the real server: what it adds, its sub-path, and the variant that asks for keys."""

import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.conftest import ROOT
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.clients, pytest.mark.needs("nginx")]
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/729.png"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def nginx(conf, folder, upstreams):
    """Address of Debian's nginx with a configuration; hosts and folders replaced, nothing else."""
    port = free_port()
    text = conf.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "/var/cache/nginx", f"{folder}/cache"
    )
    for name, address in upstreams.items():
        text = re.sub(rf"server {name}:\d+;", f"server {address};", text)
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
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("nginx")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def get(url, **headers):
    """Status, headers and body, of errors too."""
    request = urllib.request.Request(url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def conf():
    return (ROOT / "nginx.conf").read_text()


def test_answers_are_cached_as_they_say_and_carry_headers_once(folder, address):
    with nginx(conf(), folder, {"server": address.split("//")[1]}) as front:
        first, again = get(front + TILE), get(front + TILE)
        assert [a[1]["X-Cache-Status"] for a in (first, again)] == ["MISS", "HIT"]
        assert first[2] == again[2]
        assert first[1]["X-Request-Id"] != again[1]["X-Request-Id"]
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


def test_a_stranger_cannot_name_the_host_of_a_cached_document(folder, address):
    with nginx(conf(), folder, {"server": address.split("//")[1]}) as front:
        told = get(
            f"{front}/mosaics/mosaic/wmts", X_Forwarded_Host="evil.example", X_Forwarded_Prefix="/evil"
        )
        assert b"evil" not in told[2]
        assert f'xlink:href="{front}/mosaics/mosaic/wmts?"'.encode() in get(f"{front}/mosaics/mosaic/wmts")[2]


def test_the_sub_path_variant_works_as_its_comment_says(folder, address):
    text = re.sub(r"^ *#.*\n", "", conf(), flags=re.MULTILINE)
    for old, new in (
        ("location / {", "location /maps/ {"),
        ("^/(export", "^/maps/(export"),
        ("= /metrics", "= /maps/metrics"),
        ('X-Forwarded-Prefix ""', "X-Forwarded-Prefix /maps"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
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


def test_with_keys_a_hit_needs_one_too_and_a_revoked_one_ends(folder, address):
    """The authorizer here stands in for the server's own, which does not exist yet. Its answer counts for a second, not 60."""
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
