"""The rules of the request language, at each endpoint that they touch."""

import json
import re
from importlib.resources import files

import pytest
import rasterio
from click.testing import CliRunner
from pyproj import Transformer

from terrazzo.cli import cli
from terrazzo.errors import InvalidRequest
from terrazzo.request.parameters import MEASURED
from terrazzo.server.bodies import collection_of
from tests.server.interfaces import BOX, FEATURE, LAT, LON, MOSAIC, PAIRS, SQUARE


def test_what_is_given_in_parts_is_joined_as_titiler_does(interfaces):
    whole = interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?bands=B04,B03,B02").json()
    parts = interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?bands=B04&bands=B03&bands=B02").json()
    assert parts == whole
    assert parts["band_names"] == ["B04", "B03", "B02"]
    tiles = interfaces.http.get(
        f"{MOSAIC}/WebMercatorQuad/tilejson.json?bands=B04&bands=B03&bands=B02"
    ).json()["tiles"][0]
    assert "bands=B04%2CB03%2CB02" in tiles


@pytest.mark.parametrize("path", [f"point/{LON},{LAT}", "gdal.xml", "WebMercatorQuad/tilejson.json"])
def test_what_is_no_list_and_named_twice_is_refused(interfaces, path):
    answer = interfaces.http.get(f"{MOSAIC}/{path}?bands=B04&method=first&method=median")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "method is named twice: name it once"


def test_the_command_line_joins_lists_and_refuses_what_is_named_twice(interfaces):
    command = ["export", "--store", interfaces.store, "--bbox", *map(str, BOX), "--dry-run"]
    parts = CliRunner().invoke(cli, [*command, "--bands", "B04", "--bands", "B03,B02"]).output
    assert parts == CliRunner().invoke(cli, [*command, "--bands", "B04,B03,B02"]).output
    assert "bands=B04,B03,B02" in parts
    twice = CliRunner().invoke(cli, [*command, "--method", "first", "--method", "mean"])
    assert (twice.exit_code, twice.output) == (1, "Error: method is named twice: name it once\n")


def test_a_body_refuses_what_is_named_twice(interfaces):
    body = '{"bbox": [15.004, 46.048, 15.008, 46.052], "bands": "B04", "bands": "B08", "dry_run": true}'
    answer = interfaces.http.post(f"{MOSAIC}/exports", content=body)
    assert (answer.status_code, answer.json()["detail"]) == (400, "bands is named twice: name it once")


def test_the_python_client_refuses_in_the_words_of_the_server(interfaces):
    swapped = (BOX[1], BOX[0], BOX[3], BOX[2])
    box = ",".join(map(str, BOX))
    for ask, path, options in (
        (
            lambda: interfaces.client.array(swapped, bands="B04"),
            f"bbox/{','.join(map(str, swapped))}.tif",
            {},
        ),
        (lambda: interfaces.client.array(BOX, crs="EPSG:99999"), f"bbox/{box}.tif", {"crs": "EPSG:99999"}),
        (lambda: interfaces.client.array(BOX, bbox_crs="x"), f"bbox/{box}.tif", {"bbox_crs": "x"}),
    ):
        detail = interfaces.http.get(f"{MOSAIC}/{path}", params=options).json()["detail"]
        with pytest.raises(InvalidRequest) as refused:
            ask()
        assert str(refused.value) == detail


def test_wmts_refuses_what_is_named_twice_in_its_own_form(interfaces):
    answer = interfaces.http.get(
        f"{MOSAIC}/wmts", params=[*PAIRS.items(), ("method", "first"), ("METHOD", "mean")]
    )
    assert answer.status_code == 400
    assert b"method is named twice" in answer.content
    assert answer.headers["content-type"].startswith("application/xml")


def test_a_plus_that_an_address_lost_is_read_as_the_plus_it_was(interfaces):
    lost = interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?expression=(B08+B04)*2").json()
    kept = interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?expression=(B08%2BB04)*2").json()
    assert lost == kept
    assert kept["band_names"] == ["(B08+B04)*2"]


