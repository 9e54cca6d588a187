"""Who may start and end jobs, whose they are, and what never stands in a log."""

import json
import logging
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.keys import KEY, Keys
from terrazzo.server.logs import JsonLines, TextLines, access
from terrazzo.server.routes.service import VIEWER
from terrazzo.server.settings import Settings

EXPORTS = "/mosaics/mosaic/exports"
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
ORDER = {"bbox": [15.95, 45.8, 15.98, 45.82], "bands": ["B04"]}
OWN = "http://127.0.0.1:8000"


@pytest.fixture
def asking(sample_store, tmp_path):
    """A client of a server with some settings, which names the server as an address says."""
    state = tmp_path / "state"

    def client(address=OWN, **settings):
        app = create_app(Settings(store=str(sample_store), state=state, **settings))
        return TestClient(app, base_url=address, client=("127.0.0.1", 50000))

    return client


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "state")


def encoded(text, times):
    for _ in range(times):
        text = "".join(f"%{ord(c):02X}" for c in text) if times == 1 else quote(text.replace("_", "%5F"))
    return text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "203.0.113.9"},
        {"X-Forwarded-Proto": "https"},
        {"Host": "maps.example.org"},
        {"Host": "127.0.0.1.example.org"},
        {"Host": "[::1"},
        {"Host": "["},
        {"Host": "[::ffff:203.0.113.9]:8000"},
    ],
)
def test_behind_a_proxy_on_the_same_machine_exports_need_a_key(asking, keys, headers):
    """The server listens on this machine alone, and a proxy there lets the world in."""
    with asking() as client:
        for path in (EXPORTS, f"{EXPORTS}/00", f"{EXPORTS}/00/results"):
            assert client.get(path, headers=headers).status_code == 401
        assert client.post(EXPORTS, json=ORDER, headers=headers).status_code == 401
        assert client.get(TILE, headers=headers).status_code == 200
        key = keys.add("gis", ["export"])
        assert client.post(EXPORTS, json=ORDER, headers={**headers, "X-API-Key": key}).status_code == 201


@pytest.mark.parametrize("address", [OWN, "http://localhost", "http://[::1]:8000", "http://127.8.9.1"])
def test_a_program_of_this_machine_needs_none(asking, address):
    with asking(address) as client:
        assert client.post(EXPORTS, json=ORDER).status_code == 201
        assert len(client.get(EXPORTS).json()["jobs"]) == 1


