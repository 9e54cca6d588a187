"""Standard errors at the interfaces: points, accounts, statistics, where they are asked for and nowhere else."""

import json

import pytest

PLACE = "15.9,45.8"
FIELD = {
    "type": "Feature",
    "properties": {},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[15.9, 45.8], [15.92, 45.8], [15.92, 45.815], [15.9, 45.815], [15.9, 45.8]]],
    },
}
MOSAIC = "/mosaics/mosaic"


def test_a_point_and_its_account_tell_the_same_sigma(client):
    query = "?bands=B04,B08&sigma=on"
    point = client.get(f"{MOSAIC}/point/{PLACE}{query}").json()
    account = client.get(f"{MOSAIC}/explain/{PLACE}{query}&f=json").json()
    for own, shared in zip(point["sigma"], point["sigma_shared"], strict=True):
        assert 0 < shared <= own < 0.3
    assert (account["sigma"], account["sigma_shared"]) == (point["sigma"], point["sigma_shared"])
    assert account["sigma_95"] == point["sigma_95"]
    for own, wide in zip(point["sigma"], point["sigma_95"], strict=True):
        assert wide == pytest.approx(2.5 * own, abs=3e-5)
    assert account["sigma_prior"] == "mosaic"
    assert f"sigma of B08: {point['sigma'][1]}" in client.get(f"{MOSAIC}/explain/{PLACE}{query}&f=txt").text
    assert f"<td>{point['sigma'][1]}</td>" in client.get(f"{MOSAIC}/explain/{PLACE}{query}&f=html").text


def test_a_place_that_is_filled_from_another_day_has_no_sigma(client):
    """The scenes of 15 August show half of the area, those of 18 August are half cloud."""
    query = "?bands=B04&sigma=on&fill=best&datetime=2023-08-10"
    seen = [client.get(f"{MOSAIC}/point/{15.5 + n / 40},45.85{query}") for n in range(12)]
    points = [answer.json() for answer in seen if answer.status_code == 200]
    last = [p for p in points if p["quality"] & 2]
    assert last
    assert all(p["sigma"] == [None] for p in last)


@pytest.mark.parametrize(
    "asked",
    [
        "point/15.7,46?bands=B04&datetime=2023-08-14&fill=predict",
        "explain/15.7,46?datetime=2023-08-14&fill=predict&f=html",
        "point/15.610279743193729,46.17047755360312?bands=B04&datetime=2023-08-10&fill=best",
        f"point/{PLACE}?bands=B04&min_score=100&fill=best",
    ],
)
def test_a_place_far_from_all_that_is_clear_has_no_sigma(client, asked):
    answer = client.get(f"{MOSAIC}/{asked}&sigma=on")
    assert answer.status_code == 200, answer.text
    if "explain" not in asked:
        assert answer.json()["sigma"] == answer.json()["sigma_shared"] == [None]


@pytest.mark.parametrize("endpoint", [f"point/{PLACE}", f"explain/{PLACE}"])
def test_nobody_is_told_a_sigma_who_does_not_ask(client, endpoint):
    told = client.get(f"{MOSAIC}/{endpoint}?bands=B04").json()
    assert not [k for k in told if k.startswith("sigma")]
    assert client.get(f"{MOSAIC}/{endpoint}?bands=B04&sigma=off").json().keys() == told.keys()


@pytest.mark.parametrize(
    "query",
    [
        "stage=mask",
        "stage=raw&bands=B04",
        "expression=B08-B04",
        "method=percentile:10",
        "baseline=2023-08-13",
    ],
)
def test_a_sigma_that_predicts_nothing_is_refused_by_every_endpoint(client, query):
    for endpoint in (f"point/{PLACE}", f"explain/{PLACE}"):
        answer = client.get(f"{MOSAIC}/{endpoint}?{query}&sigma=on")
        assert answer.status_code == 400
        assert "sigma" in answer.json()["detail"]
    assert client.post(f"{MOSAIC}/statistics?{query}&sigma=on", json=FIELD).status_code == 400


def test_the_layer_is_refused_where_a_value_is_a_limit(client):
    tile = f"{MOSAIC}/tiles/WebMercatorQuad/11/1113/728.png?style=sigma"
    assert client.get(f"{tile}&method=median").status_code == 200
    assert client.get(f"{tile}&method=percentile:10").status_code == 400


def test_the_key_of_the_layer_bears_the_prior_of_its_period(client, monkeypatch):
    """Dates of other tiles change the prior without a change of a picture's own scenes."""
    tile = f"{MOSAIC}/tiles/WebMercatorQuad/11/1113/728.png"

    def etags(plain, sure):
        return [client.get(f"{tile}?style={style}").headers["etag"] for style in (plain, sure)]

    before = etags("date", "sigma")
    version = client.app.state.context.mosaics.engine("mosaic").version
    monkeypatch.setattr(version, "scatter", {})
    # Written differently: an answer is remembered by its address.
    after = etags("%64ate", "%73igma")
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize(
    ("corner", "is_known"),
    [((15.5, 45.8), False), ((15.9, 46.0), False), ((15.6, 46.0), True), ((15.8, 45.9), True)],
)
def test_a_mean_of_an_area_that_is_mostly_cloud_has_no_sigma(client, corner, is_known):
    """18 August is half cloud: each square is partly clear, and only some by more than half."""
    query = "bands=B04&sigma=on&fill=best&datetime=2023-08-18"
    ring = [[corner[0] + x, corner[1] + y] for x, y in ((0, 0), (0.05, 0), (0.05, 0.05), (0, 0.05), (0, 0))]
    area = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    about = client.post(f"{MOSAIC}/statistics?{query}", json=area).json()["properties"]
    numbers = about["statistics"]["B04"]
    assert 0.1 < about["clear_share"] < 0.9
    assert (about["clear_share"] > 0.5) == is_known
    assert (numbers["sigma"] is not None) == (numbers["sigma_pixel"] is not None) == is_known


def test_a_mean_over_a_field_is_surer_than_its_pixels_and_not_without_end(client):
    def told(query):
        answer = client.post(f"{MOSAIC}/statistics?bands=B02,B08&{query}", content=json.dumps(FIELD))
        return answer.json()["properties"]["statistics"]

    without, sure = told("sigma=off"), told("sigma=on")
    for band, numbers in sure.items():
        sigma, pixel = numbers.pop("sigma"), numbers.pop("sigma_pixel")
        assert numbers == without[band]
        # What 700 pixels do not share would be averaged down to a twenty-sixth.
        assert pixel / 10 < sigma <= pixel