@pytest.mark.parametrize("path", ["WebMercatorQuad/tilejson.json", "tiles", "scenes", "wmts"])
@pytest.mark.parametrize("formula", ["B04^2", "where(B04)", "B8"])
def test_a_document_accepts_no_formula_that_cannot_be_computed(interfaces, path, formula):
    answer = interfaces.http.get(
        f"{MOSAIC}/{path}",
        params={"expression": formula}
        | ({"service": "WMTS", "request": "GetCapabilities"} if path == "wmts" else {}),
    )
    assert answer.status_code == 400


def test_a_job_accepts_no_formula_that_cannot_be_computed(interfaces):
    for body in ({"bbox": BOX}, {"bbox": BOX, "format": "gpkg"}):
        answer = interfaces.http.post(f"{MOSAIC}/exports", json={**body, "expression": "B04^2"})
        assert (answer.status_code, "use **" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("layer", "asked", "told"),
    [
        ("mosaic", {"time": "all"}, "period=all"),
        ("mosaic_time", {"time": "all"}, "period=all"),
        ("mosaic_time", {"datetime": "all"}, "period=all"),
        ("mosaic_time", {"time": "2023-08-05T10:11:12.000Z"}, "period=all"),
        ("mosaic_time", {"time": "2023-08-05T10:11:12+02:00"}, "period=all"),
        ("mosaic_time", {"time": "1999"}, "lies in no period"),
        ("mosaic_time", {"time": "soon"}, "not understood"),
    ],
)
def test_time_and_datetime_are_one_question_in_wmts(interfaces, layer, asked, told):
    assert told in interfaces._header(f"{MOSAIC}/wmts", {**PAIRS, "layer": layer, **asked})


def test_swapped_latitude_and_longitude_are_noticed_in_every_interface(interfaces):
    south, west, north, east = 46.048, 15.004, 46.052, 15.008
    swapped = f"{south},{west},{north},{east}"
    feature = {**FEATURE, "geometry": {"type": "Polygon", "coordinates": [[[y, x] for x, y in SQUARE]]}}
    found = [
        interfaces.http.get(f"{MOSAIC}/point/{LAT},{LON}"),
        interfaces.http.get(f"{MOSAIC}/explain/{LAT},{LON}", params={"f": "json"}),
        interfaces.http.get(f"{MOSAIC}/bbox/{swapped}.tif"),
        interfaces.http.get(f"{MOSAIC}/dates/{swapped}"),
        interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": swapped, "dry_run": True}),
        interfaces.http.post(f"{MOSAIC}/exports", json={"geometry": feature["geometry"], "dry_run": True}),
        interfaces.http.post(f"{MOSAIC}/statistics", json=feature),
    ]
    for answer in found:
        assert answer.status_code in (400, 404), answer.request.url
        assert "did you swap latitude and longitude?" in answer.json()["detail"]
    command = ["export", "--store", interfaces.store, "--bbox", *swapped.split(","), "--dry-run"]
    assert "did you swap latitude and longitude?" in CliRunner().invoke(cli, command).output


@pytest.mark.parametrize(
    "words",
    [
        ["15.004,46.048,15.008,46.052"],
        ["15.004 46.048 15.008 46.052"],
        ["15.004", "46.048", "15.008", "46.052"],
        ["15.004,", "46.048,", "15.008,", "46.052"],
    ],
)
def test_a_box_has_commas_or_blanks_between_its_numbers(interfaces, words):
    command = ["export", "--store", interfaces.store, "--bbox", *words, "--dry-run"]
    told = CliRunner().invoke(cli, command).output
    assert told == CliRunner().invoke(cli, [*command[:3], f"--bbox={' '.join(words)}", "--dry-run"]).output
    size = re.match(r"(\d+) × (\d+) px", told)
    cost = interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": " ".join(words), "dry_run": True}).json()
    assert (cost["width"], cost["height"]) == (int(size[1]), int(size[2]))


