"""Statistics over HTTP: of single features at once, of many as a job, the same numbers either way."""

import io
import json

import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from tests.server.test_exports import EXPORTS, Server

STATISTICS = "/mosaics/mosaic/statistics"


@pytest.fixture
def server(sample_store, tmp_path):
    return Server(sample_store, tmp_path / "state")


def stands(count=20):
    rng = np.random.default_rng(5)
    return [
        {
            "type": "Feature",
            "properties": {"stand": f"S{i}"},
            "geometry": shapely.geometry.mapping(shapely.Point(lon, lat).buffer(0.004)),
        }
        for i, (lon, lat) in enumerate(
            zip(rng.uniform(15.9, 16.2, count), rng.uniform(45.75, 46, count), strict=True)
        )
    ]


def table(server, address, form):
    server.work()
    told = server.client.get(address).json()
    assert (told["status"], told["processID"]) == ("successful", "statistics"), told
    (about,) = server.client.get(f"{address}/results").json().values()
    content = io.BytesIO(server.client.get(about["href"]).content)
    return pd.read_parquet(content) if form == "parquet" else pd.read_csv(content)


@pytest.mark.parametrize("rule", ["exact", "centre"])
def test_a_job_gives_each_feature_the_statistics_that_it_has_alone(server, rule):
    features, asked = stands(), {"bands": ["B04", "B08"], "period": "all", "id": "stand", "rule": rule}
    body = {"features": {"type": "FeatureCollection", "features": features}, "percentiles": [2, 98], **asked}
    answer = server.client.post(f"{EXPORTS}/statistics", json=body)
    assert answer.status_code == 201, answer.text
    rows = table(server, answer.headers["location"], "parquet").set_index(["stand", "name"])
    assert len(rows) == 40
    for feature in (features[3], features[11]):
        alone = server.client.post(
            f"{STATISTICS}?bands=B04,B08&datetime=all&rule={rule}", json=feature
        ).json()
        properties = alone["properties"]
        assert properties["stand"] == feature["properties"]["stand"]
        for band, told in properties["statistics"].items():
            row = rows.loc[(properties["stand"], band)]
            expected = {"percentile_2": "p2", "percentile_98": "p98"}
            for name, value in told.items():
                assert value == pytest.approx(row[expected.get(name, name)], rel=1e-12)
            assert properties["clear_share"] == pytest.approx(row.clear_share)
            assert properties["version"] == row.version


def test_a_geopackage_is_taken_as_it_is(server, tmp_path):
    source, path = tmp_path / "stands.geojson", tmp_path / "stands.gpkg"
    source.write_text(json.dumps({"type": "FeatureCollection", "features": stands()}))
    pyogrio.write_dataframe(pyogrio.read_dataframe(source), path)
    answer = server.client.post(
        f"{EXPORTS}/statistics?expression=(B08-B04)/(B08%2BB04)&period=2023-08-13,2023-08-18&format=csv&id=stand",
        content=path.read_bytes(),
        headers={"Content-Type": "application/geopackage+sqlite3"},
    )
    assert answer.status_code == 201, answer.text
    rows = table(server, answer.headers["location"], "csv")
    assert len(rows) == 40
    assert set(rows.period) == {"2023-08-13", "2023-08-18"}
    assert rows["mean"].dropna().between(-1, 1).all()
    assert not list((tmp_path / "state").glob("areas-*"))


def test_features_of_a_collection_are_answered_in_their_order(server):
    features = [*stands(3), {"type": "Feature", "properties": None, "geometry": None}]
    found = server.client.post(
        f"{STATISTICS}?style=ndvi&p=50", json={"type": "FeatureCollection", "features": features}
    ).json()["features"]
    assert [f["geometry"] for f in found] == [json.loads(json.dumps(f["geometry"])) for f in features]
    index = found[0]["properties"]["statistics"]["(B08-B04)/(B08+B04)"]
    assert index["percentile_50"] == index["median"]
    assert found[3]["properties"]["statistics"]["(B08-B04)/(B08+B04)"]["count"] == 0


