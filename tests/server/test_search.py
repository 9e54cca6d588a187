"""STAC API: what a search finds, in which order and on which page."""

import io
import json
import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from fastapi.testclient import TestClient

from terrazzo.errors import InvalidRequest
from terrazzo.server.app import create_app
from terrazzo.server.geoparquet import geoparquet
from terrazzo.server.keys import Keys
from terrazzo.server.search.asked import parse_search
from terrazzo.server.search.items import _around
from terrazzo.server.search.listing import listing_of
from terrazzo.server.search.pages import find
from terrazzo.server.search.times import span_of
from terrazzo.server.settings import Settings
from tests.server.versions import publish_second

DAY = "2023-08-15T00:00:00Z/2023-08-15T23:59:59Z"


def made_up(name, when, box, **properties):
    """An Item of a box, in two parts where it crosses the antimeridian."""
    west, south, east, north = box
    parts = [box] if west <= east else [(west, south, 180, north), (-180, south, east, north)]
    geometry = shapely.union_all([shapely.box(*p) for p in parts])
    return {
        "id": name,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": {"datetime": when, **properties},
    }


@pytest.fixture(scope="module")
def listing():
    items = [
        made_up("morning", "2023-07-01T10:30:00Z", (10, 40, 11, 41), cloud=5, platform="A"),
        made_up("midnight", "2023-07-02T00:00:00Z", (12, 40, 13, 41), cloud=50, platform="B"),
        made_up("line", "2023-06-30T23:59:59Z", (179, -5, -179, 5), platform="A", many=[1, 2]),
    ]
    return listing_of(items, [span_of(i["properties"]["datetime"]) for i in items])


def names(listing, **asked):
    page = find(parse_search(asked), {"c": listing})
    return [listing.properties["id"][h.row].as_py() for h in page.hits]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("datetime >= DATE('2023-07-01') AND datetime < DATE('2023-07-02')", {"morning"}),
        ("datetime = DATE('2023-07-01')", {"morning"}),
        ("datetime <= DATE('2023-07-01')", {"morning", "line"}),
        ("datetime > DATE('2023-07-01')", {"midnight"}),
        ("datetime > TIMESTAMP('2023-07-01T10:30:00Z')", {"midnight"}),
        ("T_INTERSECTS(datetime, INTERVAL('2023-07-01','..'))", {"morning", "midnight"}),
        ("cloud < 50", {"morning"}),
        ("NOT cloud < 50", {"midnight"}),
        ("cloud IS NULL", {"line"}),
        ("nothing = 5", set()),
        ("NOT nothing = 5", set()),
        ("nothing IS NULL AND platform = 'A'", {"morning", "line"}),
        ("nothing = 5 OR platform = 'B'", {"midnight"}),
        ("CASEI(platform) = CASEI('b')", {"midnight"}),
        ("platform IN ('A', 'C') AND cloud BETWEEN 0 AND 10", {"morning"}),
        ("id LIKE 'm%'", {"morning", "midnight"}),
        ("5 >= cloud", {"morning"}),
        ("S_INTERSECTS(geometry, BBOX(178,-1,-178,1))", {"line"}),
        ("S_INTERSECTS(geometry, POINT(12.5 40.5))", {"midnight"}),
    ],
)
def test_a_filter_matches_what_the_standard_says(listing, condition, expected):
    assert set(names(listing, filter=condition)) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((178, -1, -178, 1), {"line"}),
        ((-180, -1, -179.5, 1), {"line"}),
        ((-178, -1, 178, 1), set()),
        ((11.5, 39, 14, 42), {"midnight"}),
        ((10.5, 40.5, 0, 12.5, 40.6, 9000), {"morning", "midnight"}),
    ],
)
def test_a_box_with_west_of_east_is_two_boxes(listing, box, expected):
    assert set(names(listing, bbox=list(box))) == expected


