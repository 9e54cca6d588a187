"""The map page in Chromium: swipe, accounts of pixels and areas, colours, play, link, keyboard, phone, errors that people can see."""

import csv
import io
import json
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urlencode
from urllib.request import urlopen

import pytest

from terrazzo.server.keys import Keys
from tests.clients.conftest import ENVIRONMENT, green, serving
from tests.server.test_serve import publish

pytestmark = [pytest.mark.clients, pytest.mark.needs("Chromium")]
CONTROLS = {
    "datetime",
    "style",
    "stage",
    "stageleft",
    "compare",
    "side",
    "explain",
    "area",
    "colours",
    "export",
    "share",
    "steps",
}
"""Those in use when the mask is shown: method and normalization are not."""
NDWI = "(B03-B08)/(B03+B08)"
DAYS = ["2023-08-10", "2023-08-13", "2023-08-15", "2023-08-18", "2023-08-20"]


@pytest.fixture(scope="module")
def seen(browser, address, tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    return json.loads(green([browser[0], Path(__file__).with_name("viewer.mjs"), f"{address}/", folder]))


def test_a_stranger_sees_what_it_is_and_clouds_beside_the_seamless_picture(seen):
    assert seen["problems"] == []
    assert seen["title"] == ["Sentinel-2, cloud-free, 10–20 August 2023"] * 2
    # Of the days over the whole mosaic the cloudiest shows best what is done.
    assert seen["first"] == ["normalized all", "raw 2023-08-10"]
    assert seen["sides"] == ["As acquired, 10 August 2023", "Seamless, 10–20 August 2023"]
    assert len(seen["days"]) == len(DAYS)
    assert seen["days"][0] == "10 August 2023: 22 % clear, 2 scenes"
    assert seen["still"]
    assert "Copernicus" in seen["attribution"]


def test_a_pixel_has_its_account_and_its_values_over_time(seen, address):
    assert seen["stage"] == "merged"
    with urlopen(f"{address}/mosaics/mosaic/seams") as answer:
        scores = {(s["method"], s["normalize"]): s["score"] for s in json.load(answer)["seams"]}
    assert f"Seam score {scores['feather', 'off']}:" in seen["score"]
    assert "left out" in seen["told"]
    assert "Mostly from 1" in seen["told"]
    rows = list(csv.DictReader(io.StringIO(seen["series"])))
    assert {r["day"] for r in rows} == {*DAYS, "2023-08-10/2023-08-20"}
    whole = rows[-1]
    assert whole["scene"] == "mosaic"
    lat, lon = seen["told"].split("clear. ")[1].split("Why")[0].split(", ")[:2]
    with urlopen(f"{address}/mosaics/mosaic/point/{lon},{lat}?style=natural&stage=merged") as answer:
        values = json.load(answer)["values"]
    assert [float(whole[b]) for b in ("B04", "B03", "B02")] == pytest.approx(values, abs=0.002)
    assert "Surface reflectance" in seen["page"]
    assert "Coefficients of the air" in seen["page"]
    assert seen["cut"] == []
    assert seen["escaped"]


def test_a_formula_has_its_own_legend_and_is_stretched_to_what_is_in_view(seen):
    low, high = seen["range"]
    assert -1 < low < high < 1
    assert NDWI in seen["legend"]
    assert str(low) in seen["legend"]


def test_an_area_has_its_statistics_by_day(seen):
    rows = list(csv.DictReader(io.StringIO(seen["area"])))
    assert [r["when"] for r in rows] == DAYS
    assert {r["band"] for r in rows} == {NDWI}
    clear = [r for r in rows if r["mean"]]
    assert len(clear) >= 3
    assert all(float(r["p2"]) <= float(r["median"]) <= float(r["p98"]) for r in clear)
    # Clouds are left out, and no other day fills in for them.
    assert float(rows[0]["clear"]) < float(rows[1]["clear"])


def test_what_is_shared_leads_to_the_same_picture(seen, address):
    view, wmts, xyz, tilejson = seen["links"]
    assert "swipe=" in view
    base, _, asked = wmts.partition("?")
    assert base == f"{address}/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml"
    # What it can carry for all its layers and styles.
    beside = {k: v for k, v in parse_qsl(xyz.partition("?")[2]) if k in ("stage", "method", "baseline")}
    assert beside
    assert dict(parse_qsl(asked)) == beside
    tile = xyz.replace("{z}", "9").replace("{x}", "278").replace("{y}", "182")
    for link in (wmts, tile, tilejson, seen["qgis"]):
        with urlopen(link) as answer:
            assert answer.status == 200, link
    assert urlencode({"expression": NDWI}) in seen["qgis"]
    assert seen["linked"] == ["raw", "mask"]
    assert "Cloud mask" in seen["right"]


def test_the_map_works_with_keys_and_keeps_two_thirds_of_a_sharp_phone(seen):
    assert set(seen["reached"]) >= CONTROLS | {"Border between the left and the right picture"}
    assert seen["sharp"]
    assert min(seen["free"]) >= 0.66
    assert "scenes" in seen["middle"]
    assert seen["wide"] <= 390


def test_periods_are_played_and_compared(seen):
    assert seen["played"] == ["2023-08-10/2023-08-14", "2023-08-15/2023-08-20"]
    assert seen["paused"] == "false"
    assert "Compared with 1" in seen["compared"]
    assert "change" in seen["compared"]
    assert seen["incomparable"]
    assert not seen["mask"]


def test_what_is_refused_is_said_in_words_and_asked_again(seen):
    assert "too many requests wait" in seen["trouble"]
    assert seen["uncaught"] == []
    assert seen["patient"] == [True, True, True]
    assert seen["quota"] == 1


@pytest.mark.parametrize("locked", [True, False])
def test_the_map_says_how_a_store_is_filled_shows_the_first_mosaic_and_offers_what_there_is(
    browser, sample_store, address, tmp_path, locked
):
    """Locked: tiles need a key, and the operator names labels of another origin. Else exports have no folder."""
    store, state = tmp_path / "store", tmp_path / "state"
    store.mkdir()
    (tmp_path / "file").touch()
    variables = {"TERRAZZO_STATE": str(state if locked else tmp_path / "file" / "state")}
    key = names = ""
    if locked:
        state.mkdir()
        key = Keys(state).add("map", ["tiles", "export"])
        names = address.replace("127.0.0.1", "localhost")
        labels = f"{names}/mosaics/mosaic/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
        variables |= {
            "TERRAZZO_PROTECT": "tiles,export",
            "TERRAZZO_LABELS": labels,
            "TERRAZZO_LABELS_ATTRIBUTION": "Names by us",
        }
    with serving(store, tmp_path / "cache", TERRAZZO_FOLLOW="0.1", **variables) as own:
        command = [browser[0], Path(__file__).with_name("waiting.mjs"), f"{own}/", key, names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            if locked:
                assert "a key is needed" in json.loads(process.stdout.readline())["said"]
            assert "terrazzo precompute SOURCE" in json.loads(process.stdout.readline())["said"]
            publish(sample_store, store)
            told = json.loads(process.stdout.readline())
    assert ("Names by us" in told.pop("attribution")) == locked
    assert told == {
        "trouble": False,
        "mosaics": ["mosaic"],
        "exports": locked,
        "labels": [200] if locked else [],
        "keyed": locked,
    }