@pytest.mark.parametrize(
    ("path", "content", "kind", "told"),
    [
        (STATISTICS, b'{"type": "Polygon"}', "application/json", "each one a GeoJSON Feature"),
        (STATISTICS, b"[]", "application/json", "must be a JSON object"),
        (f"{STATISTICS}?rule=near", json.dumps(stands(1)[0]).encode(), "application/json", "exact, centre"),
        (f"{STATISTICS}?bbox=1", json.dumps(stands(1)[0]).encode(), "application/json", "unknown parameter"),
        (f"{EXPORTS}/statistics", b"{}", "application/json", "FeatureCollection"),
        (f"{EXPORTS}/statistics", b"nonsense", "application/octet-stream", "GeoPackage or GeoParquet"),
        (f"{EXPORTS}/statistics", b"PAR1nonsense", "application/octet-stream", "that can be read"),
        (
            f"{EXPORTS}/statistics",
            b"SQLite format 3\0 nonsense",
            "application/octet-stream",
            "that can be read",
        ),
    ],
)
def test_what_is_not_understood_is_answered_with_what_is(server, path, content, kind, told, tmp_path):
    answer = server.client.post(path, content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400, answer.text
    assert told in answer.json()["detail"]
    assert not list((tmp_path / "state").glob("areas-*"))


@pytest.mark.parametrize("query", ["stage=mask", "stage=raw", "style=date", "style=gain"])
def test_statistics_of_what_is_no_reflectance_are_refused(server, query):
    answer = server.client.post(f"{STATISTICS}?{query}", json=stands(1)[0])
    assert answer.status_code == 400
    assert query in answer.json()["detail"]


def test_properties_that_are_no_object_are_refused(server):
    answer = server.client.post(STATISTICS, json=stands(1)[0] | {"properties": [1]})
    assert answer.status_code == 400
    assert "properties" in answer.json()["detail"]
    assert server.client.post(STATISTICS, json=stands(1)[0] | {"properties": None}).status_code == 200


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("NaN", "infinite or NaN"),
        ("-Infinity", "infinite"),
        ("1e999", "infinite"),
        ('"\\udc00"', "unpaired surrogate"),
    ],
)
def test_what_no_json_can_tell_again_is_refused_in_words(server, value, said):
    feature = json.dumps(stands(1)[0]).replace('"S0"', value)
    answer = server.client.post(f"{STATISTICS}?bands=B04", content=feature)
    assert (answer.status_code, said in answer.json()["detail"]) == (400, True)
    large = json.dumps(stands(1)[0]).replace('"S0"', "1e300")
    assert server.client.post(f"{STATISTICS}?bands=B04", content=large).status_code == 200


def test_features_keep_the_properties_and_the_members_that_they_had(server):
    (feature,) = stands(1)
    feature |= {"id": 7, "properties": {"stand": "S0", "version": "ours", "clear_share": "much", "count": 3}}
    collection = {"type": "FeatureCollection", "name": "stands", "features": [feature]}
    answer = server.client.post(STATISTICS, json=collection)
    assert answer.headers["content-type"] == "application/geo+json"
    described = answer.json()
    assert described["name"] == "stands"
    properties = described["features"][0]["properties"]
    assert described["features"][0]["id"] == 7
    assert feature["properties"].items() <= properties.items()
    assert properties["terrazzo:clear_share"] == 1
    assert len(properties["terrazzo:version"]) == 12
    assert properties["statistics"]["B04"]["count"] > 0
    first = server.client.post(f"{STATISTICS}?bands=B04", json=stands(1)[0]).json()
    again = server.client.post(f"{STATISTICS}?bands=B08", json=first).json()["properties"]
    assert (set(again), set(again["statistics"])) == (set(first["properties"]), {"B08"})


def test_features_in_metres_come_back_with_their_coordinate_system(server):
    shape = shapely.geometry.mapping(shapely.box(570_000, 5_070_000, 572_000, 5_072_000))
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    feature = {"type": "Feature", "properties": {}, "geometry": shape}
    answer = server.client.post(
        STATISTICS, json={"type": "FeatureCollection", "crs": crs, "features": [feature]}
    )
    assert answer.json()["crs"] == crs
    count = answer.json()["features"][0]["properties"]["statistics"]["B04"]["count"]
    assert count == pytest.approx(2000**2 / 60**2)


def test_a_feature_without_pixels_says_why_beside_others_that_have_some(server):
    far = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(shapely.box(-125, 24, -66, 50)),
    }
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [15.97, 45.8]}}
    body = {"type": "FeatureCollection", "features": [far, *stands(1), point]}
    described = [f["properties"] for f in server.client.post(STATISTICS, json=body).json()["features"]]
    assert [p["statistics"]["B04"]["count"] > 0 for p in described] == [False, True, False]
    assert described[0]["reason"] == "outside the mosaic"
    assert "reason" not in described[1]
    assert "buffer it" in described[2]["reason"]


def test_a_job_takes_geojson_by_its_media_type_and_sums_up_what_has_no_pixels(server):
    far = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(shapely.box(0, -90, 10, 90)),
    }
    body = json.dumps({"type": "FeatureCollection", "features": [*stands(2), far]})
    address = f"{EXPORTS}/statistics?bands=B04&period=all&format=csv"
    kind = {"Content-Type": "application/geo+json"}
    answer = server.client.post(address, content=body, headers=kind)
    assert answer.status_code == 201, answer.text
    rows = table(server, answer.headers["location"], "csv")
    assert rows.reason.dropna().tolist() == ["outside the mosaic"]
    message = server.client.get(answer.headers["location"]).json()["message"]
    assert message == "3 rows of 3 areas; 1 without pixels: 1 outside the mosaic"


def test_a_large_area_counts_the_pixels_of_its_box_towards_the_quota(sample_store, tmp_path):
    server = Server(sample_store, tmp_path / "state", export_samples=1_000_000)
    globe = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(shapely.box(-180, -90, 180, 90)),
    }
    answers = [
        server.client.post(
            f"{EXPORTS}/statistics?bands=B04&period=all",
            content=json.dumps({"type": "FeatureCollection", "features": features}),
            headers={"Content-Type": "application/geo+json"},
        ).status_code
        for features in ([globe], stands(1))
    ]
    assert answers == [429, 201]
