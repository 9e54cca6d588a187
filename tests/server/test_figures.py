"""Which days an area shows, and how visible seams are: figures that the map tells too."""

import io

import numpy as np
import pytest

BOX = "15.7,45.85,16.0,46.05"


def test_the_days_of_a_box_are_those_of_the_date_layer(client):
    told = client.get(f"/mosaics/mosaic/dates/{BOX}").json()
    layer = client.get(f"/mosaics/mosaic/bbox/{BOX}/512x492.npy?style=date")
    values, mask = np.load(io.BytesIO(layer.content))
    days, counts = np.unique(values[mask > 0], return_counts=True)
    share = {
        str(np.datetime64(int(d), "D")): 100 * n / counts.sum() for d, n in zip(days, counts, strict=True)
    }
    assert sum(d["per_cent"] for d in told["dates"]) == pytest.approx(100, abs=0.05)
    assert {d["date"]: d["per_cent"] for d in told["dates"]} == pytest.approx(share, abs=0.5)
    assert [d["per_cent"] for d in told["dates"]] == sorted(
        (d["per_cent"] for d in told["dates"]), reverse=True
    )
    assert told["with_data"] == 100


def test_a_selection_changes_the_days_and_what_is_no_box_is_reported(client):
    told = client.get(f"/mosaics/mosaic/dates/{BOX}?datetime=2023-08-13&fill=none").json()
    assert [d["date"] for d in told["dates"]] == ["2023-08-13"]
    assert client.get("/mosaics/mosaic/dates/16,45,15,46").status_code == 400
    assert client.get("/mosaics/mosaic/dates/-200,-100,1e9,nan").status_code == 400
    assert client.get("/mosaics/mosaic/dates/1,1,2,2").status_code == 404
    assert client.get("/mosaics/mosaic/dates/-180,-90,180,90").json()["with_data"] < 1
    assert "there are" in client.get(f"/mosaics/mosaic/dates/{BOX}?colour=1").json()["detail"]


def test_what_is_predicted_counts_for_no_day(client):
    told = client.get(f"/mosaics/mosaic/dates/{BOX}?datetime=2023-08-18&fill=predict").json()
    own = client.get(f"/mosaics/mosaic/dates/{BOX}?datetime=2023-08-18&fill=none").json()
    assert [d["date"] for d in told["dates"]] == ["2023-08-18"]
    assert told["with_data"] > own["with_data"]
    shown = told["dates"][0]["per_cent"] * told["with_data"] / 100
    assert shown == pytest.approx(own["dates"][0]["per_cent"] * own["with_data"] / 100, abs=0.1)


def test_seams_are_scored_for_methods_with_and_without_normalization(client):
    told = client.get("/mosaics/mosaic/seams").json()["seams"]
    score = {(s["method"], s["normalize"]): s["score"] for s in told}
    assert set(score) == {("feather", "on"), ("feather", "off"), ("robust", "on"), ("robust", "off")}
    assert score["feather", "on"] < score["feather", "off"]
    assert all(s["places"] > 100 for s in told)


def test_every_day_of_the_scenes_has_its_clear_share(client):
    told = client.get("/mosaics/mosaic/days").json()
    items = client.get("/mosaics/mosaic/scenes").json()["features"]
    shares = {}
    for item in items:
        about = item["properties"]
        shares.setdefault(about["datetime"][:10], []).append(about["terrazzo:clear_share"])
    assert [d["date"] for d in told["days"]] == sorted(shares)
    assert {d["date"]: d["clear_share"] for d in told["days"]} == pytest.approx(
        {day: np.mean(several) for day, several in shares.items()}, abs=1e-4
    )
    assert told["tiles"] == max(d["tiles"] for d in told["days"]) == 2
    one = client.get("/mosaics/mosaic/days?datetime=2023-08-13").json()["days"]
    assert [d["date"] for d in one] == ["2023-08-13"]
    assert client.get("/mosaics/mosaic/days?baseline=2023-08-13").status_code == 400