def test_a_box_from_east_to_west_crosses_the_antimeridian_in_every_interface(interfaces):
    across = "179.9,46,-179.9,46.1"
    shown = interfaces.http.get(f"{MOSAIC}/bbox/{across}/8x8.tif?bands=B04")
    assert shown.status_code == 200
    assert interfaces.http.get(f"{MOSAIC}/dates/{across}").status_code == 404
    cost = interfaces.http.post(
        f"{MOSAIC}/exports", json={"bbox": across, "dry_run": True, "crs": 4326, "resolution": 0.01}
    ).json()
    assert cost["width"] == 20
    zone = interfaces.http.get(f"{MOSAIC}/bbox/{across}/8x8.tif?bands=B04&crs=EPSG:32660")
    assert zone.status_code == 200
    ends = [
        interfaces.http.get(f"{MOSAIC}/bbox/{across}/8x8.tif?bands=B04&crs=3857"),
        interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": across, "dry_run": True, "crs": 3857}),
        interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": across, "dry_run": True, "format": "gpkg"}),
    ]
    for answer in ends:
        assert (answer.status_code, "where EPSG:3857 ends" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("code", ["3035", "EPSG:3035", "epsg:3035", "urn:ogc:def:crs:EPSG::3035"])
def test_a_coordinate_system_has_one_name_in_every_interface(interfaces, code, tmp_path):
    cost = interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": BOX, "crs": code, "dry_run": True}).json()
    assert cost["crs"] == "EPSG:3035"
    for name in ("crs", "dst_crs"):
        shown = interfaces.http.get(
            f"{MOSAIC}/bbox/{','.join(map(str, BOX))}.tif", params={name: code, "bands": "B04"}
        )
        (tmp_path / "box.tif").write_bytes(shown.content)
        with rasterio.open(tmp_path / "box.tif") as file:
            assert file.crs.to_epsg() == 3035
    out = tmp_path / "file.tif"
    command = [
        "export",
        "--store",
        interfaces.store,
        "--bbox",
        *map(str, BOX),
        "--bands",
        "B04",
        "--crs",
        code,
        "-o",
        str(out),
    ]
    assert CliRunner().invoke(cli, command).exit_code == 0
    with rasterio.open(out) as file:
        assert file.crs.to_epsg() == 3035


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("EPSG:99999", "crs: there is no coordinate system 'EPSG:99999'; use a code such as EPSG:3857"),
        ("EPSG:5703", "crs: coordinate system 'EPSG:5703' has no plane"),
        (
            "EPSG:31275",
            "crs: coordinate system 'EPSG:31275' is deprecated, and programs place it differently; use EPSG:8677",
        ),
        (
            "EPSG:2327",
            "crs: between coordinate systems EPSG:4326 (WGS 84) and EPSG:2327 (Xian 1980 / Gauss-Kruger zone 13) no datum shift is known",
        ),
    ],
)
def test_a_coordinate_system_that_is_none_is_named_as_it_was_given(interfaces, code, told):
    box = ",".join(map(str, BOX))
    details = [
        interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": BOX, "crs": code, "dry_run": True}).json()[
            "detail"
        ],
        interfaces.http.get(f"{MOSAIC}/bbox/{box}.tif", params={"crs": code}).json()["detail"],
        CliRunner()
        .invoke(
            cli, ["export", "--store", interfaces.store, "--bbox", *map(str, BOX), "--crs", code, "--dry-run"]
        )
        .output.removeprefix("Error: ")
        .strip(),
    ]
    assert told in details[0]
    assert set(details) == {details[0]}


@pytest.mark.parametrize(
    ("code", "told"), [("EPSG:2327", "no datum shift is known"), ("EPSG:31275", "use EPSG:8677")]
)
def test_coordinates_in_a_system_without_a_datum_shift_are_refused_in_every_interface(interfaces, code, told):
    box, member = "7500000,5100000,7500600,5100600", {"type": "name", "properties": {"name": code}}
    ring = [[7_500_000, 5_100_000], [7_500_600, 5_100_000], [7_500_600, 5_100_600], [7_500_000, 5_100_000]]
    area = {"type": "Polygon", "coordinates": [ring], "crs": member}
    feature = {"type": "Feature", "geometry": {k: v for k, v in area.items() if k != "crs"}, "properties": {}}
    answers = [
        interfaces.http.get(f"{MOSAIC}/bbox/{box}.tif", params={"bbox_crs": code}),
        interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": box, "bbox_crs": code, "dry_run": True}),
        interfaces.http.post(f"{MOSAIC}/exports", json={"geometry": area, "dry_run": True}),
        interfaces.http.post(f"{MOSAIC}/statistics", json={**feature, "crs": member}),
    ]
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert told in answer.json()["detail"]
        assert code in answer.json()["detail"]