def test_where_tiles_need_a_key_exports_do(asking, keys):
    """An export is the mosaic's pixels: all its addresses are shut, to keys of tiles alone as well."""
    tiles, both = (keys.add("gis", scopes) for scopes in (["tiles"], ["tiles", "export"]))
    with asking(protect=("tiles",), host="0.0.0.0") as client:
        ordered = client.post(EXPORTS, json=ORDER, headers={"X-API-Key": both})
        assert ordered.status_code == 201
        job = ordered.headers["location"].removeprefix(OWN)
        for path in (EXPORTS, job, f"{job}/results", f"{job}/results/mosaic.tif", f"{EXPORTS}/statistics/"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": tiles}).status_code == 403
        for path in (EXPORTS, f"{EXPORTS}/statistics"):
            assert client.post(path, json=ORDER).status_code == 401
            refused = client.post(path, json=ORDER, headers={"X-API-Key": tiles})
            assert refused.status_code == 403
            assert "does not open export" in refused.json()["detail"]
        assert client.delete(job).status_code == 401
        assert client.get(job, headers={"X-API-Key": both}).json()["status"] == "accepted"
        assert client.get(TILE, headers={"X-API-Key": tiles}).status_code == 200


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1:9999"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("protect", [None, ("none",)])
def test_a_page_of_another_origin_starts_and_ends_no_job(asking, headers, protect):
    """A form and a fetch without preflight are posted as text; the answer would be kept from the page, the job would not."""
    with asking(protect=protect) as client:
        mine = client.post(EXPORTS, json=ORDER, headers={"Origin": OWN, "Sec-Fetch-Site": "same-origin"})
        assert mine.status_code == 201
        plain = {"Content-Type": "text/plain"}
        posted = client.post(EXPORTS, content=json.dumps(ORDER), headers={**headers, **plain})
        deleted = client.delete(mine.headers["location"], headers=headers)
        areas = client.post(f"{EXPORTS}/statistics", content=b"{}", headers={**headers, **plain})
        assert [a.status_code for a in (posted, deleted, areas)] == [403] * 3
        assert "only with a key" in posted.json()["detail"]
        assert [j["status"] for j in client.get(EXPORTS).json()["jobs"]] == ["accepted"]
        # Reading stays open to all.
        assert client.get(TILE, headers=headers).status_code == 200
        assert client.get(TILE, headers=headers).headers["access-control-allow-origin"] == "*"


def test_another_origin_writes_with_a_key_that_it_means_and_not_with_what_a_browser_remembers(asking, keys):
    key = keys.add("gis", ["export"])
    with asking(protect=("export",)) as client:
        for ways in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            assert client.post(EXPORTS, json=ORDER, headers={**FOREIGN[0], **ways}).status_code == 201
        asked = client.post(EXPORTS, json=ORDER, headers=FOREIGN[0], auth=("anybody", key))
        assert asked.status_code == 403
        assert client.post(EXPORTS, json=ORDER, auth=("anybody", key)).status_code == 201
        # Nor with what it remembers beside a key of the other page's author.
        theirs = keys.add("theirs", ["export"])
        both = client.post(
            f"{EXPORTS}?api_key={theirs}", json=ORDER, headers=FOREIGN[0], auth=("anybody", key)
        )
        assert both.status_code == 403


def test_a_foreign_name_of_this_machine_may_not_write(asking):
    """DNS rebinding: page and server have one origin then, and only the name gives it away."""
    with asking("http://rebound.example:8000", protect=("none",)) as client:
        same = {"Origin": "http://rebound.example:8000", "Sec-Fetch-Site": "same-origin"}
        refused = client.post(EXPORTS, json=ORDER, headers=same)
        assert refused.status_code == 403
        assert "TERRAZZO_PUBLIC_URL" in refused.json()["detail"]
    with asking("http://maps.example.org", protect=("none",), public_url="http://maps.example.org") as client:
        assert client.post(EXPORTS, json=ORDER).status_code == 201


def test_users_without_keys_share_no_jobs(asking):
    with asking(
        "http://maps.example.org", protect=("none",), public_url="https://maps.example.org"
    ) as client:
        one, two = ({"X-Forwarded-For": a} for a in ("203.0.113.1", "203.0.113.2"))
        address = client.post(EXPORTS, json=ORDER, headers=one).headers["location"]
        path = address.removeprefix("https://maps.example.org")
        for who in (one, two):
            assert client.get(EXPORTS, headers=who).json()["jobs"] == []
        # Who knows the job's id, which nobody guesses, has it: also from another address.
        assert client.get(path, headers=two).json()["status"] == "accepted"
        assert client.get(path[:-1] + ("0" if path[-1] != "0" else "1"), headers=one).status_code == 404


def test_quotas_of_users_without_keys_are_those_of_their_address(asking):
    settings = {"protect": ("none",), "public_url": "https://maps.example.org", "export_jobs": 1}
    with asking("http://maps.example.org", **settings) as client:
        one, two = ({"X-Forwarded-For": f"198.51.100.7, {a}"} for a in ("203.0.113.1", "203.0.113.2"))
        statuses = [client.post(EXPORTS, json=ORDER, headers=h).status_code for h in (one, one, two)]
        assert statuses == [201, 429, 201]


def lines(caplog, form):
    return [form.format(r) for r in caplog.records]


@pytest.mark.parametrize("form", [TextLines(), JsonLines()], ids=["text", "json"])
def test_no_spelling_of_a_key_stands_in_a_log(asking, keys, caplog, form, monkeypatch):
    key = keys.add("gis", ["tiles", "export"])
    secret = key[12:]
    spellings = [
        key,
        encoded(key, 1),
        encoded(key, 2),
        key.replace("_", "%5f"),
        key[:-1] + f"%{ord(key[-1]):x}",
    ]
    names = ["api_key", "API_KEY", "api%5Fkey", "%61pi_key", "apikey", "token", "x", "?api_key"]
    monkeypatch.setattr(access, "level", logging.INFO)
    with asking() as client, caplog.at_level(logging.DEBUG, logger="terrazzo"):
        caplog.set_level(logging.INFO, logger="terrazzo.access")
        for spelling in spellings:
            for name in names:
                client.get(f"{TILE}?{name}={spelling}")
            client.get(f"/mosaics/{spelling}/tiles/WebMercatorQuad/1/1/1.png")
            client.get(f"{TILE}?bands={spelling}")
        client.get(TILE, headers={"X-API-Key": key, "X-Request-Id": key[:60]})
        logging.getLogger("terrazzo.server").error("it failed at %s", key)
    told = lines(caplog, form)
    assert len(told) > 50
    for line in told:
        assert secret not in line
        for spelling in spellings:
            assert spelling not in line
        assert not KEY.search(line)


def test_a_key_is_taken_out_of_a_query_however_its_name_is_spelled(asking, keys):
    key = keys.add("gis", ["tiles"])
    with asking(protect=("tiles",)) as client:
        for name in ("api_key", "API_KEY", "api%5Fkey", "%61pi_key", "%3Fapi_key"):
            assert client.get(f"{TILE}?{name}={key}").status_code == 200, name


@pytest.mark.parametrize("hidden", ["\n", "\r", "\r\n", "\x1b[2K", "\x85", "\u2028", "\0", "\x0b"])
def test_no_request_writes_a_second_line_into_the_log(asking, caplog, hidden):
    forged = f"{hidden}info - request method=GET path=/forged status=200"
    with asking() as client, caplog.at_level(logging.INFO, logger="terrazzo.access"):
        client.get(f"/mosaics/{quote(forged)}/point/1,1?bands={quote(forged)}")
    (line,) = (TextLines().format(r) for r in caplog.records if r.name == access.name)
    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_an_errors_own_line_breaks_do_not_begin_a_line():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "it %s", ("broke\ninfo - forged",), None)
    try:
        raise ValueError("one\ninfo - request path=/forged")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    first, *more = TextLines().format(record).split("\n")
    assert "\\n" in first
    assert all(line.startswith("  ") for line in more)