def nested(levels):
    condition = {"op": "isNull", "args": [{"property": "cloud"}]}
    for _ in range(levels):
        condition = {"op": "not", "args": [condition]}
    return condition


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ({"filter": "platform < 5"}, "compare like with like"),
        ({"filter": "many = 1"}, "queryables"),
        ({"filter": "platform ="}, "no cql2-text"),
        ({"filter": "(" * 40 + "cloud = 1" + ")" * 40}, "levels"),
        ({"filter": {"op": "a_contains", "args": [{"property": "many"}, [1]]}}, "known are and, or"),
        ({"query": {"cloud": {"lt": 5}}}, "use filter instead"),
        ({"bbox": [1, 2, 3]}, "four numbers"),
        ({"bbox": [True, 0, 1, 1]}, "four numbers"),
        ({"bbox": [0, 91, 1, 92]}, "±90"),
        ({"bbox": [10**400, 0, 1, 1]}, "four numbers"),
        ({"filter": nested(480)}, "32 levels"),
        ({"filter": nested(100_000)}, "32 levels"),
        ({"filter": {"op": "in", "args": [{"property": "cloud"}, [1] * 10_000]}}, "16384 characters"),
        ({"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}}, "name one"),
        ({"intersects": {"type": "Nothing"}}, "GeoJSON geometry"),
        ({"datetime": "2023-08-15"}, "2023-08-15T00:00:00Z/2023-08-15T23:59:59Z"),
        ({"datetime": "2024-02"}, "2024-02-01T00:00:00Z/2024-02-29T23:59:59Z"),
        ({"datetime": "2023/.."}, "2023-01-01T00:00:00Z/.."),
        ({"datetime": "2023-08-15T10:00:00Z/2023-08-14T10:00:00Z"}, "exchange"),
        ({"datetime": "../.."}, "begin or an end"),
        ({"sortby": "many"}, "queryables"),
        ({"sortby": "-"}, "-datetime,+id"),
        ({"sortby": [{"field": "properties."}]}, "-datetime,+id"),
        ({"ids": ","}, "leave it out"),
        ({"sortby": [{"field": "id", "direction": "up"}]}, "asc or desc"),
        ({"limit": 0}, "from 1"),
        ({"token": "x"}, "link `next`"),
        ({"token": "WzAseyJtIjoiXHVkODAwIn1d"}, "link `next`"),
        ({"filter": "CASEI(cloud) = CASEI('a')"}, "compare like with like"),
        ({"filter": "cloud = 1", "filter-lang": 5}, "cql2-text or cql2-json"),
        ({"filter": "POINT EMPTY"}, "no cql2-text"),
        ({"filter": {"op": "and", "args": []}}, "2 or more"),
        ({"filter": {"op": "between", "args": [{"property": "cloud"}, 1]}}, "between has 3"),
        ({"filter": {"op": "in", "args": [{"property": "cloud"}, 1]}}, "a list of values"),
        (
            {"filter": {"op": "t_intersects", "args": [{"property": "datetime"}, {"interval": [".."]}]}},
            "an end",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_a_remedy(listing, asked, remedy):
    with pytest.raises(InvalidRequest) as error:
        names(listing, **asked)
    assert remedy in str(error.value)


def test_half_a_character_is_refused_in_words(client):
    for asked in ({"ids": ["\ud800"]}, {"sortby": "\ud800"}, {"collections": ["\ud800"]}):
        answer = client.post("/search", content=json.dumps(asked))
        assert (answer.status_code, "\\ud800 is an unpaired surrogate" in answer.json()["detail"]) == (
            400,
            True,
        )
    whole = client.post("/search", content=json.dumps({"ids": ["\U0001f30d"]}))
    assert (whole.status_code, whole.json()["features"]) == (200, [])


def test_pages_hold_each_item_once_in_the_order_that_is_asked_for(listing):
    assert names(listing) == ["midnight", "morning", "line"]
    assert names(listing, sortby="-cloud") == ["midnight", "morning", "line"]
    assert names(listing, sortby="platform,-id") == ["morning", "line", "midnight"]
    assert names(listing, sortby="nothing,id", limit=2) == ["line", "midnight"]
    assert names(listing, ids=["line", "none"]) == ["line"]


def test_scenes_over_the_antimeridian_have_one_narrow_box():
    outlines = listing_of([made_up("a", "", (179, -5, -179, 5))], [span_of("2023-07-01")]).outlines
    assert _around(np.array([[-180.0, -5, 180, 5]]), outlines, 32601) == (179, -5, -179, 5)
    assert _around(np.array([[178.0, -5, 180, 5]]), outlines.slice(0, 1), 32660) == (178, -5, 180, 5)


def test_a_day_that_a_client_writes_as_its_seconds_ends_with_the_day():
    span = parse_search({"datetime": DAY}).span
    assert span == span_of("2023-08-15")


def test_fields_of_items_are_those_that_are_wanted(client):
    always = {"id", "collection", "type", "stac_version"}

    def keys(fields):
        (feature,) = client.get(f"/search?limit=1&collections=mosaic&fields={fields}").json()["features"]
        return set(feature), set(feature.get("properties", ()))

    assert keys("properties.eo:cloud_cover") == (always | {"properties"}, {"eo:cloud_cover"})
    assert "links" not in keys("-links,-properties.gsd")[0]
    assert "gsd" not in keys("-links,-properties.gsd")[1]
    assert keys("")[1] > {"gsd", "datetime"}
    wanted = {"fields": {"include": ["properties.gsd"], "exclude": ["properties"]}, "limit": 1}
    (feature,) = client.post("/search", json=wanted | {"collections": ["mosaic"]}).json()["features"]
    assert feature["properties"] == {"gsd": 60.0}


def test_all_items_of_a_version_are_one_file_that_can_be_read_in_parts(client):
    path = client.get("/mosaics/mosaic").json()["assets"]["scenes"]["href"]
    whole = client.get(path)
    # Nothing says where the store's files could be read.
    assert "assets" not in pq.read_table(io.BytesIO(whole.content)).column_names
    part = client.get(path, headers={"Range": "bytes=-8"})
    assert (part.status_code, part.content) == (206, whole.content[-8:])
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_the_etag_of_all_items_is_computed_with_them_once(client):
    path = client.get("/mosaics/mosaic").json()["assets"]["scenes"]["href"]
    version = client.app.state.context.mosaics.engine("mosaic").version
    kept = geoparquet(version, None)
    assert geoparquet(version, None) is kept
    assert client.get(path).headers["etag"] == kept[1]


def test_pages_of_a_search_keep_to_the_version_of_the_first(sample_store, tmp_path):
    """A version that is published meanwhile would show Items twice or never."""
    store = tmp_path / "store"
    shutil.copytree(sample_store, store, copy_function=os.link)
    (pointer := store / "mosaics/mosaic/mosaic.json").unlink()
    shutil.copy(sample_store / "mosaics/mosaic/mosaic.json", pointer)
    with TestClient(create_app(Settings(store=str(store), follow=0))) as client:
        first = client.post("/search", json={"collections": ["mosaic"], "limit": 9}).json()
        (following,) = [k for k in first["links"] if k["rel"] == "next"]
        version = client.get("/mosaics/mosaic").json()["terrazzo:version"]
        assert parse_search(following["body"]).token.versions == {"mosaic": version}
        publish_second(store, 4)
        assert client.post("/search", json={"collections": ["mosaic"]}).json()["numberMatched"] == 4
        last = client.post("/search", json=following["body"]).json()
        assert (len(last["features"]), last["numberMatched"]) == (1, 10)
        assert len({f["id"] for f in (*first["features"], *last["features"])}) == 10
        assert not [k for k in last["links"] if k["rel"] == "next"]
        named = client.post("/search", json={"collections": [f"mosaic-{version}"], "limit": 1}).json()
        (feature,) = named["features"]
        assert client.get(next(k["href"] for k in feature["links"] if k["rel"] == "self")).json() == feature


def test_a_search_names_no_mosaic_that_a_key_does_not_open(sample_store, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(sample_store, store, copy_function=os.link)
    shutil.copytree(store / "mosaics/mosaic", store / "mosaics/secret")
    keys = Keys(tmp_path / "state")
    settings = Settings(store=str(store), state=tmp_path / "state", protect=("tiles", "export"), follow=0)
    one = {"X-API-Key": keys.add("one", ["tiles"], ["mosaic"])}
    exports = {"X-API-Key": keys.add("exports", ["export"])}
    with TestClient(create_app(settings)) as client:
        for path in (
            "/search",
            "/queryables",
            "/collections/mosaic/items",
            "/collections/mosaic.periods/items",
        ):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=exports).status_code == 403
            answer = client.get(path, headers=one)
            assert answer.status_code == 200
            assert "secret" not in answer.text
        assert client.get("/search?collections=secret,secret.periods", headers=one).json()["features"] == []
        for path in ("secret/items", "secret.periods/items", "secret.periods", "secret.periods/queryables"):
            assert client.get(f"/collections/{path}", headers=one).status_code == 403
        version = client.get("/mosaics/mosaic", headers=one).json()["terrazzo:version"]
        of_version = f"/collections/mosaic-{version}"
        about = client.get(of_version, headers=one).json()
        assert (about["id"], about["version"]) == (f"mosaic-{version}", version)
        links = {k["rel"]: k["href"].removeprefix("http://testserver") for k in about["links"]}
        assert (links["self"], links["items"]) == (of_version, f"{of_version}/items")
        for path in (links["items"], f"{of_version}/queryables"):
            assert client.get(path, headers=one).status_code == 200
        # A mosaic that looks like a version of another is none.
        (store / "mosaics/secret").rename(store / f"mosaics/mosaic-{'0' * 12}")
        for path in ("", "/items", "/queryables", "/map", "/map/tiles"):
            answer = client.get(f"/collections/mosaic-{'0' * 12}{path}", headers=one)
            assert answer.status_code in (403, 404), path
        both = client.get("/search", headers={"X-API-Key": keys.add("both", ["tiles"])}).json()
        assert both["numberMatched"] == 22


def test_a_server_without_the_extra_says_nothing_of_searches(sample_store, monkeypatch):
    monkeypatch.setattr("terrazzo.server.app.find_spec", lambda name: None)
    with TestClient(create_app(Settings(store=str(sample_store)))) as client:
        assert client.get("/search").status_code == 404
        assert "item-search" not in client.get("/stac").text
        assert [c["id"] for c in client.get("/collections").json()["collections"]] == ["mosaic"]
