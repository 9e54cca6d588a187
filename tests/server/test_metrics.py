"""What Prometheus and the logs are told: few series, true numbers, one identifier from the proxy to the log."""

import json
import logging
import re
import threading
import urllib.request
from functools import partial

import pytest
import yaml
from fastapi.testclient import TestClient

from terrazzo.server.app import create_app
from terrazzo.server.logs import JsonLines
from terrazzo.server.metrics import exposition
from terrazzo.server.routes import service
from terrazzo.server.settings import Settings
from tests.conftest import ROOT
from tests.golden.make import STORE
from tests.server.test_serve import serving
from tests.waiting import PATIENCE

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
MONITORING = ROOT / "docker" / "monitoring"


def counts(client):
    """Every sample of /metrics by its name and labels."""
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}


@pytest.fixture(scope="module")
def fresh(sample_store, tmp_path_factory):
    # Each request looks at the store: a repeated one would not.
    settings = Settings(store=str(sample_store), cache_dir=tmp_path_factory.mktemp("cache"), follow=0)
    with TestClient(create_app(settings)) as client:
        yield client


def test_counts_are_written_beside_the_event_loop(tmp_path, monkeypatch):
    """Of many processes they are files to read: nothing else would be answered meanwhile."""
    where = []

    def written():
        where.append(threading.current_thread())
        return exposition()

    async def loop_of(app, scope, receive, send):
        where.append(threading.current_thread())
        await app(scope, receive, send)

    monkeypatch.setattr(service, "exposition", written)
    app = create_app(Settings(store=str(STORE), state=tmp_path))
    with TestClient(partial(loop_of, app)) as client:
        client.get("/metrics")
    loop, writer = where[-2:]
    assert loop is not writer


def test_tiles_are_counted_by_outcome_and_cache_and_their_steps_timed(fresh):
    before = counts(fresh)
    etag = fresh.get(TILE).headers["etag"]
    # The cache writes behind the answer's back.
    while fresh.get(TILE).headers["x-cache"] != "hit":
        pass
    fresh.get(TILE, headers={"If-None-Match": etag})
    fresh.get(f"{TILE}?style=neon")
    now = counts(fresh)

    def more(name):
        return now.get(name, 0) - before.get(name, 0)

    rendered = more('terrazzo_tiles_total{cache="miss",outcome="ok"}')
    asked = sum(v - before.get(k, 0) for k, v in now.items() if k.startswith("terrazzo_tiles_total"))
    assert rendered >= 1
    assert more('terrazzo_tiles_total{cache="hit",outcome="ok"}') == 1
    assert more('terrazzo_tiles_total{cache="none",outcome="not_modified"}') == 1
    assert more('terrazzo_tiles_total{cache="none",outcome="refused"}') == 1
    assert more('terrazzo_requests_total{kind="tiles",outcome="refused"}') == 1
    for step in ("wait", "pixels", "encode"):
        assert more(f'terrazzo_step_seconds_count{{step="{step}"}}') == rendered
    assert more('terrazzo_step_seconds_count{step="look"}') == asked
    assert more("terrazzo_scenes_read_total") >= 1
    assert more('terrazzo_bytes_read_total{where="local"}') > 10_000
    assert now["terrazzo_queue"] == 0
    assert now["terrazzo_queue_limit"] == 516


def test_whatever_is_asked_makes_no_new_series(fresh):
    fresh.get("/mosaics/mosaic/point/15.9,45.9")
    fresh.get("/nothing")
    before = set(counts(fresh))
    for i in range(20):
        fresh.get(f"/mosaics/m{i}/tiles/X/{i}/{i}/{i}.png?style=s{i}")
        fresh.get(f"/mosaics/mosaic/point/15.9{i},45.9")
        fresh.get(f"/nothing/{i}")
    assert len(set(counts(fresh)) - before) <= 4


def test_an_identifier_goes_from_a_trusted_proxy_through_the_log_into_the_answer(sample_store, caplog):
    app = create_app(Settings(store=str(sample_store)))
    with caplog.at_level(logging.INFO, "terrazzo.access"):
        with TestClient(app, client=("127.0.0.1", 1)) as near:
            assert near.get(TILE, headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
        with TestClient(app, client=("203.0.113.9", 1)) as stranger:
            given = stranger.get(TILE, headers={"X-Request-Id": "abc-2"}).headers["x-request-id"]
        odd = near.get(TILE, headers={"X-Request-Id": "a\tb"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", given)
    assert re.fullmatch("[0-9a-f]{32}", odd)
    record = next(r for r in caplog.records if r.name == "terrazzo.access")
    line = json.loads(JsonLines().format(record))
    assert (line["path"], line["status"], line["method"]) == (TILE, 200, "GET")


def test_several_processes_count_together_and_write_json_lines(sample_store):
    with serving(sample_store, "--workers", "2", TERRAZZO_LOG="json") as (process, address):
        for i in range(12):
            urllib.request.urlopen(
                f"{address}{TILE}?resampling={'nearest' if i % 2 else 'bilinear'}", timeout=PATIENCE
            ).read()
        text = urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE).read().decode()
        assert (
            sum(float(v) for v in re.findall(r"^terrazzo_tiles_total\{.*\} (\S+)", text, re.MULTILINE)) == 12
        )
        process.terminate()
        rest, _ = process.communicate(timeout=PATIENCE)
    lines = [json.loads(x) for x in rest.splitlines() if x.startswith("{")]
    tiles = [x for x in lines if x.get("path") == TILE]
    assert len(tiles) == 12
    assert len({x["request_id"] for x in tiles}) == 12


def names_in(text):
    return set(re.findall(r"\bterrazzo_[a-z_]+\b", text))


def test_dashboard_and_alerts_speak_of_what_is_counted_and_every_alert_has_its_paragraph(fresh):
    fresh.get(TILE)
    known = names_in(fresh.get("/metrics").text)
    from terrazzo.precompute.work.prometheus import NAMES

    known |= set(NAMES)
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    shown = names_in(json.dumps(dashboard))
    assert shown
    assert shown <= known
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    runbook = (ROOT / "docs" / "operate" / "runbook.md").read_text()
    for rule in rules:
        assert names_in(rule["expr"]) <= known, rule["alert"]
        assert f"## {rule['alert']}\n" in runbook
        assert rule["annotations"]["runbook"].endswith(f"runbook.md#{rule['alert'].lower()}")