def test_the_map_serves_its_own_files_and_no_module(asking):
    with asking() as client:
        page = client.get("/", headers={"Accept": "text/html"}).text
        own = re.findall(r'(?:src|href)="(viewer/[^"]+)"', page)
        assert own
        for name in own:
            file = client.get(f"/{name}")
            assert file.status_code == 200, name
            # Its address changes with its contents, so that a browser never asks for it twice.
            assert "immutable" in file.headers["cache-control"]
        scripts = [n for n in own if n.endswith(".js")]
        assert len(scripts) == len(set(scripts))
        # Only the map of an empty store asks for the borders of countries.
        assert {Path(n).name for n in scripts} == {p.name for p in VIEWER.rglob("*.js")} - {"borders.js"}
        packed = sum(client.get(f"/{n}").num_bytes_downloaded for n in scripts)
        assert packed <= 400_000
        assert client.get("/viewer/viewer.js").headers["cache-control"] == "no-cache"
        for name in (
            "__init__.py",
            "../app.py",
            "..%2fapp.py",
            "%2e%2e/keys.py",
            "vendor/..%2f..%2fkeys.py",
            "/etc/hosts",
            "",
            "vendor",
        ):
            assert client.get(f"/viewer/{name}").status_code == 404, name


LABELS = "https://labels.example:8443/{z}/{x}/{y}.png"


def test_only_the_host_of_the_labels_that_an_operator_names_may_be_asked(asking):
    page = {"Accept": "text/html"}
    with asking() as client:
        alone = client.get("/", headers=page)
    with asking(labels=LABELS, labels_attribution="Names by <Us>") as client:
        named = client.get("/", headers=page)
    assert "img-src 'self' data:" in alone.headers["content-security-policy"]
    assert "img-src 'self' https://labels.example:8443 data:" in named.headers["content-security-policy"]
    assert LABELS in named.text
    assert "&lt;Us&gt;" in named.text
    assert "http" not in re.sub(r"<!doctype[^>]*>", "", alone.text)


@pytest.mark.parametrize(
    "labels", ["https://a.example; script-src */{z}/{x}/{y}", "ftp://a/{z}/{x}/{y}", "https://a/{z}/{x}"]
)
def test_an_address_of_labels_that_is_none_or_would_loosen_the_policy_ends_the_start(asking, labels):
    with pytest.raises(ValueError, match="TERRAZZO_LABELS: an address such as"):
        asking(labels=labels)
