"""Keys: kept as hashes, taken in four ways, asked for where needed, and never in logs, caches or public answers."""

import base64
import hmac
import json
import logging
import os
import shutil
import stat

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from terrazzo.cli import cli
from terrazzo.errors import StoreError
from terrazzo.server.app import create_app
from terrazzo.server.guard import guarded_by_default
from terrazzo.server.keys import Keys
from terrazzo.server.logs import access
from terrazzo.server.settings import Settings

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
TILEJSON = "/mosaics/mosaic/WebMercatorQuad/tilejson.json"
WMTS = "/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml"
EXPORTS = "/mosaics/mosaic/exports"
ORDER = {"bbox": [15.95, 45.8, 15.98, 45.82], "bands": ["B04"]}


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "state")


@pytest.fixture
def guarded(sample_store, tmp_path):
    settings = Settings(
        store=str(sample_store),
        state=tmp_path / "state",
        protect=("tiles", "export"),
        cache_dir=tmp_path / "cache",
    )
    with TestClient(create_app(settings)) as client:
        yield client


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_key_comes_in_each_of_four_ways(guarded, keys):
    key = keys.add("gis", ["tiles"])
    ways = [{"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, basic("anybody", key), basic(key, "")]
    assert [guarded.get(TILE, headers=h).status_code for h in ways] == [200] * 4
    assert guarded.get(f"{TILE}?style=ndvi&api_key={key}").status_code == 200
    assert guarded.get(f"{TILE}?API_KEY={key}").status_code == 200


OGC = "/collections/mosaic/map/tiles"


@pytest.mark.parametrize(
    "path",
    [
        TILE,
        TILEJSON,
        WMTS,
        EXPORTS,
        "/mosaics",
        "/mosaics/mosaic",
        "/stac",
        "/collections",
        "/collections/mosaic",
        OGC,
        f"{OGC}/WebMercatorQuad",
        f"{OGC}/WebMercatorQuad/11/728/1113.png",
    ],
)
def test_without_a_key_a_client_is_asked_for_one_and_learns_nothing(guarded, keys, path):
    key = keys.add("gis", ["tiles", "export"])
    for headers in (
        {},
        {"X-API-Key": key[:-1] + ("a" if key[-1] != "a" else "b")},
        basic("a", "b"),
        {"Authorization": "Basic ?"},
    ):
        answer = guarded.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "mosaic" not in answer.text.replace("/mosaics", "")
    assert guarded.get(path, headers={"X-API-Key": key}).status_code == 200
    # A page's script asks for the key in its own words, before the browser opens a window of its own.
    assert "www-authenticate" not in guarded.get(path, headers={"Sec-Fetch-Dest": "empty"}).headers


def test_the_landing_page_names_the_mosaics_that_a_key_opens(guarded, keys):
    """The page itself is open: it says where the rest is."""

    def named(**headers):
        return [k["title"] for k in guarded.get("/", headers=headers).json()["links"] if k["rel"] == "child"]

    tiles, other = keys.add("a", ["tiles"]), keys.add("b", ["tiles"], ["elsewhere"])
    assert named(**{"X-API-Key": tiles}) == ["mosaic"]
    assert named() == named(**{"X-API-Key": other}) == []


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/", "/docs", "/conformance", "/tileMatrixSets", "/viewer/viewer.js"]
)
def test_what_holds_no_data_is_open(guarded, path):
    assert guarded.get(path).status_code == 200


def test_readiness_names_the_mosaics_that_a_key_opens(guarded, keys):
    key = keys.add("a", ["tiles"])
    assert guarded.get("/readyz").json() == {"status": "ready", "mosaics": []}
    assert guarded.get("/readyz", headers={"X-API-Key": key}).json()["mosaics"] == ["mosaic"]


def test_scopes_and_mosaics_are_kept_apart(guarded, keys):
    tiles, other = keys.add("a", ["tiles"]), keys.add("b", ["tiles", "export"], ["elsewhere"])
    export, admin = keys.add("c", ["export"]), keys.add("d", ["admin"])

    def status(path, key):
        return guarded.get(path, headers={"X-API-Key": key}).status_code

    assert [status(TILE, k) for k in (tiles, other, export, admin)] == [200, 403, 403, 200]
    assert [status(EXPORTS, k) for k in (tiles, other, export, admin)] == [403, 403, 200, 200]
    assert status("/mosaics/mosaic%2fexports", tiles) == 403


def test_documents_carry_the_key_on_and_are_private(guarded, keys):
    key = keys.add("gis", ["tiles"])
    headers = {"X-API-Key": key}
    tilejson = guarded.get(f"{TILEJSON}?style=ndvi", headers=headers)
    assert tilejson.json()["tiles"][0].endswith(f"&api_key={key}")
    wmts = guarded.get(WMTS, headers=headers)
    templates = [line for line in wmts.text.splitlines() if "template=" in line]
    assert templates
    assert all(f"?api_key={key}" in line for line in templates)
    assert f'/wmts?api_key={key}&amp;"' in wmts.text
    for answer in (tilejson, wmts):
        assert answer.headers["cache-control"] == "private, no-store"
        assert "etag" not in answer.headers
    address = tilejson.json()["tiles"][0].format(z=11, x=1113, y=728)
    assert guarded.get(address).status_code == 200


def test_pictures_are_the_same_and_kept_by_the_asker_alone(guarded, keys, client, tmp_path):
    one, two = keys.add("a", ["tiles"]), keys.add("b", ["tiles"])
    first = guarded.get(TILE, headers={"X-API-Key": one})
    second = guarded.get(f"{TILE}?api_key={two}")
    assert first.content == second.content == client.get(TILE).content
    # Not rendered again: from the disk, or from the first one's answer while that is being written.
    assert first.headers["x-cache"] == "miss"
    assert second.headers["x-cache"] in ("hit", "shared")
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["cache-control"].startswith("private")
    again = guarded.get(TILE, headers={"X-API-Key": one, "If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    kept = b"".join(p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert one.encode() not in kept
    assert two.encode() not in kept


def test_keys_never_stand_in_logs_or_errors(sample_store, keys, tmp_path, caplog):
    key = keys.add("gis", ["tiles"])
    settings = Settings(store=str(sample_store), state=tmp_path / "state", protect=("tiles",), log="json")
    access.setLevel(logging.INFO)
    try:
        with caplog.at_level(logging.DEBUG), TestClient(create_app(settings)) as client:
            answers = [
                client.get(f"{TILE}?api_key={key}"),
                client.get(f"{TILE}?style=neon&api_key={key}"),
                client.get(TILE, headers={"X-API-Key": key}),
                client.get(TILE, headers=basic("x", key)),
                client.get(f"/nothing?api_key={key}"),
            ]
    finally:
        access.setLevel(logging.WARNING)
    told = json.dumps(
        [[r.getMessage(), str(vars(r))] for r in caplog.records if not r.name.startswith("httpx")]
    )
    assert TILE in told
    assert key not in told
    assert all(key not in a.text + str(dict(a.headers)) for a in answers)


def test_only_hashes_lie_on_the_disk_and_for_the_owner_alone(keys, tmp_path):
    key = keys.add("gis", ["tiles"])
    path = tmp_path / "state/keys.json"
    secret = key.split("_", 2)[2]
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_compared_in_constant_time_known_or_not(keys, monkeypatch):
    key = keys.add("gis", ["tiles"])
    compared = []
    same = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or same(a, b))
    assert keys.find(key)
    assert keys.find("tz_00000000_" + "a" * 43) is None
    assert keys.find("nonsense") is None
    assert compared == [(64, 64)] * 3


def test_a_revoked_key_is_refused_at_once(guarded, keys):
    key = keys.add("gis", ["tiles"])
    assert guarded.get(TILE, headers={"X-API-Key": key}).status_code == 200
    keys.revoke(key.split("_")[1])
    assert guarded.get(TILE, headers={"X-API-Key": key}).status_code == 401


def test_a_key_asks_as_often_as_its_rate_allows(guarded, keys):
    headers = {"X-API-Key": keys.add("slow", ["tiles"], rate=1)}
    answers = [guarded.get("/mosaics/mosaic", headers=headers) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 429]
    assert int(answers[1].headers["retry-after"]) >= 1


def test_exports_belong_to_their_key_and_count_for_its_quota(guarded, keys):
    one, two = keys.add("a", ["export"]), keys.add("b", ["export"], samples=10)
    boss = keys.add("c", ["admin"])
    made = guarded.post(EXPORTS, json=ORDER, headers={"X-API-Key": one})
    assert made.status_code == 201
    address = made.headers["location"]
    assert [guarded.get(address, headers={"X-API-Key": k}).status_code for k in (one, two, boss)] == [
        200,
        404,
        200,
    ]
    assert guarded.delete(address, headers={"X-API-Key": two}).status_code == 404
    assert guarded.get(EXPORTS, headers={"X-API-Key": two}).json()["jobs"] == []
    assert guarded.post(EXPORTS, json=ORDER, headers={"X-API-Key": two}).status_code == 429


@pytest.mark.parametrize(
    ("host", "public", "guarded"),
    [
        ("127.0.0.1", None, ()),
        ("localhost", None, ()),
        ("::1", None, ()),
        ("0.0.0.0", None, ("export",)),
        ("192.0.2.1", None, ("export",)),
        ("127.0.0.1", "https://maps.example.org/", ("export",)),
    ],
)
def test_exports_need_a_key_once_others_can_reach_them(host, public, guarded):
    assert guarded_by_default(host, public) == guarded


def test_the_operators_word_counts(monkeypatch):
    for protect, told in (
        ("none", ()),
        ("tiles", ("tiles", "export")),
        ("tiles,export", ("tiles", "export")),
    ):
        assert Settings(store="x", host="0.0.0.0", protect=protect).guarded() == told
    monkeypatch.setenv("TERRAZZO_PROTECT", "tiles,export")
    assert Settings(store="x").guarded() == ("tiles", "export")
    with pytest.raises(ValueError, match="TERRAZZO_PROTECT"):
        Settings(store="x", protect="maps")


def test_the_command_adds_lists_and_revokes(tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(cli, ["keys", "--store", "x", "--state", str(tmp_path), *arguments])
        assert result.exit_code == 0, result.output
        assert str(tmp_path / "keys.json") in result.stderr or arguments[0] == "revoke"
        return result.stdout

    key = run("add", "Anna", "--scope", "tiles", "--mosaic", "m", "--rate", "5").strip()
    listed = run("list")
    assert "tiles of m" in listed
    assert "Anna" in listed
    assert key not in listed
    run("revoke", key.split("_")[1])
    assert run("list") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_keys_that_root_makes_belong_to_the_folders_owner_and_others_get_an_error(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12345, 54321)
    Keys(state).add("Anna", ["tiles"])
    made = (state / "keys.json").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (12345, 54321, 0o600)
    os.seteuid(23456)
    try:
        with pytest.raises(StoreError, match="chown"):
            Keys(state).all()
    finally:
        os.seteuid(0)


def test_preflights_name_what_scripts_need_for_exports(client):
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    allowed = client.options(EXPORTS, headers=asked).headers
    assert "POST" in allowed["access-control-allow-methods"]
    assert "DELETE" in allowed["access-control-allow-methods"]
    assert "X-API-Key" in allowed["access-control-allow-headers"]
    assert "Authorization" in allowed["access-control-allow-headers"]


@pytest.mark.parametrize(
    "path",
    [
        "/mosaics",
        "/mosaics/mosaic",
        "/stac",
        "/mosaics/mosaic/scenes",
        "/mosaics/mosaic/exports",
        TILE,
        TILEJSON,
        WMTS,
    ],
)
def test_a_slash_at_the_end_of_an_address_loses_no_key(guarded, keys, path):
    key = keys.add("gis", ["tiles", "export"])
    for ask in ({"params": {"api_key": key}}, {"headers": {"X-API-Key": key}}):
        plain, slashed = (guarded.get(p, follow_redirects=False, **ask) for p in (path, f"{path}/"))
        assert (slashed.status_code, slashed.content) == (200, plain.content)
    assert guarded.get(f"{path}/").status_code == 401


def test_addresses_without_a_document_lead_nowhere_and_in_no_circle(guarded):
    for path in ("/viewer", "/viewer/", "/mosaic/"):
        assert guarded.get(path, follow_redirects=False).status_code == 404


def test_a_key_for_one_mosaic_learns_neither_others_names_nor_where_the_store_lies(
    sample_store, tmp_path, keys, caplog
):
    store = tmp_path / "store"
    for folder in ("mosaic", "secret", "gone-0123456789ab"):
        shutil.copytree(sample_store / "mosaics" / "mosaic", store / "mosaics" / folder)
    for entry in sample_store.iterdir():
        if entry.name != "mosaics":
            (store / entry.name).symlink_to(entry)
    settings = Settings(store=str(store), state=tmp_path / "state", protect=("tiles", "export"), follow=0)
    own, every = keys.add("a", ["tiles", "export"], ["mosaic", "gone"]), keys.add("b", ["admin"])
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        paths = [
            "/mosaics",
            "/stac",
            "/mosaics/gone",
            "/mosaics/gone/scenes",
            "/mosaics/secret",
            "/mosaics/nothing",
            "/collections/gone-0123456789ab",
        ]
        with caplog.at_level(logging.INFO):
            answers = [client.get(p, headers={"X-API-Key": own}) for p in paths]
        assert [a.status_code for a in answers] == [200, 200, 404, 404, 403, 403, 404]
        assert not any("secret" in a.text.replace("open tiles of secret", "") for a in answers)
        assert not any(str(store) in a.text or "precompute" in a.text for a in answers)
        assert answers[4].text.replace("secret", "nothing") == answers[5].text
        assert "/mosaics lists" in answers[2].json()["detail"]
        assert f"in {store}; there are: gone-0123456789ab, mosaic, secret" in caplog.text
        assert "secret" in client.get("/stac", headers={"X-API-Key": every}).text


def test_what_ails_the_store_is_for_the_log(sample_store, tmp_path, caplog):
    store = tmp_path / "store"
    shutil.copytree(sample_store, store)
    with TestClient(create_app(Settings(store=str(store), state=tmp_path / "state", follow=0))) as client:
        assert client.get("/mosaics/mosaic/point/15.97,45.8").status_code == 200
        (store / "mosaics" / "mosaic" / "mosaic.json").write_text("{")
        shutil.rmtree(next((store / "mosaics" / "mosaic" / "versions").iterdir()))
        answers = [
            client.get(p) for p in ("/mosaics/mosaic", "/mosaics/mosaic/versions/0123456789ab", "/readyz")
        ]
        assert all(a.status_code >= 400 for a in answers)
        assert not any(str(tmp_path) in a.text for a in answers)
