"""`baseline=`: what changed between two selections, as tile, point and box, against the two pictured by themselves."""

import io

import numpy as np
import pytest
import rasterio

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728"
NDVI = "expression=(B08-B04)/(B08%2BB04)"
LATER, EARLIER = "2023-08-18", "2023-08-13"


def array(client, query, path=f"{TILE}.npy"):
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    found = np.load(io.BytesIO(answer.content))
    return found[:-1], found[-1]


@pytest.mark.parametrize(("shown", "tolerance"), [(NDVI, 1e-6), ("bands=B04,B08", 0)])
def test_a_change_is_the_difference_of_the_two_selections(client, shown, tolerance):
    change, there = array(client, f"{shown}&datetime={LATER}&baseline={EARLIER}")
    (after, seen), (before, seen_before) = (
        array(client, f"{shown}&datetime={d}&fill=none") for d in (LATER, EARLIER)
    )
    both = (seen != 0) & (seen_before != 0)
    assert ((there != 0) == both).all()
    assert 0 < both.sum() < both.size
    apart = after.astype(np.float64) - before
    assert np.abs(change - apart)[:, both].max() <= tolerance
    assert (change[:, both] < 0).any()
    assert (change[:, both] > 0).any()


def test_a_change_keeps_its_sign_in_a_geotiff(client):
    with rasterio.open(
        io.BytesIO(client.get(f"{TILE}.tif?bands=B04&datetime={LATER}&baseline={EARLIER}").content)
    ) as dataset:
        values = dataset.read(1, masked=True)
        assert (dataset.dtypes[0], dataset.nodata, dataset.scales) == ("int16", -32768, (1e-4,))
        assert f"baseline={EARLIER}" in dataset.tags()["TERRAZZO_REQUEST"]
    assert values.min() < 0 < values.max()


def test_a_period_against_itself_has_not_changed(client):
    change, there = array(client, f"{NDVI}&datetime={LATER}&baseline={LATER}")
    assert (change[0][there != 0] == 0).all()


def test_a_point_reports_the_change_that_a_tile_shows(client):
    query = f"{NDVI}&datetime={LATER}&baseline={EARLIER}"
    lon, lat = 16.1, 45.9
    found = client.get(f"/mosaics/mosaic/point/{lon},{lat}?{query}&resampling=nearest").json()
    box = f"{lon - 1e-4},{lat - 1e-4},{lon + 1e-4},{lat + 1e-4}"
    change, _ = array(client, f"{query}&resampling=nearest", f"/mosaics/mosaic/bbox/{box}/1x1.npy")
    assert found["band_names"] == ["(B08-B04)/(B08+B04)"]
    assert found["values"] == pytest.approx(change[:, 0, 0].tolist(), abs=1e-4)
    assert f"baseline={EARLIER}" in found["request"]


def test_etags_of_baselines_differ(client):
    tags = {
        client.get(f"{TILE}.png?{NDVI}&datetime={LATER}{more}").headers["etag"]
        for more in ("", "&fill=none", f"&baseline={EARLIER}", "&baseline=2023-08-10", f"&baseline={LATER}")
    }
    assert len(tags) == 5


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("baseline=1999", "lies in no period"),
        ("baseline=2023-08-13&stage=mask", "contradict"),
        ("baseline=2023-08-13&style=date", "contradict"),
        ("expression=sum(B04)", "function sum"),
        ("expression=B04*later", "no band"),
        ("expression=B04*1j", "no real number"),
        ("expression=B04*(-1)**.5", "powers of bands"),
    ],
)
def test_what_cannot_be_compared_is_reported(client, query, told):
    answer = client.get(f"{TILE}.png?{query}")
    assert answer.status_code == 400
    assert told in answer.json()["detail"]


def test_no_change_is_the_middle_of_the_colours(client):
    pixels = client.get(f"{TILE}.png?style=ndvi&datetime={LATER}&baseline={LATER}").content
    with rasterio.open(io.BytesIO(pixels)) as picture:
        red, green, blue, alpha = picture.read()
    seen = alpha > 0
    assert len(np.unique(np.stack([red, green, blue])[:, seen], axis=1).T) == 1


PLACE = "16.1,45.9"
CHANGE = f"datetime={LATER}&baseline={EARLIER}"


def test_an_explanation_has_both_sides_and_what_changed(client):
    query = f"bands=B04,B08&{CHANGE}"
    found = client.get(f"/mosaics/mosaic/explain/{PLACE}?{query}&f=json").json()
    before = client.get(
        f"/mosaics/mosaic/explain/{PLACE}?bands=B04,B08&datetime={EARLIER}&fill=none&f=json"
    ).json()
    assert found["baseline"] == before
    assert found["datetime"][:10] == LATER
    assert found["change"] == client.get(f"/mosaics/mosaic/point/{PLACE}?{query}").json()["values"]
    text = client.get(f"/mosaics/mosaic/explain/{PLACE}?{query}&f=txt").text
    assert f"change of B04: {found['change'][0]}" in text
    page = client.get(f"/mosaics/mosaic/explain/{PLACE}?{query}&f=html").text
    assert page.count("Which scenes") == 2
    assert f"<td>{found['change'][0]}</td>" in page


def test_scenes_are_those_of_both_sides(client):
    def names(query):
        return [f["id"] for f in client.get(f"/mosaics/mosaic/scenes?{query}").json()["features"]]

    after, before = names(f"datetime={LATER}"), names(f"datetime={EARLIER}")
    assert names(CHANGE) == after + [n for n in before if n not in after]
    assert set(before) - set(after)


def test_days_of_a_change_are_asked_one_side_after_the_other(client):
    answer = client.get(f"/mosaics/mosaic/dates/16.05,45.85,16.1,45.9?{CHANGE}")
    assert answer.status_code == 400
    assert "one after the other" in answer.json()["detail"]