def test_a_box_has_the_same_names_for_its_coordinate_systems_as_an_export(interfaces):
    metres = "500400,5099400,500700,5099700"
    answers = [
        interfaces.http.get(
            f"{MOSAIC}/bbox/{metres}.tif", params={"bands": "B04", a: "EPSG:32633", b: "EPSG:3857"}
        )
        for a, b in (("bbox_crs", "crs"), ("coord_crs", "dst_crs"))
    ]
    assert [a.status_code for a in answers] == [200, 200]
    assert answers[0].headers["etag"] == answers[1].headers["etag"]
    both = interfaces.http.get(
        f"{MOSAIC}/bbox/{metres}.tif", params={"crs": "EPSG:3857", "dst_crs": "EPSG:3035"}
    )
    assert "the same: name it once" in both.json()["detail"]


def test_lengths_know_their_unit(interfaces):
    own = interfaces.client.array(BOX, bands="B04")
    degrees = interfaces.client.array(BOX, bands="B04", crs="EPSG:4326")
    assert degrees.rio.resolution()[0] == pytest.approx(10 / 111_319.49)
    assert degrees.sizes["x"] == pytest.approx((BOX[2] - BOX[0]) * 111_319.49 / 10, abs=2)
    feet = interfaces.client.array(BOX, bands="B04", crs="+proj=utm +zone=33 +datum=WGS84 +units=us-ft")
    assert feet.sizes["x"] == pytest.approx(own.sizes["x"], abs=2)
    order = {"bbox": BOX, "crs": "+proj=utm +zone=33 +datum=WGS84 +units=us-ft", "dry_run": True}
    assert interfaces.http.post(f"{MOSAIC}/exports", json=order).json()["width"] == pytest.approx(
        own.sizes["x"], abs=2
    )


def test_the_crs_member_of_geojson_is_read_by_every_reader(interfaces, tmp_path):
    to_metres = Transformer.from_crs(4326, 32633, always_xy=True)
    ring = [list(to_metres.transform(*p)) for p in SQUARE]
    feature = {**FEATURE, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    metres = {"type": "FeatureCollection", "crs": named, "features": [feature]}
    degrees = {"type": "FeatureCollection", "features": [FEATURE]}

    def told(collection):
        path = tmp_path / "areas.geojson"
        path.write_text(json.dumps(collection))
        cost = interfaces.http.post(
            f"{MOSAIC}/exports", json={"geometry": collection, "dry_run": True}
        ).json()
        command = ["export", "--store", interfaces.store, "--geometry", str(path), "--dry-run"]
        said = CliRunner().invoke(cli, command).output.splitlines()[0]
        shares = interfaces.http.post(f"{MOSAIC}/statistics", json=collection, params={"bands": "B04"}).json()
        counts = [f["properties"]["statistics"]["B04"]["count"] for f in shares["features"]]
        table = tmp_path / "table.csv"
        done = CliRunner().invoke(
            cli, ["statistics", str(path), "--store", interfaces.store, "--bands", "B04", "-o", str(table)]
        )
        assert done.exit_code == 0, done.output
        row = dict(
            zip(
                *(line.replace('"', "").split(",") for line in table.read_text().splitlines()[:2]),
                strict=True,
            )
        )
        return (cost["width"], cost["height"]), said, counts, float(row["count"])

    first, second = told(metres), told(degrees)
    assert first[:2] == second[:2]
    assert first[2] == pytest.approx(second[2], rel=1e-3)
    assert first[3] == pytest.approx(second[3], rel=1e-3)
    assert first[2][0] == pytest.approx(first[3], rel=1e-6)


def test_the_crs_member_of_a_geometry_is_read_as_that_of_its_collection(interfaces):
    ring = [list(Transformer.from_crs(4326, 32633, always_xy=True).transform(*p)) for p in SQUARE]
    named = {"type": "name", "properties": {"name": "EPSG:32633"}}
    # PostGIS writes it so.
    inside = {**FEATURE, "geometry": {"type": "Polygon", "crs": named, "coordinates": [ring]}}
    nothing = {"type": "Feature", "properties": {}, "geometry": None}

    def told(feature):
        collection = {"type": "FeatureCollection", "features": [feature, nothing]}
        cost = interfaces.http.post(f"{MOSAIC}/exports", json={"geometry": feature, "dry_run": True}).json()
        shares = interfaces.http.post(f"{MOSAIC}/statistics", json=collection, params={"bands": "B04"}).json()
        return cost["width"], shares["features"][0]["properties"]["statistics"]["B04"]["count"]

    first, second = told(inside), told(FEATURE)
    assert first[0] == second[0]
    assert first[1] == pytest.approx(second[1], rel=1e-3)
    # A job's file of areas is read by GDAL, which knows that of the collection alone.
    assert collection_of({"type": "FeatureCollection", "features": [inside, nothing]})["crs"] == named
    both = {"type": "FeatureCollection", "features": [inside, FEATURE]}
    found = [
        interfaces.http.post(f"{MOSAIC}/exports", json={"geometry": both, "dry_run": True}),
        interfaces.http.post(f"{MOSAIC}/statistics", json=both),
        interfaces.http.post(f"{MOSAIC}/exports/statistics", json={"features": both}),
    ]
    assert [a.status_code for a in found] == [400, 400, 400]
    assert all("in EPSG:32633 and in EPSG:4326: give all in one" in a.json()["detail"] for a in found)


@pytest.mark.parametrize("member", [{"type": "link"}, {"type": "name", "properties": {"name": "EPSG:99999"}}])
def test_a_crs_member_that_names_none_is_refused_by_every_reader(interfaces, member):
    collection = {"type": "FeatureCollection", "crs": member, "features": [FEATURE]}
    found = [
        interfaces.http.post(f"{MOSAIC}/exports", json={"geometry": collection, "dry_run": True}),
        interfaces.http.post(f"{MOSAIC}/statistics", json=collection),
        interfaces.http.post(f"{MOSAIC}/exports/statistics", json={"features": collection}),
    ]
    assert [a.status_code for a in found] == [400, 400, 400]
    assert len({a.json()["detail"] for a in found}) == 1


def test_every_name_of_the_table_stands_in_openapi_and_on_the_command_line(interfaces):
    openapi = interfaces.http.get("/openapi.json").json()
    tile = openapi["paths"]["/mosaics/{mosaic}/tiles/{tms}/{z}/{x}/{tile}"]["get"]["parameters"]
    body = openapi["paths"]["/mosaics/{mosaic}/exports"]["post"]["requestBody"]["content"]["application/json"]
    told = CliRunner().invoke(cli, ["export", "--help"]).output
    for name, parameter in MEASURED.items():
        described = next(p for p in tile if p["name"] == name)
        assert described["description"] == parameter.help
        assert body["schema"]["properties"][name]["description"] == parameter.help
        assert f"--{name.replace('_', '-')}" in told
    words = " ".join(told.split())
    assert "scene, date, age, count, quality, weight, score, spread, sigma, gain" in words


def test_the_menus_of_the_map_are_those_of_the_table(interfaces):
    page = interfaces.http.get("/", headers={"accept": "text/html"}).text
    menu = re.search(r'<select name="method">(.*?)</select>', page, re.DOTALL)[1]
    assert sorted(re.findall(r"<option.*?>([\w:]+)<", menu)) == sorted(MEASURED["method"].choices)
    # Stages have names of their own there.
    words = (files("terrazzo.server.viewer") / "words.js").read_text()
    stages = re.search(r"STAGES = \{(.*?)\}", words, re.DOTALL)[1]
    assert re.findall(r"(\w+): \"", stages) == list(MEASURED["stage"].choices)
    template = (files("terrazzo.server.pages") / "map.html.j2").read_text()
    assert not re.search(r"<option[^>]*>\w", template)


def test_raw_says_what_lies_between_it_and_the_products_number(interfaces):
    exact = interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?bands=B04&stage=raw&resampling=nearest").json()
    between = interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?bands=B04&stage=raw").json()
    assert "interpolated" not in interfaces.http.get(f"{MOSAIC}/point/{LON},{LAT}?bands=B04").json()
    assert between["interpolated"][-1].startswith("interpolated between the store's pixels")
    assert between["interpolated"][:-1] == exact["interpolated"]
    account = interfaces.http.get(f"{MOSAIC}/explain/{LON},{LAT}?bands=B04&f=json").json()
    assert [account["count_interpolated"]] == (exact["interpolated"] or [""])
    lines = interfaces.http.get(f"{MOSAIC}/explain/{LON},{LAT}?bands=B04&f=txt").text
    first = account["candidates"][0]["order"]
    assert re.search(rf"scenes\n *{first}  2023", lines)


def test_raw_says_in_every_interface_that_it_is_interpolated(client, tmp_path):
    """The sample's products have pixels of 120 m, its store has 60 m."""
    raw = {"bands": "B04", "stage": "raw"}
    tile = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1114/729"
    resampled = "resampled once from 120 m to 60 m"
    shown = client.get(f"{tile}.png", params=raw)
    header = shown.headers["x-terrazzo-interpolated"]
    assert resampled in header
    assert "interpolated between the store's pixels" in header
    assert client.get(f"{tile}.png", params=raw).headers["x-terrazzo-interpolated"] == header
    (tmp_path / "tile.tif").write_bytes(client.get(f"{tile}.tif", params=raw).content)
    with rasterio.open(tmp_path / "tile.tif") as file:
        assert file.tags()["TERRAZZO_INTERPOLATED"] == header
    far = client.get("/mosaics/mosaic/tiles/WebMercatorQuad/8/139/91.png", params=raw)
    assert re.search(r"means of (\d+) x \1 of the store's pixels", far.headers["x-terrazzo-interpolated"])
    description = client.get("/mosaics/mosaic/gdal.xml", params=raw).text
    said = re.search(r'<MDI key="TERRAZZO_INTERPOLATED">(.*?)</MDI>', description)[1]
    assert resampled in said
    assert "between" not in said
    assert "x-terrazzo-interpolated" not in client.get(f"{tile}.png", params={"bands": "B04"}).headers
    assert "TERRAZZO_INTERPOLATED" not in client.get("/mosaics/mosaic/gdal.xml", params={"bands": "B04"}).text


@pytest.mark.parametrize("words", ["15.004 46.048 15.008 46.052", "15.004, 46.048, 15.008, 46.052"])
def test_a_box_in_an_address_has_commas_or_blanks_between_its_numbers(interfaces, words):
    commas = "15.004,46.048,15.008,46.052"
    for path in (f"{MOSAIC}/bbox/%s.npy", f"{MOSAIC}/bbox/%s/8x8.tif", f"{MOSAIC}/dates/%s"):
        one, other = (interfaces.http.get(path % box, params={"bands": "B04"}) for box in (commas, words))
        assert (one.status_code, other.status_code) == (200, 200)
        assert one.content == other.content


@pytest.mark.parametrize("words", ["15.006 46.05", "15.006, 46.05", "15.006%2046.05", " 15.006,%0946.05 "])
def test_a_place_in_an_address_has_a_comma_or_a_blank_between_its_numbers(interfaces, words):
    for path in (f"{MOSAIC}/point/%s?bands=B04", f"{MOSAIC}/explain/%s?bands=B04&f=json"):
        one, other = (interfaces.http.get(path.replace("%s", place)) for place in ("15.006,46.05", words))
        assert (one.status_code, other.status_code) == (200, 200), other.text
        assert one.json() == other.json()


@pytest.mark.parametrize("words", ["15", "15,46,100", "15;46", "x,46", "nan,46", "15,inf", ""])
def test_a_place_that_is_none_is_refused_in_one_way(interfaces, words):
    for endpoint in ("point", "explain"):
        answer = interfaces.http.get(f"{MOSAIC}/{endpoint}/{words}")
        assert answer.status_code == (400 if words else 404)
        if words:
            assert answer.json()["detail"] == (
                f"{endpoint}: two finite numbers, longitude and latitude, with commas or blanks between them"
            )


def test_a_box_in_an_address_that_is_none_is_refused_in_the_words_of_an_order(interfaces):
    detail = interfaces.http.post(f"{MOSAIC}/exports", json={"bbox": "15,46,16", "dry_run": True}).json()[
        "detail"
    ]
    assert detail == "bbox: four finite numbers, W S E N, with commas or blanks between them"
    answers = [interfaces.http.get(f"{MOSAIC}/{path}") for path in ("bbox/15,46,16.tif", "dates/15,46,16")]
    assert [a.status_code for a in answers] == [400, 400]
    assert answers[0].json()["detail"] == detail
    assert answers[1].json()["detail"] == detail.replace("bbox", "dates")
